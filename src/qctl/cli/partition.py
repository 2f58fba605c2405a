"""The command that puts an archive into partitions."""

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
    Column("queue_name", "queue"),
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
    """Put a queue's archive into partitions by date, so that retention and purge drop whole partitions.

    pg_partman keeps them; delivery goes on meanwhile. What was archived before is moved in step by step, the newest first:
    interrupt it as you like, and run it again to go on. Until it is moved, no command sees it.

    Example: qctl partition -q orders --interval daily --sql
    """
    if sql:
        print_calls([partitions.partitioning(queue or "QUEUE", interval)])
        return
    with session(dsn, profile, "partition", changes=not dry_run) as connection:
        name = queues.the_one(connection, queue)
        with db.transaction(connection, dry_run=dry_run):
            row = partitions.partition(connection, name, interval)
        tell = once_a_second(lambda count: f"{name}: {count:,} of {row.to_move:,} moved")
        moved = 0 if dry_run else partitions.move(connection, name, tell)
    render([row], _COLUMNS, output)
    if moved:
        say(f"{counted(moved, 'message')} moved into them")
    if not dry_run:
        say(f"Next: qctl set -q {name} --retention 30d, if nothing is set yet; qctl describe {name}")


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("partition", rich_help_panel="Set up")(partition)
