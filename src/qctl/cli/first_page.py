"""What ``qctl`` alone shows: the commands that a newcomer needs, and the next step in the database that is chosen."""

from dataclasses import dataclass

import typer

import qctl
from qctl import config, db
from qctl.cli import missing_right, named_connection
from qctl.cli.named_connection import carried, in_fixes
from qctl.errors import CannotConnectError, QctlError
from qctl.operations import health, migrate, queues
from qctl.output import table
from qctl.output.columns import counted, one_line

_COMMANDS = [
    ("qctl demo", "See the whole pipeline on a throw-away PostgreSQL"),
    ("qctl install", "Install qctl into a database"),
    ("qctl create", "Make a queue with its endpoint, and capture tables"),
    ("qctl worker --all", "Deliver until it is told to stop"),
    ("qctl test", "Send a test event the whole way"),
    ("qctl status", "See how each queue is doing"),
    ("qctl doctor", "Find what is wrong, with the command that fixes it"),
    ("qctl show", "See one message's attempts and answers"),
    ("qctl replay", "Deliver messages again"),
    ("qctl purge", "Delete delivered history"),
]
# A person waits at the prompt.
_PATIENCE_S = 2


@dataclass(frozen=True, slots=True)
class _Next:
    """What there is, and what to type."""

    found: str
    command: str | None
    carry: bool = True


def write(dsn: str | None, profile: str | None) -> None:
    """Writes the page to stdout, in at most 24 lines of 80 columns unless a problem takes more.

    Args:
        dsn: what ``--dsn`` said.
        profile: what ``--profile`` said.
    """
    typer.echo(f"qctl {qctl.__version__}: webhook delivery from inside PostgreSQL\n")
    table.write_pairs([(f"  {name}", what) for name, what in _COMMANDS])
    step = _next(dsn, profile)
    command = step.command and (carried(step.command) if step.carry else step.command)
    typer.echo(
        f"""
{one_line(step.found)}
{f"  Next: {command}" if command else ""}

All commands: qctl help --all. One command: qctl help COMMAND.
The database: --dsn DSN or --profile NAME with any command, or QCTL_DSN."""
    )


def _next(dsn: str | None, profile: str | None) -> _Next:
    named_connection.remember(dsn, profile)
    try:
        database = config.database(dsn, profile)
    except QctlError as error:
        return _Next(error.message, error.hint)
    try:
        connection = db.connect(database, application="help", connect_timeout=_PATIENCE_S)
    except CannotConnectError as error:
        unset = config.is_unset(database) or not error.detail
        return _Next(error.message if unset else f"{error.message}: {error.detail}", error.hint)
    except QctlError as error:
        return _Next(error.message, error.hint)
    connection.patience_s = _PATIENCE_S
    here = db.where(connection)
    try:
        with missing_right.explained(database, "read"):
            return _within(connection, here)
    except QctlError as error:
        if connection.closed:
            return _Next(f"{here}: its queues could not be read within {_PATIENCE_S} s", "qctl status")
        return _Next(f"{here}: {error.message}", error.hint, carry=not error.hint_is_for_another)
    finally:
        connection.close()


def _within(connection: "db.Connection", here: str) -> _Next:
    if not migrate.is_installed(connection):
        return _Next(f"{here}: qctl is not installed", "qctl install")
    limits = health.NO_LIMITS
    if behind := health.outdated(connection, limits):
        return _Next(f"{here}: {behind[0].problem}; after that: qctl doctor", behind[0].fix)
    listed = queues.listed(connection)
    if not listed:
        return _Next(f"{here}: there is no queue", "qctl create QUEUE --url URL --attach SCHEMA.TABLE")
    found = in_fixes(health.findings(connection, None, limits))
    if not found:
        return _Next(f"{here}: {counted(len(listed), 'queue')}, everything is fine", "qctl status")
    worst = found[0]
    named = ", ".join(worst.queues) if len(worst.queues) <= 3 else counted(len(worst.queues), "queue")
    more = f" (+{len(found) - 1} more: qctl doctor)" if found[1:] else ""
    return _Next(f"{here}: {named}: {worst.problem}{more}", worst.fix or "qctl status")
