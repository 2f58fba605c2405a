"""What a review of the transport broke once."""

import threading
import time

import psycopg
import pytest

from helpers import create, create_pg_net, drop_pgmq_queue, one, send, state, states
from processes import wait_until

ANSWER = "insert into net._http_response (id, status_code, headers, content) values (%s, %s, %s, 'ok')"


def deliver(conn, count: int) -> None:
    """A round in which pg_net answers everything with 200."""
    send(conn, count)
    conn.execute("select qctl.dispatch('orders')")
    conn.execute("with done as (delete from net.http_request_queue returning id)"
                 " insert into net._http_response (id, status_code) select id, 200 from done")  # fmt: skip
    assert one(conn, "select qctl.collect('orders')") == count


@pytest.mark.parametrize(
    "reset",
    [
        "truncate net.http_request_queue restart identity",
        "alter sequence net.http_request_queue_id_seq restart",
        "select setval('net.http_request_queue_id_seq', 1, false)",
    ],
)
@pytest.mark.parametrize("in_flight", [0, 3])
def test_old_answers_never_settle_requests_of_a_reset_sequence(net, reset, in_flight):
    create_pg_net(net)
    deliver(net, 5)
    if in_flight:
        send(net, in_flight)
        net.execute("select qctl.dispatch('orders')")
    net.execute(reset)
    ids = send(net, 5)
    net.execute("select qctl.dispatch('orders')")
    net.execute("select qctl.collect('orders')")
    net.execute("select qctl.collect('orders')")
    assert "delivered" not in states(net, ids)


@pytest.mark.parametrize("name", ["'\\xe9'::bytea", "convert_to('location', 'UTF8')"])
def test_an_unreadable_header_stops_nobody(net, name):
    create_pg_net(net)
    ids = send(net, 2)
    net.execute("select qctl.dispatch('orders')")
    requests = [row[0] for row in net.execute("delete from net.http_request_queue returning id")]
    net.execute(
        f"insert into net._http_response (id, status_code, headers) values"
        f" (%s, 302, jsonb_build_object(net._raw({name}, 1), net._raw('\\x2f6f6bffe9'::bytea, 1))), (%s, 200, '{{}}')",
        sorted(requests),
    )
    assert one(net, "select qctl.collect('orders')") == 2
    assert state(net, ids[1]) == "delivered"
    assert state(net, ids[0]) == "retrying"


@pytest.mark.parametrize(
    ("status", "trust", "becomes"),
    [
        (200, False, "retrying"),
        (204, False, "retrying"),
        (201, False, "delivered"),
        (202, False, "delivered"),
        (200, True, "delivered"),
    ],
)
def test_a_location_means_a_redirect_unless_the_endpoint_is_trusted(net, status, trust, becomes):
    create_pg_net(net, trust_location=trust)
    [msg_id] = send(net)
    net.execute("select qctl.dispatch('orders')")
    [request_id] = (row[0] for row in net.execute("delete from net.http_request_queue returning id"))
    net.execute(ANSWER, (request_id, status, '{"Location": "/elsewhere"}'))
    net.execute("select qctl.collect('orders')")
    assert state(net, msg_id) == becomes


def test_taking_back_waits_for_nobody_while_it_holds_pg_nets_rows(net, other):
    create_pg_net(net)
    ids = send(net, 2)
    net.execute("select qctl.dispatch('orders')")
    net.execute("update qctl.in_flight set claimed_at = claimed_at - interval '61 s'")
    with other.transaction():
        other.execute("select from pgmq.q_orders where msg_id = %s for update", (ids[0],))
        started = time.monotonic()
        net.execute("call qctl.maintenance()")
        assert time.monotonic() - started < 3
        assert state(net, ids[1]) == "ready"
    net.execute("call qctl.maintenance()")
    assert state(net, ids[0]) == "ready"


def test_a_cancelled_call_keeps_no_slot(net, other, net_worker, endpoint):
    net_worker()
    create_pg_net(net, url=endpoint().url)
    pid = other.info.backend_pid

    def call() -> None:
        with pytest.raises(psycopg.errors.QueryCanceled):
            other.execute("call qctl.work()")

    thread = threading.Thread(target=call)
    thread.start()
    wait_until(lambda: one(net, "select count(*) from qctl.running_jobs()") == 1)
    net.execute("select pg_cancel_backend(%s)", (pid,))
    thread.join(5)
    [msg_id] = send(net)
    net.execute("set statement_timeout = '6s'")
    net.execute("call qctl.work()")
    assert state(net, msg_id) == "delivered"


def test_a_gate_that_is_locked_stops_only_its_queue(net, other, net_worker, endpoint):
    net_worker()
    create_pg_net(net, url="http://127.0.0.1:9/x")
    create_pg_net(net, "good", url=endpoint().url)
    send(net)
    send(net, 1, "good")
    net.execute("select qctl.dispatch('orders')")
    with other.transaction():
        other.execute("select qctl.pause('orders')")
        net.execute("set statement_timeout = '9s'")
        net.execute("call qctl.work()")
        assert one(net, "select count(*) from pgmq.a_good") == 1


def test_queues_on_hold_take_no_share(net):
    create_pg_net(net, "good")
    for n in range(19):
        create_pg_net(net, f"held{n}")
        send(net, 1, f"held{n}")
    net.execute("update qctl.gate set net_hold_until = now() + interval '1 min', net_timeouts = 1"
                " where queue_id in (select queue_id from qctl.queue where queue_name <> 'good')")  # fmt: skip
    send(net, 300, "good")
    run = "row(1, null, false, 1, 1, now() + interval '1 min', now())::qctl.work_run"
    assert one(net, f"select (qctl._work_plan({run})).dispatch") == ["good"]
    assert one(net, f"select qctl._work_share(qctl._work_plan({run}))") is None


def test_one_queue_without_a_right_does_not_stop_the_others(net, dsn, net_worker, endpoint):
    net_worker()
    name = f"worker_{one(net, 'select current_database()')}"
    create_pg_net(net, url=endpoint().url)
    create_pg_net(net, "closed", url="http://127.0.0.1:9/x")
    send(net, 1, "closed")
    [msg_id] = send(net)
    net.execute(f"create role {name} login")
    try:
        net.execute(f"grant usage on schema qctl, pgmq to {name}; grant all on all tables in schema qctl, pgmq to {name};"
                    f" grant all on all sequences in schema qctl to {name};"
                    f" grant execute on all routines in schema qctl to {name};"
                    f" revoke all on pgmq.q_closed from {name}")  # fmt: skip
        with psycopg.connect(dsn, user=name, autocommit=True) as worker:
            worker.execute("set statement_timeout = '6s'")
            worker.execute("call qctl.work()")
        assert state(net, msg_id) == "delivered"
        query = "select verb, detail ->> 'sqlstate' from qctl.audit where queue_name = 'closed' and verb ~ '_failed$'"
        assert net.execute(query).fetchall() == [("dispatch_failed", "42501")]
    finally:
        net.execute(f"drop owned by {name}; drop role {name}")


def test_status_says_when_pg_net_is_gone_or_the_queue_on_hold_and_resume_ends_the_hold(net):
    create_pg_net(net)
    net.execute("select qctl.register_worker('w', 'pg_net', '{orders}', '0')")
    assert one(net, "select health from qctl.status") == "ok"
    net.execute("update qctl.gate set net_hold_until = now() + interval '5 min', net_timeouts = 3")
    # Nothing waits behind it.
    assert one(net, "select health from qctl.status") == "ok"
    send(net)
    assert one(net, "select health from qctl.status") == "circuit_open"
    assert one(net, "select changed from qctl.resume('orders')") is True
    assert one(net, "select health from qctl.status") == "ok"
    net.execute("drop schema net cascade")
    assert one(net, "select health from qctl.status") == "no_worker"


def test_leases_of_a_queue_dropped_behind_our_back_end(net):
    create_pg_net(net)
    create(net, "plain", transport="http")
    send(net)
    send(net, 1, "plain")
    net.execute("select qctl.dispatch('orders')")
    net.execute("select from qctl.claim('plain', 1)")
    for name in ("orders", "plain"):
        drop_pgmq_queue(net, name)
    net.execute("call qctl.maintenance()")
    assert one(net, "select count(*) from qctl.in_flight where lapsed_at is null") == 0


def test_one_answer_that_cannot_be_settled_does_not_flood_the_audit(net):
    create_pg_net(net)
    send(net)
    net.execute("select qctl.dispatch('orders')")
    [request_id] = (row[0] for row in net.execute("delete from net.http_request_queue returning id"))
    net.execute(ANSWER, (request_id, 200, "{}"))
    net.execute("create function no() returns trigger language plpgsql as $$ begin raise data_exception; end $$")
    net.execute("create trigger no before insert on pgmq.a_orders for each row execute function no()")
    for _ in range(10):
        net.execute("select qctl.collect('orders')")
    assert one(net, "select count(*) from qctl.audit where verb = 'settle_failed'") == 1


def test_the_fix_is_that_of_the_cause(net):
    create_pg_net(net)
    send(net)
    net.execute("select qctl._net_hold('at least 400 requests of other programs wait in pg_net''s queue')")
    cause, fix = net.execute("select health, fix from qctl.status").fetchone()
    assert cause == "no_worker"
    assert net.execute(fix).fetchall() == []
    net.execute("select qctl._net_free(); select qctl._net_hold('pg_net has started no request for 60 s')")
    assert one(net, "select fix from qctl.status") == "select net.worker_restart();"
    net.execute("drop schema net cascade")
    assert one(net, "select fix from qctl.status") == "create extension pg_net;"
