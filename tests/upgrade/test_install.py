"""Install and upgrade: twice, at once, half way, on the wrong server, and equal to a fresh install."""

import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from helpers import claim, one, send, settle, state
from processes import qctl
from qctl import __version__, db
from qctl.config import Database
from qctl.db import files
from qctl.db.files import SqlFile
from qctl.demo import embedded
from qctl.errors import ExitCode, QctlError
from qctl.operations import migrate

TOP = Path(__file__).parents[2]
RELEASED = Path(__file__).parent / "released"
sys.path.insert(0, str(TOP / "scripts"))
import schema_dump  # noqa: E402


def connected(dsn: str) -> db.Connection:
    return db.connect(Database(dsn, "test"), application="test")


def test_installing_twice_does_nothing_the_second_time(empty_dsn):
    with connected(empty_dsn) as connection:
        first = migrate.apply(connection)
        assert {step.kind for step in first} == {"migration", "routine"}
        before = schema_dump.schema(empty_dsn)
        assert migrate.pending(connection) == []
        assert migrate.apply(connection) == []
    assert schema_dump.schema(empty_dsn) == before


def test_twelve_installs_at_once_end_in_one(empty_dsn):
    applied: list[int] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            with connected(empty_dsn) as connection:
                applied.append(len(migrate.apply(connection)))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(applied)[:11] == [0] * 11
    assert sorted(applied)[11] == len(files.migrations()) + len(files.routines())


def test_a_failure_in_the_middle_leaves_the_database_as_it_was(dsn):
    before = schema_dump.schema(dsn)
    bad = SqlFile(
        "bad",
        b"create table qctl.half_made (id int);\nselect 1;\nselect nothing from nowhere;\n",
        len(files.migrations()) + 1,
    )
    with connected(dsn) as connection:
        with pytest.raises(QctlError) as caught:
            migrate.apply(connection, [*files.migrations(), bad])
        assert f"{bad.version:04d}_bad.sql:3" in caught.value.message
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    assert schema_dump.schema(dsn) == before


def test_a_failing_first_install_leaves_nothing_behind(empty_dsn):
    bad = SqlFile("bad", b"select nothing from nowhere", len(files.migrations()) + 1)
    with connected(empty_dsn) as connection:
        with pytest.raises(QctlError):
            migrate.apply(connection, [*files.migrations(), bad])
        assert one(connection, "select to_regnamespace('qctl') is null and to_regnamespace('pgmq') is null")


def test_a_new_migration_and_a_changed_routine_are_applied_and_nothing_else(dsn):
    new = SqlFile("more", b"create table qctl.more (id int);", len(files.migrations()) + 1)
    changed = [SqlFile(f.name, f.text + b"-- changed\n") if f.name == "audit" else f for f in files.routines()]
    with connected(dsn) as connection:
        steps = migrate.apply(connection, [*files.migrations(), new], changed)
        assert [(step.kind, step.name) for step in steps] == [("migration", "more"), ("routine", "audit")]


@pytest.mark.parametrize("what", ["migration", "routine"])
def test_upgrade_refuses_a_database_newer_than_the_tool(dsn, what):
    with connected(dsn) as connection:
        if what == "migration":
            connection.execute(
                "insert into qctl.migration (version, name, checksum, qctl_version) values (9999, 'x', '', '99.0')"
            )
        else:
            connection.execute("update qctl.routine set qctl_version = '99.0.0' where name = 'audit'")
        with pytest.raises(QctlError, match="newer than this qctl") as caught:
            migrate.apply(connection)
        assert caught.value.code is ExitCode.SCHEMA_VERSION
        assert caught.value.hint
    assert qctl("upgrade", dsn=dsn).returncode == 5
    if what == "migration":
        assert qctl("upgrade", "--dry-run", dsn=dsn).returncode == 5


def test_the_printed_script_does_what_install_does(empty_dsn, template, server, tmp_path):
    printed = qctl("install", "--sql")
    assert printed.returncode == 0
    script = tmp_path / "install.sql"
    script.write_text(printed.stdout, encoding="utf-8")
    psql = [str(embedded.binaries() / "psql"), "-q", "-v", "ON_ERROR_STOP=1", "-f", str(script), empty_dsn]
    for _ in range(2):
        subprocess.run(psql, check=True, capture_output=True, text=True)
    assert schema_dump.schema(empty_dsn) == schema_dump.schema(server.uri(template))
    with connected(empty_dsn) as connection:
        assert migrate.pending(connection) == []


def test_the_printed_script_has_no_psql_command(empty_dsn):
    """So that it can be pasted into an SQL editor."""
    assert not re.search(rb"^\\", migrate.script(), re.MULTILINE)


@pytest.mark.parametrize("version", ["1.10.0", "1.4"])
def test_a_pgmq_that_cannot_be_used_is_refused_by_name(empty_dsn, version):
    columns = "msg_id bigint" if version == "1.4" else "msg_id bigint, last_read_at timestamptz, headers jsonb"
    with connected(empty_dsn) as connection:
        connection.execute("create schema pgmq; create table pgmq.meta (queue_name text)")
        connection.execute(f"create type pgmq.message_record as ({columns})")
        with pytest.raises(QctlError) as caught:
            migrate.apply(connection)
        assert f"pgmq {version}" in caught.value.message
        assert caught.value.code is ExitCode.SERVER_UNFIT
        assert one(connection, "select to_regnamespace('qctl') is null")


def test_a_foreign_schema_of_our_name_is_left_alone(empty_dsn):
    with connected(empty_dsn) as connection:
        connection.execute("create schema qctl; create table qctl.theirs (id int)")
        with pytest.raises(QctlError) as caught:
            migrate.apply(connection)
        assert caught.value.code is ExitCode.REFUSED


def test_a_role_without_rights_is_told_so(empty_dsn):
    with connected(empty_dsn) as connection:
        name = one(connection, "select 'outsider_' || current_database()")
        connection.execute(f"create role {name} login")
        try:
            with connected(make_conninfo(empty_dsn, user=name)) as outsider:
                with pytest.raises(QctlError) as caught:
                    migrate.apply(outsider)
                assert caught.value.code is ExitCode.SERVER_UNFIT
                assert "may not create a schema in database" in caught.value.message
        finally:
            connection.execute(f"drop role {name}")


@pytest.mark.parametrize("dump", sorted(RELEASED.glob("v*.sql")), ids=lambda path: path.stem)
def test_every_released_schema_upgrades_to_what_a_fresh_install_is(empty_dsn, template, server, dump):
    """Column order included: both dumps come from the same server, so only a real difference shows."""
    schema_dump.restore(empty_dsn, dump)
    with connected(empty_dsn) as connection:
        migrate.apply(connection)
        connection.execute("select qctl.arm()")  # a restored dump is a copy
        connection.execute("select qctl._drop_kept_functions()")  # as the next upgrade does
        of_queues = (
            r"-- Name: (?:(?:FUNCTION )?(?:capture_\w+_[0-9a-f]{8}_|_(?:pick|lock|archive)_[0-9a-f]{32}\()"
            r"|VIEW orders_status|orders_status).*?(?=\n-- Name: |\Z)"
        )
        upgraded = re.sub(of_queues, "", schema_dump.schema(empty_dsn), flags=re.DOTALL)
        assert upgraded.split() == schema_dump.schema(server.uri(template)).split()
        expected = {1: "delivered", 2: "dead", 3: "retrying", 4: "in_flight", 5: "ready", 6: "delayed"}
        assert {msg_id: state(connection, msg_id) for msg_id in expected} == expected
        assert [c.msg_id for c in claim(connection)] == [5]
        lease = one(connection, "select lease from qctl.in_flight where msg_id = 4")
        row = connection.execute(
            "select delivered from qctl.settle('orders', %s, '{4}', '{200}', '{null}', '{null}', '{1}', '{null}')",
            ([lease],),
        ).fetchone()
        assert row == (1,)
        connection.execute("insert into public.users values (99, 'new')")
        assert one(connection, "select max(msg_id) from pgmq.q_orders") == 7


def test_a_capture_that_ran_as_another_role_goes_on_whole_through_the_upgrade(empty_dsn):
    """0.1.0 did not record --as-me, and such rows must not come without their content afterwards."""
    schema_dump.restore(empty_dsn, RELEASED / "v0.1.0.sql")
    with connected(empty_dsn) as connection:
        name = f"owner_{connection.info.dbname}"
        connection.execute(f"create role {name}")
        try:
            connection.execute(f"alter table public.users owner to {name}")
            warnings: list[str] = []
            db.on_warning(connection, warnings.append)
            migrate.apply(connection)
            assert any("--as-me" in line and "users" in line for line in warnings)
            connection.execute("insert into public.users values (99, 'new')")
            newest = one(connection, "select message from pgmq.q_orders order by msg_id desc limit 1")
            assert newest["record"] == {"id": 99, "name": "new"}
            assert one(connection, "select count(*) from qctl.verify()") == 0
        finally:
            connection.execute(f"reassign owned by {name} to current_user; drop owned by {name}; drop role {name}")


def test_released_migrations_are_frozen():
    recorded = dict(line.split("  ")[::-1] for line in (RELEASED / "checksums.txt").read_text().splitlines())
    present = {f"{file.version:04d}_{file.name}": file.checksum for file in files.migrations()}
    assert {name: present.get(name) for name in recorded} == recorded


def test_file_names_must_be_contiguous(tmp_path):
    (tmp_path / "0001_a.sql").write_text("select 1")
    (tmp_path / "0003_b.sql").write_text("select 1")
    with pytest.raises(QctlError, match="should be number 0002"):
        files.migrations(tmp_path)


def test_a_claimed_message_survives_an_upgrade(dsn):
    with connected(dsn) as connection:
        connection.execute("select qctl.create_queue('orders', 'http://127.0.0.1:9/')")
        send(connection)
        claims = claim(connection)
        connection.execute("update qctl.routine set checksum = 'old'")
        assert len(migrate.apply(connection)) == len(files.routines())
        assert settle(connection, claims, 200) == {"delivered": 1}
        assert one(connection, "select distinct qctl_version from qctl.routine") == __version__


def test_a_file_that_only_moved_to_another_folder_is_not_applied_again(dsn, tmp_path):
    shutil.copytree(files.root() / "routines", tmp_path / "routines")
    (tmp_path / "routines/deliver/claim.sql").rename(tmp_path / "routines/queue/claim.sql")
    with db.connect(Database(dsn, "test"), application="test") as connection:
        assert migrate.apply(connection, routines=files.routines(tmp_path / "routines")) == []


def test_no_two_routine_files_have_one_name():
    names = [path.stem for path in (files.root() / "routines").rglob("*.sql")]
    assert len(names) == len(set(names))


def test_a_view_of_somebody_elses_on_the_status_view_survives_its_renamed_column(empty_dsn):
    schema_dump.restore(empty_dsn, RELEASED / "v0.6.0.sql")
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        connection.execute("create view public.board as select queue_name, health, mend as advice from qctl.status")
    with db.connect(Database(empty_dsn, "test"), application="test") as connection:
        migrate.apply(connection)
        connection.execute("select qctl.arm()")
        rows = connection.execute(
            "select b.advice = s.fix from public.board b join qctl.status s using (queue_name)"
        ).fetchall()
    assert rows
    assert all(row[0] for row in rows)
