"""Take qctl out of a database."""

import typer

from qctl.cli import options, queue_columns
from qctl.cli.confirm import confirm
from qctl.cli.console import say
from qctl.cli.session import session
from qctl.errors import ExitCode, QctlError
from qctl.operations import attachments, capacity, migrate, queues
from qctl.output import Column, render
from qctl.output.columns import counted, number


def command(
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
    sql: options.AsSql = False,
) -> None:
    """Take qctl out of a database: jobs, triggers, schema qctl with the attempt log.

    pgmq, its queues and archives, and the extensions stay; dead letters move to the archives. Shows what remains and how
    much of it is undelivered. Running workers end.

    Example: qctl uninstall --dry-run
    """
    if sql:
        typer.echo(migrate.uninstall_script().decode(), nl=False)
        return
    with session(dsn, profile, "uninstall", changes=not dry_run) as connection:
        migrate.require_installed(connection)
        before = [queues.undelivered(connection, queue.queue_name) for queue in queues.listed(connection)]
        if dry_run:
            render(before, queue_columns.UNDELIVERED_COLUMNS, output)
            return
        count = sum(row.unfinished or 0 for row in before)
        confirm(
            connection,
            f"{counted(len(before), 'queue')} will stop delivering, {counted(count, 'unfinished message')} will stay in pgmq",
            yes=yes,
        )
        for change in capacity.stop(connection):
            say(f"job {change.job_name} {change.done}")
        if left := capacity.wait_for_end(connection, lambda _job: True):
            raise QctlError(
                f"still running: {', '.join(f'pid {job.pid}' for job in left)}",
                hint="try again in a minute; the jobs are already unscheduled",
                code=ExitCode.BUSY,
            )
        for row in before:
            queues.begin_drop(connection, row.queue_name, discard=False)
        rows = attachments.with_retries(lambda: migrate.uninstall(connection), say)
    columns = [
        Column("queue_name", "queue"),
        Column("unfinished", "undelivered", number, right=True),
        Column("archived", "archived", number, right=True),
    ]
    if rows or output:
        render(rows, columns, output)
    say("pgmq, its queues and archives, and the extensions stay")
