"""qctl apply: one file for queues and attachments."""

import json
import subprocess
import threading
import time

import pytest

from helpers import URL, one
from processes import QCTL, environment, failing, ok, qctl

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
    assert "3 changes will be made" in failing(7, "apply", str(file), dsn=dsn)
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
    assert plan(file, dsn, 8)["queue extra"] == "extra not in the file; unchanged"
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
        ("[queues.orders", "is not valid TOML"),
        ("[queues.orders]\nurl = 5", "has no url"),
        ('[queues.orders]\nurl = "https://e.org"\ntimeuot = "5s"', "no such key: timeuot"),
        ('[queues.orders]\nurl = "https://e.org"\ntimeout = "soon"', "queues.orders.timeout: 'soon' is not a duration"),
        ('[queues.orders]\nurl = "https://e.org"\nheaders = ["x"]', "headers is not a table"),
        ('[queues.orders]\nurl = "https://e.org"\nretry = 5', "retry: 5 is not a list"),
        ('[queues.orders]\nurl = "https://e.org"\n[queues.orders.attach."t"]\non = "insert"', "on is not a list"),
        ("queues = 1", "is not a table"),
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
    conn.execute("create table public.held (id int primary key)")
    file.write_text(
        '[queues.orders]\nurl = "https://e.org/o"\n[queues.orders.attach."public.orders"]\n[queues.orders.attach."public.held"]\n'
    )
    worst = 0.0
    talk: list[str] = []
    with other.transaction():
        other.execute("lock table public.held in row exclusive mode")
        process = subprocess.Popen(
            [str(QCTL), "apply", str(file), "--yes"], env=environment(QCTL_DSN=dsn), stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        listener = threading.Thread(target=talk.extend, args=(process.stderr,))
        listener.start()
        until = time.monotonic() + 60
        number = 0
        # Until it has met the lock twice.
        while sum("locked by another session" in line for line in talk) < 2:
            assert time.monotonic() < until, talk
            started = time.monotonic()
            conn.execute("insert into public.orders values (%s, 1)", (number,))
            worst = max(worst, time.monotonic() - started)
            number += 1
            time.sleep(0.02)
    assert process.wait(30) == 0, talk
    listener.join()
    process.stderr.close()
    assert worst < 1.5
    assert set(plan(file, dsn).values()) == {"leave"}


def test_a_file_declares_them_too(conn, dsn, tmp_path):
    conn.execute("create table public.carts (id int primary key, user_id int)")
    file = tmp_path / "qctl.toml"
    file.write_text(
        f"""
        [queues.orders]
        url = "{URL}"
        rate = "50/s"
        concurrency = "auto"
        breaker_after = 3
        breaker_share = 0.5
        breaker_pause = "20s"
        expect_json = {{ ok = true }}
        order_retry = ["1s", "1m"]
        allow_networks = ["10.0.0.0/8"]
        on_dead = "block"
        [queues.orders.attach."public.carts"]
        order_by = "record.user_id"
        """
    )
    ok("apply", str(file), "--yes", dsn=dsn)
    assert ok("apply", str(file), "--check", dsn=dsn).returncode == 0
    assert conn.execute("select rate_per_s, concurrency_auto, ordered, on_dead from qctl.queue").fetchone() == (
        50,
        True,
        True,
        "block",
    )
    assert one(conn, "select order_by from qctl.attachment") == "user_id"
    file.write_text(file.read_text().replace('"50/s"', '"none"'))
    assert qctl("apply", str(file), "--check", dsn=dsn).returncode == 8


@pytest.mark.parametrize(
    "lost", ["drop table app.t", "drop table app.t; create table app.t (id int primary key)", "drop schema app cascade"]
)
def test_apply_of_other_things_works_whatever_happened_to_an_attached_table(conn, dsn, tmp_path, lost):
    conn.execute(
        "create schema app; create table app.t (id int primary key); create table public.u (id int primary key)"
    )
    path = tmp_path / "qctl.toml"
    one_queue = '[queues.orders]\nurl = "https://example.org/x"\ntransport = "http"\n'
    path.write_text(f'{one_queue}[queues.orders.attach."app.t"]\n')
    ok("apply", str(path), "--yes", dsn=dsn)
    conn.execute(lost)
    path.write_text(f'{one_queue}[queues.orders.attach."public.u"]\n')
    ok("apply", str(path), "--yes", dsn=dsn)
    conn.execute("insert into public.u values (1)")
    assert one(conn, "select message ->> 'table' from pgmq.q_orders") == "u"
