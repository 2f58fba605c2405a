"""Maintenance as a list of steps: each fails alone, goes on where it stopped, and keeps each table within its bound."""

import psycopg
import pytest

from helpers import claim, create, grow_old, one, send, settle

KEEP_DAYS = '{"retention_s": 604800}'


def maintain(conn, seconds: float = 5) -> None:
    conn.execute(f"call qctl.maintenance('{seconds} s')")


@pytest.fixture
def queue(conn):
    create(conn)
    return conn


def test_an_attempt_that_took_a_month_stops_nothing(queue):
    send(queue, 1)
    [message] = claim(queue)
    queue.execute("update qctl.in_flight set claimed_at = claimed_at - interval '40 days'")
    settle(queue, [message], 200)
    queue.execute("update qctl.attempt set settled_at = date_trunc('minute', clock_timestamp()) - interval '3 min'")
    queue.execute("update qctl.upkept set rolled_to = date_trunc('minute', clock_timestamp()) - interval '5 min'")
    maintain(queue)
    assert one(queue, "select max(p95_ms) from qctl.throughput") == 2**31 - 1
    assert one(queue, "select count(*) from qctl.upkeep_step where failed_since is not null") == 0


def test_a_step_that_fails_stops_no_other_and_doctor_names_it(queue):
    queue.execute("alter table qctl.throughput add constraint no check (minute is null) not valid")
    queue.execute("insert into qctl.dedup select queue_id, 'k', 1, now() - interval '1 s' from qctl.queue")
    settle(queue, claim(queue) if send(queue) else [], 200)
    queue.execute("update qctl.attempt set settled_at = settled_at - interval '3 min'")
    maintain(queue)
    assert one(queue, "select count(*) from qctl.dedup") == 0
    [(step, state, error)] = queue.execute(
        "select step, sqlstate, error from qctl.upkeep_step where failed_since is not null"
    ).fetchall()
    assert (step, state) == ("roll_up", "23514")
    assert "violates check constraint" in error
    found = queue.execute("select problem, fix from qctl.doctor() where kind = 'maintenance'").fetchall()
    assert len(found) == 1
    assert "roll_up has failed since" in found[0][0]
    queue.execute("alter table qctl.throughput drop constraint no")
    queue.execute(found[0][1])
    assert queue.execute("select from qctl.doctor() where kind = 'maintenance'").fetchall() == []
    assert one(queue, "select count(*) from qctl.upkeep_step where failed_since is not null") == 0
    assert one(queue, "select sum(delivered) from qctl.throughput") == 1


def test_a_step_that_a_timeout_ends_comes_last_next_time(queue, other):
    queue.execute("insert into qctl.dedup select queue_id, 'k', 1, now() - interval '1 s' from qctl.queue")
    queue.execute(
        "create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(5); return new; end $$"
    )
    queue.execute("create trigger slow before insert on qctl.sample for each row execute function slow()")
    other.execute("set statement_timeout = '2s'")
    with pytest.raises(psycopg.errors.QueryCanceled):
        maintain(other)
    assert one(queue, "select count(*) from qctl.dedup") == 1
    with pytest.raises(psycopg.errors.QueryCanceled):
        maintain(other)
    assert one(queue, "select count(*) from qctl.dedup") == 0
    assert one(queue, "select step from qctl.upkeep_step where failed_since is not null") == "samples"


def test_retention_goes_on_behind_what_others_archived(queue):
    queue.execute(f"select qctl.set_queue('orders', p_settings => '{KEEP_DAYS}')")
    grow_old(queue, 20, 2000)
    queue.execute("insert into pgmq.a_orders (msg_id, read_ct, enqueued_at, archived_at, vt, message)"
                  " select 1000000 + n, 0, now() - interval '90 d', now() - interval '60 d', now(), '{}'"
                  " from generate_series(1, 40000) n")  # fmt: skip
    for _ in range(12):
        maintain(queue, 0.01)
    assert (
        one(queue, "select count(*) from pgmq.a_orders where archived_at < now() - interval '8 d' and msg_id < 1000000")
        == 0
    )
    assert one(queue, "select count(*) from pgmq.a_orders where msg_id >= 1000000") == 40000


def test_the_audit_has_a_bound(queue):
    queue.execute("insert into qctl.audit (verb) select 'breaker_opened' from generate_series(1, 130000)")
    queue.execute(
        "insert into qctl.audit (verb, at) select 'set', now() - interval '500 d' from generate_series(1, 10)"
    )
    maintain(queue)
    assert one(queue, "select count(*) from qctl.audit") <= 100_000


def test_small_tables_have_a_bound(queue):
    queue.execute("create table t (id int primary key); select qctl.attach('public.t', 'orders')")
    queue.execute("insert into qctl.capture_error select attachment_id, now() - n * interval '1 min', '23505', 'x', 1"
                  " from qctl.attachment, generate_series(1, 60000) n")  # fmt: skip
    queue.execute("insert into qctl.worker (name, transport, queues, qctl_version, role_name, last_seen_at, stopped_at)"
                  " select 'w', 'http', '{orders}', '0', 'x', now(), now() - n * interval '1 s'"
                  " from generate_series(1, 5000) n")  # fmt: skip
    for _ in range(4):
        maintain(queue)
    assert one(queue, "select count(*) from qctl.capture_error") <= 10_000
    assert one(queue, "select count(*) from qctl.worker") <= 1_001


def test_more_keys_than_a_portion_are_forgotten_in_one_run(queue):
    queue.execute("insert into qctl.dedup select queue_id, n::text, 1, now() - interval '1 s'"
                  " from qctl.queue, generate_series(1, 50000) n")  # fmt: skip
    maintain(queue, 20)
    assert one(queue, "select count(*) from qctl.dedup") == 0


def test_retries_of_messages_that_others_took_are_forgotten(queue):
    kept, *gone = send(queue, 50)
    settle(queue, claim(queue), 500)
    queue.execute("select pgmq.delete('orders', m) from unnest(%s::bigint[]) m", [gone])
    create(queue, "other")
    queue.execute("insert into qctl.retry select 9999, n, now(), 1, 1, 1, 0, 0, now() from generate_series(1, 100) n")
    for _ in range(4):
        maintain(queue)
    assert [row[0] for row in queue.execute("select msg_id from qctl.retry")] == [kept]


def test_attempts_logged_late_are_forgotten_and_those_of_a_moving_archive_are_not(queue):
    queue.execute(f"select qctl.set_queue('orders', p_settings => '{KEEP_DAYS}')")
    log = ("insert into qctl.attempt (queue_id, msg_id, delivery_no, attempt_no, outcome, transport, claimed_at, settled_at)"
           " select queue_id, n, 1, 1, 'late', 'http', now() - interval '9 d', now() - interval '9 d'"
           " from qctl.queue, generate_series({}, {}) n")  # fmt: skip
    queue.execute(log.format(1, 5000))
    queue.execute(log.format(7001, 7001))
    queue.execute("create table pgmq.a_orders_old (like pgmq.a_orders)")
    queue.execute("insert into pgmq.a_orders_old (msg_id, read_ct, enqueued_at, archived_at, vt, message)"
                  " values (7001, 0, now(), now(), now(), '{}')")  # fmt: skip
    for _ in range(4):
        maintain(queue)
    assert [row[0] for row in queue.execute("select msg_id from qctl.attempt")] == [7001]
    queue.execute("select * from qctl.purge_leftovers('1 d')")
    assert [row[0] for row in queue.execute("select msg_id from qctl.attempt")] == [7001]


def test_losses_are_counted_in_the_minute_of_the_lapse(queue):
    send(queue, 3)
    claim(queue)
    queue.execute("update qctl.in_flight set expires_at = clock_timestamp()")
    queue.execute("select * from qctl.upkeep()")
    queue.execute("update qctl.in_flight set lapsed_at = lapsed_at - interval '3 min'")
    maintain(queue)
    assert one(queue, "select sum(lost) from qctl.throughput") == 3


def test_an_answer_that_is_given_twice_counts_once(queue):
    send(queue, 2)
    first, second = claim(queue)
    assert settle(queue, [first, first, second], 200) == {"delivered": 2}
