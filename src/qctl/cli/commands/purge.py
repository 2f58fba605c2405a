"""The command that deletes what is old: purge."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from qctl import config, db, models
from qctl.cli import options
from qctl.cli.confirm import confirm
from qctl.cli.console import once_a_second, say
from qctl.cli.session import session
from qctl.errors import ExitCode, QctlError, UsageError
from qctl.operations import purge, queues
from qctl.output import Column, render
from qctl.output.columns import counted, number, size

_COLUMNS = [
    Column("queue_name", "queue"),
    Column("kind", "what"),
    Column("messages", "messages", number, right=True),
    Column("attempts", "attempts", number, right=True),
    Column("bytes", "size", size, right=True),
]


def command(
    older_than: Annotated[
        str,
        typer.Option(
            "--older-than",
            help="Delete messages that were delivered longer ago than this, for example 7d.",
            metavar="DURATION",
        ),
    ],
    queue: options.Queue = None,
    dead: Annotated[
        bool, typer.Option("--dead", help="Delete dead letters of that age instead; needs --yes or a terminal.")
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option("--export", help="First append them to this file as gzip of JSON lines.", metavar="FILE"),
    ] = None,
    vacuum: Annotated[bool, typer.Option("--vacuum", help="Vacuum the tables afterwards.")] = False,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Delete delivered history: messages that were delivered longer ago, with their attempts and statistics.

    Never deletes an unfinished message, and a dead letter only with --dead. Works in small batches, asks nothing, and is
    silent in cron; it may be interrupted, and two at once do no harm. Exported messages are safely on disk before they are
    deleted; qctl send @FILE reads them back.

    Example: qctl purge --older-than 7d
    """
    older_than_s = options.duration(older_than)
    if dry_run and (export or vacuum):
        raise UsageError("--dry-run excludes --export and --vacuum")
    with ExitStack() as stack, session(dsn, profile, "purge", changes=not dry_run) as connection:
        names = queues.some(connection, queue)
        if dead and not dry_run:
            _agree(connection, names, older_than_s, yes=yes)
        target = purge.Export(export) if export else None
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
            purge.leftovers(connection, older_than_s)
        if vacuum:
            purge.vacuum(connection, [row.queue_name for row in rows], dead=dead)
    if output or config.stdout_is_terminal() or dry_run:
        render(rows, _COLUMNS, output)
    for problem in problems:
        say(problem)
    if problems:
        raise QctlError(
            f"{len(problems)} of {len(names)} queues could not be purged", code=ExitCode.PARTLY_DONE, hint="qctl status"
        )


def _agree(connection: "db.Connection", names: list[str], older_than_s: float, *, yes: bool) -> None:
    count = sum(purge.preview(connection, name, older_than_s, dead=True).messages for name in names)
    if count:
        confirm(connection, f"{counted(count, 'dead letter')} will be deleted for ever", yes=yes)


def _purge(
    connection: "db.Connection",
    name: str,
    older_than_s: float,
    target: "purge.Export | None",
    *,
    dead: bool,
    dry_run: bool,
) -> "models.Purged":
    if dry_run:
        return purge.preview(connection, name, older_than_s, dead=dead)
    progress = once_a_second(lambda count: f"{name}: {counted(count, 'message')} deleted so far")
    if target:
        return target.purge(connection, name, older_than_s, progress, dead=dead)
    deleting = purge.dead_letters if dead else purge.delivered
    return deleting(connection, name, older_than_s, progress)
