"""How long messages have waited."""

from qctl.cli import options, queue_columns
from qctl.cli.session import session
from qctl.operations import queues
from qctl.output import render


def command(
    queue: options.Queue = None, dsn: options.Dsn = None, profile: options.Profile = None, output: options.Output = None
) -> None:
    """How long the oldest ready message has waited, and how old the oldest unfinished one is.

    A long lag means too few workers; a long age means failing deliveries.

    Example: qctl lag
    """
    with session(dsn, profile, "lag") as connection:
        render(queues.lags(connection, queue), [queue_columns.QUEUE, *queue_columns.LAG_COLUMNS], output)
