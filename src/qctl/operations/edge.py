"""The Edge Function: its files, the role that its workers connect as, its wakes."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from importlib.resources import files
from urllib.parse import quote, unquote, urlsplit

from psycopg import ProgrammingError, sql
from psycopg.conninfo import conninfo_to_dict

from qctl import __version__, db
from qctl.errors import ExitCode, QctlError, UsageError
from qctl.models import EdgeScaled, EdgeSet, EdgeStatus, EdgeStopped
from qctl.operations import queues

POOLER_PORT = 6543
_DIRECT = re.compile(r"db\.([a-z0-9]+)\.supabase\.(?:co|com|in)")
_POOLER = re.compile(r"[a-z0-9.-]+\.pooler\.supabase\.(?:co|com)")


@dataclass(frozen=True, slots=True)
class Place:
    """Where workers of the function connect to.

    ``host`` is a name, an address or the folder of a socket; ``project`` is the reference of a Supabase project, which its
    pooler wants behind the role's name; ``pooled``: a transaction pooler stands there; ``encrypted``: it speaks TLS.
    """

    host: str
    port: int
    database: str
    project: str | None = None
    pooled: bool = False
    encrypted: bool = True

    def dsn(self, role: str, password: str) -> str:
        """The connection string of a role."""
        user = f"{role}.{self.project}" if self.project else role
        who, what, database = (quote(text, safe="") for text in (user, password, self.database))
        if self.host.startswith("/"):
            return f"postgresql://{who}:{what}@/{database}?host={quote(self.host)}"
        mode = "require" if self.encrypted else "disable"
        return f"postgresql://{who}:{what}@{self.host}:{self.port}/{database}?sslmode={mode}"


def function_files() -> dict[str, str]:
    """The files of the function by name, for this version."""
    folder = files("qctl") / "edge"
    found = {
        entry.name: entry.read_text("utf-8") for entry in folder.iterdir() if entry.name.endswith((".ts", ".json"))
    }
    found["version.ts"] = found["version.ts"].replace("0.0.0", __version__)
    return dict(sorted(found.items()))


def digest(text: str) -> str:
    """SHA-256 of a file's text, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def project_of(host: str | None, user: str | None) -> str | None:
    """The reference of the Supabase project that a connection leads to, if it does."""
    if host and (found := _DIRECT.fullmatch(host)):
        return found[1]
    if host and _POOLER.fullmatch(host) and user and "." in user:
        return user.rpartition(".")[2]
    return None


def project_named(conninfo: str) -> str | None:
    """The same of a connection string; None where it cannot be read."""
    try:
        parts = conninfo_to_dict(conninfo)
    except ProgrammingError:
        return None
    return project_of(str(parts.get("host") or ""), str(parts.get("user") or ""))


def password_of(dsn: str | None, role: str) -> str | None:
    """The password in a connection string that :meth:`Place.dsn` made for that role; None where it is none."""
    parts = urlsplit(dsn or "")
    if unquote(parts.username or "").partition(".")[0] != role or parts.password is None:
        return None
    return unquote(parts.password)


def serves(dsn: str | None, connection: db.Connection, role: str) -> bool:
    """Whether a connection string made by :meth:`Place.dsn` is of that role and of the connection's database."""
    parts, info = urlsplit(dsn or ""), connection.info
    user, _, project = unquote(parts.username or "").partition(".")
    return (user, unquote(parts.path[1:]), project or None) == (role, info.dbname, project_of(info.host, info.user))


def place(connection: db.Connection, pooler: str | None) -> Place:
    """Where the function's workers connect to: through the pooler where there is one.

    Args:
        connection: to the same database.
        pooler: ``HOST`` or ``HOST:PORT``; None for the place of the connection.

    Raises:
        UsageError: a Supabase project is connected to directly, so its pooler is not known.
    """
    info = connection.info
    project = project_of(info.host, info.user)
    if pooler is not None:
        host, _, port = pooler.partition(":")
        if not re.fullmatch(r"[A-Za-z0-9.-]+", host) or not re.fullmatch(r"[0-9]{1,5}|", port):
            raise UsageError(
                f"'{pooler[:100]}' is not the address of a pooler", hint="--pooler HOST or --pooler HOST:PORT"
            )
        return Place(host, int(port or POOLER_PORT), info.dbname, project, pooled=True)
    if project is None:
        return Place(info.host or "localhost", info.port, info.dbname, encrypted=bool(connection.pgconn.ssl_in_use))
    if _DIRECT.fullmatch(info.host):
        raise UsageError(
            "this is the direct connection of a Supabase project, and an edge worker connects through its pooler",
            hint="--pooler HOST, the host under Connect, Transaction pooler, in the dashboard: aws-0-REGION.pooler.supabase.com",
        )
    return Place(info.host, POOLER_PORT, info.dbname, project, pooled=True)


def set_edge(connection: db.Connection, url: str | None, *, new_secret: bool, pooler: str | None) -> EdgeSet:
    """Stores where the function is, and schedules its wakes.

    Raises:
        QctlError: no address is known, or it is not one (2); no pg_cron or pg_net here (4).
    """
    return call(url, new_secret=new_secret, pooler=pooler).one(connection)


def call(url: str | None, *, new_secret: bool, pooler: str | None) -> db.Call[EdgeSet]:
    """The call of :func:`set_edge`, to be printed."""
    return db.Call("set_edge", db.known(url=url, new_secret=new_secret or None, pooler=pooler), EdgeSet)


def role_exists(connection: db.Connection, role: str) -> bool:
    """Whether the server has a role of that name."""
    with db.translating():
        return connection.execute("select from pg_catalog.pg_roles where rolname = %s", [role]).fetchone() is not None


def make_role(connection: db.Connection, role: str, *, new_password: bool) -> str:
    """Creates the role that the workers connect as, or gives it a new password; the password, which the server's log never sees.

    Raises:
        QctlError: the role is there already, and no new password was asked for (7).
    """
    password, found = secrets.token_urlsafe(24), role_exists(connection, role)
    with db.translating():
        if found and not new_password:
            raise QctlError(
                f"role '{role}' exists, and its password is not known here",
                hint="--new-password gives it a new one, which its other programs need too; or --role for another role",
                code=ExitCode.REFUSED,
            )
        verifier = connection.pgconn.encrypt_password(password.encode(), role.encode()).decode()
        verb = "alter" if found else "create"
        name = sql.Identifier(role)
        connection.execute(sql.SQL("{} role {} login password {}").format(sql.SQL(verb), name, sql.Literal(verifier)))
        # Behind a transaction pooler no session keeps settings, and one locked table must not hold up a worker.
        for setting, value in (("lock_timeout", "1s"), ("statement_timeout", "10s")):
            connection.execute(
                sql.SQL("alter role {} set {} = {}").format(name, sql.Identifier(setting), sql.Literal(value))
            )
    return password


def stop() -> db.Call[EdgeStopped]:
    """Ends the wakes; workers that run end within seconds.

    Raises:
        QctlError: when it is run: no function is known (6).
    """
    return db.Call("stop_edge", {}, EdgeStopped)


def scale(connection: db.Connection, most: int) -> EdgeScaled:
    """Sets how many workers may run at once.

    Raises:
        QctlError: not a number of workers (2), no function is known (6).
    """
    return db.call(connection, EdgeScaled, "scale_edge", most=most)[0]


def standing(connection: db.Connection) -> str | None:
    """``known`` where the database wakes a function, ``possible`` where it could (pg_cron and pg_net are here), else None."""
    found = status(connection)
    if found is not None and found.state != "stopped":
        return "known"
    return "possible" if queues.transport(connection, "auto").transport == "pg_net" else None


def status(connection: db.Connection) -> EdgeStatus | None:
    """What the function does; None where none is known."""
    found = db.call(connection, EdgeStatus, "edge_status")
    return found[0] if found else None
