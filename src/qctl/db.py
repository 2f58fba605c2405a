"""The only place that connects to PostgreSQL, and where its errors become ours."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow, args_row, class_row

from qctl import bulk, hosts
from qctl.config import Database
from qctl.errors import CannotConnectError, ExitCode, QctlError, UsageError

Connection = psycopg.Connection[TupleRow]
Row = TypeVar("Row")

_HINTS = {
    "42501": "use a role that may: the one that installed qctl, or the owner of that object",
    "55P03": "another session holds the table; try again when it is quiet",
    "40P01": "try again",
    "40001": "try again",
}
_CODES = {
    "42501": ExitCode.SERVER_UNFIT,
    "25006": ExitCode.SERVER_UNFIT,
    "55P03": ExitCode.BUSY,
    "40P01": ExitCode.BUSY,
    "40001": ExitCode.BUSY,
    "57014": ExitCode.BUSY,
}
_PREPARE_AFTER = 5
# What others planted in the session's search_path must not stand for a function or an operator. Behind a pooler, whose greeting
# has another process id, only for this statement: a setting would stay with somebody else's session.
_OWN_PATH = b"""
    select pg_catalog.set_config('search_path', 'pg_catalog, pg_temp',
                                 pg_catalog.pg_backend_pid() operator(pg_catalog.<>) %s::pg_catalog.int4)"""
_NOT_INSTALLED = {"3F000", "42P01", "42883", "42703"}


def connect(database: Database, *, application: str, **keywords: str | int) -> Connection:
    """Opens an autocommit connection.

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
    conninfo = make_conninfo(database.conninfo, **{**defaults, **{k: str(v) for k, v in given.items()}, **keywords})
    try:
        # Statements stay unprepared, for behind a transaction pooler the next one may run in another session.
        connection = psycopg.connect(conninfo, autocommit=True, prepare_threshold=None)
        try:
            connection.execute(_OWN_PATH, [connection.info.backend_pid])
        except BaseException:
            connection.close()
            raise
        return connection
    except psycopg.Error as error:
        message = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
        for prefix in ("connection failed: ", "connection is bad: "):
            message = message.removeprefix(prefix)
        raise CannotConnectError(
            f"cannot connect to {label(database)} (from {database.source})",
            detail=redacted(message, str(given.get("password") or "")),
            hint=hosts.hint(*(str(given.get(key) or "") for key in ("host", "port", "user")), message=message)
            or "is the server up, and are host, user and database right? qctl config show says where they are from",
        ) from None


def on_warning(connection: Connection, tell: Callable[[str], None]) -> None:
    """Calls ``tell`` with each WARNING that the server sends, and after it with what to do about it."""

    def handle(notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            hint = f"\n  Try:  {notice.message_hint}" if notice.message_hint else ""
            tell(f"{notice.message_primary or ''}{hint}")

    connection.add_notice_handler(handle)


def connect_worker(database: Database, *, pooled: bool | None = None) -> Connection:
    """A connection for a worker: to the primary only, and one that notices a dead network within about ten seconds.

    Args:
        database: where to.
        pooled: behind a transaction pooler, where neither settings nor prepared statements outlive a transaction; None for
            behind any pooler, for nothing tells the kinds apart.
    """
    connection = connect(
        database,
        application="worker",
        target_session_attrs="read-write",
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        tcp_user_timeout=10_000,
    )
    if not (is_pooled(connection) if pooled is None else pooled):
        connection.prepare_threshold = _PREPARE_AFTER
        # Shorter than the time after which others take this worker for gone: one locked table must not hold it up.
        with translating():
            connection.execute("set statement_timeout = '10s'; set lock_timeout = '1s'")
    bulk.adapt(connection)
    return connection


@contextmanager
def hurried(connection: Connection) -> Generator[None]:
    """Lets no statement of the block take longer than a second: somebody waits at a prompt."""
    # Local, for behind a transaction pooler a setting of the session would stay with somebody else's.
    with transaction(connection):
        connection.execute("set local statement_timeout = '1s'")
        yield


def redacted(text: str, password: str) -> str:
    """The text without the password."""
    return text.replace(password, "…") if password else text


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


def translated(error: psycopg.Error) -> QctlError:
    """The error a user can act on, for one from PostgreSQL."""
    state, diag = error.sqlstate, error.diag
    message = diag.message_primary or str(error).strip() or type(error).__name__
    if state and state.startswith("QC"):
        return QctlError(
            message, hint=diag.message_hint, detail=diag.message_detail, code=ExitCode(int(state.removeprefix("QC")))
        )
    if state in _NOT_INSTALLED and "qctl." in message.replace('schema "qctl"', "qctl."):
        return QctlError(
            "qctl is not installed in this database, or its schema is older than this command",
            detail=message,
            hint="qctl install, or qctl upgrade",
            code=ExitCode.SCHEMA_VERSION,
        )
    if state in _NOT_INSTALLED and "pgmq" in message:
        return QctlError(
            "pgmq or this queue's pgmq tables are missing",
            detail=message,
            hint="qctl install puts pgmq in place; a queue dropped behind our back must be created anew",
            code=ExitCode.SERVER_UNFIT,
        )
    if state in _CODES:
        return QctlError(message, hint=diag.message_hint or _HINTS.get(state), code=_CODES[state])
    if isinstance(error, psycopg.OperationalError) and (state is None or state[:2] in ("08", "57", "53")):
        return CannotConnectError(
            "the connection to PostgreSQL was lost", detail=message, hint="is the server up? then run the command again"
        )
    if state and state[:2] in ("22", "23"):
        return UsageError(message, hint=diag.message_hint, detail=diag.message_detail)
    return QctlError(message, hint=diag.message_hint, detail=f"SQLSTATE {state}", code=ExitCode.BUG)


@contextmanager
def translating() -> Generator[None]:
    """Turns PostgreSQL's errors inside the block into :class:`QctlError`."""
    try:
        yield
    except psycopg.Error as error:
        raise translated(error) from error


@contextmanager
def _of_one_version() -> Generator[None]:
    """A row with columns that the model does not know, or without some that it needs, comes from another version's schema."""
    try:
        yield
    except TypeError as error:
        raise QctlError(
            "the schema in the database is not of this command's version",
            detail=str(error).split("(", 1)[-1],
            hint="qctl upgrade, or upgrade the tool: pip install --upgrade qctl",
            code=ExitCode.SCHEMA_VERSION,
        ) from error


@contextmanager
def transaction(connection: Connection, *, dry_run: bool = False) -> Generator[None]:
    """All of the block, or nothing; with ``dry_run`` nothing whatever happens."""
    with translating(), connection.transaction(force_rollback=dry_run):
        yield


def fetch(connection: Connection, model: type[Row], text: bytes, values: Mapping[str, Any] | None = None) -> list[Row]:
    """Runs one query of ``sql/queries`` and returns its rows as models."""
    with translating(), _of_one_version(), connection.cursor(row_factory=class_row(model)) as cursor:
        cursor.execute(text, values or {})
        return cursor.fetchall()


def fetch_tuples(
    connection: Connection, model: Callable[..., Row], text: bytes, values: Mapping[str, Any]
) -> list[Row]:
    """Like :func:`fetch` for a model made from positions: for rows that come by the thousand."""
    with translating(), connection.cursor(row_factory=args_row(model)) as cursor:
        cursor.execute(text, values)
        return cursor.fetchall()


def call(connection: Connection, model: type[Row], function: str, /, **arguments: Any) -> list[Row]:
    """Calls a set-returning function ``qctl.<function>(p_<name> => value, …)`` and returns its rows as models."""
    with translating(), _of_one_version(), connection.cursor(row_factory=class_row(model)) as cursor:
        cursor.execute(_call(function, tuple(arguments)), list(arguments.values()))
        return cursor.fetchall()


def call_tuples(connection: Connection, model: Callable[..., Row], function: str, /, **arguments: Any) -> list[Row]:
    """Like :func:`call` for a model made from positions: for rows that come by the thousand."""
    with translating(), connection.cursor(row_factory=args_row(model)) as cursor:
        cursor.execute(_call(function, tuple(arguments)), list(arguments.values()))
        return cursor.fetchall()


def call_value(connection: Connection, function: str, /, **arguments: Any) -> list[Any]:
    """Calls a function of one column and returns that column."""
    with translating(), connection.cursor() as cursor:
        cursor.execute(_call(function, tuple(arguments)), list(arguments.values()))
        return [row[0] for row in cursor.fetchall()]


def call_procedure(connection: Connection, procedure: str, /, **arguments: Any) -> None:
    """Calls ``qctl.<procedure>(p_<name> => value, …)``, which may commit as it goes."""
    with translating():
        connection.execute(_call(procedure, tuple(arguments), verb="call"), list(arguments.values()))


def call_as_text(function: str, /, **arguments: Any) -> str:
    """The same call as :func:`call` makes, as SQL text with its values in it, for migration files and SQL editors."""
    given = {name: value for name, value in arguments.items() if value is not None}
    shown = sql.SQL(", ").join(
        sql.SQL("{} => {}").format(sql.Identifier(f"p_{name}"), sql.Literal(value)) for name, value in given.items()
    )
    return sql.SQL("select * from {}({});").format(sql.Identifier("qctl", function), shown).as_string(None)


@cache
def _call(function: str, names: tuple[str, ...], verb: LiteralString = "select * from") -> bytes:
    named = sql.SQL(", ").join(sql.SQL("{} => {}").format(sql.Identifier(f"p_{n}"), sql.Placeholder()) for n in names)
    return sql.SQL("{} {}({})").format(sql.SQL(verb), sql.Identifier("qctl", function), named).as_bytes(None)


def execute_script(connection: Connection, script: bytes) -> Sequence[TupleRow]:
    """Runs a script that has its own begin and commit; returns the rows of its last query.

    An error leaves the database as it was and is raised as psycopg's own, for the caller knows the script.
    """
    try:
        with connection.cursor() as cursor:
            cursor.execute(script)
            rows: Sequence[TupleRow] = []
            while True:
                if cursor.description:
                    rows = cursor.fetchall()
                if not cursor.nextset():
                    return rows
    except psycopg.Error:
        if not connection.closed:
            connection.rollback()
        raise
