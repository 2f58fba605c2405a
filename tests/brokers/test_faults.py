"""20,000 messages through faults: the broker killed and started again on its data, the worker killed, the connection cut."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from broker_processes import Proxy
from far import Far, FarKafka, FarSqs, needs_all

from helpers import create, one
from processes import wait_until

pytestmark = [needs_all, pytest.mark.slow, pytest.mark.timeout(600)]
COUNT = 20_000
SETTINGS = {
    "allow_networks": ["127.0.0.0/8"],
    "retry_schedule_s": [1] * 20,
    "breaker_pause_max_s": 1,
    "timeout_ms": 5000,
    "retention_s": None,
}


@contextmanager
def filled(conn: psycopg.Connection, url: str, count: int, **settings) -> Iterator[None]:
    """A queue whose messages come from a table, while the test goes on."""
    create(conn, url=url, **{**SETTINGS, **settings})
    conn.execute("create table public.users (id int primary key, name text)")
    conn.execute("select qctl.attach('public.users', 'orders')")
    conn.execute("insert into public.users select n, repeat('x', 200) from generate_series(1, %s) n", (count,))
    yield


def told(conn: psycopg.Connection, far: Far, count: int) -> str:
    """What became of all, after it holds that none was lost and none falsely counted as delivered."""
    assert one(conn, "select count(*) from pgmq.q_orders") == 0
    assert one(conn, "select count(*) from qctl.dead_letter") == 0
    delivered = dict(
        conn.execute(
            "select coalesce(a.headers #>> '{qctl,webhook_id}', qctl.webhook_id(q.queue_uuid, a.msg_id, a.enqueued_at)),"
            " a.message::text"
            " from pgmq.a_orders a cross join qctl.queue q where a.headers #>> '{qctl,outcome}' = 'delivered'"
        )
    )
    assert len(delivered) == count
    received = far.read()
    times = Counter(message.webhook_id for message in received)
    missing = set(delivered) - set(times)
    assert not missing, f"{len(missing)} are marked delivered and not there"
    assert all(delivered[message.webhook_id] == message.body.decode() for message in received)
    return f"{far.name}: {count} delivered, {len(received) - len(times)} duplicates"


@pytest.mark.parametrize("own_far", ["rabbitmq", "nats", "redis"], indirect=True)
def test_nothing_is_lost_when_broker_and_worker_are_killed_and_connections_cut(conn, worker, own_far: Far):
    proxy = Proxy(own_far.broker.port)
    dice = random.Random(20)
    url = own_far.url.replace(f":{own_far.broker.port}", f":{proxy.port}")
    with filled(conn, url, COUNT, rate_per_s=3000):
        workers = [worker("-q", "orders"), worker("-q", "orders")]
        began = time.monotonic()
        while one(conn, "select count(*) from pgmq.q_orders") and time.monotonic() - began < 240:
            time.sleep(dice.uniform(0.3, 1.0))
            fault = dice.choice(["cut", "cut", "worker", "broker"]) if time.monotonic() - began < 40 else None
            if fault == "cut":
                proxy.cut()
            elif fault == "worker":
                workers.pop(0).close()
                workers.append(worker("-q", "orders"))
            elif fault == "broker":
                own_far.broker.kill()
                own_far.broker.start()
        for process in workers:
            process.close()
    proxy.close()
    print(told(conn, own_far, COUNT))


@pytest.mark.parametrize("own_far", ["kafka"], indirect=True)
def test_nothing_is_lost_when_kafka_answers_with_errors_and_goes_away(conn, worker, own_far: FarKafka):
    dice = random.Random(20)
    with filled(conn, own_far.url, COUNT, rate_per_s=3000):
        workers = [worker("-q", "orders"), worker("-q", "orders")]
        began = time.monotonic()
        while one(conn, "select count(*) from pgmq.q_orders") and time.monotonic() - began < 240:
            time.sleep(dice.uniform(0.3, 1.0))
            fault = dice.choice(["fail", "fail", "down", "worker"]) if time.monotonic() - began < 30 else None
            if fault == "fail":
                # Request timed out, not leader, not enough replicas, too many of them after the append, of the protocol of Kafka.
                own_far.broker.tell("fail " + " ".join(str(dice.choice([7, 6, 19, 20])) for _ in range(5)))
            elif fault == "down":
                own_far.broker.tell("down")
                time.sleep(1)
                own_far.broker.tell("up")
            elif fault == "worker":
                workers.pop(0).close()
                workers.append(worker("-q", "orders"))
        for process in workers:
            process.close()
    print(told(conn, own_far, COUNT))


@pytest.mark.parametrize("own_far", ["sqs"], indirect=True)
def test_nothing_is_lost_when_connections_to_sqs_are_cut(conn, worker, own_far: FarSqs):
    proxy = Proxy(own_far.broker.port)
    dice = random.Random(20)
    url = own_far.url.replace(f":{own_far.broker.port}", f":{proxy.port}")
    with filled(conn, url, 200, rate_per_s=30):
        workers = [worker("-q", "orders")]
        began = time.monotonic()
        while one(conn, "select count(*) from pgmq.q_orders") and time.monotonic() - began < 120:
            time.sleep(dice.uniform(0.05, 0.5))
            if time.monotonic() - began < 15:
                proxy.cut()
        workers[0].close()
    proxy.close()
    print(told(conn, own_far, 200))


@pytest.mark.parametrize("own_far", ["rabbitmq", "nats", "redis", "sqs"], indirect=True)
def test_the_order_of_each_key_is_kept(conn, worker, own_far: Far):
    if own_far.name == "sqs":
        own_far.make("orders.fifo")
    url = own_far.url + (".fifo" if own_far.name == "sqs" else "")
    create(conn, url=url, ordered=True, **SETTINGS)
    per_key = 10 if own_far.name == "sqs" else 40
    for key in range(20):
        conn.execute(
            "select qctl.send('orders', array_agg(to_jsonb(n) order by n), p_order_key => %s) from generate_series(1, %s) n",
            (f"k{key}", per_key),
        )
    workers = [worker("-q", "orders") for _ in range(2)]
    for _ in range(4):
        time.sleep(0.5)
        workers.pop(0).close()
        workers.append(worker("-q", "orders"))
    wait_until(lambda: one(conn, "select count(*) from pgmq.q_orders") == 0, 90, "delivery")
    for process in workers:
        process.close()
    received = own_far.read("orders.fifo") if own_far.name == "sqs" else own_far.read()
    for key in range(20):
        seen: list[int] = []
        for message in received:
            if message.key == f"k{key}" and int(message.body) not in seen:
                seen.append(int(message.body))
        assert seen == list(range(1, per_key + 1)), key
