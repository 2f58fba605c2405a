"""Queues to which messages come one by one: a claim for each, none in between, and nothing stays behind."""

import time

from helpers import create, one, send
from processes import wait_until

CALLS = "select coalesce(sum(calls), 0) from pg_stat_user_functions where funcname in ('_claim_within', 'claim_queues')"
LOCKS = "select count(*) from pg_locks where locktype = 'advisory' and classid = 1902343276 and mode = 'ExclusiveLock'"
NAMES = ("orders", "users", "stock")


def begin(conn, worker, url: str) -> None:
    conn.execute(
        "do $$ begin execute format('alter database %I set track_functions = ''all''', current_database()); end $$"
    )
    for name in NAMES:
        create(conn, name, url)
    worker("--all")
    # All are slept on.
    wait_until(lambda: one(conn, LOCKS) == len(NAMES))


def archived(conn) -> int:
    return sum(one(conn, f"select count(*) from pgmq.a_{name}") for name in NAMES)


def test_a_slow_queue_is_claimed_from_only_when_something_came(conn, endpoint, worker):
    receiver = endpoint()
    begin(conn, worker, receiver.url)
    wait_until(lambda: one(conn, CALLS) > 0)
    time.sleep(1.5)
    before = one(conn, CALLS)
    for number in range(45):
        send(conn, 1, name=NAMES[number % 3])
        time.sleep(0.05)
    wait_until(lambda: archived(conn) == 45)
    # Statistics arrive within a second.
    time.sleep(1.5)
    claims = one(conn, CALLS) - before
    assert 3 <= claims <= 1.5 * 45, claims
    assert set(receiver.accepted().values()) == {1}
    assert one(conn, LOCKS) == len(NAMES)


def test_what_comes_later_and_all_at_once_is_found_too(conn, endpoint, worker):
    receiver = endpoint("--delay-s", "0.02")
    begin(conn, worker, receiver.url)
    for name in NAMES:
        send(conn, 1, name=name)
    conn.execute("select qctl.send('orders', array['{}'::jsonb], p_delay_s => 2)")
    conn.execute("select qctl.send('users', array(select '{}'::jsonb from generate_series(1, 400)))")
    with conn.transaction():
        # Committed long after it was written.
        send(conn, 1, name="stock")
        time.sleep(1.5)
    wait_until(lambda: archived(conn) == 3 + 1 + 400 + 1)
    assert set(receiver.accepted().values()) == {1}


def test_a_queue_that_gets_busy_lets_its_writers_be(conn, endpoint, worker):
    receiver = endpoint()
    begin(conn, worker, receiver.url)
    until = time.monotonic() + 20
    sent = 0
    # While messages come fast the lock is given back, so that writers need not notify.
    while one(conn, LOCKS) == len(NAMES):
        assert time.monotonic() < until
        send(conn, 5)
        sent += 5
        time.sleep(0.02)
    wait_until(lambda: archived(conn) == sent)
    wait_until(lambda: one(conn, LOCKS) == len(NAMES))


def test_a_slow_queue_with_a_backlog_is_not_left_alone(conn, endpoint, worker):
    receiver = endpoint()
    create(conn, url=receiver.url, rate_per_s=8)
    worker("-q", "orders")
    wait_until(lambda: one(conn, LOCKS) == 1)
    send(conn, 1)
    wait_until(lambda: one(conn, "select count(*) from pgmq.a_orders") == 1)
    send(conn, 60)
    wait_until(lambda: one(conn, "select count(*) from pgmq.a_orders") == 61, 60)
    pauses = conn.execute(
        "select extract(epoch from max(claimed_at) - min(claimed_at)) / count(distinct claimed_at)"
        " from qctl.attempt where msg_id > 11"
    ).fetchone()[0]
    # Looked at once a second it would be slower than its rate.
    assert float(pauses) < 0.6


def test_the_next_message_of_an_ordered_queue_follows_at_once(conn, endpoint, worker):
    receiver = endpoint("--delay-s", "0.25")
    create(conn, url=receiver.url, ordered=True)
    worker("-q", "orders")
    wait_until(lambda: one(conn, LOCKS) == 1)
    conn.execute(
        "select qctl.send('orders', array(select '{}'::jsonb from generate_series(1, 12)), p_order_key => 'one')"
    )
    wait_until(lambda: one(conn, "select count(*) from pgmq.a_orders") == 12, 60)
    took = one(conn, "select extract(epoch from max(settled_at) - min(claimed_at)) / 12 from qctl.attempt")
    # Looked at once a second each would take a second.
    assert float(took) < 0.8


def test_the_writers_of_a_paused_queue_are_let_be(conn, endpoint, worker):
    begin(conn, worker, endpoint().url)
    conn.execute("select qctl.pause('orders')")
    before = one(conn, CALLS)
    until = time.monotonic() + 3
    sent = 0
    while time.monotonic() < until:
        send(conn, 1)
        sent += 1
    time.sleep(1.5)
    assert sent > 100
    assert one(conn, CALLS) - before < sent / 3


def test_the_writers_of_a_deep_queue_are_let_be(conn, endpoint, worker):
    begin(conn, worker, endpoint("--delay-s", "0.02").url)
    conn.execute("select qctl.send('orders', array(select '{}'::jsonb from generate_series(1, 20000)))")
    wait_until(lambda: one(conn, LOCKS) < len(NAMES))
    assert one(conn, "select count(*) from pgmq.q_orders") > 0
