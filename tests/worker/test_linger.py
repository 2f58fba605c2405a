"""A worker that waits a little, so that one claim and one settle carry more messages; not where somebody would notice."""

import time
from itertools import pairwise

import pytest

from helpers import create, one, send
from processes import data, failing, ok, wait_until
from qctl.models import WorkQueue
from qctl.worker.queue_state import LONGEST_LINGER_S, QueueState


def fed(conn, receiver, count: int, per_s: float) -> None:
    """So many messages, one at a time at an even rate, until all are delivered."""
    before = one(conn, "select count(*) from pgmq.a_orders")
    began = time.monotonic()
    for number in range(count):
        send(conn, 1)
        time.sleep(max(0.0, began + (number + 1) / per_s - time.monotonic()))
    wait_until(lambda: one(conn, "select count(*) from pgmq.a_orders") == before + count)
    assert set(receiver.accepted().values()) == {1}


CALLS = "select count(distinct claimed_at), count(distinct settled_at) from qctl.attempt"


def test_calls_carry_more_messages_while_many_come(conn, endpoint, worker):
    receiver = endpoint("--delay-s", "0.05")
    create(conn, url=receiver.url)
    worker("-q", "orders")
    fed(conn, receiver, 300, 80)
    claims, settles = conn.execute(CALLS).fetchone()
    # In the first half second it does not know the rate yet.
    assert claims < 150, claims
    assert settles < 150, settles


def test_with_linger_0_each_goes_out_as_it_comes(conn, endpoint, worker):
    receiver = endpoint("--delay-s", "0.05")
    create(conn, url=receiver.url, linger_ms=0)
    worker("-q", "orders")
    pauses: list[float] = []
    # A machine that stands still lets one claim take all that has come meanwhile; then it is fed again.
    for _ in range(3):
        fed(conn, receiver, 150, 40)
        # Once it knows the rate, it would wait 90 ms after each claim. A slow machine makes pauses longer and none shorter.
        rows = conn.execute("select distinct claimed_at from qctl.attempt order by 1").fetchall()
        claims = [row[0] for row in rows if (row[0] - rows[0][0]).total_seconds() > 1.5]
        pauses = [(after - before).total_seconds() for before, after in pairwise(claims)]
        if sum(pause < 0.07 for pause in pauses) >= 3:
            break
    assert sum(pause < 0.07 for pause in pauses) >= 3, pauses


def test_a_lonely_message_does_not_wait(conn, endpoint, worker):
    receiver = endpoint()
    create(conn, url=receiver.url)
    worker("-q", "orders")
    wait_until(lambda: one(conn, "select count(*) from qctl.worker") == 1)
    fed(conn, receiver, 12, 4)
    # A machine that stands still for a moment may put two together.
    claims, settles = conn.execute(CALLS).fetchone()
    assert claims >= 8
    assert settles >= 8


def test_a_long_linger_is_not_for_settles_because_leases_end(conn, endpoint, worker):
    receiver = endpoint()
    create(conn, url=receiver.url, linger_ms=8000)
    worker("-q", "orders")
    send(conn, 1)
    wait_until(lambda: one(conn, "select count(*) from pgmq.a_orders") == 1, 5)


def state(linger_s: float | None = None, rate: float = 0.0) -> QueueState:
    return QueueState("q", 1, 100, 1000, rate=rate, fixed_linger_s=linger_s)


def test_how_long_it_waits():
    assert state(rate=5).linger_s == 0
    assert state(rate=83).linger_s == LONGEST_LINGER_S
    assert state(rate=1000).linger_s == pytest.approx(0.008)
    assert state(0.05, rate=5).linger_s == 0.05
    assert state(0.0, rate=83).linger_s == 0
    full = state(rate=83)
    full.outstanding = 1000
    assert full.linger_s == 0, "it waits only for its own settle"


def test_an_ordered_queue_does_not_linger_by_itself(conn):
    create(conn, ordered=True)
    create(conn, "typed", ordered=True, linger_ms=30)
    create(conn, "plain")
    found = dict(conn.execute("select queue_name, linger_ms from qctl.work_queues()").fetchall())
    assert found == {"orders": 0, "plain": None, "typed": 30}
    assert "linger_ms" in WorkQueue.__dataclass_fields__


def test_it_is_a_setting_like_any_other(conn, dsn):
    ok("create", "orders", "--url", "https://example.com/x", "--linger", "50ms", dsn=dsn)
    assert data("describe", "orders", dsn=dsn)["linger_ms"] == 50
    assert "50ms for each claim and settle" in ok("describe", "orders", dsn=dsn).stdout
    ok("set", "-q", "orders", "--linger", "0", dsn=dsn)
    assert data("describe", "orders", dsn=dsn)["linger_ms"] == 0
    ok("set", "-q", "orders", "--linger", "auto", dsn=dsn)
    assert data("describe", "orders", dsn=dsn)["linger_ms"] is None
    assert "up to 90ms" in ok("describe", "orders", dsn=dsn).stdout
    assert "at most 10s" in failing(2, "set", "-q", "orders", "--linger", "1m", dsn=dsn)
    assert "--linger" in failing(2, "set", "-q", "orders", "--linger", "soon", dsn=dsn)
