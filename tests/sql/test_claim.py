"""Claiming: what is handed out, to whom, how much of it."""

import time
from datetime import timedelta

import pytest
from psycopg.types.json import Jsonb

from helpers import claim, create, expire_leases, one, send, settle, state, upkeep


def test_a_claim_gives_all_that_is_needed_to_send(conn):
    conn.execute(
        "select qctl.create_queue('orders', 'http://127.0.0.1:9/x', %s, %s)",
        (Jsonb({"X-Tenant": "acme"}), Jsonb({"timeout_ms": 2000})),
    )
    (msg_id,) = send(conn)
    row = conn.execute("select * from qctl.claim('orders', 10)").fetchone()
    claimed_id, _lease, lease_ms, delivery_no, attempt_no, url, timeout_ms, headers, body = row
    assert (claimed_id, delivery_no, attempt_no) == (msg_id, 1, 1)
    assert (url, timeout_ms, body) == ("http://127.0.0.1:9/x", 2000, '{"n": 0}')
    assert lease_ms > timeout_ms
    assert headers["x-tenant"] == "acme"
    assert headers["webhook-id"].startswith("msg_")
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60


def test_a_claimed_message_is_not_claimed_again(conn):
    create(conn)
    send(conn, 3)
    assert len(claim(conn, 2)) == 2
    assert len(claim(conn)) == 1
    assert claim(conn) == []


def test_all_of_one_claim_share_a_lease_and_no_two_claims_do(conn):
    create(conn)
    send(conn, 4)
    first, second = claim(conn, 2), claim(conn, 2)
    assert len({c.lease for c in first}) == len({c.lease for c in second}) == 1
    assert first[0].lease != second[0].lease


def test_max_in_flight_bounds_all_workers_together(conn, other):
    create(conn, max_in_flight=5)
    send(conn, 20)
    assert len(claim(conn, 4)) == 4
    assert len(claim(other, 4)) == 1
    assert claim(conn) == []


def test_room_comes_back_when_messages_settle(conn):
    create(conn, max_in_flight=2)
    send(conn, 3)
    claims = claim(conn)
    settle(conn, claims[:1], 200)
    assert len(claim(conn)) == 1


def test_lapsed_leases_take_no_room(conn):
    create(conn, max_in_flight=2)
    send(conn, 3)
    claim(conn)
    expire_leases(conn)
    assert len(claim(conn)) == 2


def test_two_workers_claiming_at_once_never_exceed_max_in_flight(conn, other):
    """The gate's lock: the second claim waits for the first to commit and then counts its leases."""
    create(conn, max_in_flight=5)
    send(conn, 20)
    with conn.transaction():
        assert len(claim(conn, 5)) == 5
        other.execute("set lock_timeout = '100ms'")
        with pytest.raises(Exception, match="lock timeout"):
            claim(other, 5)
    assert claim(other, 5) == []


def test_a_paused_queue_gives_nothing_and_a_resumed_one_does(conn):
    create(conn)
    send(conn)
    conn.execute("select qctl.pause('orders', 'endpoint moves')")
    assert claim(conn) == []
    assert one(conn, "select pause_reason from qctl.status") == "endpoint moves"
    conn.execute("select qctl.resume('orders')")
    assert len(claim(conn)) == 1


def test_delayed_messages_wait(conn):
    create(conn)
    conn.execute("select qctl.send('orders', array['{}']::jsonb[], null, 60)")
    assert claim(conn) == []
    assert state(conn, 1) == "delayed"


def test_a_message_that_someone_shows_again_is_not_leased_twice(conn):
    create(conn)
    send(conn)
    claim(conn)
    conn.execute("select pgmq.set_vt('orders', 1, 0)")
    assert claim(conn) == []


def test_released_messages_are_ready_at_once_and_cost_no_attempt(conn):
    create(conn)
    send(conn)
    (first,) = claim(conn)
    assert one(conn, "select qctl.release('orders', %s, %s)", [first.lease], [first.msg_id]) == 1
    assert one(conn, "select qctl.release('orders', %s, %s)", [first.lease], [first.msg_id]) == 0
    (second,) = claim(conn)
    assert (second.msg_id, second.attempt_no) == (first.msg_id, 1)


def test_a_lapsed_lease_cannot_be_released(conn):
    create(conn)
    send(conn)
    (first,) = claim(conn)
    expire_leases(conn)
    upkeep(conn)
    (second,) = claim(conn)
    assert one(conn, "select qctl.release('orders', %s, %s)", [first.lease], [first.msg_id]) == 0
    assert state(conn, second.msg_id) == "in_flight"


@pytest.mark.parametrize("zone", ["UTC-3", "<UTC>+5", "Europe/Berlin"])
def test_webhook_id_is_the_same_in_every_time_zone(conn, zone):
    # From PostgreSQL 18 on the session's own abbreviations come first, and in the zone 'UTC-3' UTC is three hours off.
    create(conn)
    send(conn)
    question = "select qctl.webhook_id(queue_uuid, msg_id, enqueued_at) from pgmq.q_orders, qctl.queue"
    wanted = one(conn, question)
    conn.execute(f"set timezone = '{zone}'")
    assert one(conn, question) == wanted
    assert claim(conn)[0].headers["webhook-id"] == wanted


def test_webhook_id_is_the_same_over_retries_and_differs_after_a_re_create(conn):
    create(conn)
    send(conn)
    (first,) = claim(conn)
    settle(conn, [first], 500)
    conn.execute("select qctl.replay('orders', '{1}')")
    (second,) = claim(conn)
    assert second.headers["webhook-id"] == first.headers["webhook-id"]
    assert first.headers["webhook-id"] == one(
        conn,
        "select 'msg_' || encode(sha256(uuid_send(queue_uuid) || int8send(msg_id)"
        " || int8send((extract(epoch from enqueued_at) * 1000000)::bigint)), 'hex') from pgmq.q_orders, qctl.queue",
    )
    conn.execute("update qctl.queue set queue_uuid = gen_random_uuid()")
    settle(conn, [second], 500)
    conn.execute("select qctl.replay('orders', '{1}')")
    assert claim(conn)[0].headers["webhook-id"] != first.headers["webhook-id"]


def test_message_headers_are_sent_unless_they_are_unfit(conn):
    create(conn)
    unfit = {
        "X-Ok": "fine",
        "X-Injected": "a\r\nX-Evil: 1",
        "bad name": "x",
        "Host": "evil",
        "webhook-id": "forged",
        "content-length": "0",
        "x-pgmq-group": "g",
        "number": 7,
    }
    conn.execute("insert into pgmq.q_orders (vt, message, headers) values (now(), '{}', %s)", (Jsonb(unfit),))
    headers = claim(conn)[0].headers
    assert headers["x-ok"] == "fine"
    assert set(headers) == {"x-ok", "webhook-id", "webhook-timestamp"}
    assert headers["webhook-id"] != "forged"


@pytest.mark.parametrize("value", ["[]", '"text"', "3", "null"])
def test_headers_that_are_no_object_harm_nobody(conn, value):
    create(conn)
    conn.execute("insert into pgmq.q_orders (vt, message, headers) values (now(), '{}', %s::jsonb)", (value,))
    (only,) = claim(conn)
    assert settle(conn, [only], 200) == {"delivered": 1}


def test_a_claim_does_not_walk_hidden_messages(conn):
    """pgmq.read walks each hidden message at the head; a claim reads what it takes. Counted in buffers, not in time."""
    create(conn)
    # Which would count as well.
    conn.execute("alter table pgmq.q_orders set (autovacuum_enabled = off)")
    conn.execute(
        "insert into pgmq.q_orders (vt, message) select now() + interval '1 day', '{}' from generate_series(1, 50000)"
    )
    send(conn, 10)
    conn.execute("vacuum analyze pgmq.q_orders")
    before = _blocks(conn)
    assert len(claim(conn, 10)) == 10
    assert _blocks(conn) - before < 400


def _blocks(conn) -> int:
    """Blocks touched so far. In PostgreSQL 14 a report waits for half a second, and what is read may be half a second old."""
    pause_s = 0 if conn.info.server_version >= 150000 else 1
    time.sleep(pause_s) if pause_s else conn.execute("select pg_stat_force_next_flush()")
    conn.execute("select 1")
    time.sleep(pause_s)
    return one(
        conn,
        "select coalesce(heap_blks_read, 0) + coalesce(heap_blks_hit, 0) + coalesce(idx_blks_read, 0)"
        " + coalesce(idx_blks_hit, 0) from pg_statio_all_tables where relname = 'q_orders'",
    )


@pytest.mark.slow
def test_a_claim_without_a_bound_takes_what_one_array_holds(conn):
    create(conn)
    conn.execute("""insert into pgmq.q_orders (vt, message)
                    select now(), jsonb_build_object('n', n, 'text', repeat('x', 135000000)) from generate_series(1, 2) n""")
    for msg_id in (1, 2):
        assert conn.execute("select msg_id, length(body) > 135000000 from qctl.claim('orders', 10)").fetchall() == [
            (msg_id, True)
        ]


def test_lease_outlives_the_timeout_by_enough_to_start(conn):
    create(conn, timeout_ms=1000)
    send(conn)
    claim(conn)
    term = one(conn, "select expires_at - claimed_at from qctl.in_flight")
    assert timedelta(seconds=6) < term < timedelta(seconds=60)


@pytest.mark.slow
def test_one_message_that_cannot_be_read_is_set_aside_and_harms_no_other(conn):
    """As text it has more than the 1 GB that a value may have: each control character takes one byte in jsonb and six in text."""
    create(conn)
    first = send(conn, 3)
    [bad] = conn.execute("select qctl.send('orders', array[to_jsonb(repeat(chr(1), 180000000))])").fetchone()
    last = send(conn, 3)
    got = [m.msg_id for _ in range(3) for m in claim(conn)]
    assert sorted(got) == [*first, *last]
    reason, error, kept = conn.execute(
        "select reason, error, pg_column_size(message) > 1000 from qctl.dead_letter"
    ).fetchone()
    assert (reason, kept) == ("unreadable", True)
    assert error.startswith("cannot be read: ")
    assert one(conn, "select msg_id from qctl.dead_letter") == bad


def test_a_message_that_was_read_two_thousand_million_times_is_claimed(conn):
    create(conn)
    send(conn, 2)
    conn.execute("update pgmq.q_orders set read_ct = 2147483647 where msg_id = 1")
    assert len(claim(conn)) == 2
