"""The pg_net transport: dispatch, collect, epochs, what is taken back, what harms only itself."""

import time

import psycopg
import pytest

from helpers import claim, create, create_pg_net, drop_pgmq_queue, one, outcomes, send, state, states

ANSWER = """
insert into net._http_response (id, status_code, headers, content, timed_out, error_msg)
values (%s, %s, %s, %s, false, %s)
"""


def dispatch(conn, limit: int | None = None) -> int:
    return one(conn, "select qctl.dispatch('orders', %s)", limit)


def collect(conn) -> int:
    return one(conn, "select qctl.collect('orders')")


def requests(conn) -> list[tuple[int, int]]:
    return conn.execute("select msg_id, request_id from qctl.in_flight where lapsed_at is null order by 1").fetchall()


def answer(conn, status: int | None, *, error: str | None = None, headers: str = "{}", content: str = "ok") -> None:
    """As if pg_net's worker had done all that waits."""
    for (request_id,) in conn.execute("delete from net.http_request_queue returning id").fetchall():
        conn.execute(ANSWER, (request_id, status, headers, content, error))


def test_what_is_dispatched_is_what_a_claim_would_give(net):
    create_pg_net(net, timeout_ms=4000)
    [msg_id] = send(net)
    assert dispatch(net) == 1
    url, headers, body, timeout = net.execute(
        "select url, headers, convert_from(body, 'UTF8'), timeout_milliseconds from net.http_request_queue"
    ).fetchone()
    assert (url, body, timeout) == ("http://127.0.0.1:9/x", '{"n": 0}', 4000)
    assert headers["webhook-id"].startswith("msg_")
    assert {key.lower() for key in headers} == {"webhook-id", "webhook-timestamp", "content-type"}
    assert state(net, msg_id) == "in_flight"
    assert dispatch(net) == 0


def test_a_dispatch_that_rolls_back_leaves_no_trace(net):
    create_pg_net(net)
    [msg_id] = send(net)
    with net.transaction(force_rollback=True):
        assert dispatch(net) == 1
    assert state(net, msg_id) == "ready"
    assert one(net, "select count(*) from net.http_request_queue") == 0


@pytest.mark.parametrize(
    ("status", "error", "becomes", "logged"),
    [
        (200, None, "delivered", "delivered"),
        (204, None, "delivered", "delivered"),
        (302, None, "retrying", "retrying"),
        (404, None, "retrying", "retrying"),
        (500, None, "retrying", "retrying"),
        (None, "Timeout of 5000 ms reached", "retrying", "retrying"),
    ],
)
def test_answers_are_settled(net, status, error, becomes, logged):
    create_pg_net(net)
    [msg_id] = send(net)
    dispatch(net)
    answer(net, status, error=error)
    assert collect(net) == 1
    assert state(net, msg_id) == becomes
    assert outcomes(net, msg_id) == [logged]
    assert collect(net) == 0


def test_an_answer_410_pauses_and_a_rejection_is_dead_after_three(net):
    create_pg_net(net, reject_after=1)
    ids = send(net, 2)
    dispatch(net, 1)
    answer(net, 422)
    collect(net)
    assert state(net, ids[0]) == "dead"
    dispatch(net, 1)
    answer(net, 410)
    collect(net)
    net.execute("select qctl.register_worker('w', 'pg_net', '{orders}', '0')")
    assert net.execute("select health, reason from qctl.status").fetchone() == (
        "gone",
        "the endpoint answered 410 Gone: it no longer exists; if it has a new address, set that first with qctl set --url",
    )
    assert dispatch(net) == 0


@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ('{"retry-after": "120"}', 115, 121),
        ('{"Retry-After": "120"}', 115, 121),
        ('{"RETRY-AFTER": "%s"}', 50, 61),
        ('{"Retry-After": "soon"}', 0, 6),
        ('{"Retry-After": "99999999999999999999"}', 86390, 86401),
    ],
)
def test_retry_after_from_stored_headers(net, headers, low, high):
    create_pg_net(net, retry_schedule_s=[1])
    [msg_id] = send(net)
    dispatch(net)
    if "%s" in headers:
        headers %= time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 60))
    answer(net, 429, headers=headers)
    collect(net)
    wait = one(net, "select extract(epoch from next_at - clock_timestamp()) from qctl.retry where msg_id = %s", msg_id)
    assert low <= wait <= high


def test_a_crash_makes_open_attempts_lapse_and_old_answers_strangers(net):
    """The seed's mistake: after a crash ids start again at 1, and another's answer comes in under ours."""
    create_pg_net(net)
    [msg_id] = send(net)
    dispatch(net)
    [(_, request_id)] = requests(net)
    # What crash recovery does to unlogged relations.
    net.execute("truncate net.http_request_queue, net._http_response, qctl.net_epoch restart identity")
    net.execute(ANSWER, (request_id, 200, "{}", "a stranger's", None))
    assert collect(net) == 0
    assert state(net, msg_id) == "ready"
    assert one(net, "select count(*) from pgmq.a_orders") == 0
    assert dispatch(net) == 1
    assert [r for _, r in requests(net)] == [request_id]
    # The old attempt has the same number as the new one, and only the new one's answer counts.
    assert one(net, "select count(*) from qctl.in_flight where request_id = %s", request_id) == 2


def test_ids_that_are_reset_without_a_crash_begin_a_new_epoch(net):
    create_pg_net(net)
    ids = send(net, 3)
    dispatch(net)
    before = one(net, "select epoch from qctl.net_epoch")
    net.execute("truncate net.http_request_queue restart identity")
    net.execute("select net.http_post('http://127.0.0.1:9/other')")
    net.execute(ANSWER, (1, 200, "{}", "a stranger's", None))
    assert collect(net) == 0
    assert one(net, "select epoch from qctl.net_epoch") != before
    assert states(net, ids) == {"ready": 3}


def test_a_request_in_neither_table_lapses_after_timeout_and_a_minute(net):
    create_pg_net(net, timeout_ms=1000)
    [msg_id] = send(net)
    dispatch(net)
    net.execute("delete from net.http_request_queue")
    collect(net)
    assert state(net, msg_id) == "in_flight"
    net.execute("update qctl.in_flight set claimed_at = claimed_at - interval '60 s'")
    collect(net)
    assert state(net, msg_id) == "in_flight"
    net.execute("update qctl.in_flight set claimed_at = claimed_at - interval '2 s'")
    collect(net)
    assert state(net, msg_id) == "ready"
    assert one(net, "select lost from qctl.retry") == 1


def test_a_late_success_wins_over_a_lapse_and_a_late_failure_is_only_logged(net):
    create_pg_net(net, timeout_ms=1000)
    ids = send(net, 2)
    dispatch(net)
    sent = requests(net)
    net.execute("delete from net.http_request_queue")
    net.execute("update qctl.in_flight set claimed_at = claimed_at - interval '62 s'")
    collect(net)
    assert states(net, ids) == {"ready": 2}
    for (_, request_id), status in zip(sent, (200, 500), strict=True):
        net.execute(ANSWER, (request_id, status, "{}", "late", None))
    collect(net)
    assert state(net, ids[0]) == "delivered"
    assert state(net, ids[1]) == "ready"
    assert outcomes(net, ids[1]) == ["late"]


def test_what_is_not_started_in_a_minute_is_taken_back_and_costs_no_attempt(net):
    create_pg_net(net)
    ids = send(net, 3)
    dispatch(net)
    net.execute("update qctl.in_flight set claimed_at = claimed_at - interval '61 s' where msg_id <> %s", (ids[2],))
    collect(net)
    assert states(net, ids) == {"ready": 2, "in_flight": 1}
    assert one(net, "select count(*) from net.http_request_queue") == 1
    assert one(net, "select count(*) from qctl.retry") == 0


def test_a_pg_net_that_stands_still_is_no_worker_with_its_reason_and_is_tried_once_a_minute(net):
    create_pg_net(net)
    ids = send(net, 5)
    dispatch(net)
    net.execute("update qctl.in_flight set claimed_at = claimed_at - interval '61 s'")
    collect(net)
    health, reason, fix = net.execute("select health, reason, fix from qctl.status").fetchone()
    assert (health, fix) == ("no_worker", "select net.worker_restart();")
    assert "pg_net has started no request for 60 s" in reason
    net.execute("select qctl.register_worker('w', 'pg_net', '{orders}', '0')")
    assert one(net, "select health from qctl.status") == "no_worker"
    assert dispatch(net) == 0
    net.execute("update qctl.scheduler set net_probe_at = net_probe_at - interval '61 s'")
    assert dispatch(net) == 1
    assert dispatch(net) == 0
    answer(net, 200)
    collect(net)
    assert dispatch(net) == 4
    assert one(net, "select health from qctl.status") == "ok"
    assert states(net, ids) == {"delivered": 1, "in_flight": 4}


def test_resume_frees_a_held_pg_net(net):
    create_pg_net(net)
    send(net, 5)
    dispatch(net)
    net.execute("update qctl.in_flight set claimed_at = claimed_at - interval '61 s'")
    collect(net)
    assert one(net, "select changed from qctl.resume('orders')")
    assert dispatch(net) == 5


def test_pg_net_is_handed_no_more_than_two_batches(net):
    create_pg_net(net, batch=10000)
    send(net, 1000)
    assert dispatch(net) == 400
    assert dispatch(net) == 0


def test_strangers_requests_before_ours_hold_dispatching_with_the_reason(net):
    create_pg_net(net)
    send(net)
    net.execute("select net.http_post('http://127.0.0.1:9/other') from generate_series(1, 400)")
    assert dispatch(net) == 0
    assert "at least 400 requests of other programs" in one(net, "select reason from qctl.status")
    net.execute("delete from net.http_request_queue")
    net.execute("update qctl.scheduler set net_probe_at = net_probe_at - interval '61 s'")
    assert dispatch(net) == 1
    answer(net, 200)
    assert collect(net) == 1
    dispatch(net)
    assert one(net, "select net_held_since from qctl.scheduler") is None


def test_an_endpoint_that_only_times_out_gets_single_tries(net):
    create_pg_net(net)
    ids = send(net, 10)
    dispatch(net, 4)
    for request_id in [r for _, r in requests(net)][:2]:
        net.execute("delete from net.http_request_queue where id = %s", (request_id,))
        net.execute(ANSWER, (request_id, None, None, None, "Timeout of 5000 ms reached"))
    collect(net)
    # The two that were not started are taken back.
    assert states(net, ids) == {"retrying": 2, "ready": 8}
    assert dispatch(net) == 0
    net.execute("update qctl.gate set net_hold_until = clock_timestamp()")
    assert [dispatch(net, 100), dispatch(net, 100)] == [1, 0]
    answer(net, 200)
    collect(net)
    assert dispatch(net) == 7


def test_one_timeout_among_answers_is_one_failed_attempt(net):
    create_pg_net(net)
    ids = send(net, 10)
    dispatch(net, 4)
    for n, request_id in enumerate([r for _, r in requests(net)]):
        net.execute("delete from net.http_request_queue where id = %s", (request_id,))
        late = (request_id, None, None, None, "Timeout of 5000 ms reached")
        net.execute(ANSWER, late if n == 3 else (request_id, 200, None, "ok", None))
        # Each is settled by itself, as the batches of pg_net happen to end.
        collect(net)
    assert states(net, ids) == {"delivered": 3, "retrying": 1, "ready": 6}
    assert one(net, "select net_hold_until from qctl.gate") is None
    assert dispatch(net) == 6


def test_without_a_breaker_timeouts_hold_nothing(net):
    create_pg_net(net, breaker_after=0)
    send(net, 10)
    dispatch(net, 4)
    for request_id in [r for _, r in requests(net)]:
        net.execute("delete from net.http_request_queue where id = %s", (request_id,))
        net.execute(ANSWER, (request_id, None, None, None, "Timeout of 5000 ms reached"))
    collect(net)
    assert dispatch(net) == 6


def test_oversize_messages_at_the_front_do_not_keep_a_breaker_from_its_probe(net):
    create_pg_net(net)
    net.execute("select qctl.send('orders', array_fill(to_jsonb(repeat('x', 60000)), array[150]))")
    [last] = send(net)
    net.execute("update qctl.gate set opened_at = clock_timestamp(), open_reason = 'x', probe_at = clock_timestamp()")
    assert dispatch(net) + dispatch(net) == 1
    assert one(net, "select opened_at is not null from qctl.gate")
    assert [m for m, _ in requests(net)] == [last]
    answer(net, 200)
    collect(net)
    assert one(net, "select opened_at from qctl.gate") is None
    assert one(net, "select count(*) from qctl.dead_letter where reason = 'oversize'") == 150


def test_a_request_that_net_http_post_refuses_harms_only_itself(net):
    create_pg_net(net)
    ids = send(net, 5)
    net.execute('update pgmq.q_orders set headers = \'{"content-type": "text/plain"}\' where msg_id = %s', (ids[2],))
    assert dispatch(net) == 4
    assert states(net, ids) == {"in_flight": 4, "retrying": 1}
    error = one(net, "select error from qctl.attempt where msg_id = %s", ids[2])
    assert error.startswith("not sent: ")
    assert "Content-Type" in error


def test_a_body_that_pg_net_cannot_carry_is_dead_at_once_with_its_size(net):
    create_pg_net(net)
    [small] = send(net)
    [big] = (
        row[0] for row in net.execute("select qctl.send('orders', array[jsonb_build_object('x', repeat('a', 60000))])")
    )
    assert dispatch(net) == 1
    assert state(net, small) == "in_flight"
    reason, error, size = net.execute(
        "select reason, error, length(message ->> 'x') from qctl.dead_letter where msg_id = %s", (big,)
    ).fetchone()
    assert (reason, size) == ("oversize", 60000)
    assert "60009 bytes" in error


@pytest.mark.parametrize(
    ("version", "cap"),
    [
        *((version, None) for version in ("0.8.0", "0.10.0", "0.20.5", "0.21.0")),
        *((version, 49152) for version in ("0.11.0", "0.14.0", "0.20.4", "odd")),
    ],
)
def test_the_body_cap_follows_the_version(conn, version, cap):
    assert one(conn, "select qctl._net_max_body(%s)", version) == cap


@pytest.mark.parametrize("encoding", ["UTF8", "LATIN1"])
def test_answers_that_are_no_utf8_or_huge(net, encoding):
    create_pg_net(net)
    ids = send(net, 3)
    dispatch(net)
    contents = [
        "net._raw('\\xfffe41'::bytea, 1)",
        "net._raw(convert_to(repeat('ä', 2000000), 'UTF8') || '\\xc3', 1)",
        "''",
    ]
    for (_, request_id), content in zip(requests(net), contents, strict=True):
        net.execute(
            f"insert into net._http_response (id, status_code, headers, content) values (%s, 500, '{{}}', {content})",
            (request_id,),
        )
    net.execute("delete from net.http_request_queue")
    net.execute(f"set client_encoding = '{encoding}'")
    assert collect(net) == 3
    net.execute("reset client_encoding")
    assert states(net, ids) == {"retrying": 3}
    assert one(net, "select max(octet_length(response)) from qctl.attempt") == (4096 if encoding == "UTF8" else None)


@pytest.mark.parametrize("timeout_ms", [0, -1, 99])
def test_a_timeout_of_0_is_refused(net, timeout_ms):
    with pytest.raises(psycopg.Error, match="timeout is 100ms to 5m"):
        create_pg_net(net, timeout_ms=timeout_ms)


def test_a_dropped_queue_is_confined(net, net_worker, endpoint):
    receiver = endpoint()
    net_worker()
    create_pg_net(net, url=receiver.url)
    create(net, "gone", url=receiver.url, transport="pg_net")
    send(net, 1, "gone")
    net.execute("select qctl.dispatch('gone')")
    drop_pgmq_queue(net, "gone")
    [msg_id] = send(net)
    net.execute("set statement_timeout = '4s'")
    net.execute("call qctl.work()")
    assert state(net, msg_id) == "delivered"


def test_a_queue_moves_between_transports_with_messages_in_flight(net):
    create_pg_net(net)
    ids = send(net, 4)
    dispatch(net, 2)
    net.execute("select qctl.set_queue('orders', p_settings => '{\"transport\": \"http\"}')")
    assert dispatch(net) == 0
    claims = claim(net)
    assert [c.msg_id for c in claims] == ids[2:]
    answer(net, 200)
    net.execute("call qctl.maintenance()")
    assert states(net, ids) == {"delivered": 2, "in_flight": 2}
    net.execute("select qctl.set_queue('orders', p_settings => '{\"transport\": \"pg_net\"}')")
    assert claim(net) == []
    assert dispatch(net) == 0


def test_upkeep_of_an_http_worker_never_lapses_a_pg_net_request_by_time(net):
    create_pg_net(net)
    [msg_id] = send(net)
    dispatch(net)
    net.execute("update qctl.in_flight set expires_at = clock_timestamp() - interval '1 s'")
    net.execute("select qctl.upkeep()")
    assert state(net, msg_id) == "in_flight"


def test_without_pg_net_open_requests_lapse(net):
    create_pg_net(net)
    [msg_id] = send(net)
    dispatch(net)
    net.execute("drop schema net cascade")
    net.execute("call qctl.maintenance()")
    assert state(net, msg_id) == "ready"


def test_sync_commit_is_on_for_what_is_sent(net):
    create_pg_net(net)
    send(net)
    with net.transaction():
        net.execute("set local synchronous_commit = off")
        dispatch(net)
        assert one(net, "show synchronous_commit") == "on"


def test_answers_settle_within_a_call_that_ends_before_the_statement_timeout(net, net_worker, endpoint):
    net_worker()
    create_pg_net(net, url=endpoint().url)
    net.execute("set statement_timeout = '3s'")
    started = time.monotonic()
    net.execute("call qctl.work()")
    assert 0.8 < time.monotonic() - started < 1.8


def test_a_locked_queue_and_a_locked_net_table_cost_no_attempt_and_stop_nobody(net, other, net_worker, endpoint):
    net_worker()
    create_pg_net(net, url=endpoint().url)
    create(net, "second", url="http://127.0.0.1:9/x", transport="pg_net")
    send(net, 1, "second")
    [msg_id] = send(net)
    with other.transaction():
        other.execute("lock table pgmq.q_second in access exclusive mode")
        net.execute("set statement_timeout = '8s'")
        net.execute("call qctl.work()")
        assert state(net, msg_id) == "delivered"
    with other.transaction():
        other.execute("lock table net.http_request_queue in access exclusive mode")
        net.execute("set lock_timeout = '300ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            net.execute("select qctl.dispatch('second')")
    assert one(net, "select count(*) from qctl.attempt where outcome <> 'delivered'") == 0
