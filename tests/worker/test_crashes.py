"""Kill -9 of the worker and a stopped server under load: the endpoint's ledger has every message."""

import signal
import time

import psycopg
import pytest

from helpers import create, one, send
from processes import wait_until
from qctl import db, migrate
from qctl.config import Database
from servers import is_up, start_embedded

COUNT = 5000


def test_kill_9_in_the_middle_loses_nothing(conn, endpoint, worker):
    receiver = endpoint("--delay-s", "0.02")
    create(conn, url=receiver.url, concurrency=50, timeout_ms=2000)
    send(conn, COUNT)
    victim = worker("-q", "orders")
    wait_until(lambda: len(receiver.entries()) > COUNT // 4)
    victim.send(signal.SIGKILL)
    victim.end()
    in_flight = one(conn, "select count(*) from qctl.in_flight where lapsed_at is null")
    assert in_flight <= 10 * 50
    second = worker("-q", "orders")
    wait_until(lambda: one(conn, "select count(*) from pgmq.q_orders") == 0, 100, "an empty queue")
    second.send(signal.SIGTERM)
    assert second.end()[0] == 0
    accepted = receiver.accepted()
    assert len(accepted) == COUNT
    assert sum(accepted.values()) - COUNT <= in_flight
    assert one(conn, "select count(*) from pgmq.a_orders") == COUNT


def test_a_worker_can_be_stopped_while_the_database_is_away(endpoint, worker):
    server = start_embedded()
    dsn = server.uri()
    with db.connect(Database(dsn, "test"), application="test") as connection:
        migrate.apply(connection)
        create(connection, url=endpoint().url)
    process = worker("-q", "orders", at=dsn)
    asleep = "select count(*) from pg_locks where locktype = 'advisory' and classid = 1902343276 and granted"
    with psycopg.connect(dsn, autocommit=True) as connection:
        wait_until(lambda: one(connection, asleep) == 1, what="a worker that has begun and sleeps")
    server.stop("fast")
    time.sleep(1)
    process.send(signal.SIGTERM)
    started = time.monotonic()
    assert process.end()[0] == 0
    assert time.monotonic() - started < 5
    server.start()


@pytest.mark.parametrize("how", ["fast", "immediate", "kill"])
def test_the_server_stops_and_starts_under_a_running_worker(endpoint, worker, how):
    server = start_embedded()
    dsn = server.uri()
    with db.connect(Database(dsn, "test"), application="test") as connection:
        migrate.apply(connection)
        receiver = endpoint("--delay-s", "0.02")
        create(connection, url=receiver.url, concurrency=50, timeout_ms=2000)
        send(connection, COUNT)
    process = worker("-q", "orders", at=dsn)
    wait_until(lambda: len(receiver.entries()) > COUNT // 4)
    server.stop(how)
    time.sleep(1)
    server.start()
    wait_until(lambda: is_up(dsn), 60, "recovery")
    with psycopg.connect(dsn, autocommit=True) as connection:
        wait_until(lambda: one(connection, "select count(*) from pgmq.q_orders") == 0, 100, "an empty queue")
        process.send(signal.SIGTERM)
        code, talk = process.end()
        assert code == 0, talk
        assert "connected again" in talk
        accepted = receiver.accepted()
        assert len(accepted) == COUNT
        assert sum(accepted.values()) - COUNT <= 5 * 50
        assert one(connection, "select count(*) from pgmq.a_orders") == COUNT
    server.stop("fast")
