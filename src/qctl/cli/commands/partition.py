"""The command that puts an archive and the attempt log into partitions."""

from dataclasses import replace
from typing import Annotated

import typer

from qctl import db
from qctl.cli import options
from qctl.cli.console import once_a_second, print_calls, say
from qctl.cli.session import session
from qctl.operations import partitions, queues
from qctl.output import Column, render
from qctl.output.columns import counted, number, yes_no

_COLUMNS = [
    Column("table_name", "table"),
    Column("partitions", "partitions", number, right=True),
    Column("to_move", "to move", number, right=True),
    Column("changed", "changed", yes_no),
]


def command(
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
    """Put a queue's archive, and the attempt log of all queues, into partitions by date, which retention and purge drop whole.

    pg_partman maintains them; delivery goes on meanwhile. Existing rows are moved step by step, newest first: interrupt it
    at any time, and run it again to continue. Until rows are moved, no command sees them. A partition of the log is dropped
    when no archive has a message from its time; unfinished messages and dead letters keep their attempts.

    Example: qctl partition -q orders --interval daily --sql
    """
    if sql:
        print_calls([partitions.archive(options.named_queue(queue), interval), partitions.attempts(interval)])
        return
    messages = attempts = 0
    with session(dsn, profile, "partition", changes=not dry_run) as connection:
        name = queues.the_one(connection, queue)
        with db.transaction(connection, dry_run=dry_run):
            archive = partitions.archive(name, interval).one(connection)
            log = partitions.attempts(interval).one(connection)
        if not dry_run:
            progress = once_a_second(lambda count: f"{name}: {count:,} of {archive.to_move:,} messages moved")
            messages = partitions.move_archived(connection, name, progress)
            progress = once_a_second(lambda count: f"log: {count:,} of {log.to_move:,} attempts moved")
            attempts = partitions.move_attempts(connection, progress)
            # Moving made further partitions.
            archive = replace(archive, partitions=partitions.archive(name, interval).one(connection).partitions)
            log = replace(log, partitions=partitions.attempts(interval).one(connection).partitions)
    render([archive, log], _COLUMNS, output)
    if messages or attempts:
        say(f"{counted(messages, 'message')} and {counted(attempts, 'attempt')} moved into partitions")
    if not dry_run:
        say(f"Next: qctl set -q {name} --retention 30d, if no retention is set yet; qctl describe {name}")
