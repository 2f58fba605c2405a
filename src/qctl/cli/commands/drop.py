"""Drop a queue."""

from dataclasses import replace
from typing import Annotated

import typer

from qctl import models
from qctl.cli import completers, options, queue_columns
from qctl.cli.confirm import confirm
from qctl.cli.console import print_calls, say
from qctl.cli.session import session
from qctl.errors import ExitCode, QctlError
from qctl.operations import attachments, queues
from qctl.output import Column, render
from qctl.output.columns import counted, number


def command(
    name: Annotated[str, typer.Argument(help="The queue.", metavar="QUEUE", autocompletion=completers.queue_names)],
    discard: Annotated[bool, typer.Option("--discard", help="Give up its unfinished messages.")] = False,
    with_archive: Annotated[bool, typer.Option("--with-archive", help="Drop the archive too.")] = False,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
    sql: options.AsSql = False,
) -> None:
    """Drop a queue: its triggers, its settings, its messages.

    Refused while messages are unfinished, unless --discard. The archive stays, and dead letters and discarded messages move
    into it; a new queue of the same name continues its numbers. Writes to the tables go on undisturbed.

    Example: qctl drop orders --discard
    """
    call = queues.drop(name, discard=discard, with_archive=with_archive, if_exists=sql)
    if sql:
        print_calls([call])
        return
    with session(dsn, profile, "drop", changes=not dry_run) as connection:
        before = queues.undelivered(connection, name)
        if before.unfinished and not discard:
            raise QctlError(
                f"queue {name} holds {counted(before.unfinished, 'unfinished message')}",
                hint=f"to give them up: qctl drop {name} --discard; they stay in the archive, undelivered",
                code=ExitCode.REFUSED,
            )
        if dry_run:
            render([before], queue_columns.UNDELIVERED_COLUMNS, output)
            return
        confirm(connection, _loss(before, with_archive=with_archive), yes=yes)
        earlier = (
            models.GivenUp(0, 0)
            if with_archive and not discard
            else queues.begin_drop(connection, name, discard=discard)
        )
        (row,) = attachments.run(connection, call, say)
    columns = [
        Column("queue_name", "queue"),
        Column("discarded", "discarded", number, right=True),
        Column("dead", "dead letters", number, right=True),
        Column("archived", "archived", number, right=True),
        Column("archive", "archive stays in"),
    ]
    row = replace(row, discarded=row.discarded + earlier.discarded, dead=row.dead + earlier.dead)
    render([row], columns, output)
    say("Next: qctl queues")


def _loss(before: "models.Undelivered", *, with_archive: bool) -> str:
    kept = "all of it will be dropped" if with_archive else "all of it stays in the archive"
    return (
        f"queue {before.queue_name} has {counted(before.unfinished or 0, 'unfinished message')},"
        f" {counted(before.dead, 'dead letter')} and {before.archived or 0:,} archived; {kept}"
    )
