"""Purge: old delivered history goes, nothing else."""

import psycopg
import pytest

from helpers import claim, create, one, send, settle


def age(conn, days: int, *ids: int) -> None:
    conn.execute(
        "update pgmq.a_orders set archived_at = now() - make_interval(days => %s) where msg_id = any (%s)",
        (days, list(ids)),
    )


def purge(conn, older_than: str = "7 days", limit: int = 5000) -> tuple[int, int]:
    messages, attempts, place = 0, 0, ("-infinity", 0)
    for _ in range(100):
        deleted, logged, *place = conn.execute(
            "select * from qctl.purge('orders', %s, %s, %s, %s)", (older_than, *place, limit)
        ).fetchone()
        messages, attempts = messages + deleted, attempts + logged
        if place[0] is None:
            return messages, attempts
    raise AssertionError("purge does not end")


def test_only_delivered_messages_older_than_that_go_with_their_attempts(conn):
    create(conn, retry_schedule_s=[])
    send(conn, 6)
    claims = claim(conn)
    settle(conn, claims[:3], 200)
    settle(conn, claims[3:4], 500)
    age(conn, 8, 1, 2)
    conn.execute("update qctl.dead_letter set died_at = now() - interval '1 year'")
    assert conn.execute("select messages, attempts from qctl.purgeable('orders', '7 days')").fetchone() == (2, 2)
    assert purge(conn) == (2, 2)
    assert [row[0] for row in conn.execute("select msg_id from pgmq.a_orders")] == [3]
    assert one(conn, "select count(*) from qctl.dead_letter") == 1
    assert one(conn, "select count(*) from pgmq.q_orders") == 2
    assert purge(conn) == (0, 0)


def test_what_others_archived_stays_and_is_passed_over(conn):
    create(conn)
    ids = send(conn, 30)
    for msg_id in ids[:20]:
        conn.execute("select pgmq.archive('orders', %s)", (msg_id,))
    settle(conn, claim(conn), 200)
    age(conn, 9, *ids[:20])
    age(conn, 8, *ids[20:])
    assert purge(conn, limit=7) == (10, 10)
    assert one(conn, "select count(*) from pgmq.a_orders") == 20


def test_many_batches_of_one_instant(conn):
    create(conn)
    ids = send(conn, 50)
    settle(conn, claim(conn), 200)
    age(conn, 8, *ids)
    assert purge(conn, limit=8) == (50, 50)


def test_a_negative_age_is_refused(conn):
    create(conn)
    with pytest.raises(psycopg.Error) as caught:
        purge(conn, "-1 day")
    assert caught.value.sqlstate == "QC002"


def test_a_replayed_message_is_not_history(conn):
    create(conn)
    send(conn)
    settle(conn, claim(conn), 200)
    age(conn, 30, 1)
    conn.execute("select qctl.replay('orders', '{1}')")
    assert purge(conn) == (0, 0)
    assert len(claim(conn)) == 1
