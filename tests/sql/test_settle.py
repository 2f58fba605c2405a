"""Settling: success, failure, late answers, dead letters, and bad rows."""

import threading
from datetime import timedelta

import psycopg
import pytest

from helpers import claim, create, expire_leases, make_due, one, outcomes, replay, send, settle, state, states, upkeep
from processes import wait_until


def wait_s(conn, msg_id: int = 1) -> float:
    delta: timedelta = one(conn, "select next_at - clock_timestamp() from qctl.retry where msg_id = %s", msg_id)
    return delta.total_seconds()


def test_success_moves_the_message_to_the_archive_with_its_outcome(conn):
    create(conn)
    send(conn)
    assert settle(conn, claim(conn), 204) == {"delivered": 1}
    assert one(conn, "select count(*) from pgmq.q_orders") == 0
    kept = one(conn, "select headers -> 'qctl' from pgmq.a_orders where msg_id = 1")
    assert (kept["outcome"], kept["status"], kept["attempts"], kept["delivery_no"]) == ("delivered", 204, 1, 1)
    assert one(conn, "select count(*) from qctl.in_flight") == one(conn, "select count(*) from qctl.retry") == 0
    assert outcomes(conn, 1) == ["delivered"]


@pytest.mark.parametrize("status", [None, 100, 199, 300, 301, 404, 429, 500, 503, 600])
def test_anything_but_2xx_is_tried_again(conn, status):
    create(conn)
    send(conn)
    assert settle(conn, claim(conn), status, error=None if status else "timeout") == {"retrying": 1}
    assert state(conn, 1) == "retrying"
    assert 3.5 <= wait_s(conn) <= 6.1
    assert claim(conn) == []


def test_the_schedule_is_followed_and_its_end_is_a_dead_letter_with_the_payload(conn):
    create(conn, retry_schedule_s=[10, 100], retry_jitter=0)
    send(conn)
    for attempt_no, wait in ((1, 10), (2, 100)):
        (only,) = claim(conn)
        assert only.attempt_no == attempt_no
        settle(conn, [only], 500)
        assert wait - 2 < wait_s(conn) <= wait
        make_due(conn)
    assert settle(conn, claim(conn), 500) == {"dead": 1}
    assert state(conn, 1) == "dead"
    reason, status, message, attempts = conn.execute(
        "select reason, status_code, message, attempts from qctl.dead_letter"
    ).fetchone()
    assert (reason, status, message, attempts) == ("exhausted", 500, {"n": 0}, 3)
    assert outcomes(conn, 1) == ["retrying", "retrying", "dead"]
    assert one(conn, "select count(*) from qctl.retry") == 0


def test_jitter_spreads_the_waits(conn):
    create(conn, retry_schedule_s=[1000], retry_jitter=0.2)
    send(conn, 50)
    settle(conn, claim(conn), 500)
    low, high = conn.execute(
        "select min(next_at - clock_timestamp()), max(next_at - clock_timestamp()) from qctl.retry"
    ).fetchone()
    assert (
        timedelta(seconds=795)
        < low
        < timedelta(seconds=950)
        < timedelta(seconds=1050)
        < high
        <= timedelta(seconds=1200)
    )


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_answers_about_the_payload_are_dead_after_reject_after(conn, status):
    create(conn, reject_after=2)
    send(conn)
    assert settle(conn, claim(conn), status) == {"retrying": 1}
    make_due(conn)
    assert settle(conn, claim(conn), status) == {"dead": 1}
    assert one(conn, "select reason from qctl.dead_letter") == "rejected"


def test_outages_do_not_count_as_rejections(conn):
    create(conn, reject_after=2)
    send(conn)
    for status in (500, 500, 400):
        assert settle(conn, claim(conn), status) == {"retrying": 1}
        make_due(conn)
    assert settle(conn, claim(conn), 400) == {"dead": 1}


def test_retry_after_lengthens_the_wait_and_is_capped(conn):
    create(conn, retry_after_max_s=600)
    send(conn, 3)
    first, second, third = claim(conn)
    settle(conn, [first], 429, retry_after=120)
    settle(conn, [second], 503, retry_after=999_999)
    settle(conn, [third], 503, retry_after=1)
    assert 115 < wait_s(conn, 1) <= 120
    assert 595 < wait_s(conn, 2) <= 600
    assert 3.5 <= wait_s(conn, 3) <= 6.1


def test_410_pauses_the_queue_and_costs_no_attempt(conn):
    create(conn)
    send(conn, 2)
    assert settle(conn, claim(conn, 1), 410) == {"paused": 1}
    assert "410" in one(conn, "select pause_reason from qctl.gate")
    assert claim(conn) == []
    conn.execute("select qctl.resume('orders')")
    again = next(c for c in claim(conn) if c.msg_id == 1)
    assert again.attempt_no == 2
    assert one(conn, "select attempts from qctl.retry where msg_id = 1") == 0


def test_settling_twice_changes_nothing(conn):
    create(conn)
    send(conn)
    claims = claim(conn)
    assert settle(conn, claims, 200) == {"delivered": 1}
    assert settle(conn, claims, 200) == {"unknown": 1}
    assert settle(conn, claims, 500) == {"unknown": 1}
    assert (state(conn, 1), outcomes(conn, 1)) == ("delivered", ["delivered"])


def test_one_answer_given_twice_in_a_call_counts_once_and_success_wins(conn):
    create(conn)
    send(conn)
    claims = claim(conn)
    assert settle(conn, claims * 2, [500, 200]) == {"delivered": 1}


def test_a_wrong_lease_settles_nothing(conn):
    create(conn)
    send(conn, 2)
    first, second = claim(conn, 1), claim(conn, 1)
    mixed = [type(first[0])(first[0].msg_id, second[0].lease, 1, 1, {}, "")]
    assert settle(conn, mixed, 200) == {"unknown": 1}
    assert states(conn, [1, 2]) == {"in_flight": 2}


def test_a_late_success_wins_over_the_lapse(conn):
    create(conn)
    send(conn)
    claims = claim(conn)
    expire_leases(conn)
    upkeep(conn)
    assert state(conn, 1) == "ready"
    assert settle(conn, claims, 200) == {"delivered": 1}
    assert state(conn, 1) == "delivered"


def test_a_late_success_wins_while_another_worker_holds_the_message(conn):
    create(conn)
    send(conn)
    first = claim(conn)
    expire_leases(conn)
    upkeep(conn)
    second = claim(conn)
    assert second[0].attempt_no == 2
    assert settle(conn, first, 200) == {"delivered": 1}
    assert settle(conn, second, 500) == {"late": 1}
    assert (state(conn, 1), outcomes(conn, 1)) == ("delivered", ["delivered", "late"])


def test_a_late_success_wins_over_a_retry_and_over_a_dead_letter(conn):
    create(conn, retry_schedule_s=[])
    send(conn, 2)
    old = claim(conn)
    expire_leases(conn)
    upkeep(conn)
    fresh = claim(conn)
    assert settle(conn, fresh, 500) == {"dead": 2}
    assert settle(conn, old, 200) == {"delivered": 2}
    assert states(conn, [1, 2]) == {"delivered": 2}
    assert one(conn, "select count(*) from qctl.dead_letter") == 0
    assert one(conn, "select message from pgmq.a_orders where msg_id = 2") == {"n": 1}


def test_a_late_failure_undoes_nothing(conn):
    create(conn)
    send(conn)
    old = claim(conn)
    expire_leases(conn)
    upkeep(conn)
    fresh = claim(conn)
    assert settle(conn, old, 500) == {"late": 1}
    assert state(conn, 1) == "in_flight"
    assert one(conn, "select attempts from qctl.retry") == 0
    assert settle(conn, fresh, 200) == {"delivered": 1}


def test_both_leases_answered_in_one_call_success_wins(conn):
    create(conn)
    send(conn)
    old = claim(conn)
    expire_leases(conn)
    upkeep(conn)
    fresh = claim(conn)
    assert settle(conn, [*old, *fresh], [200, 500]) == {"delivered": 1, "late": 1}
    assert state(conn, 1) == "delivered"
    assert one(conn, "select count(*) from qctl.in_flight") == 0


def test_a_replayed_message_is_not_finished_by_an_answer_to_the_delivery_before(conn):
    create(conn)
    send(conn)
    old = claim(conn)
    expire_leases(conn)
    upkeep(conn)
    settle(conn, claim(conn), 200)
    assert replay(conn, 1) == {1: "replayed"}
    assert settle(conn, old, 200) == {"late": 1}
    assert state(conn, 1) == "ready"
    assert settle(conn, claim(conn), 200) == {"delivered": 1}


def test_a_message_archived_by_someone_else_is_only_logged(conn):
    create(conn)
    send(conn)
    claims = claim(conn)
    conn.execute("select pgmq.archive('orders', 1)")
    assert settle(conn, claims, 500) == {"late": 1}
    assert state(conn, 1) == "archived"
    assert one(conn, "select count(*) from qctl.retry") == 0


def test_a_batch_of_500_with_bad_rows_settles_500(conn):
    create(conn)
    send(conn, 500)
    conn.execute("insert into pgmq.a_orders (msg_id, vt, message) values (77, now(), '{\"stranger\": true}')")
    claims = claim(conn, 500)
    responses = [b"ok"] * 500
    responses[10] = b"a\x00b"
    responses[20] = b"\xff\xfe broken"
    responses[30] = "é".encode() * 5000
    assert settle(conn, claims, 200, response=responses) == {"delivered": 500}
    assert one(conn, "select count(*) from pgmq.q_orders") == 0
    assert one(conn, "select message from pgmq.a_orders where msg_id = 77") == {"n": 76}
    assert one(conn, "select response from qctl.attempt where msg_id = 11") == "a\\000b"
    assert one(conn, "select response from qctl.attempt where msg_id = 31") == "é" * 2048


def test_a_row_that_cannot_be_settled_harms_only_itself(conn):
    """A trigger of the user's own refuses one message; the other 99 settle, and the refusal is written down."""
    create(conn)
    conn.execute(
        "create function public.refuse() returns trigger language plpgsql as"
        " $$ begin if new.msg_id = 42 then raise exception 'not this one'; end if; return new; end $$"
    )
    conn.execute("create trigger refuse before insert on pgmq.a_orders for each row execute function public.refuse()")
    ids = send(conn, 100)
    assert settle(conn, claim(conn), 200) == {"delivered": 99, "failed": 1}
    assert states(conn, ids) == {"delivered": 99, "in_flight": 1}
    assert one(conn, "select detail ->> 'error' from qctl.audit where verb = 'settle_failed'").endswith("not this one")


def test_two_settlers_of_one_lease_settle_once(conn, dsn):
    create(conn)
    ids = send(conn, 200)
    claims = claim(conn, 200)
    results: list[dict[str, int]] = []

    def run() -> None:
        with psycopg.connect(dsn, autocommit=True) as mine:
            results.append(settle(mine, claims, 200))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(r.get("delivered", 0) for r in results) == 200
    assert sum(r.get("unknown", 0) for r in results) == 600
    assert states(conn, ids) == {"delivered": 200}
    assert one(conn, "select count(*) from qctl.attempt") == 200


def test_settlers_with_crossing_batches_do_not_deadlock(conn, dsn):
    create(conn)
    send(conn, 300)
    claims = claim(conn, 300)
    errors: list[Exception] = []

    def run(batch) -> None:
        try:
            with psycopg.connect(dsn, autocommit=True) as mine:
                settle(mine, batch, 200)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(batch,)) for batch in (claims, claims[::-1]) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert one(conn, "select count(*) from pgmq.a_orders") == 300


def test_error_texts_are_cut(conn):
    create(conn)
    send(conn)
    settle(conn, claim(conn), None, error="x" * 10_000)
    assert one(conn, "select length(error) from qctl.attempt") == 500


def test_purging_the_log_does_not_reset_the_count_of_attempts(conn):
    create(conn, retry_schedule_s=[1, 1])
    send(conn)
    settle(conn, claim(conn), 500)
    conn.execute("truncate qctl.attempt")
    make_due(conn)
    (second,) = claim(conn)
    assert second.attempt_no == 2
    settle(conn, [second], 500)
    make_due(conn)
    assert settle(conn, claim(conn), 500) == {"dead": 1}


def test_a_success_after_a_failure_counts_both_and_leaves_no_note(conn):
    """The short way of a first success must leave this one to the long way."""
    create(conn)
    send(conn)
    settle(conn, claim(conn), 500)
    make_due(conn)
    assert settle(conn, claim(conn), 200) == {"delivered": 1}
    assert one(conn, "select headers #>> '{qctl,attempts}' from pgmq.a_orders") == "2"
    assert one(conn, "select count(*) from qctl.retry") == 0
    assert outcomes(conn, 1) == ["retrying", "delivered"]


def test_first_successes_and_everything_else_in_one_call(conn):
    create(conn)
    send(conn, 6)
    first = claim(conn, 6)
    settle(conn, first[:1], 500)
    make_due(conn)
    answers = [*claim(conn), *first[1:]]
    assert settle(conn, answers, [200, 200, 500, 200, 422, 200]) == {"delivered": 4, "retrying": 2}
    assert one(conn, "select count(*) from pgmq.a_orders") == 4
    assert one(conn, "select count(*) from qctl.in_flight") == 0
    ids = [message.msg_id for message in first[1:]]
    assert one(conn, "select count(distinct settled_at) from qctl.attempt where msg_id = any (%s)", ids) == 1


def test_a_lease_that_lapses_while_its_success_is_settled_is_a_late_success_and_leaves_no_retry(conn, dsn):
    """As at the end of an epoch, which lapses leases without a lock on the queue's rows."""
    create(conn)
    send(conn)
    claims = claim(conn)
    with psycopg.connect(dsn) as other:
        other.execute("update qctl.in_flight set lapsed_at = clock_timestamp()")
        other.execute(
            "insert into qctl.retry (queue_id, msg_id, enqueued_at, delivery_no, attempt_no, attempts, rejected, lost)"
            " select f.queue_id, f.msg_id, f.enqueued_at, 1, 1, 0, 0, 1 from qctl.in_flight f"
        )
        settled: list[dict] = []
        settling = threading.Thread(target=lambda: settled.append(settle(conn, claims, 200)))
        settling.start()
        wait_until(lambda: one(other, "select count(*) from pg_locks where not granted"))
        other.commit()
        settling.join(20)
    assert settled == [{"delivered": 1}]
    assert one(conn, "select count(*) from qctl.retry") == 0
    assert one(conn, "select count(*) from pgmq.a_orders") == 1


def test_a_late_answer_leaves_the_retry_of_a_replay_that_began_meanwhile(conn, other):
    """The steps of a settle are statements of their own, and an archived message has no row to lock."""
    create(conn)
    (msg_id,) = send(conn)
    [late] = claim(conn)
    expire_leases(conn)
    conn.execute("select qctl.upkeep()")
    settle(conn, claim(conn), 200)
    queue = "(select q from qctl.queue q)"
    with conn.transaction():
        queued_at = one(conn, f"select qctl._lock_messages({queue}, %s)", [msg_id])
        assert queued_at == [None]
        other.execute("select qctl.replay('orders', %s, p_new_id => true)", ([msg_id],))
        judged = one(
            conn,
            f"select qctl._judge({queue}, array[null::timestamptz], %s::uuid[], %s, '{{500}}', '{{null}}', '{{null}}', '{{1}}',"
            " '{null}', now(), false)::text",
            [str(late.lease)],
            [msg_id],
        )
        conn.execute(f"select qctl._forget_judged({queue}, %s::qctl.judged[])", (judged,))
    assert conn.execute("select delivery_no, webhook_id is not null from qctl.retry").fetchall() == [(2, True)]
    assert [message.delivery_no for message in claim(conn)] == [2]
