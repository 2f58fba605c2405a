"""The only place that connects to PostgreSQL."""

import logging
import math
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime
from typing import TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

from qctl.config import Database, is_unset
from qctl.db import codecs, connect_hints
from qctl.db.errors import SilentServerError, translating
from qctl.errors import CannotConnectError, UsageError

Value = TypeVar("Value")


def _never() -> float:
    return math.inf


class Connection(psycopg.Connection[TupleRow]):
    """A connection whose statements end also when the server says nothing any more.

    A server, a pooler or a proxy may be silent while TCP is alive; then no timeout of PostgreSQL or of libpq ends a statement.

    Attributes:
        pooled: a pooler stands between.
        patience_s: seconds that one statement may take.
        until: an instant, on the monotonic clock, at which every statement ends.
        changes: whether a statement that was given up may have changed something.
    """

    pooled: bool = False
    patience_s: float = 20.0
    until: Callable[[], float] = staticmethod(_never)
    changes: bool = False

    def wait(self, gen: PQGen[Value], interval: float = 0.1, timeout: float | None = None) -> Value:
        """Waits for the server as psycopg does, but not longer than allowed.

        Raises:
            SilentServerError: the server did not answer in time. The connection is closed.
        """
        return super().wait(self._bounded(gen), interval)

    def _bounded(self, gen: PQGen[Value]) -> PQGen[Value]:
        ends = time.monotonic() + self.patience_s
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if time.monotonic() >= min(ends, self.until()):
                    self.pgconn.finish()
                    raise SilentServerError(self.patience_s, changes=self.changes)
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value


_PREPARE_AFTER = 5
_SECRETS = ("password", "sslpassword", "oauth_client_secret")
# What values look like and how functions are planned must not depend on what a role, a database or a server is set to.
_OWN_SETTINGS = (
    ("datestyle", "ISO, MDY"),
    ("intervalstyle", "postgres"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    ("quote_all_identifiers", "off"),
    ("array_nulls", "on"),
    ("transform_null_equals", "off"),
    ("standard_conforming_strings", "on"),
    ("backslash_quote", "safe_encoding"),
    ("client_min_messages", "notice"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_deferrable", "off"),
    ("row_security", "on"),
    ("check_function_bodies", "on"),
    ("xmloption", "content"),
    ("plpgsql.extra_errors", "none"),
    ("plpgsql.extra_warnings", "none"),
)


# psycopg has no name for such a zone and returns instants in UTC, which is as good: whoever shows one converts it.
logging.getLogger("psycopg").addFilter(lambda record: "unknown PostgreSQL timezone" not in record.getMessage())


def _local_zone() -> str:
    """The zone of this process as PostgreSQL takes it, so that times in texts of the server are of the same zone as ours."""
    offset = datetime.now().astimezone().strftime("%z")
    shown = f"{offset[:3]}:{offset[3:5]}"
    return f"<{shown}>{shown.translate(str.maketrans('+-', '-+'))}"


# What others planted in the session's search_path must not stand for a function or an operator. Behind a pooler, whose greeting
# has another process id, only for this statement: a setting would stay with somebody else's session.
_OWN = b"""
    select pg_catalog.set_config(s.name, s.value, p.pooled), p.pooled
    from (select pg_catalog.pg_backend_pid() operator(pg_catalog.<>) %s::pg_catalog.int4 as pooled) p
    cross join (values ('search_path', 'pg_catalog, pg_temp'), {}) s (name, value)"""
_SETTINGS = ", ".join(
    f"('{name}', '{value}')" for name, value in (*_OWN_SETTINGS, ("timezone", _local_zone()))
).encode()
_LOCAL = b"select pg_catalog.set_config(s.name, s.value, true) from (values " + _SETTINGS + b") s (name, value)"


def connect(database: Database, *, application: str, **keywords: str | int) -> Connection:
    """Opens an autocommit connection, whose statements may take 20 s each until :attr:`Connection.patience_s` is set.

    Args:
        database: where to.
        application: shown to whoever looks at pg_stat_activity, as ``qctl <application>``.
        keywords: further libpq parameters.

    Raises:
        UsageError: the connection string cannot be read.
        CannotConnectError: the server cannot be reached or refuses.
    """
    try:
        given = conninfo_to_dict(database.conninfo)
    except psycopg.ProgrammingError:
        raise UsageError(
            f"the connection string from {database.source} cannot be read",
            hint="write postgresql://user@host:5432/database, or keywords: 'host=… dbname=…'",
        ) from None
    defaults = {"connect_timeout": "10", "application_name": f"qctl {application}"}
    keywords["client_encoding"] = "UTF8"
    conninfo = make_conninfo(database.conninfo, **{**defaults, **{k: str(v) for k, v in given.items()}, **keywords})
    try:
        # Statements stay unprepared, because behind a transaction pooler the next one may run in another session.
        connection = Connection.connect(conninfo, autocommit=True, prepare_threshold=None)
        connection.patience_s = float(keywords.get("connect_timeout", defaults["connect_timeout"]))
        try:
            rows = connection.execute(_OWN.replace(b"{}", _SETTINGS), [connection.info.backend_pid]).fetchall()
            connection.pooled = rows[0][1]
            connection.patience_s = Connection.patience_s
        except BaseException:
            connection.close()
            raise
        return connection
    except SilentServerError as error:
        raise CannotConnectError(
            f"{label(database)} (from {database.source}) takes connections but does not answer",
            detail=str(error),
            hint="look at the server, or at the pooler or proxy before it",
        ) from None
    except psycopg.Error as error:
        message = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
        for prefix in ("connection failed: ", "connection is bad: "):
            message = message.removeprefix(prefix)
        if is_unset(database):
            raise CannotConnectError(
                "no database is configured, and there is none at libpq's default",
                detail=message,
                hint="export QCTL_DSN=postgresql://USER@HOST:5432/DATABASE, or qctl demo, which needs none",
            ) from None
        raise CannotConnectError(
            f"cannot connect to {label(database)} (from {database.source})",
            detail=redacted(message, str(given.get("password") or "")),
            hint=connect_hints.hint(*(str(given.get(key) or "") for key in ("host", "port", "user")), message=message)
            or "check that the server is up, and host, user and database; qctl config show says where they come from",
        ) from None


def on_warning(connection: Connection, tell: Callable[[str], None]) -> None:
    """Calls ``tell`` with each WARNING that the server sends and its hint."""

    def handle(notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            hint = f"\n  Try:  {notice.message_hint}" if notice.message_hint else ""
            tell(f"{notice.message_primary or ''}{hint}")

    connection.add_notice_handler(handle)


def end_statements_after(connection: Connection, seconds: float) -> None:
    """Lets the server end what takes longer, not only this side stop waiting; not behind a pooler, where it would stay set."""
    if not connection.pooled:
        connection.execute(
            "select pg_catalog.set_config('statement_timeout', %s, false)", [f"{round(seconds * 1000)}ms"]
        )


def connect_worker(database: Database, *, pooled: bool | None = None, within_s: float = 10.0) -> Connection:
    """A connection for a worker: to the primary only, and one that notices a dead network within about ten seconds.

    Args:
        database: where to.
        within_s: how long connecting may take; libpq allows no less than 2 s.
        pooled: behind a transaction pooler, where neither settings nor prepared statements outlive a transaction; None:
            behind any pooler, because nothing tells the kinds apart.
    """
    connection = connect(
        database,
        application="worker",
        target_session_attrs="read-write",
        connect_timeout=max(2, math.ceil(within_s)),
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        tcp_user_timeout=10_000,
    )
    if not (is_pooled(connection) if pooled is None else pooled):
        connection.prepare_threshold = _PREPARE_AFTER
        # Shorter than the time after which other workers take this one for gone: one locked table must not hold it up.
        with translating():
            connection.execute("set statement_timeout = '10s'; set lock_timeout = '1s'")
    codecs.adapt(connection)
    return connection


@contextmanager
def own_formats(connection: Connection) -> Generator[None]:
    """Lets values come and go in our formats also behind a pooler, where no setting lasts until the next statement."""
    if not connection.pooled:
        yield
        return
    with connection.transaction():
        connection.execute(_LOCAL)
        yield


@contextmanager
def hurried(connection: Connection) -> Generator[None]:
    """Lets no statement of the block take longer than a second: somebody waits at a prompt."""
    # Local, because behind a transaction pooler a setting of the session would stay with someone else's.
    with transaction(connection):
        connection.execute("set local statement_timeout = '1s'")
        yield


def redacted(text: str, password: str) -> str:
    """The text without the password."""
    return text.replace(password, "…") if password else text


def without_secrets(dsn: str) -> tuple[str, bool]:
    """A connection string as it was given, or without its secrets, and whether it had any; empty if it cannot be read."""
    try:
        parts = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        return "", False
    kept = {key: str(value) for key, value in parts.items() if key not in _SECRETS}
    return (dsn, False) if len(kept) == len(parts) else (make_conninfo(**kept), True)


def label(database: Database) -> str:
    """``host:port/database`` for people; never a password."""
    values = conninfo_to_dict(database.conninfo)
    host = values.get("host") or values.get("hostaddr") or "local socket"
    port = f":{values['port']}" if values.get("port") else ""
    name = f"/{values['dbname']}" if values.get("dbname") else ""
    return f"{host}{port}{name}"


def is_pooled(connection: Connection) -> bool:
    """Whether a pooler stands between: the process id that the connection was greeted with is not the server's."""
    with translating(), connection.cursor() as cursor:
        cursor.execute(b"select pg_backend_pid()")
        row = cursor.fetchone()
        return bool(row and row[0] != connection.info.backend_pid)


def where(connection: Connection) -> str:
    """``host:port/database`` of an open connection."""
    info = connection.info
    return f"{info.host or 'local socket'}:{info.port}/{info.dbname}"


def alone(connection: Connection, statement: bytes, *, longest_wait_s: int) -> None:
    """Runs a statement that no transaction may contain.

    Args:
        connection: in autocommit mode.
        statement: one.
        longest_wait_s: for each lock. Behind a pooler, where no setting lasts until the next statement, ten times as long for
            the whole statement.

    Raises:
        QctlError: it waited for longer (10).
    """
    with translating():
        if is_pooled(connection):
            end = threading.Timer(10 * longest_wait_s, connection.cancel_safe)
            end.start()
            try:
                connection.execute(statement)
            finally:
                end.cancel()
            return
        connection.execute(
            "select pg_catalog.set_config('lock_timeout', %s, false), pg_catalog.set_config('statement_timeout', '0', false)",
            [f"{longest_wait_s}s"],
        )
        try:
            connection.execute(statement)
        finally:
            if not connection.closed:
                connection.execute("reset lock_timeout; reset statement_timeout")


@contextmanager
def transaction(connection: Connection, *, dry_run: bool = False) -> Generator[None]:
    """All of the block, or nothing; with ``dry_run`` nothing whatever happens."""
    with translating(), connection.transaction(force_rollback=dry_run):
        yield
