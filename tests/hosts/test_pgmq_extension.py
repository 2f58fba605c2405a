"""pgmq as an extension: queues in dumps, drops, what a restore lacks."""

import json
import shutil
import subprocess
from collections.abc import Iterator

import psycopg
import pytest

import pgmq_extension
from helpers import one, send
from incidents import fix
from processes import data, failed, failing, ok, qctl
from qctl.demo import embedded
from servers import Server, start_embedded


@pytest.fixture(scope="module", params=["members", "newest"])
def offering(request) -> Iterator[Server]:
    """A server that offers pgmq as an extension."""
    server = start_embedded()
    folder = pgmq_extension.offer(server.uri(), members=request.param == "members")
    yield server
    server.stop("immediate")
    shutil.rmtree(folder)


@pytest.fixture
def databases(offering) -> Iterator:
    """Makes empty databases."""
    made = []

    def make(encoding: str = "UTF8") -> str:
        name = f"given_{len(made)}"
        with psycopg.connect(offering.uri(), autocommit=True) as admin:
            admin.execute(f"create database {name} template template0 encoding '{encoding}' locale 'C'")
        made.append(name)
        return offering.uri(name)

    yield make
    with psycopg.connect(offering.uri(), autocommit=True) as admin:
        for name in made:
            admin.execute(f"drop database {name} with (force)")


@pytest.fixture
def installed(databases) -> str:
    uri = databases()
    ok("install", dsn=uri)
    with psycopg.connect(uri, autocommit=True) as connection:
        assert one(connection, "select count(*) from pg_extension where extname = 'pgmq'") == 1
    return uri


def run(program: str, *arguments: str) -> str:
    done = subprocess.run([embedded.binaries() / program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_queue_is_dropped_and_its_archive_kept_or_dropped(installed):
    ok("create", "orders", "--url", "http://127.0.0.1:9/x", dsn=installed)
    with psycopg.connect(installed, autocommit=True) as connection:
        send(connection, 3)
    (row,) = data("drop", "orders", "--discard", "--yes", "-o", "json", dsn=installed)
    assert (row["discarded"], row["archive"]) == (3, "pgmq.a_orders")
    ok("create", "orders", "--url", "http://127.0.0.1:9/x", dsn=installed)
    ok("drop", "orders", "--with-archive", "--yes", dsn=installed)
    ok("uninstall", "--yes", dsn=installed)
    with psycopg.connect(installed, autocommit=True) as connection:
        assert one(connection, "select count(*) from pg_class where relname in ('q_orders', 'a_orders')") == 0
        connection.execute("drop extension pgmq")


def test_a_table_of_another_schema_that_has_the_name_of_the_queues_is_named(installed):
    """Up to 1.5 pgmq looks for its tables in every schema; later ones do not."""
    with psycopg.connect(installed, autocommit=True) as connection:
        connection.execute("create table public.q_orders (id int)")
        if one(connection, "select extversion from pg_extension where extname = 'pgmq'") == pgmq_extension.MEMBERS:
            told = failing(7, "create", "orders", "--url", "http://127.0.0.1:9/x", dsn=installed)
            assert "another schema has a relation named like one of its tables: public.q_orders" in told
            connection.execute("alter table public.q_orders rename to orders_once")
    ok("create", "orders", "--url", "http://127.0.0.1:9/x", dsn=installed)


@pytest.mark.parametrize("form", ["custom", "plain"])
def test_a_dump_has_the_messages(installed, databases, tmp_path, form):
    ok("create", "orders", "--url", "http://127.0.0.1:9/x", dsn=installed)
    with psycopg.connect(installed, autocommit=True) as connection:
        connection.execute("create table public.users (id int)")
        connection.execute("select qctl.attach('public.users', 'orders')")
        connection.execute("insert into users values (1), (2)")
    copy = databases()
    file = str(tmp_path / "dump")
    if form == "custom":
        run("pg_dump", "-Fc", "-f", file, installed)
        run("pg_restore", "--exit-on-error", "-d", copy, file)
    else:
        run("pg_dump", "-f", file, installed)
        run("psql", "-q", "-v", "ON_ERROR_STOP=1", "-f", file, copy)
    with psycopg.connect(copy, autocommit=True) as connection:
        assert one(connection, "select count(*) from pgmq.q_orders") == 2
        connection.execute("insert into users values (3)")
        assert one(connection, "select max(msg_id) from pgmq.q_orders") == 3
    assert ok("verify", dsn=copy).returncode == 0


DUMPED = """
    select qctl.create_queue('orders', %s, p_settings => '{"ordered": true, "timeout_ms": 4000}');
    create table public.users (id int primary key);
    select qctl.attach('public.users', 'orders', p_when => 'new.id > 0', p_operations => '{INSERT}')"""


@pytest.fixture
def filled(installed) -> str:
    """A queue with a table attached, 3 messages waiting, 2 dead."""
    with psycopg.connect(installed, autocommit=True) as connection:
        connection.execute(DUMPED.replace("%s", "'http://127.0.0.1:9/x'"))
        connection.execute("insert into users select generate_series(1, 5)")
        connection.execute("select qctl.discard('orders', array[1, 2])")
    return installed


def settings(uri: str) -> tuple:
    with psycopg.connect(uri, autocommit=True) as connection:
        return (
            connection.execute("select queue_name, url, timeout_ms, ordered, created_at from qctl.queue").fetchall(),
            connection.execute("select table_name, operations, when_sql, name from qctl.attachment").fetchall(),
        )


def whole(uri: str, *, next_id: int) -> None:
    """Writes are captured, under a number that no message had; nothing is wrong."""
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("insert into users values (100)")
        connection.execute("call qctl.maintenance('1 s')")
        ((msg_id, record),) = connection.execute(
            "select msg_id, message -> 'record' from pgmq.q_orders order by msg_id desc limit 1"
        ).fetchall()
        assert record == {"id": 100}
        assert msg_id >= next_id
    assert data("verify", "-o", "json", dsn=uri) == []


def test_a_dropped_extension_is_made_whole_by_one_command(filled):
    before = settings(filled)
    with psycopg.connect(filled, autocommit=True) as connection:
        connection.execute("drop extension pgmq cascade")
        connection.execute("insert into users values (6)")
    repaired = data("upgrade", "--repair", "-o", "json", dsn=filled)
    assert [(row["object"], row["problem"]) for row in repaired] == [
        ("orders", "it is known to pgmq again; nothing was lost")
    ]
    assert settings(filled) == before
    with psycopg.connect(filled, autocommit=True) as connection:
        assert one(connection, "select count(*) from pgmq.q_orders") == 4
    whole(filled, next_id=7)
    ok("drop", "orders", "--discard", "--yes", dsn=filled)


def test_lost_tables_are_made_again_and_what_is_lost_is_said(filled):
    before = settings(filled)
    with psycopg.connect(filled, autocommit=True) as connection:
        connection.execute("drop table pgmq.q_orders, pgmq.a_orders")
        connection.execute("insert into users values (6)")
        connection.execute("select qctl.disarm()")
    assert "pgmq's tables of orders are gone: qctl upgrade --repair" in ok("arm", "--yes", dsn=filled).stderr
    problems = [
        (row["problem"].partition(";")[0], row["fix"]) for row in data("verify", "-o", "json", code=8, dsn=filled)
    ]
    assert ("pgmq's table q_orders is gone, and so is its archive", "qctl upgrade --repair") in problems
    repaired = data("upgrade", "--repair", "-o", "json", dsn=filled)
    assert [row["problem"] for row in repaired] == [
        "its waiting messages are lost; new ones begin at 3",
        "its archive is lost; the log of attempts and dead letters remain",
    ]
    assert settings(filled) == before
    with psycopg.connect(filled, autocommit=True) as connection:
        connection.execute("call qctl.maintenance('1 s')")
        assert [row[0] for row in connection.execute("select message -> 'record' -> 'id' from pgmq.q_orders")] == [6]
        assert one(connection, "select count(*) from qctl.dead_letter") == 2
    whole(filled, next_id=4)


def test_a_schema_without_data_says_what_it_is_and_is_made_anew(filled, databases, tmp_path):
    copy = databases()
    file = str(tmp_path / "dump")
    run("pg_dump", "-s", "-f", file, filled)
    run("psql", "-q", "-v", "ON_ERROR_STOP=1", "-f", file, copy)
    with psycopg.connect(copy, autocommit=True) as connection:
        connection.execute("insert into users values (1)")
    for command in (["install"], ["upgrade"]):
        told = failing(5, *command, dsn=copy)
        assert "without its data, as a schema-only dump leaves it" in told
        assert "qctl upgrade --repair" in told
    for command in ("status", "queues", "create"):
        more = ["orders", "--url", "http://127.0.0.1:9/x"] if command == "create" else []
        assert "schema-only dump" in failing(5, command, *more, dsn=copy)
    assert "schema-only dump" in failed(8, "check", dsn=copy).stdout
    ok("upgrade", "--repair", dsn=copy)
    with psycopg.connect(copy, autocommit=True) as connection:
        connection.execute("insert into users values (2)")
    ok("create", "orders", "--url", "http://127.0.0.1:9/x", "--attach", "public.users", dsn=copy)
    with psycopg.connect(copy, autocommit=True) as connection:
        connection.execute("insert into users values (3)")
        assert one(connection, "select message -> 'record' -> 'id' from pgmq.q_orders") == 3
    assert data("verify", "-o", "json", dsn=copy) == []


FAULTS = {
    "members": "alter extension pgmq add table pgmq.q_orders; alter extension pgmq add table pgmq.a_orders",
    "lost tables": "drop table pgmq.q_orders, pgmq.a_orders",
    "lost archive": "drop table pgmq.a_orders",
    "lost index": "drop index pgmq.qctl_order_orders",
    "disabled triggers": "alter table public.users disable trigger user",
    "table made again": "drop table public.users; create table public.users (id int primary key)",
    "dropped extension": "drop extension pgmq cascade",
}


def _findings(uri: str) -> dict[tuple[str, str], str]:
    rows = json.loads(qctl("doctor", "-o", "json", dsn=uri).stdout) + json.loads(
        qctl("verify", "-o", "json", dsn=uri).stdout or "[]"
    )
    return {(row["kind"], row["problem"].split(" since ")[0]): row["fix"] for row in rows}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_printed_command_typed_in_a_shell_removes_its_finding_and_nothing_else(filled, fault):
    before, kept = _findings(filled), settings(filled)
    with psycopg.connect(filled, autocommit=True) as connection:
        connection.execute(FAULTS[fault])
    new = {key: fix_ for key, fix_ in _findings(filled).items() if key not in before}
    assert new, "the fault is not found"
    assert len(set(new.values())) == 1, new
    fix(filled, next(iter(new.values())))
    left = {key for key in _findings(filled) if key not in before}
    assert left == set()
    assert settings(filled) == kept
