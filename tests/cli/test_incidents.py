"""Incidents, as they happen: check exits 8 and names the cause, status says the same, doctor gives the command, it fixes."""

import json
import os
import signal
import time

import psycopg
import pytest

from helpers import create, one, report_statistics, send
from incidents import fix, health, sick, well
from processes import WorkerProcess, failing, qctl, wait_until

HEALTHY_S = float(os.environ.get("QCTL_TEST_HEALTHY", "15"))
RETRIES = {"retry_schedule_s": [1] * 30, "retry_jitter": 0.0, "timeout_ms": 5000}


def running(conn, worker):
    process = worker("-q", "orders")
    wait_until(lambda: one(conn, "select count(*) from qctl.worker where stopped_at is null") == 1, 20, "a worker")
    return process


@pytest.mark.slow
def test_the_endpoint_is_down(conn, dsn, endpoint, worker):
    receiver = endpoint()
    create(conn, url=receiver.url, **RETRIES)
    running(conn, worker)
    send(conn, 10)
    wait_until(lambda: len(receiver.accepted()) == 10)
    well(dsn)
    receiver.kill()
    send(conn, 20)
    command = sick(dsn, "circuit_open")
    receiver.start_again()
    fix(dsn, command)
    well(dsn)


@pytest.mark.slow
def test_the_endpoint_answers_404(conn, dsn, endpoint, worker):
    receiver = endpoint("--fail-rate", "1", "--failures", "404")
    create(conn, url=receiver.url, **RETRIES)
    running(conn, worker)
    send(conn, 15)
    command = sick(dsn, "circuit_open")
    assert "HTTP 404" in qctl("check", dsn=dsn).stdout
    receiver.become()
    fix(dsn, command)
    well(dsn)


def test_the_worker_is_gone(conn, dsn, endpoint, worker):
    create(conn, url=endpoint().url)
    process = running(conn, worker)
    process.send(signal.SIGKILL)
    process.end()
    conn.execute("update qctl.worker set last_seen_at = last_seen_at - interval '40 s'")
    assert sick(dsn, "no_worker") == "qctl worker -q orders"
    worker("-q", "orders")
    well(dsn)


@pytest.fixture
def attached(conn, worker, endpoint):
    conn.execute("create table public.users (id int primary key)")
    create(conn, url=endpoint().url)
    conn.execute("select qctl.attach('public.users', 'orders')")
    running(conn, worker)
    return conn


def test_a_trigger_is_disabled(attached, dsn):
    well(dsn)
    name = one(attached, "select tgname from pg_trigger where tgname like 'qctl%%insert'")
    attached.execute(f"alter table public.users disable trigger {name}")
    fix(dsn, sick(dsn, "capture_broken"))
    well(dsn)


def test_a_trigger_is_dropped(attached, dsn):
    name = one(attached, "select tgname from pg_trigger where tgname like 'qctl%%insert'")
    attached.execute(f"drop trigger {name} on public.users")
    fix(dsn, sick(dsn, "capture_broken"))
    well(dsn)
    attached.execute("insert into public.users values (1)")
    wait_until(lambda: one(attached, "select count(*) from pgmq.a_orders") == 1)


def test_paused_and_forgotten(attached, dsn):
    attached.execute("select qctl.pause('orders', 'for the move')")
    command = sick(dsn, "paused")
    line = qctl("check", dsn=dsn).stdout
    assert "for the move" in line
    assert "(since " in line
    assert qctl("check", "--ignore", "paused", dsn=dsn).returncode == 0
    fix(dsn, command)
    well(dsn)


def test_a_copy_of_the_database(server, conn, dsn, worker, endpoint):
    create(conn, url=endpoint().url)
    conn.close()
    name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    with psycopg.connect(server.uri(), autocommit=True) as admin:
        admin.execute(f'create database "{name}_copy" template "{name}"')
    copy = server.uri(f"{name}_copy")
    process = WorkerProcess(copy, "-q", "orders")
    try:
        assert sick(copy, "unarmed") == "qctl arm"
        said = failing(7, "arm", dsn=copy)
        assert "would be sent" in said
        assert "Leave it silent" in said
        assert "orders → http" in said
        fix(copy, "qctl arm --yes")
        well(copy)
    finally:
        process.close()
        with psycopg.connect(server.uri(), autocommit=True) as admin:
            admin.execute(f'drop database "{name}_copy" with (force)')


@pytest.mark.slow
def test_a_slow_endpoint(conn, dsn, endpoint, worker):
    receiver = endpoint("--delay-s", "1")
    create(conn, url=receiver.url, concurrency=1, **RETRIES)
    running(conn, worker)
    send(conn, 60)
    conn.execute("update pgmq.q_orders q set vt = vt - interval '2 min', enqueued_at = enqueued_at - interval '2 min' where"
    " vt < now()"
                 " and not exists (select from qctl.in_flight f where f.msg_id = q.msg_id)")  # fmt: skip
    conn.execute("insert into qctl.sample select queue_id, now() - interval '2 min', 5, 0 from qctl.queue")
    command = sick(dsn, "growing")
    assert command == "qctl scale -q orders --concurrency 4"
    fix(dsn, command)
    wait_until(lambda: health(dsn) == "ok", 60, "health ok")
    assert qctl("check", "--max-age", "1h", "--max-lag", "1h", dsn=dsn).returncode == 0


@pytest.mark.slow
def test_an_old_transaction_holds_vacuum(attached, dsn, other):
    attached.execute(f"alter database {one(attached, 'select current_database()')} set qctl.old_transaction = '1s'")
    attached.execute("select qctl.pause('orders')")
    with psycopg.connect(dsn) as old:
        old.execute("set transaction isolation level repeatable read")
        old.execute("select 1")
        attached.execute(
            "insert into pgmq.q_orders (vt, message) select 'infinity', '1' from generate_series(1, 60000)"
        )
        attached.execute("delete from pgmq.q_orders")
        attached.execute("select qctl.resume('orders')")
        report_statistics(attached)
        time.sleep(1)
        command = sick(dsn, "growing")
        assert command == f"select pg_terminate_backend({old.info.backend_pid});"
        assert "dead rows" in qctl("check", dsn=dsn).stdout
        fix(dsn, command)
        with pytest.raises(psycopg.OperationalError):
            old.execute("select 1")
    well(dsn)


@pytest.mark.slow
@pytest.mark.timeout(max(120, 2 * HEALTHY_S + 120))
def test_no_false_alarm_while_all_is_well(conn, dsn, endpoint, worker):
    """Load with failures, retries, replays, purges, and deployments of the worker; QCTL_TEST_HEALTHY sets its seconds."""
    receiver = endpoint("--fail-rate", "0.05", "--failures", "500")
    create(conn, url=receiver.url, **RETRIES)
    process, checks, deployments, sent, round_no = running(conn, worker), 0, 0, 0, 0
    until = time.monotonic() + HEALTHY_S
    while time.monotonic() < until or round_no < 6:
        round_no += 1
        sent += len(send(conn, 300))
        if round_no % 3 == 0:
            replayed = qctl("replay", "--delivered", "--since", "10s", "--rate", "50/s", "--yes", dsn=dsn)
            assert replayed.returncode == 0, replayed.stderr
        if round_no % 4 == 0:
            assert qctl("purge", "--older-than", "30s", dsn=dsn).returncode == 0
        if round_no % 5 == 0:
            process.send(signal.SIGTERM)
            assert process.end()[0] == 0
            deployments += 1
            alarms(dsn)
            process = worker("-q", "orders")
        alarms(dsn)
        checks += 1
        time.sleep(min(10.0, HEALTHY_S / 12))
    wait_until(lambda: one(conn, "select count(*) from pgmq.q_orders") == 0, 90, "all delivered")
    doctor = qctl("doctor", "-o", "json", dsn=dsn)
    assert doctor.returncode == 0, doctor.stdout
    assert [row for row in json.loads(doctor.stdout) if row["severity"] != "note"] == []
    print(f"{checks} checks, {deployments} deployments, {sent} messages: no alarm")
    assert checks > 5
    assert deployments > 0


def alarms(dsn: str) -> None:
    done = qctl("check", dsn=dsn)
    assert done.returncode == 0, done.stdout
