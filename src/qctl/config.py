"""Where settings come from: the one reader of the environment."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from qctl.errors import UsageError


@dataclass(frozen=True, slots=True)
class Database:
    """Which database, and where that was said.

    ``conninfo`` is what libpq takes: a URI, keywords and values, or empty for libpq's own defaults.
    """

    conninfo: str
    source: str


def database(dsn: str | None, environ: Mapping[str, str] = os.environ) -> Database:
    """The database to use: ``--dsn``, then QCTL_DSN, then DATABASE_URL, then what libpq finds by itself.

    Raises:
        UsageError: a source that was given but is empty.
    """
    for value, source in (
        (dsn, "--dsn"),
        (environ.get("QCTL_DSN"), "QCTL_DSN"),
        (environ.get("DATABASE_URL"), "DATABASE_URL"),
    ):
        if value is None or (source != "--dsn" and not value):
            continue
        if not value.strip():
            raise UsageError(
                f"{source} is empty", hint="give a connection string: --dsn postgresql://user@host/database"
            )
        return Database(value, source)
    return Database("", "libpq defaults")


def default_queue(environ: Mapping[str, str] = os.environ) -> str | None:
    """The queue named by QCTL_QUEUE, if any."""
    return environ.get("QCTL_QUEUE") or None


def debug(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether QCTL_DEBUG asks for tracebacks."""
    return bool(environ.get("QCTL_DEBUG"))


def can_ask() -> bool:
    """Whether a person can be asked: both ends are terminals."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def stdout_is_terminal() -> bool:
    """Whether a person reads stdout."""
    return sys.stdout.isatty()


def stderr_is_terminal() -> bool:
    """Whether a person reads stderr; progress and courtesies are for persons."""
    return sys.stderr.isatty()
