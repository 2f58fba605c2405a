"""The same number by the same word, wherever it is read."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from helpers import claim, create, make_due, one, send, settle
from processes import data, ok

STATES = ("ready", "delayed", "in_flight", "retrying")


@pytest.fixture
def mixed(conn):
    """Two queues with messages in every state; some that were attempted are due again, and some in flight."""
    for name, count in (("orders", 90), ("bills", 40)):
        create(conn, name, retry_schedule_s=[3600], reject_after=1, breaker_after=0)
        send(conn, count, name)
        settle(conn, claim(conn, 20, name), [503] * 20, name=name)
        make_due(conn, name)
        conn.execute("select pgmq.set_vt(%s, %s, 3600)", (name, count))
        settle(conn, claim(conn, 15, name), [200] * 5 + [400] * 4 + [503] * 6, name=name)
        claim(conn, 3, name)
    return conn


def counted(dsn: str) -> dict[tuple[str, str], float]:
    return {
        (s.labels["queue"], s.labels.get("state", "dead")): s.value
        for family in text_string_to_metric_families(ok("metrics", dsn=dsn).stdout)
        for s in family.samples
        if s.name in ("qctl_depth", "qctl_dead_letters")
    }


def test_every_place_counts_a_state_alike(mixed, dsn):
    scraped = counted(dsn)
    status = {row["queue_name"]: row for row in data("status", dsn=dsn)}
    depth = {row["queue_name"]: row for row in data("depth", dsn=dsn)}
    view = mixed.execute(
        "select queue_name, ready, delayed, in_flight, retrying, depth, dead from qctl.status"
    ).fetchall()
    assert {row[0] for row in view} == {"orders", "bills"}
    for name, *numbers, total, dead in view:
        assert total == sum(numbers) == status[name]["depth"] == depth[name]["depth"]
        assert total == one(mixed, f"select count(*) from pgmq.q_{name}")
        for state, number in zip(STATES, numbers, strict=True):
            assert number > 0, (name, state)
            assert number == status[name][state] == depth[name][state] == scraped[name, state]
            assert number == len(data("messages", "-q", name, "--state", state, dsn=dsn))
        assert len(data("messages", "-q", name, "--retrying", dsn=dsn)) == numbers[-1]
        assert dead == status[name]["dead"] == depth[name]["dead"] == scraped[name, "dead"]
        assert dead == len(data("messages", "-q", name, "--dead", dsn=dsn))
        assert dead == one(
            mixed, "select count(*) from qctl.dead_letter join qctl.queue using (queue_id) where queue_name = %s", name
        )
        assert dead == sum(group["messages"] for group in data("dead", "-q", name, dsn=dsn)["groups"])


def test_attempted_are_more_than_those_that_wait(mixed, dsn):
    waiting = {row["msg_id"] for row in data("messages", "-q", "orders", "--retrying", dsn=dsn)}
    attempted = {row["msg_id"] for row in data("messages", "-q", "orders", "--attempted", dsn=dsn)}
    assert waiting < attempted
    assert all(row["attempts"] > 0 for row in data("messages", "-q", "orders", "--attempted", dsn=dsn))
