"""Health: each state of the closed list, in order; what check and doctor say of it."""

import pytest

import standin
from helpers import claim, create, make_due, one, reset_statistics, send, settle


@pytest.fixture
def live(conn):
    """A queue with a live worker."""
    create(conn, retry_schedule_s=[3600] * 5)
    conn.execute("select qctl.register_worker('w', 'http', '{orders}', '0')")
    return conn


def health(conn) -> str:
    return one(conn, "select health from qctl.health('orders')")


def causes(conn, **limits) -> list[str]:
    arguments = ", ".join(f"p_{key} => %({key})s" for key in limits)
    return [row[0] for row in conn.execute(f"select cause from qctl.check({arguments})", limits)]


def fail(conn, count: int, status: int | None = 500) -> None:
    send(conn, count)
    settle(conn, claim(conn, count), status)


def test_the_first_that_holds_is_the_health_and_check_tells_all(live):
    assert health(live) == "ok"
    fail(live, 3)
    assert health(live) == "endpoint_failing"
    assert one(live, "select fix is null and reason ~ 'by their schedule; see: qctl show orders/' from qctl.health()")
    live.execute("update qctl.gate set paused_at = now(), paused_by = 'x'")
    assert health(live) == "paused"
    live.execute("update qctl.gate set paused_by = 'qctl', gone = true")
    assert health(live) == "gone"
    live.execute("update qctl.worker set last_seen_at = now() - interval '31 s'")
    assert health(live) == "no_worker"
    live.execute("select qctl.register_worker('new', 'http', '{}', '99.0.0')")
    assert health(live) == "schema_outdated"
    live.execute("select qctl.disarm()")
    assert health(live) == "unarmed"
    rows = live.execute("select since, reason, fix from qctl.health()").fetchall()
    assert all(all(row) for row in rows)
    live.execute("create table public.t (id int primary key)")
    live.execute("select qctl.attach('public.t', 'orders')")
    live.execute("alter table public.t disable trigger all")
    assert health(live) == "capture_broken"
    told = causes(live)
    assert sorted(set(told), key=told.index) == ["capture_broken", "unarmed", "schema_outdated"]
    live.execute("select qctl.arm()")
    told = causes(live)
    assert sorted(set(told), key=told.index) == ["capture_broken", "schema_outdated", "no_worker", "gone"]


def test_causes_explain_only_what_is_listed_and_no_two_each_other(conn):
    rows = conn.execute("select cause, danger, explains from qctl.health_causes()").fetchall()
    listed = {cause: explains for cause, _, explains in rows}
    assert [danger for _, danger, _ in rows] == sorted(danger for _, danger, _ in rows)
    for cause, explains in listed.items():
        assert set(explains) <= set(listed) - {cause}
        assert all(cause not in listed[other] for other in explains)


@pytest.mark.parametrize("transport", ["http", "pg_net"])
def test_a_fault_of_many_queues_is_one_finding_with_one_command(conn, transport):
    if transport == "pg_net":
        standin.install(conn.info.dsn)
    for number in range(5):
        create(conn, f"q{number}", transport=transport)
        send(conn, 3, f"q{number}")
        conn.execute(f"update pgmq.q_q{number} set vt = now() - interval '1 h', enqueued_at = now() - interval '1 h'")
    conn.execute("update qctl.queue set created_at = now() - interval '1 h'")
    found = conn.execute(
        "select queues, cause, fix from qctl.findings(p_max_lag_s => 60, p_max_age_s => 60)"
    ).fetchall()
    fix = "qctl worker --all" if transport == "http" else "qctl scale --workers 1"
    assert found == [(["q0", "q1", "q2", "q3", "q4"], "no_worker", fix)]
    conn.execute("select qctl.register_worker('w', %s, '{q0,q1,q2}', '0')", (transport,))
    conn.execute("select qctl.pause('q0', 'x; y')")
    conn.execute("select qctl.pause('q1', 'x; y')")
    found = conn.execute("select queues, cause, fix from qctl.findings()").fetchall()
    fix = "qctl worker -q q3 -q q4" if transport == "http" else "qctl scale --workers 1"
    assert found[:2] == [
        (["q3", "q4"], "no_worker", fix),
        (["q0", "q1"], "paused", "qctl resume -q q0 && qctl resume -q q1"),
    ]
    assert [(row[0], row[1]) for row in found[2:]] == [(["q2"], "growing")]


def test_ignoring_what_stops_nothing_excuses_no_limit(live):
    send(live, 20)
    settle(live, claim(live), [500] * 10 + [200] * 10)
    assert causes(live, max_failure_rate=0.4) == ["endpoint_failing"]
    assert causes(live, max_failure_rate=0.4, ignore=["endpoint_failing"]) == ["failure_rate"]
    send(live, 3)
    live.execute(
        "update pgmq.q_orders set vt = now() - interval '1 h', enqueued_at = now() - interval '1 h', read_ct = 1"
    )
    live.execute("delete from qctl.attempt")
    live.execute("delete from qctl.retry")
    assert causes(live, max_lag_s=600) == ["growing"]
    assert causes(live, max_lag_s=600, max_age_s=None, ignore=["growing"]) == ["lag"]


def test_what_stops_delivery_is_known_also_beside_what_is_worse(live):
    live.execute("create table public.t (id int primary key)")
    live.execute("select qctl.attach('public.t', 'orders')")
    send(live)
    live.execute("alter table public.t disable trigger all")
    live.execute("select qctl.pause('orders', 'for the move')")
    assert health(live) == "capture_broken"
    assert one(live, "select cause from qctl.delivery_stop('orders')") == "paused"
    assert "(but paused: " in one(live, "select detail from qctl.life('orders', 1) where event = 'next'")
    live.execute("select qctl.resume('orders')")
    assert live.execute("select from qctl.delivery_stop('orders')").fetchall() == []


def test_the_age_of_followers_counts_from_their_capture(conn):
    create(conn, ordered=True)
    conn.execute("select qctl.send('orders', '{1,2,3}'::text[]::jsonb[], p_order_key => 'a')")
    conn.execute("update pgmq.q_orders set vt = now() - interval '2 h', enqueued_at = now() - interval '2 h'")
    settle(conn, claim(conn), 200)
    assert one(conn, "select age_s from qctl.lag()") > 7000


def test_what_loses_data_comes_first_whatever_the_queue_is_called(live):
    create(live, "zz")
    live.execute("create table public.t (id int primary key)")
    live.execute("select qctl.attach('public.t', 'zz')")
    live.execute("alter table public.t disable trigger all")
    live.execute("select qctl.pause('orders')")
    live.execute("update qctl.queue set created_at = now() - interval '1 min'")
    causes_found = [row[0] for row in live.execute("select cause from qctl.findings()")]
    assert causes_found == ["capture_broken", "no_worker", "paused"]


def test_a_worker_of_the_same_or_an_odd_version_is_no_trouble(live):
    for version in ("0", "", "dev", one(live, "select qctl._version()")):
        live.execute("select qctl.register_worker('w', 'http', '{orders}', %s)", (version,))
        assert health(live) == "ok"


def test_two_failures_are_not_yet_an_outage_and_three_are(live):
    fail(live, 2)
    assert health(live) == "ok"
    fail(live, 1)
    assert health(live) == "endpoint_failing"
    since, first = live.execute(
        "select (select since from qctl.health()), (select min(settled_at) from qctl.attempt)"
    ).fetchone()
    assert since == first


def test_failures_settled_together_with_a_delivery_are_no_outage(live):
    send(live, 100)
    settle(live, claim(live), [500] * 6 + [200] * 94)
    assert one(live, "select count(distinct settled_at) from qctl.attempt") == 1
    assert health(live) == "ok"


def test_an_outage_stays_one_between_attempts_that_are_hours_apart(live):
    fail(live, 3)
    live.execute("update qctl.attempt set settled_at = settled_at - interval '5 h'")
    assert health(live) == "endpoint_failing"


def test_dead_messages_alone_are_no_outage(live):
    live.execute("select qctl.set_queue('orders', p_settings => '{\"retry_schedule_s\": []}')")
    fail(live, 5)
    assert health(live) == "ok"


def test_a_failure_rate_counts_from_ten_attempts_and_ends_with_ten_good_ones(live):
    fail(live, 2)
    send(live, 7)
    settle(live, claim(live), 200)
    assert health(live) == "ok"
    fail(live, 4)
    assert causes(live, max_age_s=None) == ["endpoint_failing"]
    assert round(one(live, "select qctl._failure_rate(q) from qctl.queue q"), 2) == 0.46
    send(live, 10)
    settle(live, claim(live), 200)
    assert causes(live, max_age_s=None) == ["endpoint_failing"]
    live.execute("update qctl.attempt set settled_at = settled_at - interval '21 s' where outcome <> 'delivered'")
    assert causes(live, max_age_s=None) == []
    assert causes(live, max_failure_rate=0.0) == []


def test_a_steady_failure_rate_is_seen_at_each_look(live):
    for _ in range(20):
        send(live, 10)
        settle(live, claim(live, 10), [500] * 3 + [200] * 7)
        assert health(live) == "endpoint_failing"
        assert "30 %" in one(live, "select reason from qctl.health()")


def test_late_answers_are_no_failures(live):
    send(live, 12)
    claims = claim(live)
    live.execute("update qctl.in_flight set expires_at = now() - interval '1 s'")
    live.execute("select qctl.upkeep()")
    settle(live, claims, 500)
    assert one(live, "select count(*) from qctl.attempt where outcome = 'late'") == 12
    assert health(live) == "ok"


def test_growing_needs_a_lag_and_no_end_in_sight(live):
    send(live, 100)
    assert health(live) == "ok"
    live.execute("update pgmq.q_orders set vt = now() - interval '61 s', enqueued_at = now() - interval '61 s'")
    assert health(live) == "growing"
    live.execute("insert into qctl.sample select queue_id, now() - interval '3 min', 200, 0 from qctl.queue")
    assert health(live) == "ok"
    assert "lag" in causes(live)
    live.execute("update qctl.sample set depth = 101")
    assert health(live) == "growing"


def test_growth_is_told_from_ids_where_the_depth_is_not_counted(live):
    send(live, 1000)
    live.execute("insert into qctl.sample select queue_id, now() - interval '100 s', null, 500 from qctl.queue")
    per_s, drain_s = live.execute("select * from qctl.growth('orders')").fetchone()
    assert round(per_s) == 5
    assert drain_s is None
    settle(live, claim(live, 1000), 200)
    assert live.execute("select drain_s from qctl.growth('orders')").fetchone() == (0,)


def test_growth_of_a_queue_that_status_does_not_count_is_not_told_from_ids_that_were_lost(live):
    live.execute("insert into pgmq.q_orders (vt, message) select now(), '1' from generate_series(1, 12000)")
    live.execute("insert into qctl.sample select queue_id, now() - interval '100 s', 12000, 12000 from qctl.queue")
    live.execute("analyze pgmq.q_orders")
    live.execute(
        "begin; insert into pgmq.q_orders (vt, message) select now(), '1' from generate_series(1, 6000); rollback"
    )
    assert live.execute("select per_s from qctl.growth('orders')").fetchone() == (0,)
    live.execute("select pg_stat_clear_snapshot()")
    # Its own count of rows may lag by a statement or two, never by what was rolled back.
    per_s = live.execute("select growth_per_s from qctl.status").fetchone()[0]
    assert per_s is None or abs(per_s) < 200
    reset_statistics(live)
    assert live.execute("select growth_per_s from qctl.status").fetchone() == (None,)


def test_samples_are_taken_once_a_minute_and_kept_a_day(live):
    send(live, 3)
    for _ in range(2):
        live.execute("select qctl._take_samples()")
    assert live.execute("select depth, last_msg_id from qctl.sample").fetchall() == [(3, 3)]
    live.execute("update qctl.sample set at = at - interval '25 h'")
    live.execute("call qctl.maintenance()")
    assert one(live, "select count(*) from qctl.sample") == 1


@pytest.mark.parametrize(
    ("limit", "cause"),
    [({"max_lag_s": 10}, "lag"), ({"max_age_s": 10}, "age"), ({"max_depth": 2}, "depth"), ({"max_dead": 0}, "dead"),
    ({"max_silence_s": 10}, "silence"),
     ({"workers_seen_s": 0.001}, "no_worker")],
)  # fmt: skip
def test_each_limit(live, limit, cause):
    live.execute("create table public.t (id int primary key)")
    live.execute("select qctl.attach('public.t', 'orders')")
    live.execute("insert into public.t select generate_series(1, 4)")
    live.execute("select qctl.discard('orders', '{1}')")
    live.execute("update pgmq.q_orders set vt = now() - interval '20 s', enqueued_at = now() - interval '20 s'")
    live.execute("update qctl.dead_letter set enqueued_at = now() - interval '20 s'")
    assert causes(live) == []
    assert causes(live, **limit) == [cause]
    assert causes(live, **limit, ignore=[cause]) == []
    assert causes(live, **dict.fromkeys(limit, 1000)) == []


def test_silence_is_per_attachment(live):
    for name in ("a", "b"):
        live.execute(f"create table public.{name} (id int primary key)")
        live.execute(f"select qctl.attach('public.{name}', 'orders')")
    live.execute("insert into public.a values (1)")
    settle(live, claim(live), 200)
    rows = live.execute("select relation, at_least, silence_s < 60 from qctl.silence()").fetchall()
    assert rows == [("public.a", False, True), ("public.b", False, True)]
    live.execute("update qctl.attachment set created_at = now() - interval '30 d'")
    assert one(live, "select count(*) from qctl.check(p_max_silence_s => 86400) where cause = 'silence'") == 1
    live.execute("insert into public.b values (1)")
    live.execute("insert into public.a select generate_series(2, 1600)")
    row = live.execute("select at_least, silence_s < 60 from qctl.silence() where relation = 'public.b'").fetchone()
    assert row == (True, True)


def test_age_sees_what_is_stuck_behind_a_thousand_delayed_ones(live):
    live.execute("select count(*) from qctl.send('orders', array_fill('1'::jsonb, array[1100]), p_delay_s => 600000)")
    send(live, 2)
    settle(live, claim(live, 1), 500)
    live.execute("with old as (update pgmq.q_orders set enqueued_at = now() - interval '5 h' where msg_id = 1101 returning"
    " enqueued_at)"
                 " update qctl.retry set enqueued_at = (select enqueued_at from old)")  # fmt: skip
    assert 17900 < one(live, "select age_s from qctl.lag()") < 18100
    live.execute("delete from qctl.retry")
    assert one(live, "select age_s from qctl.lag()") < 60


def test_a_pause_that_is_excused_excuses_what_waits_behind_it(live):
    send(live, 3)
    live.execute("update pgmq.q_orders set vt = now() - interval '1 h', enqueued_at = now() - interval '1 h'")
    live.execute("select qctl.pause('orders')")
    assert causes(live, max_depth=1) == ["paused"]
    assert causes(live, ignore=["paused"]) == []
    assert causes(live, ignore=["paused"], max_depth=1) == ["depth"]


def test_rates_and_durations(live):
    send(live, 10)
    live.execute("update pgmq.q_orders set enqueued_at = enqueued_at - interval '10 s'")
    settle(live, claim(live), [200] * 8 + [500, None])
    make_due(live)
    row = live.execute(
        "select delivered_1m, failed_1m, dead_1m, delivered_1h, failed_1h, round(p50_s), round(p95_s), last_error from"
        " qctl.status").fetchone()  # fmt: skip
    assert row[:7] == (8, 2, 0, 8, 2, 10, 10)
    live.execute(
        "update qctl.attempt set settled_at = settled_at - interval '5 min', claimed_at = claimed_at - interval '5 min'"
    )
    live.execute("select qctl._roll_up()")
    row = live.execute("select delivered_1m, failed_1m, delivered_1h, failed_1h from qctl.status").fetchone()
    assert row == (0, 0, 8, 2)


def test_row_level_security_that_hides_messages_makes_the_depth_unknown_not_zero(server, live, dsn):

    live.execute("create role installer login; create role hider login")
    try:
        send(live, 3)
        for function in ("depth(text)", "lag(text)", "health(text)", "_queue_status(text)", "rates(text)"):
            live.execute(f"alter function qctl.{function} owner to installer")
        live.execute(
            "grant usage on schema qctl, pgmq to installer; grant select on all tables in schema qctl, pgmq to installer"
        )
        live.execute("grant execute on all functions in schema qctl to installer")
        live.execute("grant select on qctl.status to installer; alter view qctl.status owner to installer")
        assert live.execute("select depth, health from qctl.status").fetchone() == (3, "ok")
        live.execute("alter table pgmq.q_orders enable row level security")
        depth, health_, reason = live.execute("select depth, health, reason from qctl.status").fetchone()
        assert (depth, health_) == (None, "ok")
        assert "hides" in reason
        live.execute("create policy all_of_it on pgmq.q_orders for select to installer using (true)")
        assert live.execute("select depth from qctl.status").fetchone() == (3,)
    finally:
        live.execute(
            "reassign owned by installer to current_user; drop owned by installer; drop role installer; drop role hider"
        )


def test_a_new_queue_waits_a_moment_for_a_worker_of_all_queues(live):
    create(live, "bills")
    worker_of = "select count(*) from qctl.health('bills') where health = 'no_worker'"
    assert one(live, worker_of) == 0
    live.execute("update qctl.queue set created_at = now() - interval '16 s'")
    assert one(live, worker_of) == 1
    live.execute("delete from qctl.worker")
    live.execute("update qctl.queue set created_at = now()")
    assert one(live, worker_of) == 1


def test_check_does_not_miss_a_worker_that_is_starting_again(live):
    live.execute("select qctl.unregister_worker(worker_id) from qctl.worker")
    assert health(live) == "no_worker"
    assert causes(live) == ["no_worker"]
    assert causes(live, workers_seen_s=30) == []
    live.execute(
        "update qctl.worker set (last_seen_at, stopped_at) = (now() - interval '31 s', now() - interval '31 s')"
    )
    assert causes(live, workers_seen_s=30) == ["no_worker"]


def test_failures_of_which_nothing_is_left_are_over_after_a_minute(live):
    live.execute("""select qctl.set_queue('orders', p_settings => '{"reject_after": 1, "breaker_after": 0}')""")
    send(live, 12)
    settle(live, claim(live, 12), [400] * 4 + [200] * 8)
    assert health(live) == "endpoint_failing"
    assert "tried again" not in one(live, "select reason from qctl.health('orders')")
    live.execute("update qctl.attempt set settled_at = settled_at - interval '61 s'")
    assert health(live) == "ok"
    assert causes(live, max_failure_rate=0.2) == []


def test_failing_since_the_last_recovery(live):
    live.execute("""select qctl.set_queue('orders', p_settings => '{"breaker_after": 0}')""")
    for status, count, minutes in ((500, 4, 8), (200, 10, 5), (422, 6, 2), (200, 4, 1)):
        send(live, count)
        settle(live, claim(live, count), status)
        live.execute(
            f"update qctl.attempt set settled_at = now() - interval '{minutes} min' where settled_at > now() - interval '20 s'"
        )
    since, reason = live.execute("select now() - since, reason from qctl.health('orders')").fetchone()
    assert 119 < since.total_seconds() < 125
    assert "6 × HTTP 422" in reason
    assert "500" not in reason
