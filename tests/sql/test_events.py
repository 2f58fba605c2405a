"""Operational events: told once, about everything but themselves; and success that means it."""

import pytest
from psycopg.types.json import Jsonb

from helpers import claim, create, make_due, one, outcomes, send, settle, states


@pytest.fixture
def told(conn):
    create(conn)
    create(conn, "ops")
    conn.execute("select qctl.set_event_route('ops')")
    return conn


def events(conn) -> list[dict]:
    return [row[0] for row in conn.execute("select message from pgmq.q_ops order by msg_id")]


def test_breaker_opened_and_closed(told):
    send(told, 12)
    settle(told, claim(told, 10), 503)
    told.execute("update qctl.gate set probe_at = clock_timestamp()")
    settle(told, claim(told), 200)
    opened, closed = events(told)
    assert (opened["type"], closed["type"]) == ("breaker.opened", "breaker.closed")
    assert opened["data"]["queue"] == "orders"
    assert "10 attempts in a row failed: HTTP 503" in opened["data"]["reason"]
    assert opened["timestamp"].endswith("Z")


def test_paused_dead_disarmed_and_gone(told):
    told.execute("select qctl.pause('orders', 'night')")
    told.execute("select qctl.resume('orders')")
    told.execute("select qctl.set_queue('orders', p_settings => '{\"retry_schedule_s\": []}')")
    send(told)
    settle(told, claim(told), 500)
    told.execute("select qctl.register_worker('w1', 'http', '{orders}', '0.5.0')")
    told.execute("update qctl.worker set last_seen_at = clock_timestamp() - interval '1 min'")
    told.execute("select qctl.upkeep()")
    told.execute("select qctl.disarm()")
    seen = {event["type"]: event["data"] for event in events(told)}
    assert list(seen) == ["queue.paused", "message.dead", "worker.gone", "database.disarmed"]
    assert seen["queue.paused"]["reason"] == "night"
    assert seen["message.dead"]["dead"] == 1
    assert seen["worker.gone"]["workers"] == ["w1"]


def test_throttled_per_type_and_queue(told):
    for _ in range(3):
        told.execute("select qctl.pause('orders')")
        told.execute("select qctl.resume('orders')")
    create(told, "second")
    told.execute("select qctl.pause('second')")
    assert [e["data"]["queue"] for e in events(told)] == ["orders", "second"]
    told.execute("update qctl.event_last set at = at - interval '11 min'")
    told.execute("select qctl.pause('orders')")
    assert len(events(told)) == 3


def test_the_queue_of_the_events_does_not_report_on_itself(told):
    told.execute("select qctl.pause('ops')")
    assert events(told) == []


def test_without_a_route_nothing_is_written(conn):
    create(conn)
    conn.execute("select qctl.pause('orders')")
    assert one(conn, "select count(*) from qctl.event_last") == 0


def test_a_broken_route_stops_nothing(told):
    told.execute("drop table pgmq.q_ops cascade")
    told.execute("select qctl.pause('orders')")
    assert one(
        told,
        "select paused_at is not null from qctl.gate g join qctl.queue q using (queue_id) where queue_name = 'orders'",
    )
    assert one(told, "select count(*) from qctl.audit where verb = 'event_failed'") == 1


def test_events_are_signed_like_any_message(told):
    told.execute("select qctl.rotate_secret('ops')")
    told.execute("select qctl.pause('orders')")
    assert claim(told, name="ops")[0].headers["webhook-signature"].startswith("v1,")


def test_dropping_the_queue_of_the_events_ends_them(told):
    told.execute("select qctl.drop_queue('ops', true)")
    told.execute("select qctl.pause('orders')")
    assert one(told, "select count(*) from qctl.event_route") == 0


def expect(conn, **settings) -> None:
    conn.execute("select qctl.set_queue('orders', p_settings => %s)", [Jsonb(settings)])


@pytest.mark.parametrize(
    ("wanted", "answer", "good"),
    [
        ({"expect_text": "accepted"}, b'{"status": "accepted"}', True),
        ({"expect_text": "accepted"}, b"Workflow got started", False),
        ({"expect_text": "accepted"}, b"", False),
        ({"expect_text": "gr\u00fcn"}, "gr\u00fcn".encode() + b"\xc3", True),
        ({"expect_json": {"ok": True}}, b'{"ok": true, "more": 1}', True),
        ({"expect_json": {"ok": True}}, b'{"ok": false}', False),
        ({"expect_json": {"ok": True}}, b"ok", False),
        ({"expect_json": {"ok": True}}, b'{"ok": true, "half', False),
        ({"expect_json": {"ok": True}}, b"\xff\x00", False),
        ({"expect_json": {"ok": True}}, b"[" * 60000, False),
    ],
)
def test_a_2xx_without_what_is_expected_is_a_failure(conn, wanted, answer, good):
    create(conn)
    expect(conn, **wanted)
    [msg_id] = send(conn)
    settle(conn, claim(conn), 200, response=answer)
    assert outcomes(conn, msg_id) == ["delivered" if good else "retrying"]
    if not good:
        assert one(conn, "select error from qctl.attempt") == "the answer does not contain what the queue expects"
        make_due(conn)
        expect(conn, **dict.fromkeys(wanted))
        settle(conn, claim(conn), 200, response=answer)
        assert states(conn, [msg_id]) == {"delivered": 1}


def test_one_expectation_replaces_the_other(conn):
    create(conn, expect_text="a")
    expect(conn, expect_json={"a": 1})
    assert conn.execute("select expect_text, expect_json from qctl.queue").fetchone() == (None, {"a": 1})
    expect(conn, expect_text="b")
    assert conn.execute("select expect_text, expect_json from qctl.queue").fetchone() == ("b", None)
