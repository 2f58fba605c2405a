"""Deliver a paused queue again."""

from qctl import config
from qctl.cli import options, queue_columns, selection
from qctl.cli.console import say
from qctl.cli.session import session
from qctl.operations import queues
from qctl.output import render


def command(
    queue: options.Queue = None,
    all_: options.All = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Deliver a paused queue again, or all queues. Closes an open circuit breaker.

    Example: qctl resume -q orders
    """
    with session(dsn, profile, "resume", changes=True) as connection:
        rows = [queues.resume(connection, name) for name in selection.queue_names(connection, queue, all_=all_)]
    render(rows, queue_columns.PAUSE_COLUMNS, output)
    if config.stderr_is_terminal() and any(row.changed for row in rows):
        say("what waits is delivered from now on")
