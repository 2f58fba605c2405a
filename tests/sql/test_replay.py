"""Replay: the same message, a new delivery."""

from helpers import claim, create, make_due, one, outcomes, replay, send, settle, state


def test_a_delivered_message_moves_back_with_its_id_and_age(conn):
    create(conn)
    send(conn)
    first = claim(conn)
    settle(conn, first, 200)
    before = conn.execute("select msg_id, enqueued_at, message from pgmq.a_orders").fetchone()
    assert replay(conn, 1) == {1: "replayed"}
    assert conn.execute("select msg_id, enqueued_at, message from pgmq.q_orders").fetchone() == before
    assert one(conn, "select headers from pgmq.q_orders") is None
    (second,) = claim(conn)
    assert (second.delivery_no, second.attempt_no) == (2, 1)
    assert second.headers["webhook-id"] == first[0].headers["webhook-id"]


def test_replay_deliver_replay_works(conn):
    create(conn)
    send(conn)
    for delivery_no in (1, 2, 3):
        (only,) = claim(conn)
        assert only.delivery_no == delivery_no
        assert settle(conn, [only], 200) == {"delivered": 1}
        assert replay(conn, 1) == {1: "replayed"}
    assert outcomes(conn, 1) == ["delivered"] * 3


def test_a_dead_message_has_its_attempts_afresh(conn):
    create(conn, retry_schedule_s=[1])
    send(conn)
    for _ in range(2):
        settle(conn, claim(conn), 500)
        make_due(conn)
    assert state(conn, 1) == "dead"
    assert replay(conn, 1) == {1: "replayed"}
    assert settle(conn, claim(conn), 500) == {"retrying": 1}
    make_due(conn)
    assert settle(conn, claim(conn), 500) == {"dead": 1}
    assert outcomes(conn, 1) == ["retrying", "dead", "retrying", "dead"]


def test_the_number_of_the_delivery_survives_a_purged_log(conn):
    create(conn)
    send(conn)
    settle(conn, claim(conn), 200)
    replay(conn, 1)
    settle(conn, claim(conn), 200)
    conn.execute("truncate qctl.attempt")
    replay(conn, 1)
    assert claim(conn)[0].delivery_no == 3


def test_each_id_says_what_was_done(conn):
    create(conn)
    send(conn, 4)
    first, second, third, _fourth = claim(conn)
    settle(conn, [first], 200)
    settle(conn, [second], 500)
    assert replay(conn, 1, 2, 3, 99) == {1: "replayed", 2: "due_now", 3: "in_flight", 99: "unknown"}
    assert state(conn, 2) == "ready"
    assert replay(conn, 2) == {2: "ready"}
    assert settle(conn, [third], 200) == {"delivered": 1}


def test_two_replays_at_once_move_it_once(conn, other):
    create(conn)
    send(conn)
    settle(conn, claim(conn), 200)
    with conn.transaction():
        assert replay(conn, 1) == {1: "replayed"}
        other.execute("set statement_timeout = '300ms'")
        try:
            replay(other, 1)
        except Exception as error:
            assert "statement timeout" in str(error)
    other.execute("set statement_timeout = 0")
    assert replay(other, 1) == {1: "ready"}
    assert one(conn, "select count(*) from pgmq.q_orders") == 1


def test_the_users_own_headers_come_back(conn):
    create(conn)
    conn.execute("select qctl.send('orders', array['{}']::jsonb[], '{\"X-Mine\": \"1\"}')")
    settle(conn, claim(conn), 200)
    replay(conn, 1)
    assert claim(conn)[0].headers["x-mine"] == "1"


def test_replay_writes_audit_with_its_reason(conn):
    create(conn)
    send(conn)
    settle(conn, claim(conn), 200)
    conn.execute("select qctl.replay('orders', '{1}', 'n8n was down')")
    detail = one(conn, "select detail from qctl.audit where verb = 'replay'")
    assert (detail["reason"], detail["replayed"], detail["msg_ids"]) == ("n8n was down", 1, [1])


def test_a_message_archived_by_someone_else_can_be_replayed(conn):
    create(conn)
    send(conn)
    conn.execute("select pgmq.archive('orders', 1)")
    assert replay(conn, 1) == {1: "replayed"}
    assert claim(conn)[0].delivery_no == 2
