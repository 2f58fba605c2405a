"""Check that what was installed is still there and unchanged."""

import typer

from qctl.cli import options
from qctl.cli.console import say
from qctl.cli.named_connection import in_fixes
from qctl.cli.session import session
from qctl.errors import ExitCode, QctlError
from qctl.operations import migrate
from qctl.output import Column, Format, chosen, render
from qctl.output.columns import counted, visible


def command(
    queue: options.Queue = None,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Check that what was installed is still there and unchanged: objects, pgmq's tables, triggers, jobs.

    Prints each difference with the command that fixes it and exits 8; prints nothing and exits 0 if there is none. With -q only
    the tables and triggers of that queue are checked, and what all queues share.

    Example: qctl verify
    """
    with session(dsn, profile, "verify") as connection:
        migrate.require_installed(connection)
        if pending := migrate.pending(connection):
            raise QctlError(
                f"{counted(len(pending), 'file')} of this version not applied",
                hint="qctl upgrade",
                code=ExitCode.SCHEMA_VERSION,
            )
        findings = in_fixes(migrate.verify(connection, queue))
    if chosen(output) is Format.TABLE:
        # Not in columns, because a command that is broken over lines cannot be copied.
        for finding in findings:
            typer.echo(visible(f"{finding.kind} {finding.object}: {finding.problem}\n    {finding.fix}"))
    elif findings or output:
        render(findings, [Column(field, field) for field in ("kind", "object", "problem", "fix")], output)
    if findings:
        raise QctlError(
            counted(len(findings), "finding"),
            hint="run the command shown below each finding",
            code=ExitCode.CHECK_FAILED,
        )
    say("everything is as it was installed")
