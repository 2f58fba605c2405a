"""The command that deletes what is old: purge."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from qctl import config, db, models, purging, queues
from qctl.cli import options
from qctl.cli.consent import consent
from qctl.cli.guard import say
from qctl.cli.session import session
from qctl.cli.telling import once_a_second
from qctl.errors import ExitCode, QctlError, UsageError
from qctl.output import Column, render
from qctl.output.columns import counted, number, size

_COLUMNS = [
    Column("queue_name", "queue"),
    Column("kind", "what"),
    Column("messages", "messages", number, right=True),
    Column("attempts", "attempts", number, right=True),
    Column("bytes", "size", size, right=True),
]


def purge(
    older_than: Annotated[
        str, typer.Option("--older-than", help="Delivered longer ago than this, for example 7d.", metavar="DURATION")
    ],
    queue: options.Queue = None,
    dead: Annotated[
        bool, typer.Option("--dead", help="Dead letters that old instead; wants --yes or a terminal.")
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option("--export", help="First write them there, gzip of JSON lines; adds to it.", metavar="FILE"),
    ] = None,
    vacuum: Annotated[bool, typer.Option("--vacuum", help="Then vacuum the tables.")] = False,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Delete delivered history: messages delivered longer ago than that, with their attempts and statistics.

    Never an unfinished message, and a dead one only with --dead. In batches that a worker does not feel; asks nothing, so it
    can stand in cron, where it is silent; interrupting it loses only what is left to do, twice at once does no harm.
    What is exported is on disk before it is deleted; qctl send @FILE reads it back.

    Example: qctl purge --older-than 7d
    """
    older_than_s = options.duration(older_than)
    if dry_run and (export or vacuum):
        raise UsageError("--dry-run writes no file and vacuums nothing")
    with ExitStack() as stack, session(dsn, profile, "purge", changes=not dry_run) as connection:
        names = queues.some(connection, queue)
        if dead and not dry_run:
            _agree(connection, names, older_than_s, yes=yes)
        target = purging.Export(export) if export else None
        if target:
            stack.callback(target.close)
        rows: list[models.Purged] = []
        problems: list[str] = []
        for name in names:
            try:
                rows.append(_purge(connection, name, older_than_s, target, dead=dead, dry_run=dry_run))
            except QctlError as error:
                if connection.closed or len(names) == 1:
                    raise
                problems.append(f"{name}: {error.message}")
        if not (dead or dry_run or queue):
            purging.leftovers(connection, older_than_s)
        if vacuum:
            purging.vacuum(connection, [row.queue_name for row in rows], dead=dead)
    if output or config.stdout_is_terminal() or dry_run:
        render(rows, _COLUMNS, output)
    for problem in problems:
        say(problem)
    if problems:
        raise QctlError(
            f"{len(problems)} of {len(names)} queues could not be purged", code=ExitCode.PARTLY_DONE, hint="qctl status"
        )


def _agree(connection: "db.Connection", names: list[str], older_than_s: float, *, yes: bool) -> None:
    count = sum(purging.preview(connection, name, older_than_s, dead=True).messages for name in names)
    if count:
        consent(connection, f"{counted(count, 'dead letter')} to be deleted for ever", yes=yes)


def _purge(
    connection: "db.Connection",
    name: str,
    older_than_s: float,
    target: "purging.Export | None",
    *,
    dead: bool,
    dry_run: bool,
) -> "models.Purged":
    if dry_run:
        return purging.preview(connection, name, older_than_s, dead=dead)
    tell = once_a_second(lambda count: f"{name}: {counted(count, 'message')} deleted so far")
    if target:
        return target.purge(connection, name, older_than_s, tell, dead=dead)
    deleting = purging.dead_letters if dead else purging.delivered
    return deleting(connection, name, older_than_s, tell)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("purge", rich_help_panel="Act")(purge)
