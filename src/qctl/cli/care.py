"""Commands that check what is installed and take it away: verify, drop, uninstall."""

from dataclasses import replace
from typing import Annotated

import typer

from qctl import attachments, db, migrate, models, queues, scaling
from qctl.cli import completing, options
from qctl.cli.calls import print_calls
from qctl.cli.consent import consent
from qctl.cli.guard import say
from qctl.cli.session import session
from qctl.errors import ExitCode, QctlError
from qctl.output import Column, Format, chosen, render
from qctl.output.columns import counted, number, visible

_BEFORE_COLUMNS = [
    Column("queue_name", "queue"),
    Column("unfinished", "unfinished", number, right=True),
    Column("dead", "dead letters", number, right=True),
    Column("archived", "archived", number, right=True),
    Column("attached", "tables", right=True),
]


def verify(dsn: options.Dsn = None, profile: options.Profile = None, output: options.Output = None) -> None:
    """Check that what was installed is still there and as it was: objects, pgmq's tables, triggers, jobs.

    Prints what differs and the command that mends it, and exits 8; nothing and 0 if all is well.

    Example: qctl verify
    """
    with session(dsn, profile, "verify") as connection:
        if not migrate.is_installed(connection):
            raise QctlError(
                f"qctl is not installed in {db.where(connection)}", hint="qctl install", code=ExitCode.SCHEMA_VERSION
            )
        if pending := migrate.pending(connection):
            raise QctlError(
                f"{len(pending)} files of this version are not applied",
                hint="qctl upgrade",
                code=ExitCode.SCHEMA_VERSION,
            )
        findings = migrate.verify(connection)
    if chosen(output) is Format.TABLE:
        # Not in columns: a command that is broken over lines cannot be copied.
        for finding in findings:
            typer.echo(visible(f"{finding.kind} {finding.object}: {finding.problem}\n    {finding.mend}"))
    elif findings or output:
        render(findings, [Column(field, field) for field in ("kind", "object", "problem", "mend")], output)
    if findings:
        raise QctlError(
            counted(len(findings), "finding"),
            hint="type what stands below each, or see why it is so",
            code=ExitCode.CHECK_FAILED,
        )
    say("all is as it was installed")


def drop(
    name: Annotated[str, typer.Argument(help="The queue.", metavar="QUEUE", autocompletion=completing.queue_names)],
    discard: Annotated[bool, typer.Option("--discard", help="Give up unfinished messages.")] = False,
    with_archive: Annotated[bool, typer.Option("--with-archive", help="Drop the archive, too.")] = False,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
    sql: options.AsSql = False,
) -> None:
    """Drop a queue: its triggers, its settings, its messages.

    Refuses while messages are unfinished, unless --discard. The archive stays, with dead letters and discarded messages
    moved into it; a queue of the same name goes on numbering behind it. Writes to the tables go on undisturbed.

    Example: qctl drop orders --discard
    """
    if sql:
        print_calls([queues.dropping(name, discard=discard, with_archive=with_archive)])
        return
    with session(dsn, profile, "drop", changes=not dry_run) as connection:
        before = queues.undelivered(connection, name)
        if before.unfinished and not discard:
            raise QctlError(
                f"queue {name} holds {counted(before.unfinished, 'unfinished message')}",
                hint="to give them up: --discard; they stay in the archive, undelivered",
                code=ExitCode.REFUSED,
            )
        if dry_run:
            render([before], _BEFORE_COLUMNS, output)
            return
        consent(connection, _loss(before, with_archive=with_archive), yes=yes)
        earlier = models.GivenUp(0, 0) if with_archive else queues.give_up(connection, name, discard=discard)
        row = attachments.with_retries(
            lambda: queues.drop(connection, name, discard=discard, with_archive=with_archive), say
        )
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
    kept = "all of that goes with it" if with_archive else "all of that stays in the archive"
    return (
        f"queue {before.queue_name} has {counted(before.unfinished or 0, 'unfinished message')},"
        f" {counted(before.dead, 'dead letter')} and {before.archived or 0:,} archived; {kept}"
    )


def uninstall(
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
    sql: options.AsSql = False,
) -> None:
    """Take qctl out of a database: jobs, triggers, schema qctl with the attempt log.

    pgmq, its queues and archives, and the extensions stay; dead letters move to the archives. Says what remains and how
    much of it is undelivered. Workers that still run end.

    Example: qctl uninstall --dry-run
    """
    if sql:
        typer.echo(migrate.uninstall_script().decode(), nl=False)
        return
    with session(dsn, profile, "uninstall", changes=not dry_run) as connection:
        if not migrate.is_installed(connection):
            raise QctlError(f"qctl is not installed in {db.where(connection)}", code=ExitCode.SCHEMA_VERSION)
        before = [queues.undelivered(connection, queue.queue_name) for queue in queues.listed(connection)]
        if dry_run:
            render(before, _BEFORE_COLUMNS, output)
            return
        count = sum(row.unfinished or 0 for row in before)
        consent(
            connection,
            f"{counted(len(before), 'queue')} no longer delivered, {counted(count, 'unfinished message')} left in pgmq",
            yes=yes,
        )
        for change in scaling.stop(connection):
            say(f"job {change.job_name} {change.done}")
        if left := scaling.wait_for_end(connection, lambda _job: True):
            raise QctlError(
                f"still running: {', '.join(f'pid {job.pid}' for job in left)}",
                hint="try again in a minute; the jobs are unscheduled already",
                code=ExitCode.BUSY,
            )
        for row in before:
            queues.give_up(connection, row.queue_name, discard=False)
        rows = attachments.with_retries(lambda: migrate.uninstall(connection), say)
    columns = [
        Column("queue_name", "queue"),
        Column("unfinished", "undelivered", number, right=True),
        Column("archived", "archived", number, right=True),
    ]
    if rows or output:
        render(rows, columns, output)
    say("pgmq, its queues and archives, and the extensions stay")


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("verify", rich_help_panel="Set up")(verify)
    app.command("drop", rich_help_panel="Set up")(drop)
    app.command("uninstall", rich_help_panel="Set up")(uninstall)
