"""The index of an ordered queue is made and dropped without holding up a writer."""

import threading
import time

import psycopg
import pytest

from helpers import create, one
from processes import ok

VALID = "select indisvalid from pg_index where indexrelid = to_regclass('pgmq.qctl_order_orders')"
LARGE = """
    insert into pgmq.q_orders (vt, message, headers)
    select now(), jsonb_build_object('filler', repeat('x', 900)), '{"x-pgmq-group": "1"}' from generate_series(1, 20000)"""


@pytest.fixture
def queue(conn):
    create(conn)
    conn.execute("create table t (id int)")
    conn.execute("select qctl.attach('public.t', 'orders')")
    return conn


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("option", ["--ordered", "--no-ordered"])
@pytest.mark.slow
def test_an_open_transaction_that_wrote_to_the_queue_holds_up_no_writer(queue, other, dsn, option, large):
    if option == "--no-ordered":
        ok("set", "-q", "orders", "--ordered", dsn=dsn)
    if large:
        queue.execute(LARGE)
    longest = 0.0
    done = threading.Event()

    def write() -> None:
        nonlocal longest
        with psycopg.connect(dsn, autocommit=True) as writer:
            while not done.wait(0.05):
                started = time.monotonic()
                writer.execute("insert into t values (2)")
                longest = max(longest, time.monotonic() - started)

    writing = threading.Thread(target=write)
    setting = threading.Thread(target=ok, args=("set", "-q", "orders", option), kwargs={"dsn": dsn})
    with other.transaction():
        other.execute("insert into t values (1)")
        writing.start()
        setting.start()
        setting.join(4)
        assert setting.is_alive()
    setting.join(20)
    done.set()
    writing.join(10)
    assert longest < 2.5
    assert queue.execute(VALID).fetchall() == ([(True,)] if option == "--ordered" else [])
    assert one(queue, "select ordered from qctl.queue") is (option == "--ordered")


def test_an_index_that_was_broken_off_is_found_and_made_again(queue, other, dsn):
    queue.execute("select qctl.set_queue('orders', p_settings => '{\"ordered\": true}')")
    queue.execute("drop index pgmq.qctl_order_orders")
    queue.execute(LARGE)
    statement = ok("set", "-q", "orders", "--ordered", "--sql").stdout.splitlines()[0]
    with other.transaction():
        other.execute("insert into t values (1)")
        queue.execute("set lock_timeout = '200ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            queue.execute(statement)
    assert queue.execute(VALID).fetchall() == [(False,)]
    assert (
        "its index by order key is invalid, so each claim reads the whole queue",
        "qctl set -q orders --ordered",
    ) in (queue.execute("select problem, fix from qctl.doctor()").fetchall())
    with pytest.raises(psycopg.DatabaseError, match="too large for its index"):
        queue.execute("select qctl.set_queue('orders', p_settings => '{\"ordered\": true}')")
    ok("set", "-q", "orders", "--ordered", dsn=dsn)
    assert queue.execute(VALID).fetchall() == [(True,)]


def test_the_printed_statements_do_the_same_each_by_itself_and_again(queue, dsn):
    make = ok("set", "-q", "orders", "--ordered", "--sql").stdout.splitlines()
    take = ok("set", "-q", "orders", "--no-ordered", "--sql").stdout.splitlines()
    assert [line.split("(")[0].split(" if ")[0] for line in (*make, *take)] == [
        "create index concurrently", "select * from \"qctl\".\"set_queue\"", "select * from \"qctl\".\"set_queue\"",
        "drop index concurrently",
    ]  # fmt: skip
    for _ in range(2):
        for statement in make:
            queue.execute(statement)
    beside = one(queue, "select pg_get_indexdef('pgmq.qctl_order_orders'::regclass)")
    for _ in range(2):
        for statement in take:
            queue.execute(statement)
    assert queue.execute(VALID).fetchall() == []
    queue.execute("select qctl.set_queue('orders', p_settings => '{\"ordered\": true}')")
    assert one(queue, "select pg_get_indexdef('pgmq.qctl_order_orders'::regclass)") == beside


def test_a_table_is_attached_by_order_key_to_a_large_queue(queue, dsn):
    queue.execute(LARGE)
    queue.execute("create table u (id int)")
    ok("attach", "public.u", "-q", "orders", "--order-by", "record.id", dsn=dsn)
    assert queue.execute(VALID).fetchall() == [(True,)]


def test_an_index_that_is_not_needed_any_more_is_told_of(queue):
    queue.execute("select qctl.set_queue('orders', p_settings => '{\"ordered\": true}')")
    queue.execute("select qctl.set_queue('orders', p_settings => '{\"ordered\": false}')")
    assert ("it has an index by order key that it does not need", "qctl set -q orders --no-ordered") in (
        queue.execute("select problem, fix from qctl.doctor()").fetchall()
    )
