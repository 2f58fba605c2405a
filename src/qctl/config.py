"""Where settings come from: the one reader of the environment and of the user's config.toml."""

import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from qctl.errors import UsageError


@dataclass(frozen=True, slots=True)
class Database:
    """Which database, and where that was said.

    ``conninfo`` is what libpq takes: a URI, keywords and values, or empty for libpq's own defaults. ``profile`` is the name
    of the profile that it is from, if any.
    """

    conninfo: str
    source: str
    profile: str | None = None


def database(dsn: str | None, profile: str | None = None, environ: Mapping[str, str] = os.environ) -> Database:
    """The database to use.

    ``--dsn`` or ``--profile``; then QCTL_DSN or QCTL_PROFILE; then the default profile of config.toml; then DATABASE_URL; then
    what libpq finds by itself. An empty variable counts as not set.

    Raises:
        UsageError: both of a pair are given, a connection string is empty, a profile or its file cannot be used.
    """
    for given, named, words in (
        (dsn, profile, ("--dsn", "--profile")),
        (environ.get("QCTL_DSN") or None, environ.get("QCTL_PROFILE") or None, ("QCTL_DSN", "QCTL_PROFILE")),
    ):
        if given is not None and named is not None:
            raise UsageError(f"{words[0]} and {words[1]} name two databases", hint="give one of the two")
        if given is not None:
            return Database(_filled(given, words[0]), words[0])
        if named is not None:
            return _of_profile(named, words[1], environ)
    path = config_file(environ)
    if path.exists() and (default := _read(path).get("default")) is not None:
        return _of_profile(str(default), "the default profile", environ)
    if url := environ.get("DATABASE_URL"):
        return Database(_filled(url, "DATABASE_URL"), "DATABASE_URL")
    return Database("", "libpq defaults")


def _filled(value: str, source: str) -> str:
    if not value.strip():
        raise UsageError(f"{source} is empty", hint="give a connection string: --dsn postgresql://user@host/database")
    return value


def config_file(environ: Mapping[str, str] = os.environ) -> Path:
    """The user's config.toml; a file in the current folder is never read."""
    if named := environ.get("QCTL_CONFIG"):
        return Path(named)
    if folder := environ.get("XDG_CONFIG_HOME"):
        return Path(folder) / "qctl" / "config.toml"
    try:
        home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    except RuntimeError:
        home = Path("/nonexistent")
    return home / ".config" / "qctl" / "config.toml"


def _read(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is no TOML: {error}") from None
    if unknown := sorted(set(content) - {"default", "profiles"}):
        raise UsageError(f"{path}: no such key: {', '.join(unknown)}", hint="there are default and profiles")
    return content


def _of_profile(name: str, source: str, environ: Mapping[str, str]) -> Database:
    path = config_file(environ)
    if not path.exists():
        raise UsageError(
            f"there is no profile {name}, for there is no {path}",
            hint=f'[profiles.{name}]\n        dsn = "postgresql://…"',
        )
    listed = _read(path).get("profiles")
    profiles = cast("dict[str, Any]", listed) if isinstance(listed, dict) else {}
    known = sorted(profiles)
    if name not in known:
        raise UsageError(f"{path} has no profile {name}", hint=f"it has {', '.join(known) or 'none'}")
    found = profiles[name]
    where = f"{path}: profiles.{name}"
    if not isinstance(found, dict) or not found:
        raise UsageError(f"{where} says nothing", hint='dsn = "postgresql://…", or host, dbname, user …')
    conninfo = _conninfo(cast("dict[str, Any]", found), where)
    if "password" in conninfo_to_dict(conninfo) and path.stat().st_mode & 0o077:
        raise UsageError(f"{path} holds a password, and others can read it", hint=f"chmod 600 {path}, or use ~/.pgpass")
    return Database(conninfo, source, name)


def _conninfo(found: dict[str, Any], where: str) -> str:
    """A profile as libpq takes it: its ``dsn`` with libpq's keywords beside it, or these alone."""
    try:
        return make_conninfo(**{"conninfo" if key == "dsn" else key: str(value) for key, value in found.items()})
    except (ProgrammingError, TypeError) as error:
        raise UsageError(
            f"{where}: {str(error).strip()}", hint="dsn, and libpq's keywords: host, port, dbname …"
        ) from None


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
