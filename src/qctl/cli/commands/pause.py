"""Stop delivering a queue."""

from qctl import config
from qctl.cli import options, queue_columns, selection
from qctl.cli.console import say
from qctl.cli.session import session
from qctl.operations import queues
from qctl.output import render


def command(
    queue: options.Queue = None,
    all_: options.All = False,
    reason: options.Reason = None,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Stop delivering a queue, or all queues. Capture goes on; messages in flight settle.

    status says since when, by whom and why, and check fails until the queue is resumed.

    Example: qctl pause -q orders --reason "endpoint moves"
    """
    with session(dsn, profile, "pause", changes=True) as connection:
        rows = [queues.pause(connection, name, reason) for name in selection.queue_names(connection, queue, all_=all_)]
    render(rows, queue_columns.PAUSE_COLUMNS, output)
    if config.stderr_is_terminal() and rows:
        which = "--all" if all_ else f"-q {rows[0].queue_name}"
        say(f"capture goes on; to deliver again: qctl resume {which}")
