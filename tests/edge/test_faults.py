"""20,000 rows, a table, PgBouncer, edge workers that are killed, retired and woken by a storm: nothing lost, nothing false."""

import os
import random
import signal
import threading
import time
from contextlib import closing

import psycopg
import pytest
from gateway import Gateway
from isolate import WHOLE, known_function, missing

import standin
from helpers import create, one
from processes import wait_until
from servers import Pooler
from standin import NetWorker

LIMITS = {"QCTL_CPU_MS": "900", "QCTL_IDLE_S": "2", "QCTL_WALL_S": "30", "ISOLATE_WALL_MS": "40000"}
COUNT = int(os.environ.get("QCTL_TEST_COUNT", "20000"))


@pytest.mark.skipif(not WHOLE, reason="the edge worker: make test-edge")
@pytest.mark.timeout(900)
def test_nothing_is_lost_and_nothing_falsely_delivered(conn, dsn, endpoint):
    if why := missing():
        pytest.skip(why)
    receiver = endpoint("--fail-rate", "0.08", "--failures", "429,500,hang,reset", "--hang-s", "4")
    create(
        conn,
        url=receiver.url,
        concurrency=50,
        timeout_ms=1500,
        retry_schedule_s=[1] * 30,
        retry_jitter=0.5,
        breaker_after=0,
    )
    conn.execute("create table public.orders (id int primary key, note text)")
    conn.execute("select qctl.attach('public.orders', 'orders')")
    standin.install(dsn)
    secret = known_function(conn)
    conn.execute("select qctl.scale_edge(2)")
    chance = random.Random(22)
    kills = storms = 0
    with (
        closing(Pooler(dsn, "transaction")) as pooler,
        closing(Gateway(pooler.uri, secret, most=2, **LIMITS)) as gateway,
    ):
        conn.execute("update qctl.edge_function set url = %s", [gateway.url])
        net = NetWorker(dsn)

        def write() -> None:
            with psycopg.connect(dsn, autocommit=True) as writer:
                for first in range(1, COUNT, 500):
                    writer.execute("insert into public.orders select n, 'note ' || n from generate_series(%s::int, %s::int) n",
                                   (first, min(first + 499, COUNT)))  # fmt: skip
                    time.sleep(0.1)

        def storm() -> None:
            with psycopg.connect(dsn, autocommit=True) as waker:
                for _ in range(5):
                    waker.execute("select qctl.wake_edge()")

        writing = threading.Thread(target=write)
        writing.start()
        until = time.monotonic() + 600
        next_kill = time.monotonic() + 4
        while writing.is_alive() or one(conn, "select exists (select from pgmq.q_orders)"):
            assert time.monotonic() < until, conn.execute("select * from qctl.edge_status()").fetchall()
            # As the job of pg_cron does, and much more often.
            conn.execute("select qctl.wake_edge()")
            if chance.random() < 0.1:
                storms += 1
                threads = [threading.Thread(target=storm) for _ in range(10)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            if kills < 6 and time.monotonic() > next_kill and gateway.running():
                # In the middle of a batch.
                chance.choice(gateway.running()).send(signal.SIGKILL)
                kills += 1
                next_kill = time.monotonic() + 4
            time.sleep(0.5)
        wait_until(lambda: not gateway.running(), 60)
        net.close()
        wakes = one(conn, "select count(*) from qctl.edge_wake where used_at is not null")
        ended = one(conn, "select ended from qctl.edge_status()")
    accepted = receiver.accepted()
    delivered = conn.execute(
        "select qctl.webhook_id(q.queue_uuid, a.msg_id, a.enqueued_at) from pgmq.a_orders a, qctl.queue q"
    ).fetchall()
    duplicates = sum(accepted.values()) - len(accepted)
    requests = len(receiver.entries())
    print(
        f"\n{COUNT} rows, {requests} requests, {duplicates} duplicates, {kills} kills, {storms} storms, {wakes} workers: {ended}"
    )
    assert kills == 6
    assert one(conn, "select count(*) from qctl.dead_letter") == 0
    assert len(delivered) == COUNT
    assert {row[0] for row in delivered} == set(accepted), "lost, or called delivered and was not"
    # What was under way at a kill; a hang is cut off by the endpoint with no answer, so it makes none.
    assert duplicates <= kills * 2 * 50
    assert one(conn, "select count(*) from qctl.in_flight where lapsed_at is null") == 0
