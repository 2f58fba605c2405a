"""--sql: printed without a connection; running it makes the same database as the command."""

import re
import sys
from pathlib import Path

import psycopg
import pytest

from helpers import URL, one
from processes import ok, qctl

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import schema_dump


@pytest.mark.parametrize("command", [("drop", "orders"), ("uninstall",)])
def test_sql_is_printed_without_a_connection(command):
    done = qctl(*command, "--sql")
    assert done.returncode == 0
    assert "qctl" in done.stdout


def test_set_up_verbs_print_their_sql(dsn, conn):
    conn.execute("create table public.users (id int, name text)")
    script = ""
    for arguments in (
        ("create", "orders", "--url", URL, "--timeout", "5s", "-H", "X-Its: a 'b'", "--sql"),
        ("set", "-q", "orders", "--concurrency", "7", "--sql"),
        ("attach", "public.users", "-q", "orders", "--on", "insert", "--when", "new.name = 'x'", "--sql"),
    ):
        script += ok(*arguments).stdout
    conn.execute(script.encode())
    conn.execute("insert into users values (1, 'x'), (2, 'y')")
    assert conn.execute("select timeout_ms, concurrency, headers from qctl.queue").fetchone() == (
        5000,
        7,
        {"x-its": "a 'b'"},
    )
    assert one(conn, "select count(*) from pgmq.q_orders") == 1
    conn.execute(ok("detach", "public.users", "--sql").stdout.encode())
    assert one(conn, "select count(*) from qctl.attachment") == 0


def without_numbers(text: str) -> list[list[str]]:
    """Captures name their table by its number, functions of a queue their queue by its uuid; both are others in each database.

    So the objects, which a dump has in the order of their names, are sorted anew.
    """
    text = re.sub(r"\b_(pick|lock|archive)_[0-9a-f]{32}\b", r"_\1_UUID", text)
    text = re.sub(r"\b[0-9]{5,6}\b", "OID", text)
    return sorted(block.split() for block in re.split(r"^(?=-- Name: )", text, flags=re.MULTILINE))


@pytest.mark.slow
def test_printed_sql_makes_the_same_database_as_the_commands(empty_dsn, dsn, conn):
    """A migration file built from --sql alone, and the commands themselves."""
    steps = [
        [
            "create",
            "orders",
            "--url",
            "https://e.org/o",
            "--attach",
            "public.orders",
            "-H",
            "X-Tenant: a",
            "--transport",
            "http",
        ],
        ["create", "gone", "--url", "https://e.org/g", "--transport", "http"],
        ["set", "-q", "orders", "--timeout", "20s", "--retention", "30d"],
        ["attach", "public.more", "-q", "orders", "--on", "insert", "--when", "new.id > 0"],
        ["detach", "public.orders", "-q", "orders"],
        ["attach", "public.orders", "-q", "orders", "--columns", "total", "--payload", "supabase"],
        ["grant", "pg_monitor", "--as", "read"],
        ["revoke", "pg_monitor"],
        ["drop", "gone", "--discard"],
        ["arm", "--survive-failover"],
        ["disarm"],
        ["arm"],
    ]
    tables = "create table public.orders (id int primary key, total int); create table public.more (id int primary key)"
    printed = ok("install", "--sql").stdout + "".join(ok(*step, "--sql").stdout for step in steps)
    with psycopg.connect(empty_dsn, autocommit=True) as there:
        there.execute(tables)
        there.execute(printed.encode())
        conn.execute(tables)
        for step in steps:
            ok(*step, *(["--yes"] if step[0] in ("drop", "arm") else []), dsn=dsn)
        assert without_numbers(schema_dump.schema(empty_dsn)) == without_numbers(schema_dump.schema(dsn))
        for query in ("select queue_name, url, headers, timeout_ms, retention_s, transport from qctl.queue order by 1",
                      "select relation::text, operations, when_sql, columns, payload from qctl.attachment order by 1",
                      "select survive_failover, armed_by from qctl.arming",
                      "select tgrelid::regclass::text, tgname from pg_trigger where not tgisinternal order by 1, 2",
                      "select verb, queue_name from qctl.audit where verb not in ('upgrade', 'arm') order by 1, 2"):  # fmt: skip
            assert there.execute(query).fetchall() == conn.execute(query).fetchall(), query


def test_printed_sql_can_run_again_and_follows_a_table_that_was_made_again(conn):
    """As a migration folder that is replayed after a reset of the application's schema."""
    printed = "".join(
        ok(*step, "--sql").stdout
        for step in (
            ["create", "orders", "--url", "https://e.org/o", "--transport", "http", "--attach", "public.orders"],
            ["create", "orders", "--url", "https://e.org/new", "--timeout", "9s"],
            ["attach", "public.orders", "-q", "orders", "--when", "new.total > 0", "--on", "insert"],
            ["attach", "public.more", "-q", "orders", "--order-by", "record.id"],
            ["detach", "public.more", "-q", "orders"],
            ["create", "gone", "--url", "https://e.org/g"],
            ["drop", "gone", "--discard"],
        )
    )
    tables = "create table public.orders (id int primary key, total int); create table public.more (id int primary key)"
    for _ in range(2):
        conn.execute(tables)
        conn.execute(printed.encode())
        conn.execute("insert into orders values (1, 1), (2, 0)")
        conn.execute("drop table orders, more")
    assert conn.execute("select queue_name, url, timeout_ms from qctl.queue").fetchall() == [
        ("orders", "https://e.org/new", 9000)
    ]
    messages = [row[0] for row in conn.execute("select message from pgmq.q_orders")]
    assert [message["record"] for message in messages] == [{"id": 1, "total": 1}] * 2
