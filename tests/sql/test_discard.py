"""Discard: unfinished messages become dead letters, whatever is under way."""

from helpers import claim, create, one, replay, send, settle, state, states


def discard(conn, *ids: int, reason: str = "test data") -> dict[int, str]:
    return dict(conn.execute("select * from qctl.discard('orders', %s, %s)", (list(ids), reason)).fetchall())


def test_ready_delayed_and_retrying_ones(conn):
    create(conn)
    [ready, tried] = send(conn, 2)
    settle(conn, [c for c in claim(conn) if c.msg_id == tried], 500)
    conn.execute("select qctl.release('orders', array_agg(lease), array_agg(msg_id)) from qctl.in_flight")
    [delayed] = (row[0] for row in conn.execute("select qctl.send('orders', '{1}', p_delay_s => 60)"))
    assert discard(conn, ready, tried, delayed, 999) == {
        ready: "discarded",
        tried: "discarded",
        delayed: "discarded",
        999: "unknown",
    }
    assert states(conn, [ready, tried, delayed]) == {"dead": 3}
    row = conn.execute("select reason, note, attempts, status_code from qctl.dead_letter where msg_id = %s", (tried,))
    assert row.fetchone() == ("discarded", "test data", 1, 500)
    assert one(conn, "select count(*) from qctl.retry") == 0
    assert discard(conn, ready) == {ready: "finished"}
    assert one(conn, "select count(*) from qctl.audit where verb = 'discard'") == 1


def test_one_in_flight_whose_success_still_counts_and_whose_failure_does_not(conn):
    create(conn)
    ids = send(conn, 2)
    claims = claim(conn)
    assert set(discard(conn, *ids).values()) == {"discarded"}
    settle(conn, claims, [200, 500])
    assert states(conn, ids) == {"delivered": 1, "dead": 1}


def test_a_discarded_message_can_be_replayed(conn):
    create(conn)
    [msg_id] = send(conn)
    discard(conn, msg_id)
    assert replay(conn, msg_id) == {msg_id: "replayed"}
    assert state(conn, msg_id) == "ready"
