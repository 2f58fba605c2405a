"""qctl attach: its options, and what it refuses."""

import json

import pytest

from helpers import create, one
from processes import failed, failing, ok, qctl


def test_attach_with_every_option_and_again(full, dsn):
    full.execute("create table public.t (id int primary key, v text) partition by range (id)")
    done = qctl(
        "attach", "public.t", "-q", "orders", "--on", "insert,truncate", "--replicated", "--on-error", "skip",
        "--max-size", "64k", dsn=dsn,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "not seen" not in done.stderr
    described = json.loads(qctl("describe", "orders", "-o", "json", dsn=dsn).stdout)
    [found] = [a for a in described["attachments"] if a["relation"] == "public.t"]
    assert (found["level"], found["replicated"], found["on_error"], found["max_bytes"]) == ("row", True, "skip", 65536)
    assert sorted(found["operations"]) == ["INSERT", "TRUNCATE"]
    assert found["triggers"] == "ok"
    assert qctl("attach", "public.t", "-q", "orders", "--again", dsn=dsn).returncode == 0
    again = json.loads(qctl("describe", "orders", "-o", "json", dsn=dsn).stdout)["attachments"]
    assert found["max_bytes"] in {a["max_bytes"] for a in again}
    failed(6, "attach", "public.nosuch", "-q", "orders", "--again", dsn=dsn)


@pytest.mark.parametrize(
    "options", [("--on-error", "shrug"), ("--max-size", "9g"), ("--max-size", "2m"), ("--on", "insert,select")]
)
def test_bad_options_of_attach(full, dsn, options):
    full.execute("create table public.t (id int primary key)")
    failed(2, "attach", "public.t", "-q", "orders", *options, dsn=dsn)


def test_attach_order_by(conn, dsn):
    create(conn)
    conn.execute("create table public.carts (id int primary key, user_id int)")
    ok("attach", "public.carts", "--order-by", "record.user_id", "--on-dead", "block", dsn=dsn)
    assert one(conn, "select on_dead from qctl.queue") == "block"
    assert qctl("attach", "public.carts", "--on-dead", "block", dsn=dsn).returncode == 2
    assert json.loads(ok("describe", "orders", "-o", "json", dsn=dsn).stdout)["attachments"][0]["order_by"] == "user_id"
    assert (
        "\"p_order_by\" => 'record.x'"
        in ok("attach", "t", "-q", "q", "--order-by", "record.x", "--sql", dsn=dsn).stdout
    )


@pytest.mark.slow
def test_a_locked_table_is_busy(conn, dsn, other, monkeypatch):
    create(conn)
    conn.execute("create table public.users (id int)")
    with other.transaction():
        other.execute("lock table public.users")
        talk = failing(10, "attach", "public.users", dsn=dsn)
    assert "try 2 of 5" in talk
    assert "lock" in talk


def test_change_says_what_stays_held_and_how_it_is_queued(conn, dsn):
    create(conn)
    conn.execute("create table public.users (id int)")
    ok("attach", "public.users", "-q", "orders", "--on", "insert", "--when", "10 / new.id > 0", dsn=dsn)
    conn.execute("insert into users values (0), (0)")
    done = ok("attach", "public.users", "-q", "orders", "--change", dsn=dsn)
    assert "2 held events cannot be judged and stay; to queue them as they are, add --release" in done.stderr
    done = ok("attach", "public.users", "-q", "orders", "--change", "--release", dsn=dsn)
    assert "2 held events queued" in done.stderr
    assert "stay" not in done.stderr
