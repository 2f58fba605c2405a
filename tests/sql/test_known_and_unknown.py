"""Forecasts and limits are empty where they cannot be known, and failures are counted by their answer."""

import pytest

from helpers import claim, create, make_due, one, send, settle


@pytest.fixture
def draining(conn):
    """A queue with a live worker that was deeper two minutes ago."""
    create(conn, retry_schedule_s=[3600], breaker_after=0)
    conn.execute("select qctl.register_worker('w', 'http', '{orders}', '0')")
    send(conn, 100)
    conn.execute("select qctl._take_samples()")
    conn.execute("update qctl.sample set (at, depth) = (now() - interval '2 min', 1000)")
    return conn


def drain(conn) -> float | None:
    return one(conn, "select drain_s from qctl.status where queue_name = 'orders'")


def test_when_a_queue_will_be_empty_is_known_only_while_it_is_delivered(draining):
    assert drain(draining) > 0
    draining.execute("select qctl.pause('orders')")
    assert drain(draining) is None
    draining.execute("select qctl.resume('orders')")
    assert drain(draining) > 0
    draining.execute("update qctl.worker set stopped_at = now()")
    assert drain(draining) is None
    draining.execute("create table public.t (id int primary key)")
    draining.execute("select qctl.attach('public.t', 'orders')")
    draining.execute("alter table public.t disable trigger all")
    assert one(draining, "select health from qctl.status") == "capture_broken"
    assert drain(draining) is None


def test_not_while_the_endpoint_fails_or_most_of_it_waits(draining):
    settle(draining, claim(draining, 10), 500)
    assert one(draining, "select health from qctl.status") == "endpoint_failing"
    assert drain(draining) is None
    draining.execute("update qctl.attempt set settled_at = settled_at - interval '1 day'")
    assert drain(draining) > 0
    draining.execute("update pgmq.q_orders set vt = now() + interval '1 h' where msg_id > 20")
    assert drain(draining) is None
    make_due(draining)
    assert drain(draining) > 0


def test_a_ceiling_is_not_computed_from_failures(draining):
    def limit() -> tuple[float | None, str]:
        return draining.execute("select ceiling_per_s, limited_by from qctl.capacity('orders')").fetchone()

    assert limit()[0] > 0
    settle(draining, claim(draining, 40), [401] * 35 + [422] * 2 + [None] * 3, error=None)
    ceiling, why = limit()
    assert ceiling is None
    assert why == "unknown: none of the last 40 attempts was delivered (35 × HTTP 401, 3 × no answer, 2 × HTTP 422)"
    settle(draining, claim(draining, 10), 200)
    assert limit()[0] > 0


def test_failures_are_grouped_by_their_answer(draining):
    claims = claim(draining, 44)
    settle(draining, claims[:40], [401] * 37 + [422] * 2 + [500])
    for number, one_claim in enumerate(claims[40:]):
        settle(draining, [one_claim], None, error=f"Failed to connect to x port 9 after {number} ms: refused")
    reason = one(draining, "select reason from qctl.health('orders')")
    assert "37 × HTTP 401, 4 × Failed to connect to x port 9: refused, 2 × HTTP 422, 1 × others" in reason
