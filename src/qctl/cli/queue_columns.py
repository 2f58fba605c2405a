"""Columns that several commands show of a queue."""

from collections.abc import Callable
from typing import Any

from qctl import models
from qctl.cli import styles
from qctl.output import Column
from qctl.output.columns import instant, number, seconds, yes_no


def _at_least(field: str) -> Callable[[Any], str]:
    """Writes a number of messages; with ≥ where not all were counted."""

    def write(row: Any) -> str:
        value = getattr(row, field)
        if value is None:
            return "unknown" if field == "depth" else ""
        exact = row.depth_exact if isinstance(row, models.Status) else row.exact
        return number(value) if exact else f"≥{number(value)}"

    return write


def estimate(row: Any) -> str:
    """PostgreSQL's own estimate of the depth, where not all messages were counted."""
    exact, estimate = (
        (row.depth_exact, row.depth_estimate) if isinstance(row, models.Status) else (row.exact, row.estimate)
    )
    return "" if exact or estimate is None else f"~{number(estimate)}"


QUEUE = Column("queue_name", "queue", fold=True)


DEPTH_COLUMNS = [
    Column("depth", "depth", of=_at_least("depth"), right=True),
    Column("ready", "ready", of=_at_least("ready"), right=True),
    Column("delayed", "delayed", of=_at_least("delayed"), right=True, wide=True),
    Column("in_flight", "in flight", number, right=True, wide=True),
    Column("retrying", "retrying", of=_at_least("retrying"), right=True, wide=True),
    Column("dead", "dead", number, right=True, style=styles.dead),
]


LAG_COLUMNS = [Column("lag_s", "lag", seconds, right=True), Column("age_s", "age", seconds, right=True)]


UNDELIVERED_COLUMNS = [
    Column("queue_name", "queue"),
    Column("unfinished", "unfinished", number, right=True),
    Column("dead", "dead letters", number, right=True),
    Column("archived", "archived", number, right=True),
    Column("attached", "tables", right=True),
]


PAUSE_COLUMNS = [
    Column("queue_name", "queue"),
    Column("changed", "changed", yes_no),
    Column("paused_at", "since", instant),
]
