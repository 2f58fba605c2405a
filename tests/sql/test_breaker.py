"""The circuit breaker: an endpoint that is down costs nothing, and all goes on when it is back."""

import pytest

from helpers import claim, create, make_due, one, outcomes, send, settle, states


@pytest.fixture
def queue(conn):
    create(conn, max_in_flight=100)
    return conn


def gate(conn) -> dict:
    cursor = conn.execute("select * from qctl.gate")
    return dict(zip([c.name for c in cursor.description], cursor.fetchone(), strict=True))


def is_open(conn) -> bool:
    return gate(conn)["opened_at"] is not None


def let_probe(conn) -> None:
    """As if the pause had passed."""
    conn.execute("update qctl.gate set probe_at = clock_timestamp() where opened_at is not null")


def fall(conn, status: int | None = 503) -> None:
    settle(conn, claim(conn, 10), status)
    assert is_open(conn)


@pytest.mark.parametrize("status", [None, 404, 408, 429, 500, 503, 504])
def test_it_opens_after_ten_failures_in_a_row(queue, status):
    send(queue, 20)
    settle(queue, claim(queue, 9), status)
    assert not is_open(queue)
    settle(queue, claim(queue, 1), status)
    assert is_open(queue)
    assert claim(queue) == []


@pytest.mark.parametrize("status", [400, 413, 422, 301])
def test_answers_that_concern_the_message_do_not_open_it(queue, status):
    send(queue, 50)
    settle(queue, claim(queue, 50), status)
    assert not is_open(queue)


def test_one_success_ends_a_row(queue):
    send(queue, 30)
    settle(queue, claim(queue, 9), 500)
    settle(queue, claim(queue, 1), 200)
    settle(queue, claim(queue, 9), 500)
    assert not is_open(queue)


def test_it_opens_on_a_share_of_failures(queue):
    send(queue, 60)
    for _ in range(5):
        settle(queue, claim(queue, 4), [500, 500, 500, 200])
    assert is_open(queue)
    assert "15 of 20 attempts within 30 s failed" in gate(queue)["open_reason"]


def test_half_failing_is_not_down(queue):
    send(queue, 60)
    for _ in range(15):
        settle(queue, claim(queue, 4), [500, 500, 200, 200])
    assert not is_open(queue)


def test_a_healthy_queue_writes_nothing_to_its_gate(queue):
    send(queue, 20)
    settle(queue, claim(queue, 5), 200)
    before = one(queue, "select xmin::text || ctid::text from qctl.gate")
    for _ in range(3):
        settle(queue, claim(queue, 5), 200)
    assert one(queue, "select xmin::text || ctid::text from qctl.gate") == before


def test_a_probe_is_one_message_and_one_at_a_time(queue):
    send(queue, 30)
    fall(queue)
    let_probe(queue)
    assert len(claim(queue)) == 1
    assert claim(queue) == []


def test_the_right_to_probe_expires_with_its_worker(queue):
    send(queue, 30)
    fall(queue)
    let_probe(queue)
    [lost] = claim(queue)
    queue.execute("update qctl.gate set probe_ends = clock_timestamp()")
    [next_one] = claim(queue)
    assert next_one.msg_id != lost.msg_id


def test_a_probe_handed_back_unsent_gives_its_right_back(queue):
    send(queue, 30)
    fall(queue)
    let_probe(queue)
    [probe] = claim(queue)
    queue.execute("select qctl.release('orders', %s, %s)", ([probe.lease], [probe.msg_id]))
    assert len(claim(queue)) == 1


def test_pauses_grow_to_the_most(queue):
    queue.execute("select qctl.set_queue('orders', p_settings => '{\"breaker_pause_max_s\": 8}')")
    send(queue, 30)
    fall(queue)
    pauses = []
    for _ in range(6):
        let_probe(queue)
        settle(queue, claim(queue), 503)
        pauses.append(one(queue, "select extract(epoch from probe_at - clock_timestamp())::float from qctl.gate"))
    for pause, expected in zip(pauses, [2, 4, 8, 8, 8, 8], strict=True):
        assert expected * 0.85 < pause < expected * 1.15


def test_retry_after_of_a_probe_is_honoured_and_capped(queue):
    send(queue, 30)
    fall(queue)
    let_probe(queue)
    settle(queue, claim(queue), 503, retry_after=120)
    assert 110 < one(queue, "select extract(epoch from probe_at - clock_timestamp())::float from qctl.gate") < 121
    let_probe(queue)
    settle(queue, claim(queue), 503, retry_after=10**9)
    assert one(queue, "select extract(epoch from probe_at - clock_timestamp())::float from qctl.gate") < 601


def test_probes_are_of_different_messages_untried_ones_first(queue):
    ids = send(queue, 14)
    fall(queue)
    probed = []
    for _ in range(4):
        let_probe(queue)
        [probe] = claim(queue)
        probed.append(probe.msg_id)
        settle(queue, [probe], 503)
    assert sorted(probed) == ids[10:]


def test_with_nothing_due_a_probe_is_early_and_costs_its_message_nothing(queue):
    send(queue, 10)
    fall(queue)
    before = queue.execute("select msg_id, attempts, next_at from qctl.retry order by 1").fetchall()
    for _ in range(30):
        let_probe(queue)
        settle(queue, claim(queue), 503)
    assert queue.execute("select msg_id, attempts, next_at from qctl.retry order by 1").fetchall() == before
    # Fairly: each was tried three times as a probe.
    assert {row[0] for row in queue.execute("select attempt_no from qctl.retry")} == {4}
    assert one(queue, "select count(*) from qctl.dead_letter") == 0


def test_a_due_probe_is_an_attempt_like_any_other(queue):
    [msg_id, *_] = send(queue, 10)
    fall(queue)
    queue.execute("update pgmq.q_orders set vt = clock_timestamp() where msg_id = %s", [msg_id])
    let_probe(queue)
    [probe] = claim(queue)
    assert probe.msg_id == msg_id
    settle(queue, [probe], 503)
    assert one(queue, "select attempts from qctl.retry where msg_id = %s", msg_id) == 2


def test_it_closes_and_what_failed_becomes_due_at_once(queue):
    ids = send(queue, 30)
    fall(queue)
    let_probe(queue)
    settle(queue, claim(queue), 200)
    assert not is_open(queue)
    done = 1
    for _ in range(20):
        claimed = claim(queue)
        done += len(claimed)
        settle(queue, claimed, 200)
    assert done == 30
    assert states(queue, ids) == {"delivered": 30}


def test_a_long_list_is_recalled_page_by_page(queue):
    queue.execute(
        "select qctl.set_queue('orders', p_settings => '{\"max_in_flight\": 5000, \"breaker_after\": 10000}')"
    )
    ids = send(queue, 2500)
    settle(queue, claim(queue, 2500), 503)
    queue.execute("select qctl.set_queue('orders', p_settings => '{\"breaker_after\": 10}')")
    send(queue, 20)
    settle(queue, claim(queue, 10), 503)
    assert is_open(queue)
    let_probe(queue)
    settle(queue, claim(queue), 200)
    due = "select count(*) from pgmq.q_orders where vt <= clock_timestamp()"
    claim(queue, 1)
    first = one(queue, due)
    claim(queue, 1), claim(queue, 1), claim(queue, 1)
    assert first < 1100
    assert one(queue, due) >= len(ids) - 10
    assert gate(queue)["recall_after"] is None


def test_what_fails_by_itself_is_not_recalled(queue):
    [rejected] = send(queue)
    settle(queue, claim(queue), 400)
    send(queue, 12)
    fall(queue)
    let_probe(queue)
    settle(queue, claim(queue), 200)
    claim(queue)
    assert one(queue, "select vt > clock_timestamp() from pgmq.q_orders where msg_id = %s", rejected)


def test_a_poisoned_probe_does_not_hold_it_open(queue):
    poison, *_ = send(queue, 30)
    fall(queue)
    queue.execute("delete from pgmq.q_orders where vt <= clock_timestamp()")
    let_probe(queue)
    [probe] = claim(queue)
    assert probe.msg_id == poison
    settle(queue, [probe], 500)
    assert is_open(queue)
    let_probe(queue)
    [probe] = claim(queue)
    assert probe.msg_id != poison
    settle(queue, [probe], 200)
    assert not is_open(queue)


def test_slow_start_doubles_with_each_round(queue):
    send(queue, 300)
    fall(queue)
    let_probe(queue)
    settle(queue, claim(queue), 200)
    sizes = []
    for _ in range(5):
        claimed = claim(queue)
        sizes.append(len(claimed))
        settle(queue, claimed, 200)
    assert sizes == [10, 20, 40, 80, 100]
    assert gate(queue)["slow_limit"] is None


def test_slow_start_after_resume_and_after_arming(queue):
    send(queue, 100)
    queue.execute("select qctl.pause('orders')")
    queue.execute("select qctl.resume('orders')")
    first = claim(queue)
    assert len(first) == 10
    settle(queue, first, 200)
    queue.execute("update qctl.gate set slow_limit = null")
    queue.execute("select qctl.disarm()")
    queue.execute("select qctl.arm()")
    assert len(claim(queue)) == 10


def test_resume_closes_it(queue):
    send(queue, 30)
    fall(queue)
    assert one(queue, "select changed from qctl.resume('orders')") is True
    assert len(claim(queue)) == 10


def test_it_can_be_switched_off(queue):
    queue.execute("select qctl.set_queue('orders', p_settings => '{\"breaker_after\": 0}')")
    send(queue, 60)
    settle(queue, claim(queue, 50), 503)
    assert len(claim(queue, 5)) == 5


def test_late_failures_say_nothing_of_now(queue):
    send(queue, 20)
    claimed = claim(queue, 12)
    queue.execute("update qctl.in_flight set lapsed_at = clock_timestamp()")
    settle(queue, claimed, 503)
    assert not is_open(queue)


def test_what_was_sent_before_it_opened_does_not_close_it(queue):
    send(queue, 30)
    before = claim(queue, 5)
    fall(queue)
    settle(queue, before, 200)
    assert is_open(queue)


def test_ready_queues_knows_of_it(queue):
    send(queue, 30)
    fall(queue)
    ready = "select count(*) from qctl.ready_queues('{orders}')"
    assert one(queue, ready) == 0
    let_probe(queue)
    assert one(queue, ready) == 1
    claim(queue)
    assert one(queue, ready) == 0


def test_opening_and_closing_are_audited(queue):
    send(queue, 12)
    fall(queue)
    let_probe(queue)
    settle(queue, claim(queue), 200)
    verbs = [row[0] for row in queue.execute("select verb from qctl.audit where verb ~ 'breaker' order by audit_id")]
    assert verbs == ["breaker_opened", "breaker_closed"]


def test_410_pauses_and_burns_nothing(queue):
    [msg_id] = send(queue)
    settle(queue, claim(queue), 410)
    assert gate(queue)["paused_at"] is not None
    assert not is_open(queue)
    assert outcomes(queue, msg_id) == ["paused"]
    make_due(queue)


@pytest.mark.parametrize("status", [401, 403])
def test_credentials_that_no_message_is_accepted_with_are_an_outage(queue, status):
    ids = send(queue, 30)
    settle(queue, claim(queue, 9), status)
    settle(queue, claim(queue, 1), 200)
    settle(queue, claim(queue, 9), status)
    assert not is_open(queue)
    settle(queue, claim(queue, 1), status)
    assert is_open(queue)
    let_probe(queue)
    [probe] = claim(queue)
    settle(queue, [probe], status)
    assert is_open(queue)
    assert gate(queue)["open_reason"] == f"HTTP {status}"
    # The secret is corrected: a probe is sent at once, and then all that failed, without waiting for the schedule.
    queue.execute("select qctl.set_queue('orders', p_headers => '{\"authorization\": \"Bearer new\"}')")
    [probe] = claim(queue)
    settle(queue, [probe], 200)
    assert not is_open(queue)
    got = {probe.msg_id}
    while claimed := claim(queue):
        settle(queue, claimed, 200)
        got |= {c.msg_id for c in claimed}
    assert len(got) == len(ids) - 1
    assert one(queue, "select count(*) from pgmq.q_orders") == 0


def test_a_secret_that_is_corrected_makes_its_queue_try_at_once(queue):
    queue.execute("select qctl.set_header_secret('token', 'old')")
    queue.execute("select qctl.set_queue('orders', p_headers => '{\"authorization\": \"secret:token\"}')")
    send(queue, 3)
    settle(queue, claim(queue), 401)
    assert claim(queue) == []
    queue.execute("select qctl.set_header_secret('token', 'new')")
    assert len(claim(queue)) == 3


@pytest.mark.parametrize("error", ["not sent: the body has 60000 bytes", "the request cannot be made: no such header"])
def test_a_probe_that_was_not_sent_says_nothing(queue, error):
    send(queue, 30)
    fall(queue)
    let_probe(queue)
    [probe] = claim(queue)
    settle(queue, [probe], None, error=error)
    assert is_open(queue)
    assert one(queue, "select count(*) from qctl.audit where verb = 'breaker_closed'") == 0
    # It was no answer, so another message is the probe at once.
    [next_probe] = claim(queue)
    assert next_probe.msg_id != probe.msg_id


def test_a_probe_is_found_behind_a_blocked_key(conn):
    create(conn, ordered=True, on_dead="block", reject_after=1)
    conn.execute("select qctl.send('orders', array['{}']::jsonb[], p_order_key => 'blocked')")
    settle(conn, claim(conn), 400)
    assert one(conn, "select count(*) from qctl.dead_letter") == 1
    for n in range(300):
        conn.execute("select qctl.send('orders', array['{}']::jsonb[], p_order_key => 'blocked')")
        if n >= 289:
            conn.execute("select qctl.send('orders', array['{}']::jsonb[], p_order_key => %s)", [f"free {n}"])
    conn.execute("update qctl.gate set opened_at = clock_timestamp(), open_reason = 'x', probe_at = clock_timestamp()")
    [probe] = claim(conn)
    settle(conn, [probe], 200)
    assert not is_open(conn)


def test_a_flapping_endpoint_spends_attempts_no_faster_than_the_schedule(queue):
    """It answers one probe, then fails again: each time all that failed is tried, and none of it dies before its schedule."""
    send(queue, 12)
    settle(queue, claim(queue, 12), 503)
    for _ in range(15):
        send(queue, 1)
        let_probe(queue)
        [probe] = claim(queue)
        settle(queue, [probe], 200)
        while claimed := claim(queue):
            settle(queue, claimed, 503)
            if is_open(queue):
                break
    assert one(queue, "select max(attempt_no) from qctl.retry") > 10
    assert one(queue, "select max(attempts) from qctl.retry") == 1
    assert one(queue, "select count(*) from qctl.dead_letter") == 0


def test_an_early_probe_that_was_handed_back_or_lost_costs_nothing(queue):
    send(queue, 10)
    fall(queue)
    let_probe(queue)
    [probe] = claim(queue)
    queue.execute("select qctl.release('orders', %s, %s)", ([probe.lease], [probe.msg_id]))
    [probe] = claim(queue)
    settle(queue, [probe], 503)
    assert one(queue, "select max(attempts) from qctl.retry") == 1
    let_probe(queue)
    [probe] = claim(queue)
    queue.execute("update qctl.in_flight set expires_at = clock_timestamp()")
    queue.execute("select * from qctl.upkeep()")
    for _ in range(10):
        let_probe(queue)
        settle(queue, claim(queue), 503)
    assert one(queue, "select max(attempts) from qctl.retry") == 1


def test_nothing_waits_so_an_open_breaker_is_no_trouble(queue):
    queue.execute("select qctl.register_worker('w', 'http', '{orders}', '0')")
    ids = send(queue, 10)
    fall(queue)
    assert one(queue, "select health from qctl.status") == "circuit_open"
    queue.execute("select qctl.discard('orders', %s)", [ids])
    assert one(queue, "select health from qctl.status") != "circuit_open"


def test_a_kept_instant_of_a_clock_that_was_ahead_stalls_nothing(queue):
    send(queue, 30)
    fall(queue)
    queue.execute("update qctl.gate set probe_at = clock_timestamp() + interval '1 day'")
    assert queue.execute("select * from qctl.ready_queues('{orders}')").fetchall() == [("orders",)]
    assert len(claim(queue)) == 1
    queue.execute(
        "update qctl.gate set probe_at = clock_timestamp(), probe_ends = clock_timestamp() + interval '1 day'"
    )
    assert len(claim(queue)) == 1
