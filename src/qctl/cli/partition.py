"""The command that puts an archive and the attempt log into partitions."""

from dataclasses import replace
from typing import Annotated

import typer

from qctl import db, partitions, queues
from qctl.cli import options
from qctl.cli.calls import print_calls
from qctl.cli.guard import say
from qctl.cli.session import session
from qctl.cli.telling import once_a_second
from qctl.output import Column, render
from qctl.output.columns import counted, number, yes_no

_COLUMNS = [
    Column("table_name", "table"),
    Column("partitions", "partitions", number, right=True),
    Column("to_move", "to move", number, right=True),
    Column("changed", "changed", yes_no),
]


def partition(
    queue: options.Queue = None,
    interval: Annotated[
        str, typer.Option("--interval", help="hourly, daily, weekly or monthly.", metavar="INTERVAL")
    ] = "daily",
    dry_run: options.DryRun = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
    sql: options.AsSql = False,
) -> None:
    """Put a queue's archive, and the attempt log of all queues, into partitions by date: retention and purge drop them whole.

    pg_partman keeps them; delivery goes on meanwhile. What was there before is moved in step by step, the newest first:
    interrupt it as you like, and run it again to go on. Until it is moved, no command sees it. A partition of the log goes
    when no archive has a message from its time; messages that are not done and dead letters keep their attempts.

    Example: qctl partition -q orders --interval daily --sql
    """
    if sql:
        print_calls([partitions.archive_call(queue or "QUEUE", interval), partitions.attempts_call(interval)])
        return
    messages = attempts = 0
    with session(dsn, profile, "partition", changes=not dry_run) as connection:
        name = queues.the_one(connection, queue)
        with db.transaction(connection, dry_run=dry_run):
            archive, log = partitions.archive(connection, name, interval), partitions.attempts(connection, interval)
        if not dry_run:
            tell = once_a_second(lambda count: f"{name}: {count:,} of {archive.to_move:,} messages moved")
            messages = partitions.move_archived(connection, name, tell)
            tell = once_a_second(lambda count: f"log: {count:,} of {log.to_move:,} attempts moved")
            attempts = partitions.move_attempts(connection, tell)
            # Moving made some.
            archive = replace(archive, partitions=partitions.archive(connection, name, interval).partitions)
            log = replace(log, partitions=partitions.attempts(connection, interval).partitions)
    render([archive, log], _COLUMNS, output)
    if messages or attempts:
        say(f"{counted(messages, 'message')} and {counted(attempts, 'attempt')} moved into them")
    if not dry_run:
        say(f"Next: qctl set -q {name} --retention 30d, if nothing is set yet; qctl describe {name}")


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("partition", rich_help_panel="Set up")(partition)
