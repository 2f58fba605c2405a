"""Archives in partitions by date, kept by the real pg_partman through pgmq's own function."""

import threading

import psycopg
import pytest

from helpers import claim, create, deliver, grow_old, one, send, settle, state
from processes import ok, qctl


def partitions(conn) -> int:
    return one(conn, "select count(*) from pg_inherits where inhparent = 'pgmq.a_orders'::regclass")


@pytest.fixture
def queue(conn):
    create(conn)
    return conn


@pytest.fixture
def partitioned(queue, dsn):
    ok("partition", "-q", "orders", dsn=dsn)
    return queue


def test_a_new_queue_has_partitions_at_once_and_all_that_is_done_to_messages_goes_on(conn, dsn):
    ok("create", "orders", "--url", "http://127.0.0.1:9/x", "--partition", "daily", dsn=dsn)
    assert partitions(conn) > 4
    [first, second] = deliver(conn, 2)
    assert state(conn, first.msg_id) == "delivered"
    assert "delivered" in ok("show", f"orders/{first.msg_id}", dsn=dsn).stdout
    assert one(conn, "select replayed from qctl.replay('orders', %s) r (replayed)", [[first.msg_id]]) is not None
    assert state(conn, first.msg_id) in ("ready", "retrying")
    [again] = claim(conn, 10)
    settle(conn, [again], 500)
    assert state(conn, first.msg_id) == "retrying"
    ok("discard", f"orders/{first.msg_id}", "--reason", "enough", "--yes", dsn=dsn)
    assert state(conn, first.msg_id) == "dead"
    assert state(conn, second.msg_id) == "delivered"
    ok("verify", dsn=dsn)
    ok("messages", "--state", "delivered", dsn=dsn)
    ok("status", dsn=dsn)
    ok("describe", "orders", dsn=dsn)


def test_the_functions_of_a_queue_follow_its_archive(queue, dsn):
    archive = "select prosrc from pg_proc where proname ~ '^_archive_[0-9a-f]{32}$'"
    assert "on conflict" in one(queue, archive)
    queue.execute("select qctl.partition_archive('orders')")
    assert "on conflict" not in one(queue, archive)
    send(queue, 5)
    queue.execute("set track_functions = 'all'")
    with queue.transaction():
        assert settle(queue, claim(queue, 5), 200) == {"delivered": 5}
        calls = (
            "select count(*) from pg_stat_xact_user_functions where funcname ~ '^_(pick|lock|archive)_[0-9a-f]{32}$'"
        )
        assert one(queue, calls) == 3
    assert ok("verify", "-o", "json", dsn=dsn).stdout.strip() == "[]"


def test_an_archive_that_is_there_is_moved_in_newest_first_and_nothing_is_lost(queue, dsn):
    before = [m.msg_id for m in deliver(queue, 3)]
    grow_old(queue, 20)
    queue.execute("grant select on pgmq.a_orders to pg_monitor")
    done = ok("partition", "-q", "orders", dsn=dsn)
    assert "1,003 messages and 1,003 attempts moved" in done.stderr
    assert one(queue, "select count(*) from pgmq.a_orders") == 1003
    assert one(queue, "select count(*) from pgmq.a_orders_default") == 0
    assert partitions(queue) > 20
    assert one(queue, "select to_regclass('pgmq.a_orders_old')") is None
    assert one(queue, "select has_table_privilege('pg_monitor', 'pgmq.a_orders', 'select')")
    assert [state(queue, n) for n in before] == ["delivered"] * 3
    again = [line.split("\t") for line in ok("partition", "-q", "orders", "-o", "tsv", dsn=dsn).stdout.splitlines()[1:]]
    assert [(line[0], *line[2:]) for line in again] == [
        ("pgmq.a_orders", "0", "false"),
        ("qctl.attempt", "0", "false"),
    ]


def test_moving_goes_on_where_it_was_interrupted(queue):
    grow_old(queue, 20)
    queue.execute("select * from qctl.partition_archive('orders')")
    queue.execute("analyze pgmq.a_orders_old")
    moved = one(queue, "select qctl.move_archived('orders', 100)")
    assert 0 < moved < 500
    newest = one(queue, "select max(archived_at) from pgmq.a_orders_old")
    assert newest < one(queue, "select min(archived_at) from pgmq.a_orders"), "the newest are moved first"
    assert one(queue, "select to_move from qctl.partition_archive('orders')") == 1000 - moved
    while one(queue, "select qctl.move_archived('orders', 400)"):
        pass
    assert one(queue, "select count(*) from pgmq.a_orders") == 1000


def test_delivery_goes_on_while_the_archive_is_put_into_partitions(queue, dsn):
    failures, delivered, stop = [], [], threading.Event()

    def work() -> None:
        with psycopg.connect(dsn, autocommit=True) as worker:
            while not stop.is_set():
                try:
                    delivered.extend(m.msg_id for m in deliver(worker, 5))
                except psycopg.Error as error:
                    failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        done = ok("partition", "-q", "orders", dsn=dsn)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures
    assert "Traceback" not in done.stderr
    assert one(queue, "select count(distinct msg_id) from pgmq.a_orders") == len(set(delivered)) > 0


def test_retention_drops_whole_partitions(partitioned, dsn):
    grow_old(partitioned, 20)
    partitioned.execute("select partman.partition_data_time('pgmq.a_orders', 50)")
    assert partitions(partitioned) > 20
    ok("set", "-q", "orders", "--retention", "7d", dsn=dsn)
    partitioned.execute("call qctl.maintenance('10 s')")
    left = one(partitioned, "select count(*) from pgmq.a_orders")
    assert 350 <= left <= 401
    assert one(partitioned, "select min(archived_at) > now() - interval '8 days' from pgmq.a_orders")
    ok("set", "-q", "orders", "--retention", "never", dsn=dsn)
    partitioned.execute("update qctl.upkept set retained_at = null")
    partitioned.execute("call qctl.maintenance('10 s')")
    assert one(partitioned, "select retention from partman.part_config where parent_table = 'pgmq.a_orders'") is None
    assert one(partitioned, "select count(*) from pgmq.a_orders") == left


def test_purge_drops_partitions_and_deletes_the_rest_with_all_their_attempts(partitioned, dsn):
    grow_old(partitioned, 20)
    # Its temporary table has the columns of the first table for which a session calls it.
    for table in ("pgmq.a_orders", "qctl.attempt"):
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("select partman.partition_data_time(%s, 50)", (table,))
    partitioned.execute("analyze pgmq.a_orders")
    old = one(partitioned, "select count(*) from pgmq.a_orders where archived_at < now() - interval '7 days'")
    done = ok("purge", "--older-than", "7d", "-q", "orders", "-o", "tsv", dsn=dsn)
    assert done.stdout.splitlines()[1].split("\t")[2:4] == [str(old), str(old)]
    assert one(partitioned, "select count(*) from pgmq.a_orders") == 1000 - old
    assert one(partitioned, "select count(*) from qctl.attempt") == 1000 - old
    assert partitions(partitioned) < 20


def test_a_busy_archive_makes_purge_try_again_not_wait(partitioned, dsn):
    grow_old(partitioned, 20)
    partitioned.execute("select partman.partition_data_time('pgmq.a_orders', 50)")
    reader = psycopg.connect(dsn)
    reader.execute("select count(*) from pgmq.a_orders")
    release = threading.Timer(1.5, reader.rollback)
    release.start()
    try:
        ok("purge", "--older-than", "7d", "-q", "orders", dsn=dsn)
    finally:
        release.join()
        reader.close()
    assert one(partitioned, "select min(archived_at) > now() - interval '8 days' from pgmq.a_orders")


def test_drop_leaves_nothing_of_it_with_partman(partitioned, dsn):
    deliver(partitioned)
    ok("drop", "orders", "--with-archive", "--yes", dsn=dsn)
    assert one(partitioned, "select count(*) from pg_class where strpos(relname, 'a_orders') > 0") == 0
    assert one(partitioned, "select count(*) from partman.part_config where parent_table <> 'qctl.attempt'") == 0


def test_drop_keeps_the_archive_and_a_new_queue_takes_it_over(partitioned, dsn):
    [message] = deliver(partitioned)
    ok("drop", "orders", "--yes", dsn=dsn)
    assert one(partitioned, "select count(*) from pgmq.a_orders") == 1
    create(partitioned)
    assert deliver(partitioned)[0].msg_id > message.msg_id
    assert one(partitioned, "select count(*) from pgmq.a_orders") == 2


def test_what_is_refused(queue, dsn):
    assert qctl("partition", "-q", "orders", "--interval", "yearly", dsn=dsn).returncode == 2
    assert qctl("partition", "-q", "nosuch", dsn=dsn).returncode == 6
    assert 'select * from "qctl"."partition_archive"' in ok("partition", "-q", "orders", "--sql", dsn=dsn).stdout
    ok("partition", "-q", "orders", "--dry-run", dsn=dsn)
    assert one(queue, "select relkind::text from pg_class where oid = 'pgmq.a_orders'::regclass") == "r"
