"""Stop capturing a table."""

from typing import Annotated

import typer

from qctl.cli import completers, options
from qctl.cli.confirm import confirm_if_protected
from qctl.cli.console import print_calls, say
from qctl.cli.session import session
from qctl.operations import attachments
from qctl.output import Column, render

_COLUMNS = [Column("relation", "table"), Column("queue_name", "queue"), Column("trigger_name", "trigger")]


def command(
    table: Annotated[
        str,
        typer.Argument(
            help="The table, with its schema.", metavar="SCHEMA.TABLE", autocompletion=completers.attached_tables
        ),
    ],
    queue: options.Queue = None,
    yes: options.Yes = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
    sql: options.AsSql = False,
) -> None:
    """Stop capturing a table: into one queue, or without -q into all. Messages in the queue are still delivered.

    Example: qctl detach public.users -q users
    """
    call = attachments.detach(table, queue, if_exists=sql)
    if sql:
        print_calls([call])
        return
    with session(dsn, profile, "detach", changes=True) as connection:
        what = f"changes of {table} will no longer be captured" + (f" into {queue}" if queue else "")
        confirm_if_protected(connection, what, yes=yes)
        dropped = attachments.run(connection, call, say)
    render(dropped, _COLUMNS, output)
    say("Next: qctl status")
