"""The queues and their endpoints."""

from qctl.cli import options, queue_columns
from qctl.cli.console import say
from qctl.cli.session import session
from qctl.operations import queues
from qctl.output import Column, render
from qctl.output.columns import instant


def command(dsn: options.Dsn = None, profile: options.Profile = None, output: options.Output = None) -> None:
    """The queues and their endpoints.

    Example: qctl queues
    """
    columns = [
        queue_columns.QUEUE,
        Column("transport", "transport"),
        Column("attached", "tables", right=True),
        Column("paused_at", "paused since", instant),
        Column("url", "url", fold=True),
        Column("created_at", "created", instant, wide=True),
    ]
    with session(dsn, profile, "queues") as connection:
        rows = queues.listed(connection)
    render(rows, columns, output)
    if not rows:
        say("no queue exists yet. Next: qctl create NAME --url URL")
