"""Unfinished messages by state."""

from qctl.cli import options, queue_columns
from qctl.cli.session import session
from qctl.operations import queues
from qctl.output import Column, render


def command(
    queue: options.Queue = None, dsn: options.Dsn = None, profile: options.Profile = None, output: options.Output = None
) -> None:
    """Unfinished messages by state, and dead letters.

    Exact up to 100,000; above that ≥, with PostgreSQL's own estimate.

    Example: qctl depth -q orders -o json
    """
    with session(dsn, profile, "depth") as connection:
        estimate = Column("estimate", "estimate", of=queue_columns.estimate, right=True)
        render(queues.depths(connection, queue), [queue_columns.QUEUE, *queue_columns.DEPTH_COLUMNS, estimate], output)
