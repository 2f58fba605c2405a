"""qctl backfill: rows that exist already, sent once each, whatever happens in the middle."""

import json
import signal
import subprocess
import time

import psycopg
import pytest

from helpers import create, one
from processes import QCTL, environment, ok, qctl, wait_until


@pytest.fixture
def table(conn):
    create(conn)
    conn.execute("create table public.users (id int primary key, name text, updated_at timestamptz default now())")
    conn.execute("insert into public.users select n, 'user ' || n from generate_series(1, 1200) n")
    return conn


def queued(conn) -> int:
    return one(conn, "select count(*) from pgmq.q_orders")


def test_all_rows_are_queued_and_the_run_is_shown(table, dsn):
    assert (
        ok("backfill", dsn=dsn).stderr == "no backfill has run. Next: qctl backfill SCHEMA.TABLE -q QUEUE --dry-run\n"
    )
    preview = ok("backfill", "public.users", "-q", "orders", "--dry-run", "-o", "json", dsn=dsn)
    assert json.loads(preview.stdout)[0]["rows"] == 1200
    assert preview.stderr == "nothing was changed; 1,200 rows of public.users would be read\n"
    assert queued(table) == 0
    assert one(table, "select count(*) from qctl.backfill") == 0
    done = ok("backfill", "public.users", "-q", "orders", "-o", "json", dsn=dsn)
    (row,) = json.loads(done.stdout)
    assert (row["state"], row["scanned"], row["queued"]) == ("done", 1200, 1200)
    assert done.stderr == ""
    assert queued(table) == 1200
    assert json.loads(ok("backfill", "-o", "json", dsn=dsn).stdout) == [row]


def test_a_time_and_a_condition(table, dsn):
    table.execute("update public.users set updated_at = now() - interval '2 days' where id > 10")
    ok(
        "backfill",
        "public.users",
        "-q",
        "orders",
        "--since",
        "1d",
        "--by",
        "updated_at",
        "--where",
        "id % 2 = 0",
        dsn=dsn,
    )
    assert queued(table) == 5


def test_a_run_that_was_killed_goes_on_and_sends_each_row_once(table, dsn):
    """By kill -9 in the middle, then Ctrl-C, then to the end; status says what to type."""
    command = [str(QCTL), "backfill", "public.users", "-q", "orders", "--rate", "200/s"]
    for kill, at in ((signal.SIGKILL, 200), (signal.SIGINT, 500)):
        process = subprocess.Popen(
            command, env=environment(QCTL_DSN=dsn), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        wait_until(lambda at=at: queued(table) >= at, 30)
        process.send_signal(kill)
        _, talk = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "to go on: qctl backfill public.users -q orders" in talk
    assert 500 <= queued(table) < 1200
    told = ok("status", dsn=dsn).stderr
    assert "backfill of public.users into orders is running" in told
    table.execute("update qctl.backfill set page_at = page_at - interval '1 minute'")
    told = ok("status", dsn=dsn).stderr
    assert "is stopped" in told
    again = told.partition("to go on: ")[2].strip()
    done = subprocess.run(
        ["sh", "-c", f"{again} --rate 5000/s"],
        env=environment(QCTL_DSN=dsn, PATH=f"{QCTL.parent}:/usr/bin:/bin"),
        check=True,
        capture_output=True,
        text=True,
    )
    assert "1,200" in done.stdout
    assert queued(table) == 1200
    assert one(table, "select count(distinct message -> 'record' ->> 'id') from pgmq.q_orders") == 1200


def test_pause_cancel_and_failure(table, dsn):
    failed = qctl("backfill", "public.users", "-q", "orders", "--where", "1 / (700 - id) > -10000", dsn=dsn)
    assert failed.returncode == 9
    assert "the backfill of public.users failed: SQLSTATE 22012" in failed.stderr
    assert "Try:  qctl backfill public.users -q orders" in failed.stderr
    before = queued(table)
    paused = ok("backfill", "public.users", "-q", "orders", "--pause", "-o", "json", dsn=dsn)
    assert json.loads(paused.stdout)[0]["state"] == "paused"
    other = qctl("backfill", "public.users", "-q", "orders", "--where", "true", dsn=dsn)
    assert other.returncode == 7
    assert "to end it: qctl backfill public.users -q orders --cancel" in other.stderr
    ok("backfill", "public.users", "-q", "orders", "--cancel", dsn=dsn)
    assert qctl("backfill", "public.users", "-q", "orders", "--cancel", dsn=dsn).returncode == 6
    ok("backfill", "public.users", "-q", "orders", dsn=dsn)
    assert queued(table) == before + 1200


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["public.nothing"], 6, "not found"),
        (["public.users", "--since", "1d"], 2, "--since and --by need each other"),
        (["public.users", "--since", "1d", "--by", "nothing"], 6, "no column"),
        (["public.users", "--where", "nothing"], 2, "--where is not a valid condition"),
        (["public.users", "--columns", "nothing"], 6, "no column"),
        (["public.users", "--rate", "fast"], 2, "fast"),
        (["public.users", "--pause", "--where", "true"], 2, "--pause takes no other option"),
        (["public.users", "--pause"], 6, "no backfill"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(table, dsn, arguments, code, said):
    refused = qctl("backfill", *arguments, "-q", "orders", dsn=dsn)
    assert refused.returncode == code, refused.stderr
    assert said in refused.stderr
    assert queued(table) == 0


def test_beside_a_writer_each_row_arrives_once_or_newer_by_capture(table, dsn, endpoint, worker):
    """A writer updates, inserts and deletes, a worker delivers: the last message of each row is what the table has."""
    receiver = endpoint()
    table.execute("select qctl.set_queue('orders', %s)", [receiver.url])
    table.execute("select qctl.attach('public.users', 'orders', p_order_by => 'id')")
    worker("-q", "orders")
    process = subprocess.Popen(
        [str(QCTL), "backfill", "public.users", "-q", "orders", "--rate", "600/s"], env=environment(QCTL_DSN=dsn)
    )
    with psycopg.connect(dsn, autocommit=True) as writer:
        number = 0
        while process.poll() is None:
            number += 1
            writer.execute("update public.users set name = 'v' || %s where id %% 100 = %s", (number, number % 100))
            writer.execute("insert into public.users values (%s, 'new')", (5000 + number,))
            writer.execute("delete from public.users where id = %s", (300 + number,))
            time.sleep(0.01)
    assert process.returncode == 0
    wait_until(lambda: queued(table) == 0, 60)
    rows = table.execute(
        "select message from (select msg_id, message from pgmq.a_orders"
        " union all select msg_id, message from pgmq.q_orders) m order by msg_id"
    ).fetchall()
    last = {}
    reads = []
    for (message,) in rows:
        row = message["record"] or message["old_record"]
        if message["operation"] == "READ":
            reads.append(row["id"])
            assert last.get(row["id"]) != "gone"
            if row["id"] in last:
                assert last[row["id"]] == row["name"], "a READ is never older than a change before it"
        last[row["id"]] = "gone" if message["operation"] == "DELETE" else row["name"]
    assert len(reads) == len(set(reads))
    present = dict(table.execute("select id, name from public.users").fetchall())
    assert {key: name for key, name in last.items() if name != "gone"} == present
