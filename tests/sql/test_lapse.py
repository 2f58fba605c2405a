"""Leases that run out, and workers that fall silent."""

from helpers import claim, create, drop_pgmq_queue, expire_leases, make_due, one, outcomes, send, settle, state, upkeep


def test_the_first_lapse_shows_the_message_at_once_and_spends_no_attempt(conn):
    create(conn)
    send(conn)
    claim(conn)
    expire_leases(conn)
    upkeep(conn)
    assert state(conn, 1) == "ready"
    assert conn.execute("select attempts, lost from qctl.retry").fetchone() == (0, 1)


def test_later_lapses_follow_the_schedule(conn):
    create(conn, retry_schedule_s=[100], retry_jitter=0)
    send(conn)
    for _ in range(2):
        claim(conn)
        expire_leases(conn)
        upkeep(conn)
    assert state(conn, 1) == "retrying"
    assert 95 < one(conn, "select extract(epoch from next_at - clock_timestamp()) from qctl.retry") <= 100


def test_after_max_lost_the_message_is_dead_with_its_payload(conn):
    create(conn, max_lost=2)
    send(conn)
    for _ in range(3):
        make_due(conn)
        assert len(claim(conn)) == 1
        expire_leases(conn)
        upkeep(conn)
    assert state(conn, 1) == "dead"
    assert conn.execute("select reason, lost, message from qctl.dead_letter").fetchone() == ("lost", 3, {"n": 0})


def test_a_claim_lapses_what_is_due_in_its_queue(conn):
    create(conn)
    send(conn)
    (first,) = claim(conn)
    expire_leases(conn)
    (second,) = claim(conn)
    assert (second.msg_id, second.attempt_no) == (first.msg_id, 2)


def test_an_answer_that_comes_after_the_lease_but_before_the_lapse_is_live(conn):
    create(conn)
    send(conn)
    claims = claim(conn)
    expire_leases(conn)
    assert settle(conn, claims, 500) == {"retrying": 1}


def test_answers_that_never_came_are_logged_after_a_day(conn):
    create(conn)
    send(conn)
    claim(conn)
    expire_leases(conn)
    upkeep(conn)
    conn.execute("update qctl.in_flight set lapsed_at = lapsed_at - interval '25 h'")
    upkeep(conn)
    assert outcomes(conn, 1) == ["lost"]
    assert one(conn, "select count(*) from qctl.in_flight") == 0


def test_the_leases_of_a_silent_worker_lapse(conn):
    create(conn)
    send(conn, 2)
    silent, lively = (
        one(conn, "select qctl.register_worker(%s, 'http', '{orders}', '0')", name) for name in ("silent", "lively")
    )
    claim(conn, 1, worker=silent)
    claim(conn, 1, worker=lively)
    conn.execute("update qctl.worker set last_seen_at = now() - interval '20 s' where worker_id = %s", (silent,))
    upkeep(conn)
    assert (state(conn, 1), state(conn, 2)) == ("ready", "in_flight")
    assert one(conn, "select qctl.heartbeat(%s)", silent) is False
    assert one(conn, "select qctl.heartbeat(%s)", lively) is True


def test_a_lapse_passes_over_what_is_being_settled(conn, other):
    """The settler holds the message's row; the lapse neither waits for it nor takes the message away."""
    create(conn)
    send(conn, 2)
    claims = claim(conn)
    expire_leases(conn)
    with conn.transaction():
        settle(conn, claims[:1], 200)
        other.execute("set lock_timeout = '200ms'")
        upkeep(other)
        assert one(other, "select count(*) from qctl.in_flight where lapsed_at is not null") == 1
    assert (state(conn, 1), state(conn, 2)) == ("delivered", "ready")


def test_upkeep_survives_a_queue_dropped_behind_its_back(conn):
    create(conn)
    create(conn, "second")
    send(conn, name="second")
    claim(conn, name="second")
    drop_pgmq_queue(conn)
    expire_leases(conn)
    upkeep(conn)
    assert state(conn, 1, "second") == "ready"
