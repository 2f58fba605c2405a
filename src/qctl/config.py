"""Where settings come from: the one reader of the environment and of the user's config.toml."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from qctl import models, units
from qctl.errors import UsageError

_UNSET = "libpq defaults"
_LIBPQ_VARIABLES = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE")


@dataclass(frozen=True, slots=True)
class Database:
    """Which database, and where that was set.

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
    if _is_there(path) and (default := _read(path).get("default")) is not None:
        if not isinstance(default, str):
            raise UsageError(
                f"{path}: default is not a name", hint='default = "dev"; what commands start from is [defaults]'
            )
        return _of_profile(str(default), "the default profile", environ)
    if url := environ.get("DATABASE_URL"):
        return Database(_filled(url, "DATABASE_URL"), "DATABASE_URL")
    return Database("", _UNSET)


def is_unset(database: Database, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether nobody said which database, so that libpq tries a local one."""
    return database.source == _UNSET and not any(environ.get(name) for name in _LIBPQ_VARIABLES)


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
    return _home(environ) / ".config" / "qctl" / "config.toml"


def _is_there(path: Path) -> bool:
    """Whether it exists; what may not be looked at does not."""
    try:
        return path.exists()
    except OSError:
        return False


def _home(environ: Mapping[str, str]) -> Path:
    """The user's folder; one that does not exist where neither HOME nor the system names any."""
    try:
        return Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    except RuntimeError:
        return Path("/nonexistent")


# The driver and the TOML parser are imported where they are needed, because every command, even its help, asks here for defaults.


def _read(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from None
    if unknown := sorted(set(content) - {"default", "profiles", "defaults"}):
        raise UsageError(f"{path}: no such key: {', '.join(unknown)}", hint="there are default, profiles and defaults")
    return content


def _of_profile(name: str, source: str, environ: Mapping[str, str]) -> Database:
    path = config_file(environ)
    if not _is_there(path):
        raise UsageError(
            f"profile '{name}' not found: {path} does not exist",
            hint=f'[profiles.{name}]\n        dsn = "postgresql://…"',
        )
    listed = _read(path).get("profiles")
    profiles = cast("dict[str, Any]", listed) if isinstance(listed, dict) else {}
    known = sorted(profiles)
    if name not in known:
        raise UsageError(f"profile '{name}' not found in {path}", hint=f"its profiles: {', '.join(known) or 'none'}")
    found = profiles[name]
    where = f"{path}: profiles.{name}"
    if not isinstance(found, dict) or not found:
        raise UsageError(f"{where} is empty", hint='dsn = "postgresql://…", or host, dbname, user …')
    from psycopg.conninfo import conninfo_to_dict

    conninfo = _conninfo(cast("dict[str, Any]", found), where)
    if "password" in conninfo_to_dict(conninfo) and path.stat().st_mode & 0o077:
        raise UsageError(
            f"{path} contains a password, and others can read the file", hint=f"chmod 600 {path}, or use ~/.pgpass"
        )
    return Database(conninfo, source, name)


def _conninfo(found: dict[str, Any], where: str) -> str:
    """A profile as libpq takes it: its ``dsn`` with libpq's keywords beside it, or these alone."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import make_conninfo

    try:
        return make_conninfo(**{"conninfo" if key == "dsn" else key: str(value) for key, value in found.items()})
    except (ProgrammingError, TypeError) as error:
        raise UsageError(
            f"{where}: {str(error).strip()}", hint="dsn, and libpq's keywords: host, port, dbname …"
        ) from None


def defaults(environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """What config.toml says under ``defaults``: options by name, and in a table named as a command those of that command.

    Raises:
        UsageError: the file cannot be read.
    """
    path = config_file(environ)
    found: Any = _read(path).get("defaults", {}) if _is_there(path) else {}
    if not isinstance(found, dict):
        raise UsageError(f"{path}: defaults is not a table", hint='[defaults] and output = "json"')
    return cast("dict[str, Any]", found)


def profile_names(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The profiles of config.toml, in order of their names."""
    path = config_file(environ)
    found = _read(path).get("profiles") if _is_there(path) else None
    return sorted(cast("dict[str, Any]", found)) if isinstance(found, dict) else []


def settings(dsn: str | None, profile: str | None, environ: Mapping[str, str] = os.environ) -> "list[models.Setting]":
    """Every setting with its value and where that is from; of passwords only where they are from.

    Raises:
        UsageError: as :func:`database`, or the connection string cannot be read.
    """
    path = config_file(environ)
    chosen = database(dsn, profile, environ)
    rows = [
        models.Setting(
            "config file",
            str(path),
            "QCTL_CONFIG" if environ.get("QCTL_CONFIG") else "here" if _is_there(path) else "absent",
        ),
        models.Setting("profiles", ", ".join(profile_names(environ)) or None, str(path) if _is_there(path) else ""),
        models.Setting("connection", chosen.profile and f"profile {chosen.profile}", chosen.source),
        *_libpq_settings(chosen, environ),
        models.Setting("queue", default_queue(environ), "QCTL_QUEUE" if default_queue(environ) else ""),
        models.Setting(
            "statement timeout",
            environ.get("QCTL_STATEMENT_TIMEOUT"),
            "QCTL_STATEMENT_TIMEOUT" if statement_timeout_s(environ) else "default",
        ),
        models.Setting("debug", "yes" if debug(environ) else "no", "QCTL_DEBUG" if debug(environ) else "default"),
    ]
    for name, value in defaults(environ).items():
        table = cast("dict[str, Any]", value) if isinstance(value, dict) else None
        for option, given in table.items() if table is not None else [(name, cast("Any", value))]:
            command = f"{name} " if table is not None else ""
            where = f"{path}: defaults" + (f".{name}" if table is not None else "")
            rows.append(models.Setting(f"{command}--{option}", str(given), where))
    return rows


def _libpq_settings(chosen: Database, environ: Mapping[str, str]) -> "list[models.Setting]":
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict
    from psycopg.pq import Conninfo

    try:
        given = conninfo_to_dict(chosen.conninfo)
    except ProgrammingError:
        raise UsageError(f"the connection string from {chosen.source} cannot be read") from None
    service = given.get("service") or environ.get("PGSERVICE")
    rows: list[models.Setting] = []
    for option in Conninfo.get_defaults():
        keyword, variable = option.keyword.decode(), (option.envvar or b"").decode()
        value = str(given[keyword]) if keyword in given else (option.val or b"").decode() or None
        if keyword in given:
            source = f"profile {chosen.profile}" if chosen.profile else chosen.source
        elif environ.get(variable):
            source = variable
        elif service and value != (option.compiled or b"").decode():
            source = f"service {service}"
        elif keyword in ("host", "port", "dbname", "user"):
            source = "libpq's default"
            value = value or {"host": "local socket", "dbname": "the user's name"}.get(keyword)
        else:
            continue
        secret = option.dispchar == b"*" or keyword in ("password", "sslpassword", "oauth_client_secret")
        rows.append(models.Setting(keyword, "…" if secret else value, source))
    if not any(row.setting == "password" for row in rows):
        passfile = Path(str(given.get("passfile") or environ.get("PGPASSFILE") or _home(environ) / ".pgpass"))
        rows.append(
            models.Setting(
                "password", None, f"{passfile}, if it has a matching line" if _is_there(passfile) else "none"
            )
        )
    return rows


def default_queue(environ: Mapping[str, str] = os.environ) -> str | None:
    """The queue named by QCTL_QUEUE, if any."""
    return environ.get("QCTL_QUEUE") or None


def statement_timeout_s(environ: Mapping[str, str] = os.environ) -> float | None:
    """Seconds that QCTL_STATEMENT_TIMEOUT lets one statement take; None where it is not set.

    Raises:
        UsageError: it is no duration.
    """
    text = environ.get("QCTL_STATEMENT_TIMEOUT")
    if not text:
        return None
    found = units.parse(text)
    if not found:
        raise UsageError(f"QCTL_STATEMENT_TIMEOUT: '{text[:100]}' is not a duration", hint="for example 30s, 10m or 1h")
    return found


def debug(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether QCTL_DEBUG asks for tracebacks."""
    return bool(environ.get("QCTL_DEBUG"))


def variable(name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """A variable that the user names as the place of a secret; None if it is not there."""
    return environ.get(name)


def can_ask() -> bool:
    """Whether a person can be asked: both ends are terminals."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def stdout_is_terminal() -> bool:
    """Whether a person reads stdout."""
    return sys.stdout.isatty()


def stderr_is_terminal() -> bool:
    """Whether a person reads stderr; progress and courtesies are for persons."""
    return sys.stderr.isatty()
