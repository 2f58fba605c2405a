"""A command's connection to the database."""

from collections.abc import Generator
from contextlib import contextmanager

from qctl import config, db, models
from qctl.cli import named_connection
from qctl.cli.console import say
from qctl.operations import label


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
    db.on_warning(connection, lambda line: say(f"Warning: {line}"))
    try:
        if changes and config.stderr_is_terminal():
            say(
                f"on {_named(label.current(connection), database.profile)}{db.where(connection)} (from {database.source})"
            )
        yield connection
    finally:
        connection.close()


def _named(here: "models.Label | None", profile: str | None) -> str:
    """What people call the database: its own label before the profile's name."""
    if here is not None:
        return f"a copy of {here.label}: " if here.is_copy else f"{here.label}: "
    return f"{profile}: " if profile else ""
