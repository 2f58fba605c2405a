"""One file for queues and attachments, and printed SQL that makes the same database."""

import json
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from helpers import one
from processes import QCTL, environment, qctl

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import schema_dump

FILE = """
[queues.orders]
url = "https://n8n.example.com/webhook/orders"
transport = "http"
timeout = "30s"
concurrency = 10
retry = ["5s", "1m30s"]
retention = "7d"
headers = { "X-Tenant" = "acme", "Authorization" = "Bearer x" }

[queues.orders.attach."public.orders"]
on = ["insert", "update"]
when = "new.total > 0"
columns = ["total"]

[queues.plain]
url = "https://example.org/x"
"""


def ok(*arguments: str, **keywords):
    done = qctl(*arguments, **keywords)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done


def failing(code: int, *arguments: str, **keywords) -> str:
    done = qctl(*arguments, **keywords)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.fixture
def file(conn, tmp_path):
    conn.execute("create table public.orders (id int primary key, total int)")
    path = tmp_path / "qctl.toml"
    path.write_text(FILE)
    return path


def plan(path, dsn, code: int = 0) -> dict[str, str]:
    done = qctl("apply", str(path), "--check", "-o", "json", dsn=dsn)
    assert done.returncode == code, done.stderr
    return {
        f"{row['kind']} {row['object']}": f"{row['action']} {row['detail']}".strip() for row in json.loads(done.stdout)
    }


def test_apply_makes_it_so_and_then_there_is_nothing_to_do(conn, dsn, file):
    assert plan(file, dsn, 8) == {
        "queue orders": "create",
        "attachment public.orders": "create",
        "queue plain": "create",
    }
    assert "3 changes to be made" in failing(7, "apply", str(file), dsn=dsn)
    assert one(conn, "select count(*) from qctl.queue") == 0
    ok("apply", str(file), "--dry-run", dsn=dsn)
    assert one(conn, "select count(*) from qctl.queue") == 0
    ok("apply", str(file), "--yes", dsn=dsn)
    assert set(plan(file, dsn).values()) == {"leave"}
    assert "nothing to do" in ok("apply", str(file), dsn=dsn).stderr
    row = conn.execute(
        "select timeout_ms, concurrency, retry_schedule_s, retention_s, headers from qctl.queue where"
        " queue_name = 'orders'"
    ).fetchone()
    assert row == (30000, 10, [5, 90], 604800, {"x-tenant": "acme", "authorization": "Bearer x"})
    conn.execute("insert into public.orders values (1, 5), (2, 0)")
    assert one(conn, "select count(*) from pgmq.q_orders") == 1


def test_apply_changes_what_differs_and_leaves_what_is_extra(conn, dsn, file):
    ok("apply", str(file), "--yes", dsn=dsn)
    conn.execute("create table public.more (id int primary key)")
    ok("attach", "public.more", "-q", "orders", dsn=dsn)
    ok("create", "extra", "--url", "https://example.org/e", dsn=dsn)
    assert plan(file, dsn, 8)["queue extra"] == "extra not in the file; left alone"
    file.write_text(FILE.replace('"30s"', '"20s"').replace('"acme"', '"other"').replace(', "Authorization" = "Bearer x"',
    "").replace("> 0", "> 10")
                    .replace("example.org/x", "example.org/y"))  # fmt: skip
    planned = plan(file, dsn, 8)
    assert planned["queue orders"] == "change headers, timeout_ms"
    assert planned["attachment public.orders"] == "change when"
    assert planned["attachment public.more"].startswith("extra")
    assert planned["queue plain"] == "change url"
    ok("apply", str(file), "--yes", dsn=dsn)
    assert {v for k, v in plan(file, dsn, 8).items() if not v.startswith("extra")} == {"leave"}
    assert one(conn, "select headers from qctl.queue where queue_name = 'orders'") == {"x-tenant": "other"}
    conn.execute("insert into public.orders values (1, 5), (2, 11)")
    assert one(conn, "select count(*) from pgmq.q_orders") == 1
    assert one(conn, "select count(*) from qctl.queue") == 3


def test_apply_is_all_or_nothing(conn, dsn, file):
    file.write_text(FILE.replace("new.total > 0", "new.nothing > 0"))
    failing(2, "apply", str(file), "--yes", dsn=dsn)
    assert one(conn, "select count(*) from qctl.queue") == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "declares no queue"),
        ("[queues.orders", "is no TOML"),
        ("[queues.orders]\nurl = 5", "has no url"),
        ('[queues.orders]\nurl = "https://e.org"\ntimeuot = "5s"', "no such key: timeuot"),
        ('[queues.orders]\nurl = "https://e.org"\ntimeout = "soon"', "queues.orders.timeout: 'soon' is not a duration"),
        ('[queues.orders]\nurl = "https://e.org"\nheaders = ["x"]', "headers is no table"),
        ('[queues.orders]\nurl = "https://e.org"\nretry = "5s"', "retry is no list"),
        ('[queues.orders]\nurl = "https://e.org"\n[queues.orders.attach."t"]\non = "insert"', "on is no list"),
        ("queues = 1", "is no table"),
        (
            '[queues.orders]\nurl = "https://e.org"\nbatch = 2026-01-01',
            "queues.orders.batch: 2026-01-01 is not a whole number",
        ),
        ('[queues.orders]\nurl = "https://e.org"\nretry_jitter = nan', "is not a number"),
        ('[queues.orders]\nurl = "https://e.org"\nheaders = { "X-A" = "1", "x-a" = "2" }', "one header twice"),
        ('[queues.orders]\nurl = "https://e.org"\n[queues.orders.attach."t"]\nwhen = 5', "when: 5 is not a text"),
        (
            '[queues.orders]\nurl = "https://e.org"\n[queues.orders.attach."t"]\nas_me = 1',
            "as_me: 1 is not true or false",
        ),
        ('[queues.orders]\nurl = "ftp://e.org"', "URL"),
        ('[queues.orders]\nurl = "https://e.org"\nconcurrency = 0', "concurrency"),
    ],
)
def test_a_file_that_means_nothing_is_refused_with_the_place(dsn, tmp_path, text, words):
    path = tmp_path / "x.toml"
    path.write_text(text)
    assert words in failing(2, "apply", str(path), "--yes", dsn=dsn)
    failing(2, "apply", str(tmp_path / "none.toml"), dsn=dsn)


def test_a_table_that_is_not_there(dsn, tmp_path):
    path = tmp_path / "x.toml"
    path.write_text('[queues.orders]\nurl = "https://e.org"\n[queues.orders.attach."public.\\"No"]\n')
    failing(6, "apply", str(path), "--yes", dsn=dsn)


def without_oids(text: str) -> list[str]:
    """Captures name their table by its number, which is another in each database."""
    return re.sub(r"\b[0-9]{5,6}\b", "OID", text).split()


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
            ok(*step, *(["--yes"] if step[0] == "drop" else []), dsn=dsn)
        assert without_oids(schema_dump.schema(empty_dsn)) == without_oids(schema_dump.schema(dsn))
        for query in ("select queue_name, url, headers, timeout_ms, retention_s, transport from qctl.queue order by 1",
                      "select relation::text, operations, when_sql, columns, payload from qctl.attachment order by 1",
                      "select survive_failover, armed_by from qctl.arming",
                      "select tgrelid::regclass::text, tgname from pg_trigger where not tgisinternal order by 1, 2",
                      "select verb, queue_name from qctl.audit where verb not in ('upgrade', 'arm') order by 1, 2"):  # fmt: skip
            assert there.execute(query).fetchall() == conn.execute(query).fetchall(), query


def test_what_a_file_leaves_out_of_an_attachment_stays(conn, dsn, file):
    ok("create", "orders", "--url", "https://e.org/o", dsn=dsn)
    ok("attach", "public.orders", "-q", "orders", "--on-error", "skip", "--max-size", "4k", "--payload", "supabase", "--when",
    "new.id > 0",
       "--on", "insert", dsn=dsn)  # fmt: skip
    head = '[queues.orders]\nurl = "https://e.org/o"\n[queues.orders.attach."public.orders"]\n'
    file.write_text(head)
    assert set(plan(file, dsn).values()) == {"leave"}
    file.write_text(head + 'on = ["insert", "update", "insert"]\nwhen = ""\n')
    assert plan(file, dsn, 8)["attachment public.orders"] == "change operations, when"
    ok("apply", str(file), "--yes", dsn=dsn)
    assert set(plan(file, dsn).values()) == {"leave"}
    row = conn.execute("select operations, when_sql, payload, on_error, max_bytes from qctl.attachment").fetchone()
    assert row == (["UPDATE", "INSERT"], None, "supabase", "skip", 4096)


def test_apply_blocks_no_writer_for_long_while_a_table_is_locked(conn, other, dsn, file):
    import time

    conn.execute("create table public.held (id int primary key)")
    file.write_text(
        '[queues.orders]\nurl = "https://e.org/o"\n[queues.orders.attach."public.orders"]\n[queues.orders.attach."public.held"]\n'
    )
    worst = 0.0
    with other.transaction():
        other.execute("lock table public.held in row exclusive mode")
        process = subprocess.Popen(
            [str(QCTL), "apply", str(file), "--yes"], env=environment(QCTL_DSN=dsn), stderr=subprocess.PIPE, text=True
        )
        until = time.monotonic() + 4
        for number in range(10_000):
            if time.monotonic() > until:
                break
            started = time.monotonic()
            conn.execute("insert into public.orders values (%s, 1)", (number,))
            worst = max(worst, time.monotonic() - started)
            time.sleep(0.02)
    _, talk = process.communicate(timeout=30)
    assert process.returncode == 0, talk
    assert "locked by another session" in talk
    assert worst < 1.5
    assert set(plan(file, dsn).values()) == {"leave"}
