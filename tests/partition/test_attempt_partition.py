"""The attempt log in partitions by date: what all queues share must serve each of them as before."""

import json
import threading

import psycopg
import pytest

from helpers import claim, create, deliver, grow_old, one, send, settle, state
from processes import ok, qctl


def partitions(conn) -> int:
    return one(conn, "select count(*) from pg_inherits where inhparent = 'qctl.attempt'::regclass")


def plain(conn) -> bool:
    return one(conn, "select relkind::text = 'r' from pg_class where oid = 'qctl.attempt'::regclass")


def attempts(conn, where: str = "true") -> int:
    return one(conn, f"select count(*) from qctl.attempt where {where}")


def oldest_days(conn) -> float:
    return float(one(conn, "select extract(epoch from now() - min(settled_at)) / 86400 from qctl.attempt"))


def maintain(conn) -> None:
    conn.execute("update qctl.upkept set retained_at = null")
    conn.execute("call qctl.maintenance('10 s')")


@pytest.fixture
def aged(conn, dsn):
    """Archive and log in partitions, with 20 days of history."""
    create(conn)
    grow_old(conn, 20)
    ok("partition", "-q", "orders", dsn=dsn)
    conn.execute("analyze")
    return conn


def test_a_new_queue_puts_an_empty_log_into_partitions_and_leaves_a_full_one(conn, dsn):
    create(conn, "first")
    send(conn, 1, "first")
    settle(conn, claim(conn, 1, "first"), 200, name="first")
    done = ok("create", "orders", "--url", "http://127.0.0.1:9/x", "--partition", "daily", dsn=dsn)
    assert plain(conn)
    assert "qctl partition -q orders" in done.stderr
    conn.execute("delete from qctl.attempt")
    done = ok("create", "third", "--url", "http://127.0.0.1:9/x", "--partition", "daily", dsn=dsn)
    assert partitions(conn) > 4
    assert "qctl partition" not in done.stderr


def test_what_was_logged_before_is_moved_in_and_everything_goes_on(aged, dsn):
    assert (attempts(aged), partitions(aged) > 20) == (1000, True)
    assert one(aged, "select to_regclass('qctl.attempt_old')") is None
    assert one(aged, "select count(*) from qctl.attempt_default") == 0
    [message] = deliver(aged)
    assert state(aged, message.msg_id) == "delivered"
    send(aged)
    [other] = claim(aged)
    settle(aged, [other], 503)
    aged.execute("select qctl.replay('orders', %s)", [[other.msg_id]])
    settle(aged, claim(aged), 400)
    assert attempts(aged, f"msg_id = {other.msg_id}") == 2
    for command in (["tail"], ["status"], ["messages"], ["dead"], ["scale"], ["show", f"orders/{other.msg_id}"]):
        ok(*command, dsn=dsn)
    ok("verify", dsn=dsn)
    ok("upgrade", "--repair", dsn=dsn)
    aged.execute("drop table if exists qctl.attempt_default")
    ok("verify", dsn=dsn)
    maintain(aged)
    assert attempts(aged) == 2 + one(aged, "select count(*) from pgmq.a_orders") > 300


def test_moving_attempts_goes_on_where_it_was_interrupted(conn):
    create(conn)
    grow_old(conn, 20)
    conn.execute("select * from qctl.partition_attempts('daily')")
    conn.execute("analyze qctl.attempt_old")
    moved = one(conn, "select qctl.move_attempts(100)")
    assert 0 < moved < 500
    assert one(conn, "select max(settled_at) from qctl.attempt_old") < one(
        conn, "select min(settled_at) from qctl.attempt"
    )
    assert one(conn, "select to_move from qctl.partition_attempts('daily')") == 1000 - moved
    while one(conn, "select qctl.move_attempts(400)"):
        pass
    assert attempts(conn) == 1000


def test_delivery_goes_on_while_the_log_is_put_into_partitions(conn, dsn):
    create(conn)
    failures, delivered, stop = [], [], threading.Event()

    def work() -> None:
        with psycopg.connect(dsn, autocommit=True) as worker:
            while not stop.is_set():
                try:
                    delivered.extend(m.msg_id for m in deliver(worker, 5))
                except psycopg.Error as error:
                    failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        while len(delivered) < 100:
            pass
        ok("partition", "-q", "orders", dsn=dsn)
        seen = len(delivered)
        while len(delivered) < seen + 50:
            pass
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures
    assert one(conn, "select count(distinct msg_id) from qctl.attempt") == attempts(conn) == len(set(delivered))
    assert one(conn, "select count(*) from pgmq.a_orders") == len(set(delivered))


def test_purge_drops_what_no_archive_needs_and_keeps_what_is_not_done(aged, dsn):
    # A dead letter and a message under way whose attempts are as old as what is purged.
    send(aged, 2)
    first, second = claim(aged, 2)
    settle(aged, [first], 410)
    aged.execute("select qctl.resume('orders')")
    aged.execute("update qctl.queue set reject_after = 1, breaker_after = 0")
    settle(aged, [second], 400)
    left = [m for m in (first.msg_id, second.msg_id) if state(aged, m) in ("dead", "retrying", "ready")]
    assert left == [first.msg_id, second.msg_id]
    aged.execute("update qctl.attempt set settled_at = now() - interval '15 days' where msg_id = any (%s)", [left])
    old = one(aged, "select count(*) from pgmq.a_orders where archived_at < now() - interval '7 days'")
    done = ok("purge", "--older-than", "7d", "-q", "orders", "-o", "tsv", dsn=dsn)
    assert done.stdout.splitlines()[1].split("\t")[2] == str(old)
    assert attempts(aged, "msg_id = any (array(select msg_id from pgmq.a_orders))") == 1000 - old
    oldest = one(
        aged, "select extract(epoch from now() - min(settled_at)) / 86400 from qctl.attempt where msg_id >= 100000"
    )
    assert 6.9 < oldest < 8.1
    assert partitions(aged) < 20
    assert attempts(aged, f"msg_id in ({first.msg_id}, {second.msg_id})") == 2
    assert one(aged, "select count(*) from qctl.attempt_default") == 2
    # It goes when nobody has a use for it.
    ok("discard", f"orders/{first.msg_id}", "--yes", dsn=dsn)
    ok("purge", "--dead", "--older-than", "0s", "-q", "orders", "--yes", dsn=dsn)
    assert attempts(aged, f"msg_id = {second.msg_id}") == 0


def test_the_log_stays_while_another_queue_needs_that_time(aged, dsn):
    create(aged, "other")
    aged.execute(
        "insert into pgmq.a_other (msg_id, enqueued_at, archived_at, vt, message)"
        " select 1, t, t, t, '{}' from (select now() - interval '30 days') s (t)"
    )
    ok("purge", "--older-than", "7d", "-q", "orders", dsn=dsn)
    assert oldest_days(aged) > 19
    aged.execute("delete from pgmq.a_other")
    maintain(aged)
    assert 6.9 < oldest_days(aged) < 8.1


def test_the_log_stays_while_an_archive_is_being_moved(aged):
    create(aged, "other")
    aged.execute("select qctl.partition_archive('other')")
    aged.execute("create table pgmq.a_other_old (like pgmq.a_other)")
    aged.execute("drop table if exists pgmq.a_orders cascade")
    maintain(aged)
    assert attempts(aged) == 1000
    aged.execute("drop table pgmq.a_other_old")
    maintain(aged)
    assert oldest_days(aged) < 2.1


@pytest.mark.parametrize("log", [False, True])
def test_retention_takes_the_attempts_along(conn, dsn, log):
    create(conn)
    grow_old(conn, 20)
    conn.execute("select qctl.partition_archive('orders')")
    while one(conn, "select qctl.move_archived('orders')"):
        pass
    if log:
        ok("partition", "-q", "orders", dsn=dsn)
    ok("set", "-q", "orders", "--retention", "7d", dsn=dsn)
    maintain(conn)
    assert 6.9 < oldest_days(conn) < 8.1
    assert attempts(conn) == one(conn, "select count(*) from pgmq.a_orders")
    assert one(conn, "select count(*) from qctl.audit where verb ~ 'failed'") == 0


def test_a_dropped_queue_leaves_no_attempts_in_any_partition(aged, dsn):
    create(aged, "other")
    send(aged, 3, "other")
    settle(aged, claim(aged, 3, "other"), 200, name="other")
    ok("drop", "orders", "--with-archive", "--yes", dsn=dsn)
    aged.execute("update qctl.upkept set swept_at = null")
    aged.execute("call qctl.maintenance('10 s')")
    assert attempts(aged) == 3
    assert attempts(aged, "queue_id = (select queue_id from qctl.queue where queue_name = 'other')") == 3


def test_who_might_read_the_log_still_may(conn, dsn):
    create(conn)
    deliver(conn)
    conn.execute("create role looker login")
    try:
        ok("grant", "looker", "--as", "read", dsn=dsn)
        ok("partition", "-q", "orders", dsn=dsn)
        with psycopg.connect(dsn, autocommit=True, user="looker") as theirs:
            assert one(theirs, "select count(*) from qctl.attempt") == 1
    finally:
        conn.execute("drop owned by looker; drop role looker")


def test_a_view_of_others_upon_the_log_is_named_and_nothing_is_changed(conn, dsn):
    create(conn)
    deliver(conn)
    conn.execute("create view public.failures as select * from qctl.attempt where outcome <> 'delivered'")
    done = qctl("partition", "-q", "orders", dsn=dsn)
    assert done.returncode == 7
    assert "failures" in done.stderr
    assert plain(conn)
    assert one(conn, "select relkind::text from pg_class where oid = 'pgmq.a_orders'::regclass") == "r"


def test_uninstall_leaves_nothing_of_the_log_with_partman(aged, dsn):
    ok("uninstall", "--yes", dsn=dsn)
    assert one(aged, "select count(*) from partman.part_config where strpos(parent_table, 'qctl') = 1") == 0
    assert one(aged, "select count(*) from pg_class where strpos(relname, 'qctl_attempt') > 0") == 0


@pytest.mark.parametrize("interval", ["hourly", "daily", "weekly", "monthly"])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
def test_every_interval_moves_in_whatever_the_time_zone(conn, dsn, interval, zone):
    create(conn)
    days = 3 if interval == "hourly" else 40
    grow_old(conn, days, 200)
    conn.execute("select * from qctl.partition_archive('orders', %s)", (interval,))
    conn.execute("select * from qctl.partition_attempts(%s)", (interval,))
    conn.execute("select set_config('timezone', %s, false)", (zone,))
    for call in ("qctl.move_archived('orders', 30)", "qctl.move_attempts(30)"):
        while one(conn, f"select {call}"):
            pass
    for table in ("pgmq.a_orders", "qctl.attempt"):
        assert one(conn, f"select count(*) from {table}") == 200
        assert one(conn, f"select count(*) from {table}_default") == 0
        assert one(conn, f"select to_regclass('{table}_old')") is None
    conn.execute("update qctl.queue set retention_s = 86400 * 2")
    maintain(conn)
    assert attempts(conn) >= one(conn, "select count(*) from pgmq.a_orders") > 0
    gone = "not exists (select from pgmq.a_orders a where a.msg_id = t.msg_id) and t.settled_at < now() - interval '70 days'"
    assert one(conn, f"select count(*) from qctl.attempt t where {gone}") == 0


def test_a_clock_change_drops_no_more_and_no_less(aged):
    aged.execute("set timezone = 'America/New_York'")
    aged.execute("delete from pgmq.a_orders where archived_at < now() - interval '10 days'")
    calls = 0
    while one(aged, "select qctl.purge_attempts('orders', now())"):
        calls += 1
        assert calls < 3
    assert one(aged, "select count(*) from pgmq.a_orders a where not exists"
                     " (select from qctl.attempt t where t.msg_id = a.msg_id)") == 0  # fmt: skip
    assert oldest_days(aged) < 11.1


def test_what_was_delivered_late_keeps_its_early_attempts(aged):
    send(aged)
    [message] = claim(aged)
    settle(aged, [message], 503)
    aged.execute("update qctl.attempt set settled_at = now() - interval '15 days' where msg_id = %s", (message.msg_id,))
    aged.execute("update qctl.retry set next_at = now(); update pgmq.q_orders set vt = now()")
    settle(aged, claim(aged), 200)
    assert state(aged, message.msg_id) == "delivered"
    aged.execute("update qctl.queue set retention_s = 86400 * 7")
    maintain(aged)
    assert oldest_days(aged) > 14
    assert attempts(aged, f"msg_id = {message.msg_id}") == 2
    oldest = one(
        aged, "select extract(epoch from now() - min(settled_at)) / 86400 from qctl.attempt where msg_id >= 100000"
    )
    assert 6.9 < oldest < 8.1


def test_messages_that_wait_to_be_moved_keep_their_attempts_in_a_plain_log(conn):
    create(conn)
    grow_old(conn, 20)
    conn.execute("select * from qctl.partition_archive('orders')")
    conn.execute("update qctl.queue set retention_s = 86400 * 30")
    maintain(conn)
    assert attempts(conn) == 1000
    conn.execute("select qctl.purge_attempts('orders', now())")
    assert attempts(conn) == 1000


def test_a_drop_while_the_log_is_being_moved_waits(conn):
    create(conn)
    grow_old(conn, 20)
    conn.execute("select * from qctl.partition_attempts('daily')")
    conn.execute("analyze qctl.attempt_old")
    conn.execute("select qctl.move_attempts(500)")
    conn.execute("delete from pgmq.a_orders")
    maintain(conn)
    while one(conn, "select qctl.move_attempts(400)"):
        pass
    assert attempts(conn) == 1000
    maintain(conn)
    assert oldest_days(conn) < 2.1


def test_after_a_stand_still_the_partitions_are_made_again(aged):
    aged.execute(
        "do $$ declare p regclass; begin for p in select name from qctl._partition_bounds('qctl.attempt') where ends > now() loop"
        " execute 'drop table ' || p; end loop;"
        " for p in select name from qctl._partition_bounds('pgmq.a_orders') where ends > now() loop"
        " execute 'drop table ' || p; end loop; end $$"
    )
    before = attempts(aged)
    deliver(aged, 3)
    assert one(aged, "select count(*) from qctl.attempt_default") == 3
    maintain(aged)
    deliver(aged, 2)
    assert one(aged, "select count(*) from qctl.attempt_default") == 0
    assert one(aged, "select count(*) from pgmq.a_orders_default") == 0
    assert attempts(aged, "settled_at > now() - interval '1 h'") >= 5
    assert attempts(aged) <= before + 5
    assert one(aged, "select count(*) from qctl.audit where verb ~ 'failed'") == 0


def test_what_another_holds_of_partman_is_not_deleted_row_by_row(aged, dsn):
    aged.execute("delete from pgmq.a_orders where archived_at < now() - interval '10 days'")
    before, parts = attempts(aged), partitions(aged)
    with psycopg.connect(dsn) as other:
        other.execute("select pg_advisory_xact_lock(hashtext('pg_partman drop_partition_time'))")
        assert one(aged, "select qctl.purge_attempts('orders', now())") == 0
        assert (attempts(aged), partitions(aged)) == (before, parts)
    assert one(aged, "select qctl.purge_attempts('orders', now())") > 300
    assert attempts(aged) < before - 300


def test_policies_and_publications_are_named(conn, dsn):
    create(conn)
    conn.execute("create policy own on qctl.attempt using (true)")
    assert "policy own" in qctl("partition", "-q", "orders", dsn=dsn).stderr
    conn.execute("drop policy own on qctl.attempt")
    conn.execute("create publication log for table qctl.attempt")
    assert "publication log" in qctl("partition", "-q", "orders", dsn=dsn).stderr


def test_a_role_that_did_not_install_qctl_is_told_who_did(conn, dsn):
    create(conn)
    conn.execute("create role installer; alter table qctl.attempt owner to installer")
    try:
        done = qctl("partition", "-q", "orders", dsn=dsn)
        assert (done.returncode, "installer" in done.stderr) == (4, True)
    finally:
        conn.execute("alter table qctl.attempt owner to postgres; drop role installer")


def test_uninstall_where_partman_belongs_to_somebody_else(conn, dsn):
    conn.execute("create schema partman; create extension pg_partman schema partman")
    ok("uninstall", "--yes", dsn=dsn)
    assert one(conn, "select to_regnamespace('qctl')") is None


def test_the_size_of_an_archive_is_that_of_its_partitions(aged, dsn):
    size = one(
        aged,
        "select sum(pg_total_relation_size(inhrelid)) from pg_inherits where inhparent = 'pgmq.a_orders'::regclass",
    )
    assert one(aged, "select bytes from qctl.archive_size('orders')") == size > 100_000
    assert "archive          0 B" not in ok("describe", "orders", dsn=dsn).stdout


def test_a_purge_of_parts_of_a_partition_takes_the_log_of_the_whole_ones_along(conn, dsn):
    create(conn)
    grow_old(conn, 40)
    conn.execute("select * from qctl.partition_archive('orders', 'monthly')")
    while one(conn, "select qctl.move_archived('orders')"):
        pass
    ok("partition", "-q", "orders", dsn=dsn)
    conn.execute("analyze")
    ok("purge", "--older-than", "2d", "-q", "orders", dsn=dsn)
    assert oldest_days(conn) < 3.1


def test_what_partitioning_says(conn, dsn):
    done = ok("create", "orders", "--url", "http://127.0.0.1:9/x", "--partition", "weekly", dsn=dsn)
    assert "its archive is in weekly partitions" in done.stderr
    create(conn, "old")
    conn.execute(
        "insert into pgmq.a_old (msg_id, enqueued_at, archived_at, vt, message)"
        " select n, t.at, t.at, t.at, '{}' from generate_series(1, 60) n, lateral (select now() - n * interval '1 d' as at) t"
    )
    [archive, log] = json.loads(ok("partition", "-q", "old", "-o", "json", dsn=dsn).stdout)
    assert (
        archive["partitions"]
        == one(conn, "select count(*) from pg_inherits where inhparent = 'pgmq.a_old'::regclass")
        > 60
    )
    assert (archive["to_move"], archive["changed"]) == (60, True)
    assert (log["table_name"], log["changed"]) == ("qctl.attempt", False)
