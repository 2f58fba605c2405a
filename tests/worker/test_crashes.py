"""Kill -9 of the worker and a stopped server under load: the endpoint's ledger has every message."""

import signal
import time
import urllib.error
import urllib.request

import psycopg
import pytest

from helpers import create, one, send
from processes import wait_until
from qctl import db
from qctl.config import Database
from qctl.operations import migrate
from servers import free_port, is_up, start_embedded

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
    # At once, ahead of them, and answered but not yet settled.
    assert in_flight <= 50 + 250 + 500
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


def test_a_worker_without_its_database_is_alive_and_not_ready(worker):
    server = start_embedded()
    dsn = server.uri()
    with db.connect(Database(dsn, "test"), application="test") as connection:
        migrate.apply(connection)
        create(connection)
    port = free_port()
    worker("-q", "orders", "--health", f"127.0.0.1:{port}", at=dsn)
    wait_until(lambda: probe(port, "/ready") == 200)
    server.stop("fast")
    wait_until(lambda: probe(port, "/ready") == 503, 10)
    assert probe(port, "/live") == 200
    server.start()
    wait_until(lambda: probe(port, "/ready") == 200, 60, "ready again")
    server.stop("fast")


def probe(port: int, path: str) -> int:
    """The status that a worker's probe answers; 0 for none."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return 0


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
