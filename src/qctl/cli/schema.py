"""Applies the schema files, for install and upgrade."""

from collections import Counter
from dataclasses import dataclass

import typer

from qctl import models
from qctl.cli.console import say
from qctl.cli.session import session
from qctl.operations import attachments, capacity, migrate, queues
from qctl.output import MACHINE, Column, Format, render
from qctl.output.columns import counted

_REPAIR_COLUMNS = [Column("kind", "kind"), Column("object", "object"), Column("problem", "what was done")]
_COUNT_COLUMNS = [Column("kind", "kind"), Column("files", "files", right=True)]
_STEP_COLUMNS = [Column("kind", "kind"), Column("name", "name"), Column("version", "version", right=True)]


@dataclass(frozen=True, slots=True)
class _Count:
    """How many files of a kind there are."""

    kind: str
    files: int


def apply(
    command: str,
    dsn: str | None,
    profile: str | None,
    output: Format | None,
    *,
    dry_run: bool,
    sql: bool,
    verbose: bool,
    repair: bool = False,
) -> None:
    """Installs or upgrades, or shows what that would apply, or prints it as SQL.

    Args:
        command: ``install``, or ``upgrade``, which wants a database where qctl is installed.
        dsn: what ``--dsn`` said.
        profile: what ``--profile`` said.
        output: the format of the list of files.
        dry_run: apply nothing.
        sql: print the script.
        verbose: list each file also for people.
        repair: apply every routine file again.
    """
    if sql:
        typer.echo(migrate.script(repair=repair, printed=True).decode(), nl=False)
        return
    repaired: list[models.Repaired] = []
    with session(dsn, profile, command, changes=not dry_run) as connection:
        if command == "upgrade":
            migrate.require_installed(connection)
        if dry_run:
            steps: list[models.Step] = migrate.pending(connection)
            say(
                f"{counted(len(steps), 'file')} would be applied"
                if steps
                else "nothing to do: the schema is up to date"
            )
        else:
            old = migrate.running_jobs(connection)
            steps = migrate.apply(connection, repair=repair)
            say(f"{counted(len(steps), 'file')} applied" if steps else "nothing to do: the schema is up to date")
            if steps and (left := capacity.wait_for_end(connection, lambda job: job.pid in old)):
                say(f"jobs that run the old code end within a minute: {', '.join(f'pid {job.pid}' for job in left)}")
            if not repair:
                choice = queues.transport(connection, "auto")
                say(f"new queues use transport {choice.transport}: {choice.reason}")
            else:
                repaired = attachments.with_retries(lambda: migrate.repair(connection), say)
    if repair and not dry_run:
        render(repaired, _REPAIR_COLUMNS, output)
    elif verbose or output in MACHINE:
        render(steps, _STEP_COLUMNS, output)
    elif steps:
        counts = Counter(step.kind for step in steps)
        render([_Count(kind, files) for kind, files in counts.items()], _COUNT_COLUMNS, output)
    if not dry_run:
        say("Next: qctl status" if command == "upgrade" else "Next: qctl create NAME --url URL --attach SCHEMA.TABLE")
