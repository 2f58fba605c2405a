"""Claim and settle keep plans: one made while every table was empty must serve when they are full, until it is made anew."""

import json

import psycopg
import pytest

from helpers import create, send

MESSAGES = 100
TABLES = ("pgmq.q_orders", "pgmq.a_orders", "qctl.in_flight", "qctl.retry", "qctl.attempt")


class Worker:
    """A session that claims and settles, and how many rows each step of its plans has touched."""

    def __init__(self, conn: psycopg.Connection) -> None:
        self.conn = conn
        self.plans: list[dict] = []
        conn.execute("load 'auto_explain'")
        for name, value in (
            ("log_min_duration", "0"),
            ("log_nested_statements", "on"),
            ("log_analyze", "on"),
            ("log_format", "json"),
        ):
            conn.execute(f"set auto_explain.{name} = '{value}'")
        conn.execute("set client_min_messages = log")
        conn.add_notice_handler(self._note)

    def _note(self, notice) -> None:
        _, found, plan = notice.message_primary.partition("plan:\n")
        if found:
            self.plans.append(json.loads(plan))

    def deliver(self, count: int) -> tuple[int, int]:
        """Claims so many messages and settles them as delivered; the rows that the one and the other touched."""
        self.plans.clear()
        rows = self.conn.execute(
            "select lease, msg_id from qctl.claim('orders', %s, null, 1000000)", (count,)
        ).fetchall()
        claimed = self._touched()
        assert len(rows) == count
        values = (
            [r[0] for r in rows],
            [r[1] for r in rows],
            [200] * count,
            [None] * count,
            [b"ok"] * count,
            [1] * count,
            [None] * count,
        )
        settled = self.conn.execute(
            "select delivered from qctl.settle('orders', %s, %s, %s, %s, %s, %s, %s)", values
        ).fetchone()
        assert settled == (count,)
        return claimed, self._touched()

    def _touched(self) -> int:
        total = sum(_rows(plan["Plan"]) for plan in self.plans)
        self.plans.clear()
        return round(total)


def _rows(node: dict) -> float:
    names = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Join Filter", "Rows Removed by Index Recheck")
    here = sum(node.get(name, 0) for name in names) * node["Actual Loops"]
    return here + sum(_rows(child) for child in node.get("Plans", []))


@pytest.fixture
def server_logs(conn):
    try:
        conn.execute("load 'auto_explain'")
    except psycopg.Error as error:
        pytest.skip(f"no auto_explain here: {error}")


@pytest.mark.usefixtures("server_logs")
def test_plans_made_when_all_was_empty_serve_when_it_is_full(conn, dsn):
    create(conn)
    conn.execute("select qctl.rotate_secret('orders')")
    for table in TABLES:
        # Which would have the plans made anew.
        conn.execute(f"alter table {table} set (autovacuum_enabled = off)")
    with psycopg.connect(dsn, autocommit=True) as first, psycopg.connect(dsn, autocommit=True) as second:
        early = Worker(first)
        for _ in range(10):
            send(conn, 1)
            early.deliver(1)
        send(conn, 3 * MESSAGES)
        conn.execute(
            "insert into qctl.retry (queue_id, msg_id, enqueued_at, delivery_no, attempt_no, attempts, rejected, lost)"
            " select q.queue_id, 1000000 + n, now(), 1, 1, 1, 0, 0 from qctl.queue q, generate_series(1, 20000) n"
        )
        conn.execute(
            "insert into qctl.in_flight"
            " (queue_id, msg_id, enqueued_at, lease, delivery_no, attempt_no, transport, claimed_at, expires_at, lapsed_at)"
            " select q.queue_id, 1000000 + n, now(), gen_random_uuid(), 1, 1, 'http', now(), now(), now()"
            " from qctl.queue q, generate_series(1, 20000) n"
        )
        conn.execute(
            "insert into pgmq.q_orders (msg_id, read_ct, enqueued_at, vt, message) overriding system value"
            " select 1000000 + n, 0, now(), now() + interval '1 day', '{}' from generate_series(1, 20000) n"
        )
        conn.execute(
            "insert into pgmq.a_orders (msg_id, read_ct, enqueued_at, vt, message) overriding system value"
            " select 2000000 + n, 0, now(), now(), '{}' from generate_series(1, 20000) n"
        )
        kept = early.deliver(MESSAGES)
        late = Worker(second)
        late.deliver(MESSAGES)
        new = late.deliver(MESSAGES)
    assert kept[0] < 1.5 * new[0]
    assert kept[1] < 1.5 * new[1]
    assert max(kept) < 30 * MESSAGES
