"""What delivery takes from the database, in words, and the move that relieves it."""

from typing import TYPE_CHECKING

from qctl.output.columns import rate

if TYPE_CHECKING:
    from qctl import models

# Of a core: the share from which on handing over to a broker is worth its effort.
MUCH = 0.3


def write_rate(per_s: float) -> str:
    """Messages a second, without decimals where there are many."""
    return f"{per_s:,.0f}/s" if per_s >= 10 else rate(per_s)


def told(share: "models.DatabaseShare | None") -> list[str]:
    """What delivery takes, and what to type where that is much."""
    if share is None:
        return []
    return move(share) or [
        f"delivery takes about {share.share:.0%} of a core of the database, at {write_rate(share.per_s)} in the last 10 min"
    ]


def move(share: "models.DatabaseShare | None") -> list[str]:
    """What to type where delivery takes much from the database; nothing where it does not."""
    if share is None or share.share <= MUCH or share.transport != "http":
        return []
    return [
        f"delivery takes about {share.share:.0%} of a core of the database at {write_rate(share.per_s)};"
        f" handed over to a broker with --log failures it would take about {share.handed_over:.0%}",
        f"  Next: qctl capacity --rate {share.per_s:.0f}/s",
    ]
