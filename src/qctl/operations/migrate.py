"""Install and upgrade: one script, one transaction, whatever state the database is in."""

import re

import psycopg
from pgmq.install import get_embedded_install_sql

from qctl import __version__, db
from qctl.db import files
from qctl.db.files import SqlFile
from qctl.errors import ExitCode, QctlError
from qctl.models import Difference, Remains, Repaired, Step

_REPAIR = b"select * from qctl.repair();"
_LOCK = b"select pg_advisory_xact_lock(1902343277, 1);"
# It waits for many locks while others work, so PostgreSQL may end it because of a deadlock.
_TRIES = 5


def script(
    migrations: list[SqlFile] | None = None,
    routines: list[SqlFile] | None = None,
    *,
    repair: bool = False,
    printed: bool = False,
) -> bytes:
    """The whole installation as SQL that psql or an SQL editor can run.

    Each migration runs only where it is not recorded, each routine file only where its checksum differs, so the same
    script installs, upgrades, or does nothing. Its last query lists what it applied. With ``repair`` each routine file
    is applied again, whatever its checksum; ``printed`` adds what :func:`repair` does then.
    """
    migrations = files.migrations() if migrations is None else migrations
    routines = files.routines() if routines is None else routines
    pgmq = get_embedded_install_sql().encode()
    parts = [
        f"-- qctl {__version__}: install or upgrade. One transaction; running it again does nothing.".encode(),
        b"begin;",
        # First, for what others planted in schema public must not stand for a function or an operator of ours.
        b"set local search_path = pg_catalog, pg_temp;",
        _LOCK,
        b"set local qctl.repair = 'on';" if repair else b"",
        files.read("preflight").replace(b"@PGMQ_SQL@", pgmq),
        b"set local client_min_messages = warning;",
        # Routine files are applied by name, whichever needs which; the epilogue checks them all.
        b"set local check_function_bodies = off;",
        files.read("bootstrap"),
        _guard(len(migrations)),
        b"delete from qctl.routine;" if repair else b"",
        *(_migration_step(file) for file in migrations),
        *(_routine_step(file) for file in routines),
        files.read("epilogue"),
        files.read("queries/applied_now"),
        b"commit;",
        _REPAIR if printed and repair else b"",
    ]
    return b"\n".join(parts) + b"\n"


def _guard(newest: int) -> bytes:
    """Refuses a database that a newer qctl made."""
    version = ",".join(part for part in __version__.split(".")[:3] if part.isdigit())
    return f"""do $guard$
begin
  if exists (select from qctl.migration where version > {newest})
     or exists (select from qctl.routine
                where string_to_array(regexp_replace(qctl_version, '[^0-9.].*$', ''), '.')::integer[] > '{{{version}}}') then
    raise exception 'the database is newer than this qctl: its schema was made by %, this is {__version__}',
        (select qctl_version from (select qctl_version from qctl.migration union select qctl_version from qctl.routine) v
         order by string_to_array(regexp_replace(qctl_version, '[^0-9.].*$', ''), '.')::integer[] desc limit 1)
      using errcode = 'QC005', hint = 'upgrade the tool: pip install --upgrade qctl';
  end if;
end
$guard$;""".encode()  # noqa: S608


def _migration_step(file: SqlFile) -> bytes:
    return f"""do $step$
begin
  if not exists (select from qctl.migration where version = {file.version}) then
    execute $qctl_file${_plain(file.text)}$qctl_file$;
    insert into qctl.migration (version, name, checksum, qctl_version)
    values ({file.version}, '{file.name}', '{file.checksum}', '{__version__}');
  end if;
end
$step$;""".encode()  # noqa: S608


def _plain(migration: bytes) -> str:
    """The text in ASCII: two migrations that have landed have dots in one character, which not every server encoding has."""
    return migration.decode().replace("…", "...")


def _routine_step(file: SqlFile) -> bytes:
    return f"""do $step$
begin
  if not exists (select from qctl.routine where name = '{file.name}' and checksum = '{file.checksum}') then
    execute $qctl_file${file.text.decode()}$qctl_file$;
    insert into qctl.routine (name, checksum, qctl_version) values ('{file.name}', '{file.checksum}', '{__version__}')
    on conflict (name) do update
      set (checksum, qctl_version, applied_at) = (excluded.checksum, excluded.qctl_version, now());
  end if;
end
$step$;""".encode()  # noqa: S608


def apply(
    connection: db.Connection,
    migrations: list[SqlFile] | None = None,
    routines: list[SqlFile] | None = None,
    *,
    repair: bool = False,
) -> list[Step]:
    """Installs or upgrades and returns what was applied, as the database recorded it.

    Raises:
        QctlError: the server is unfit (4), the database newer (5), a file failed (its name and line; nothing changed),
            or each try ended in a deadlock (10).
    """
    migrations = files.migrations() if migrations is None else migrations
    routines = files.routines() if routines is None else routines
    tries = 0
    while True:
        tries += 1
        try:
            rows = db.execute_script(connection, script(migrations, routines, repair=repair))
        except psycopg.errors.DeadlockDetected as error:
            if tries == _TRIES:
                raise db.translated(error) from error
        except psycopg.Error as error:
            raise _located(error, migrations, routines) from error
        else:
            return [Step(kind, name, version) for kind, name, version in rows]


def repair(connection: db.Connection) -> list[Repaired]:
    """Makes again what a restore or a dropped extension left incomplete; returns what was made and what is lost."""
    return db.call(connection, Repaired, "repair")


def _located(error: psycopg.Error, migrations: list[SqlFile], routines: list[SqlFile]) -> QctlError:
    """Adds file and line to the error of a file."""
    failed = error.diag.internal_query
    for file in [*migrations, *routines]:
        if failed is None or failed.strip() != file.text.decode().strip():
            continue
        position = error.diag.internal_position
        line = f":{files.line_of(failed, int(position))}" if position else ""
        return QctlError(
            f"sql/{file.place}{line}: {error.diag.message_primary}",
            hint="nothing was changed; the role may lack a privilege, or this is a bug in qctl",
            code=ExitCode.SERVER_UNFIT if error.sqlstate == "42501" else ExitCode.BUG,
        )
    return db.translated(error)


def uninstall_script() -> bytes:
    """Takes qctl out of a database; what :func:`uninstall` runs once the jobs have ended."""
    return files.read("uninstall")


def uninstall(connection: db.Connection) -> list[Remains]:
    """Drops triggers and schema qctl and returns what stays in pgmq. The jobs are stopped before: ``scaling.stop``.

    Raises:
        QctlError: a table stays locked (10); nothing was changed then but the jobs.
    """
    try:
        rows = db.execute_script(connection, uninstall_script())
    except psycopg.Error as error:
        raise db.translated(error) from error
    return [Remains(*row) for row in rows]


def verify(connection: db.Connection, queue: str | None) -> list[Difference]:
    """What differs from what was installed, for all queues or for one.

    Raises:
        QctlError: no such queue (6).
    """
    return db.call(connection, Difference, "verify", queue=queue)


def is_installed(connection: db.Connection) -> bool:
    """Whether qctl was ever installed in this database."""
    with db.translating(), connection.cursor() as cursor:
        cursor.execute(files.query("is_installed"), {})
        row = cursor.fetchone()
        return bool(row and row[0])


def require_installed(connection: db.Connection) -> None:
    """Refuses a database where qctl is not installed.

    Raises:
        QctlError: it is not (5).
    """
    if not is_installed(connection):
        raise QctlError(
            f"qctl is not installed in {db.where(connection)}", hint="qctl install", code=ExitCode.SCHEMA_VERSION
        )


def lacks_data(connection: db.Connection) -> bool:
    """Whether schema qctl is there without its data, as a schema-only dump leaves it."""
    with db.translating(), connection.cursor() as cursor:
        cursor.execute(files.query("has_data"), {})
        row = cursor.fetchone()
    return not (row and row[0])


def require_data(connection: db.Connection) -> None:
    """Refuses a database whose schema qctl has no data, for those who found nothing there.

    Raises:
        QctlError: it has none (5).
    """
    if lacks_data(connection):
        raise QctlError(
            f"schema 'qctl' in {db.where(connection)} is here without its data, as a schema-only dump leaves it",
            hint="qctl upgrade --repair installs it anew; queues and attachments must be made again",
            code=ExitCode.SCHEMA_VERSION,
        )


def outdated(connection: db.Connection) -> str | None:
    """What the database itself cannot know: how far its schema is behind this command; None if it is not.

    A schema that is newer than this command is no fault of the database.

    Raises:
        QctlError: qctl is not installed (5).
    """
    try:
        steps = pending(connection)
    except QctlError as error:
        if error.code is not ExitCode.SCHEMA_VERSION:
            raise
        return None
    if not steps:
        return None
    require_installed(connection)
    files_ = "file of this qctl is" if len(steps) == 1 else "files of this qctl are"
    return f"{len(steps)} schema {files_} not applied"


def running_jobs(connection: db.Connection) -> set[int]:
    """Process ids of the CALLs of ``qctl.work`` that run now; none where qctl is not installed, or too old to have any."""
    with db.translating(), connection.cursor() as cursor:
        cursor.execute(files.query("job_pids"), {})
        return {row[0] for row in cursor.fetchall()}


def pending(connection: db.Connection) -> list[Step]:
    """What :func:`apply` would apply now. Reads only.

    Raises:
        QctlError: the database is newer than this qctl (5).
    """
    with db.translating(), connection.cursor() as cursor:
        done: dict[int, str] = {}
        current: dict[str, tuple[str, str]] = {}
        if is_installed(connection):
            cursor.execute(files.query("migrations"), {})
            done.update(cursor.fetchall())
            cursor.execute(files.query("routines"), {})
            current.update({name: (checksum, version) for name, checksum, version in cursor.fetchall()})
    migrations = files.migrations()
    newest = max(done, default=0)
    makers = [version for _, version in current.values() if _numbers(version) > _numbers(__version__)]
    if newest > len(migrations):
        makers.append(done[newest])
    if makers:
        raise QctlError(
            f"the database is newer than this qctl: its schema was made by {max(makers, key=_numbers)}, this is {__version__}",
            hint="upgrade the tool: pip install --upgrade qctl",
            code=ExitCode.SCHEMA_VERSION,
        )
    steps = [Step("migration", file.name, file.version) for file in migrations if file.version not in done]
    return steps + [
        Step("routine", file.name, 0)
        for file in files.routines()
        if current.get(file.name, ("", ""))[0] != file.checksum
    ]


def _numbers(version: str) -> tuple[int, ...]:
    """A version as numbers, up to the first part that is none."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()
