"""What replay and discard share: acting on chosen messages batch by batch, and saying what was done."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from qctl import config, db, models
from qctl.cli import selection
from qctl.cli.console import say
from qctl.cli.selection import Chosen
from qctl.errors import ExitCode, QctlError
from qctl.operations import messages
from qctl.output import Column, Format, render
from qctl.output import chosen as chosen_format
from qctl.output.columns import counted, number, seconds

_BATCH = 1000


_COLUMNS = [Column("queue_name", "queue"), Column("msg_id", "message", right=True)]
# More rows than a person reads are summed up.
_FEW = 20


@dataclass(frozen=True, slots=True)
class _Sum:
    """How many messages of a queue have an outcome."""

    queue_name: str
    outcome: str
    messages: int


def act(
    chosen: Chosen, rows: "list[models.ReplayedMessage]", act: "Callable[[str, list[int]], list[models.Replayed]]"
) -> QctlError | None:
    """Acts batch by batch and collects in ``rows`` what was done.

    Returns:
        The error that ended it after some batches; one in the first batch is raised.
    """
    for name, batch in _batches(chosen):
        try:
            outcomes = act(name, batch)
        except QctlError as error:
            if not rows:
                raise
            return error
        rows += [models.ReplayedMessage(name, outcome.msg_id, outcome.outcome) for outcome in outcomes]
    return None


def _batches(chosen: Chosen) -> list[tuple[str, list[int]]]:
    return [(n, ids[at : at + _BATCH]) for n, ids in chosen.by_queue.items() for at in range(0, len(ids), _BATCH)]


def what(chosen: Chosen, done: str, more: str, per_s: float | None) -> str:
    """What is about to happen, for the question: ``12 messages (12 dead: orders/1 …) will be replayed``."""
    states = ", ".join(f"{count:,} {state}" for state, count in chosen.states.most_common())
    spread = f", over {seconds(chosen.count / per_s)}" if per_s else ""
    detail = f" ({states}: {chosen.some()})" if states else f" ({chosen.some()})"
    return f"{counted(chosen.count, 'message')}{detail} will be {done}{more}{spread}"


def _write(rows: "list[models.ReplayedMessage]", title: str, output: Format | None, *, verbose: bool) -> None:
    """Writes each message with its outcome, or, in a table of many, the sums."""
    if verbose or len(rows) <= _FEW or chosen_format(output) is not Format.TABLE:
        render(rows, [*_COLUMNS, Column("outcome", title)], output)
        return
    sums = Counter((row.queue_name, row.outcome) for row in rows)
    columns = [_COLUMNS[0], Column("outcome", title), Column("messages", "messages", number, right=True)]
    render([_Sum(*key, count) for key, count in sums.items()], columns, output)


def show(connection: "db.Connection", chosen: Chosen, done: str, output: Format | None, *, verbose: bool) -> None:
    """Shows the messages that would be acted on, and the state of each now; many of them as sums unless ``verbose``."""
    rows: list[models.ReplayedMessage] = []
    missing = list(chosen.unknown)
    for name, ids in chosen.by_queue.items():
        known = messages.states(connection, name, ids)
        rows += [models.ReplayedMessage(name, msg_id, known[msg_id]) for msg_id in ids if msg_id in known]
        missing += [f"{name}/{m}" for m in ids if m not in known and (name, m) not in chosen.ranged]
    if rows or not missing:
        _write(rows, "state now", output, verbose=verbose)
    say(f"nothing was changed; {counted(len(rows), 'message')} would be {done}")
    selection.refuse_unknown(missing, chosen.asked)


def finish(
    chosen: Chosen,
    rows: "list[models.ReplayedMessage]",
    output: Format | None,
    words: dict[str, str],
    failed: QctlError | None,
    *,
    verbose: bool,
) -> None:
    """Shows what was done with each message, and raises what was not.

    Args:
        chosen: what was to be acted on.
        rows: what the database did.
        output: the format.
        words: for people, what each outcome is called.
        failed: the error that ended it early.
        verbose: list each message however many there are.

    Raises:
        QctlError: some ids are unknown (6, 9), or it ended early (9).
    """
    holes = sum(row.outcome == "unknown" and (row.queue_name, row.msg_id) in chosen.ranged for row in rows)
    rows = [row for row in rows if row.outcome != "unknown" or (row.queue_name, row.msg_id) not in chosen.ranged]
    missing = [*chosen.unknown, *(f"{row.queue_name}/{row.msg_id}" for row in rows if row.outcome == "unknown")]
    if rows or not missing:
        # What says that something was not done points to the rows.
        _write(rows, "outcome", output, verbose=verbose or failed is not None or bool(missing))
    if config.stderr_is_terminal():
        counts = Counter(row.outcome for row in rows)
        if parts := [f"{count:,} {words.get(outcome, outcome)}" for outcome, count in sorted(counts.items())]:
            say(", ".join(parts))
        if holes:
            say(f"{counted(holes, 'number')} of the range without a message")
    if holes and not rows and not missing:
        raise QctlError("no message has an id in that range", hint="qctl messages", code=ExitCode.NOT_FOUND)
    if not rows and not missing:
        say("no message matches")
    if failed is not None:
        raise QctlError(
            f"{len(rows)} of {chosen.count} done: {failed.message}",
            detail=failed.detail,
            hint="stdout lists which; run the command again for the others",
            code=ExitCode.PARTLY_DONE,
        )
    selection.refuse_unknown(missing, chosen.asked)
