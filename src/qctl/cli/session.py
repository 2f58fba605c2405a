"""A command's connection to the database."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress

from qctl import config, db, models
from qctl.cli import missing_right, named_connection
from qctl.cli.console import say
from qctl.cli.panels import PANELS
from qctl.errors import CannotConnectError, QctlError
from qctl.operations import label

# Seconds that one statement of a command may take before the server counts as silent.
_READS_S = 60.0
_CHANGES_S = 300.0
_PATIENCE_S = {
    "check": 20.0,
    "purge": 600.0,
    **dict.fromkeys(
        ("apply", "backfill", "create", "drop", "install", "partition", "set", "uninstall", "upgrade"), 3600.0
    ),
}


# Also what they would do is for the role that installed qctl alone.
_FOR_THE_OWNER = ("install", "upgrade", "uninstall", "drop", "partition", "backfill")


@contextmanager
def session(dsn: str | None, profile: str | None, command: str, *, changes: bool = False) -> "Generator[db.Connection]":
    """Connects for one command.

    Args:
        dsn: what ``--dsn`` said.
        profile: what ``--profile`` said.
        command: the command's name, for pg_stat_activity.
        changes: the command changes something, so it first tells a person where.
    """
    named_connection.remember(dsn, profile)
    database = config.database(dsn, profile)
    connection = db.connect(database, application=command)
    connection.changes = changes
    connection.patience_s = config.statement_timeout_s() or _PATIENCE_S.get(
        command, _CHANGES_S if changes else _READS_S
    )
    db.on_warning(connection, lambda line: say(f"Warning: {line}"))
    try:
        if changes and config.stderr_is_terminal():
            say(
                f"on {_named(label.current(connection), database.profile)}{db.where(connection)} (from {database.source})"
            )
        with missing_right.explained(database, _level(command, changes=changes)):
            yield connection
    finally:
        connection.close()


def _level(command: str, *, changes: bool) -> missing_right.Level:
    """What a command needs."""
    if command in PANELS["Act"] and command not in _FOR_THE_OWNER:
        return "operate"
    return "install" if changes or command in _FOR_THE_OWNER else "read"


def session_again(
    stack: ExitStack, dsn: str | None, profile: str | None, command: str, *, wait: Callable[[float], object]
) -> "db.Connection":
    """Leaves the session whose connection was lost and connects again, however long that takes.

    Args:
        stack: holds the session.
        dsn: what ``--dsn`` said.
        profile: what ``--profile`` said.
        command: the command's name.
        wait: waits so many seconds; may raise to give up.
    """
    pause_s = 0.5
    while True:
        with suppress(QctlError):
            stack.close()
        try:
            return stack.enter_context(session(dsn, profile, command))
        except CannotConnectError:
            wait(pause_s)
            pause_s = min(pause_s * 2, 5.0)


def _named(here: "models.Label | None", profile: str | None) -> str:
    """What people call the database: its own label before the profile's name."""
    if here is not None:
        return f"a copy of {here.label}: " if here.is_copy else f"{here.label}: "
    return f"{profile}: " if profile else ""
