"""One worker with many queues: it claims and settles for several in one call, and a queue in trouble holds up no other."""

import time
from collections import Counter

from helpers import create, one, send
from processes import wait_until
from qctl.worker.queue_state import LONGEST_LINGER_S, QueueState, shared_linger_s

NAMES = [f"queue{number}" for number in range(8)]
CALLS = "select coalesce(sum(calls), 0) from pg_stat_user_functions where funcname = any (%s)"
TOGETHER, ALONE = ["claim_queues", "settle_queues"], ["claim", "settle"]


def begin(conn, worker, url: str) -> None:
    conn.execute(
        "do $$ begin execute format('alter database %I set track_functions = ''all''', current_database()); end $$"
    )
    for name in NAMES:
        create(conn, name, url)
    worker("--all")
    wait_until(lambda: one(conn, "select count(*) from qctl.worker") == 1)


def archived(conn) -> Counter:
    return Counter({name: one(conn, f"select count(*) from pgmq.a_{name}") for name in NAMES})


def test_busy_queues_share_their_calls(conn, endpoint, worker):
    receiver = endpoint("--delay-s", "0.01")
    begin(conn, worker, receiver.url)
    rounds = 25
    for number in range(8 * rounds):
        send(conn, 1, name=NAMES[number % 8])
        time.sleep(0.01)
    wait_until(lambda: sum(archived(conn).values()) == 8 * rounds)
    assert set(archived(conn).values()) == {rounds}
    assert set(receiver.accepted().values()) == {1}
    # Statistics arrive within a second.
    time.sleep(1.5)
    calls = one(conn, CALLS, TOGETHER) + one(conn, CALLS, ALONE)
    # One by one they would be twice as many as messages.
    assert calls < 8 * rounds, calls


def test_a_queue_in_trouble_holds_up_no_other(conn, endpoint, worker):
    receiver = endpoint()
    begin(conn, worker, receiver.url)
    conn.execute("alter table pgmq.q_queue3 rename to moved")
    conn.execute("select qctl.pause('queue5')")
    conn.execute("select qctl.set_queue('queue6', p_url => 'http://127.0.0.1:9/nobody')")
    good = [name for name in NAMES if name not in ("queue3", "queue5", "queue6")]
    for _ in range(20):
        for name in good:
            send(conn, 1, name=name)
        time.sleep(0.02)
    wait_until(lambda: all(archived(conn)[name] == 20 for name in good))
    conn.execute("alter table pgmq.moved rename to q_queue3")
    conn.execute("select qctl.resume('queue5')")
    for name in ("queue3", "queue5"):
        send(conn, 3, name=name)
    # What failed is asked again after 30 s.
    wait_until(lambda: archived(conn)["queue3"] == archived(conn)["queue5"] == 3, timeout_s=60)
    assert set(receiver.accepted().values()) == {1}


def quiet(rate: float, since_s: float, **settings) -> QueueState:
    """A queue whose rate was measured so long ago."""
    queue = QueueState("orders", 1, 10, 100, **settings)
    queue.rate, queue.counted_since = rate, time.monotonic() - since_s
    return queue


def test_queues_wait_for_each_other_only_while_they_are_busy():
    assert shared_linger_s([quiet(8, 0.1)]) == 0.0
    assert shared_linger_s([quiet(8, 0.1) for _ in range(10)]) == LONGEST_LINGER_S
    assert shared_linger_s([quiet(400, 0.1) for _ in range(10)]) == 8 / 4000
    # What was measured a minute ago says nothing of a lonely message now.
    assert shared_linger_s([quiet(8, 60) for _ in range(10)]) == 0.0
    assert shared_linger_s([quiet(8, 0.1, fixed_linger_s=0.0) for _ in range(10)]) == 0.0
