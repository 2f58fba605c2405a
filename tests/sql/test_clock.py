"""A clock that is set back by a day: what was kept by the old one holds up nothing."""

import pytest

from helpers import claim, create, one, send, settle

AHEAD = "interval '1 day'"


@pytest.fixture
def queue(conn):
    """As a day on which the clock was a day ahead left it; now it is right again."""
    create(conn, rate_per_s=1000)
    send(conn, 20)
    settle(conn, claim(conn, 5), 500)
    conn.execute("select qctl.register_worker('w', 'http', '{orders}', '0')")
    claim(conn, 5)
    conn.execute("call qctl.maintenance()")
    conn.execute(f"update pgmq.q_orders set vt = vt + {AHEAD}, enqueued_at = enqueued_at + {AHEAD}")
    conn.execute(
        f"update qctl.retry set next_at = next_at + {AHEAD}, last_at = last_at + {AHEAD}, enqueued_at = enqueued_at + {AHEAD}"
    )
    conn.execute(f"update qctl.in_flight set claimed_at = claimed_at + {AHEAD}, expires_at = expires_at + {AHEAD},"
                 f" enqueued_at = enqueued_at + {AHEAD}")  # fmt: skip
    conn.execute(f"update qctl.gate set paced_at = paced_at + {AHEAD}, window_at = window_at + {AHEAD}")
    conn.execute(
        f"update qctl.upkept set rolled_to = rolled_to + {AHEAD}, seen_at = seen_at + {AHEAD}, retained_at = now() + {AHEAD}"
    )
    conn.execute(f"update qctl.worker set last_seen_at = last_seen_at + {AHEAD}")
    return conn


def test_nothing_waits_for_the_old_time(queue):
    assert claim(queue) == []
    queue.execute("call qctl.maintenance()")
    assert one(queue, "select count(*) from pgmq.q_orders where vt > clock_timestamp() + interval '10 min'") == 0
    assert len(claim(queue, 100)) == 10
    assert one(queue, "select max(next_at) < clock_timestamp() + interval '10 s' from qctl.retry") is True
    assert one(queue, "select max(expires_at) < clock_timestamp() + interval '10 min' from qctl.in_flight") is True
    assert one(queue, "select rolled_to <= clock_timestamp() from qctl.upkept") is True
    assert one(queue, "select max(last_seen_at) <= clock_timestamp() from qctl.worker") is True
    assert (
        one(queue, "select (detail ->> 'by_s')::numeric > 86000 from qctl.audit where verb = 'clock_set_back'") is True
    )


def test_what_was_to_wait_goes_on_waiting_and_nothing_is_moved_twice(queue):
    queue.execute("update pgmq.q_orders set vt = enqueued_at + interval '1 h' where msg_id = 20")
    for _ in range(3):
        queue.execute("call qctl.maintenance()")
    wait_s = float(one(queue, "select extract(epoch from vt - clock_timestamp()) from pgmq.q_orders where msg_id = 20"))
    assert 3500 < wait_s <= 3600
    assert one(queue, "select count(*) from qctl.audit where verb = 'clock_set_back'") == 1
