"""The traps of each broker, one test each, and what all of them must do when the broker does not take a message."""

import json
import signal
import time
from pathlib import Path

import psycopg
import pytest
from broker_processes import Proxy
from far import FARS, Far, FarKafka, FarNats, FarRabbit, FarRedis, FarSqs, needs_all

from helpers import create, make_due, one, send
from processes import ok, wait_until

pytestmark = [needs_all, pytest.mark.slow]
LOOPBACK = {"allow_networks": ["127.0.0.0/8"]}


def attempts(conn: psycopg.Connection) -> list[tuple]:
    return conn.execute(
        "select outcome, left(error, 300), sum(stands_for)::int from qctl.attempt group by 1, 2 order by 1, 2"
    ).fetchall()


def drain(worker) -> str:
    code, talk = worker("-q", "orders", "--drain").end(90)
    assert code == 0, talk
    return talk


def error(conn: psycopg.Connection) -> str:
    return one(conn, "select max(error) from qctl.attempt where outcome <> 'delivered'")


# All of them


@pytest.mark.parametrize("far", FARS, indirect=True)
def test_an_address_that_is_not_allowed_gets_nothing(conn, dsn, worker, far: Far, monkeypatch):
    monkeypatch.setattr("processes.CONFIG", Path("/dev/null"))
    conn.execute("select qctl.create_queue('orders', %s)", (far.url,))
    send(conn, 3)
    running = worker("-q", "orders")
    wait_until(lambda: error(conn), 30, "an attempt")
    assert error(conn) == "refused: 127.0.0.1 is not a public address"
    assert one(conn, "select cause from qctl.delivery_stop('orders')") == "address_refused"
    assert far.read() == []
    ok("set", "-q", "orders", "--allow-private", dsn=dsn)
    wait_until(lambda: one(conn, "select count(*) from pgmq.a_orders") == 3, 30, "delivery")
    running.close()
    assert len(far.read()) == 3


@pytest.mark.parametrize("own_far", ["rabbitmq", "nats", "redis", "sqs"], indirect=True)
def test_a_broker_that_is_away_costs_no_attempt_and_everything_arrives_when_it_is_back(conn, worker, own_far: Far):
    own_far.broker.kill()
    create(conn, url=own_far.url, retry_schedule_s=[1], breaker_pause_max_s=1, **LOOPBACK)
    send(conn, 50)
    running = worker("-q", "orders")
    wait_until(lambda: one(conn, "select opened_at is not null from qctl.gate"), 30, "the breaker")
    assert error(conn).startswith("broker away: ")
    cause, reason = conn.execute("select cause, reason from qctl.delivery_stop('orders')").fetchone()
    assert cause == "circuit_open" and "broker away" in reason
    time.sleep(3)
    assert one(conn, "select coalesce(max(attempts), 0) from qctl.retry") == 0
    assert one(conn, "select count(*) from qctl.dead_letter") == 0
    own_far.broker.start()
    if own_far.name in ("sqs",):
        own_far.prepare()
    wait_until(lambda: one(conn, "select count(*) from pgmq.a_orders") == 50, 60, "delivery")
    assert one(conn, "select max((headers #>> '{qctl,attempts}')::int) from pgmq.a_orders") == 1
    running.close()
    assert len({message.webhook_id for message in own_far.read()}) == 50


@pytest.mark.parametrize("far", ["redis"], indirect=True)
def test_a_queue_that_moves_while_it_is_delivered_loses_nothing_and_leaks_nothing(
    conn, worker, endpoint, far: FarRedis
):
    receiver = endpoint()
    create(conn, url=receiver.url, **LOOPBACK)
    running = worker("-q", "orders")
    for url in (far.url, receiver.url, far.url):
        conn.execute("select qctl.send('orders', array_agg(to_jsonb(n))) from generate_series(1, 200) n")
        conn.execute("select qctl.set_queue('orders', %s)", (url,))
        conn.execute("select qctl.send('orders', array_agg(to_jsonb(n))) from generate_series(1, 200) n")
        wait_until(lambda: one(conn, "select count(*) from pgmq.q_orders") == 0, 30, "delivery")
    running.send(signal.SIGTERM)
    code, talk = running.end()
    assert code == 0 and "no answer in time" not in talk, talk
    assert one(conn, "select count(*) from qctl.attempt where outcome <> 'delivered'") == 0
    ids = {message.webhook_id for message in far.read()} | set(receiver.accepted())
    assert len(ids) == 1200


# RabbitMQ


@pytest.mark.parametrize("far", ["rabbitmq"], indirect=True)
def test_rabbitmq_a_queue_that_does_not_exist_pauses(conn, worker, far: FarRabbit):
    create(conn, url=far.url.replace("orders", "nowhere"), **LOOPBACK)
    send(conn, 5)
    running = worker("-q", "orders")
    wait_until(lambda: one(conn, "select paused_at is not null from qctl.gate"), 30, "the pause")
    assert error(conn) == "destination missing: there is no queue nowhere"
    cause, fix = conn.execute("select cause, fix from qctl.delivery_stop('orders')").fetchone()
    assert (cause, fix) == ("gone", "qctl resume -q orders")
    far.run(lambda channel: channel.declare_queue("nowhere", durable=True))
    conn.execute("select qctl.resume('orders')")
    wait_until(lambda: one(conn, "select count(*) from pgmq.a_orders") == 5, 30, "delivery")
    running.close()
    assert len(far.read("nowhere")) == 5


@pytest.mark.parametrize("far", ["rabbitmq"], indirect=True)
def test_rabbitmq_an_exchange_that_does_not_exist_closes_the_channel_and_pauses(conn, worker, far: FarRabbit):
    create(conn, url=far.url.replace("queue=orders", "exchange=nowhere"), **LOOPBACK)
    send(conn, 5)
    running = worker("-q", "orders")
    wait_until(lambda: one(conn, "select paused_at is not null from qctl.gate"), 30, "the pause")
    running.close()
    assert "nowhere" in error(conn) and error(conn).startswith("destination missing: ")
    assert one(conn, "select max(attempts) from qctl.retry") == 0


@pytest.mark.parametrize("far", ["rabbitmq"], indirect=True)
def test_rabbitmq_what_no_queue_takes_is_a_failed_attempt(conn, worker, far: FarRabbit):
    async def bind(channel):
        exchange = await channel.declare_exchange("events", "direct", durable=True)
        queue = await channel.declare_queue("a", durable=True)
        await queue.bind(exchange, "order.a")

    far.run(bind)
    place = far.url.replace("queue=orders", "exchange=events")
    create(
        conn,
        url=f"{place}&routing_key=order.{{key}}",
        ordered=True,
        order_schedule_s=[],
        **LOOPBACK,
    )
    conn.execute("select qctl.send('orders', array['1', '2']::jsonb[], p_order_key => 'a')")
    conn.execute("select qctl.send('orders', array['3']::jsonb[], p_order_key => 'b')")
    drain(worker)
    assert attempts(conn) == [
        ("dead", "unroutable: no queue is bound to events for 'order.b'", 1),
        ("delivered", None, 2),
    ]
    assert one(conn, "select opened_at from qctl.gate") is None
    first, second = far.read("a")
    assert (first.body, second.body) == (b"1", b"2")
    assert first.facts == {"mode": 2, "type": "application/json", "routing_key": "order.a"}
    assert first.key == "a"


@pytest.mark.parametrize("far", ["rabbitmq"], indirect=True)
def test_rabbitmq_too_large_is_dead_and_the_others_arrive(conn, worker, far: FarRabbit):
    create(conn, url=far.url, **LOOPBACK)
    send(conn, 3)
    conn.execute("select qctl.send('orders', array[to_jsonb(repeat('x', 3000000))])")
    running = worker("-q", "orders")
    wait_until(lambda: one(conn, "select count(*) from qctl.dead_letter") == 1, 40, "the dead letter")
    wait_until(lambda: one(conn, "select count(*) from pgmq.a_orders") == 3, 40, "the others")
    running.close()
    assert one(conn, "select reason from qctl.dead_letter") == "oversize"


@pytest.mark.parametrize("far", ["rabbitmq"], indirect=True)
def test_rabbitmq_credentials_that_are_refused_cost_no_attempt(conn, worker, far: FarRabbit):
    conn.execute("select qctl.set_header_secret('rabbit', 'wrong')")
    broker = {"username": "guest", "password": "secret:rabbit"}
    create(conn, url=far.url, broker=broker, breaker_pause_max_s=1, retry_schedule_s=[], **LOOPBACK)
    send(conn, 12)
    running = worker("-q", "orders")
    wait_until(lambda: one(conn, "select opened_at is not null from qctl.gate"), 40, "the breaker")
    assert error(conn).startswith("access denied: ")
    assert one(conn, "select count(*) from qctl.dead_letter") == 0
    assert one(conn, "select coalesce(max(attempts), 0) from qctl.retry") == 0
    conn.execute("select qctl.set_header_secret('rabbit', 'guest')")
    wait_until(lambda: one(conn, "select count(*) from pgmq.a_orders") == 12, 40, "delivery")
    running.close()


@pytest.mark.parametrize("own_far", ["rabbitmq"], indirect=True)
def test_rabbitmq_flow_control_holds_messages_up_and_loses_none(conn, worker, own_far: FarRabbit):
    create(conn, url=own_far.url, timeout_ms=3000, breaker_pause_max_s=1, retry_schedule_s=[1] * 30, **LOOPBACK)
    own_far.broker.control("set_vm_memory_high_watermark", "0.00001")
    send(conn, 30)
    running = worker("-q", "orders")
    told = "select count(*) from qctl.attempt where error like 'broker away: it takes no messages now%%'"
    wait_until(lambda: one(conn, told), 60, "the alarm")
    assert one(conn, "select max(attempts) from qctl.retry") <= 1
    own_far.broker.control("set_vm_memory_high_watermark", "0.6")
    wait_until(lambda: one(conn, "select count(*) from pgmq.a_orders") == 30, 60, "delivery")
    running.close()
    assert len({message.webhook_id for message in own_far.read()}) == 30


# NATS


@pytest.mark.parametrize("far", ["nats"], indirect=True)
def test_nats_a_subject_without_a_stream_pauses(conn, worker, far: FarNats):
    create(conn, url=far.url.replace("orders", "nowhere"), **LOOPBACK)
    send(conn, 5)
    running = worker("-q", "orders")
    wait_until(lambda: one(conn, "select paused_at is not null from qctl.gate"), 30, "the pause")
    running.close()
    assert error(conn) == "destination missing: no stream takes subject nowhere"


@pytest.mark.parametrize("far", ["nats"], indirect=True)
def test_nats_too_large_is_dead_and_the_others_arrive(conn, worker, far: FarNats):
    create(conn, url=far.url, **LOOPBACK)
    send(conn, 3)
    conn.execute("select qctl.send('orders', array[to_jsonb(repeat('x', 1048500))])")
    before = len(far.read())
    drain(worker)
    assert one(conn, "select reason from qctl.dead_letter") == "oversize"
    assert len(far.read()) - before == 3


@pytest.mark.parametrize("far", ["nats"], indirect=True)
def test_nats_the_same_delivery_again_is_known_as_a_duplicate_and_the_key_is_a_token(conn, worker, far: FarNats):
    create(conn, url=f"{far.url}.{{key}}", ordered=True, **LOOPBACK)
    conn.execute("select qctl.send('orders', array['1']::jsonb[], p_order_key => 'k 1.*')")
    conn.execute("select qctl.send('orders', array['2']::jsonb[], p_order_key => 'plain')")
    before = len(far.read())
    drain(worker)
    subjects = [message.facts["subject"] for message in far.read()[before:]]
    assert "orders.plain" in subjects
    assert any(len(subject) == len("orders.") + 64 for subject in subjects)


@pytest.mark.parametrize("far", ["nats"], indirect=True)
def test_nats_a_worker_that_is_killed_before_its_settle_makes_no_second_message(conn, worker, far: FarNats):
    create(conn, url=far.url, timeout_ms=1000, **LOOPBACK)
    send(conn, 5)
    before = len(far.read())
    with conn.transaction():
        # It can claim and publish, but not settle.
        conn.execute("lock table pgmq.a_orders in access exclusive mode")
        running = worker("-q", "orders")
        wait_until(lambda: len(far.read()) - before == 5, 30, "the messages")
        running.close()
        # Its session would go on as soon as it has the lock.
        conn.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'qctl%worker%'"
        )
    conn.execute("update qctl.in_flight set expires_at = clock_timestamp()")
    conn.execute("select qctl.upkeep()")
    make_due(conn)
    drain(worker)
    assert len(far.read()) - before == 5
    assert one(conn, "select count(*) from qctl.attempt where right(response, 9) = 'duplicate'") == 5


@pytest.mark.parametrize("far", ["nats"], indirect=True)
def test_nats_a_server_without_tls_is_told_nothing(conn, worker, far: FarNats):
    conn.execute("select qctl.set_header_secret('n', 'hush')")
    proxy = Proxy(far.broker.port)
    url = far.url.replace("nats+plain://", "nats://").replace(str(far.broker.port), str(proxy.port))
    create(conn, url=url, broker={"username": "u", "password": "secret:n"}, **LOOPBACK)
    send(conn, 3)
    running = worker("-q", "orders")
    wait_until(lambda: error(conn), 30, "an attempt")
    running.close()
    proxy.close()
    assert error(conn).startswith("broker away: ") and "offers no TLS" in error(conn)
    assert b"hush" not in proxy.sent and b"CONNECT" not in proxy.sent


# Redis


@pytest.mark.parametrize("far", ["redis"], indirect=True)
def test_redis_a_stream_that_nobody_made_pauses(conn, worker, far: FarRedis):
    create(conn, url=far.url.replace("orders", "nowhere"), **LOOPBACK)
    send(conn, 5)
    running = worker("-q", "orders")
    wait_until(lambda: one(conn, "select paused_at is not null from qctl.gate"), 30, "the pause")
    assert error(conn).startswith(
        "destination missing: there is no stream nowhere; XGROUP CREATE nowhere GROUP $ MKSTREAM"
    )
    assert far.client.exists("nowhere") == 0
    far.client.xgroup_create("nowhere", "g", mkstream=True)
    conn.execute("select qctl.resume('orders')")
    wait_until(lambda: one(conn, "select count(*) from pgmq.a_orders") == 5, 30, "delivery")
    running.close()
    assert far.client.xlen("nowhere") == 5


@pytest.mark.parametrize("far", ["redis"], indirect=True)
def test_redis_a_key_of_another_kind_pauses_and_keys_have_streams(conn, worker, far: FarRedis):
    far.client.set("text", "x")
    create(conn, url=far.url.replace("orders", "text"), **LOOPBACK)
    send(conn, 1)
    running = worker("-q", "orders")
    wait_until(lambda: one(conn, "select paused_at is not null from qctl.gate"), 30, "the pause")
    running.close()
    assert error(conn).startswith("destination missing: the key is no stream")
    conn.execute(
        "select qctl.set_queue('orders', %s, p_settings => '{\"ordered\": true}')",
        (far.url.replace("orders", "o:{key}"),),
    )
    conn.execute("select qctl.resume('orders')")
    conn.execute("select qctl.send('orders', array['1', '2']::jsonb[], p_order_key => 'k')")
    make_due(conn)
    drain(worker)
    assert [message.body for message in far.read("o:k")] == [b"1", b"2"]


@pytest.mark.parametrize("own_far", ["redis"], indirect=True)
def test_redis_a_full_server_refuses_and_nothing_is_trimmed(conn, worker, own_far: FarRedis):
    create(conn, url=own_far.url, breaker_pause_max_s=1, **LOOPBACK)
    send(conn, 5)
    own_far.client.config_set("maxmemory", "500kb")
    own_far.client.config_set("maxmemory-policy", "noeviction")
    running = worker("-q", "orders")
    wait_until(lambda: error(conn), 30, "an attempt")
    assert error(conn).startswith("not confirmed: ") and "maxmemory" in error(conn)
    own_far.client.config_set("maxmemory", "0")
    make_due(conn)
    wait_until(lambda: one(conn, "select count(*) from pgmq.a_orders") == 5, 40, "delivery")
    running.close()
    assert own_far.client.xlen("orders") == 5


# SQS


@pytest.mark.parametrize("far", ["sqs"], indirect=True)
def test_sqs_fifo_has_groups_by_key_and_knows_a_repeated_delivery(conn, worker, far: FarSqs):
    far.make("in.fifo")
    create(conn, url=far.url.replace("/orders", "/in.fifo"), ordered=True, **LOOPBACK)
    long = "k" * 150
    conn.execute("select qctl.send('orders', array['1', '2', '3']::jsonb[], p_order_key => %s)", (long,))
    conn.execute("select qctl.send('orders', array['4']::jsonb[], p_order_key => 'é x')")
    conn.execute("select qctl.send('orders', array['5']::jsonb[], p_order_key => 'plain')")
    drain(worker)
    received = far.read("in.fifo")
    by_body = {message.body: message for message in received}
    groups = {body: message.facts["MessageGroupId"] for body, message in by_body.items()}
    assert groups[b"5"] == "plain" and len(groups[b"4"]) == 64
    assert groups[b"1"] == groups[b"2"] == groups[b"3"] and len(groups[b"1"]) == 64
    assert [message.body for message in received if message.key == long] == [b"1", b"2", b"3"]
    assert all(message.facts["MessageDeduplicationId"] == message.webhook_id for message in received)


@pytest.mark.parametrize("far", ["sqs"], indirect=True)
def test_sqs_more_headers_than_attributes_go_into_one(conn, worker, far: FarSqs):
    create(conn, url=far.url, **LOOPBACK)
    headers = {f"x-{n}": str(n) for n in range(15)} | {"x-empty": "", "x~odd": "1"}
    conn.execute("select qctl.set_queue('orders', p_headers => %s::jsonb)", (psycopg.types.json.Jsonb(headers),))
    send(conn, 1)
    drain(worker)
    (message,) = far.read()
    assert len(message.headers) == 10
    told = dict(message.headers)
    packed = json.loads(told.pop("headers"))
    assert {name: value for name, value in {**told, **packed}.items() if name in headers} == headers


@pytest.mark.parametrize("far", ["sqs"], indirect=True)
def test_sqs_large_messages_go_alone_and_too_large_ones_are_dead(conn, worker, far: FarSqs):
    create(conn, url=far.url, **LOOPBACK)
    send(conn, 12)
    conn.execute("select qctl.send('orders', array_agg(to_jsonb(repeat('x', 200000)))) from generate_series(1, 3)")
    conn.execute("select qctl.send('orders', array[to_jsonb(repeat('x', 1100000))])")
    conn.execute("select qctl.send('orders', array[to_jsonb(U&'\\FFFF'::text)])")
    conn.execute("update qctl.queue set reject_after = 1")
    drain(worker)
    assert sorted(row[0] for row in conn.execute("select reason from qctl.dead_letter")) == ["oversize", "rejected"]
    assert len(far.read()) == 15


@pytest.mark.parametrize("far", ["sqs"], indirect=True)
def test_sqs_a_queue_that_does_not_exist_pauses(conn, worker, far: FarSqs):
    create(conn, url=far.url + "-nowhere", **LOOPBACK)
    send(conn, 5)
    running = worker("-q", "orders")
    wait_until(lambda: one(conn, "select paused_at is not null from qctl.gate"), 40, "the pause")
    running.close()
    assert error(conn).startswith("destination missing: ")


@pytest.mark.parametrize("far", ["sqs"], indirect=True)
def test_sqs_without_credentials_costs_no_attempt(conn, worker, far: FarSqs, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    create(conn, url=far.url, retry_schedule_s=[], **LOOPBACK)
    send(conn, 12)
    running = worker("-q", "orders")
    wait_until(lambda: one(conn, "select opened_at is not null from qctl.gate"), 40, "the breaker")
    running.close()
    assert error(conn).startswith("access denied: ")
    assert one(conn, "select count(*) from qctl.dead_letter") == 0


# Kafka


@pytest.mark.parametrize("far", ["kafka"], indirect=True)
def test_kafka_too_large_is_dead_and_the_key_is_the_order_key(conn, worker, far: FarKafka):
    create(conn, url=far.url, ordered=True, **LOOPBACK)
    conn.execute("select qctl.send('orders', array['1', '2', '3']::jsonb[], p_order_key => 'k')")
    conn.execute("select qctl.send('orders', array[to_jsonb(repeat('x', 1100000))])")
    drain(worker)
    assert one(conn, "select reason from qctl.dead_letter") == "oversize"
    keyed = [message for message in far.read() if message.key == "k"]
    assert [message.body for message in keyed] == [b"1", b"2", b"3"]
    assert len({message.facts["partition"] for message in keyed}) == 1


@pytest.mark.parametrize("own_far", ["kafka"], indirect=True)
def test_kafka_a_cluster_that_is_away_costs_no_attempt(conn, worker, own_far: FarKafka):
    create(conn, url=own_far.url, timeout_ms=3000, retry_schedule_s=[1], breaker_pause_max_s=1, **LOOPBACK)
    own_far.broker.close()
    send(conn, 12)
    running = worker("-q", "orders")
    wait_until(lambda: one(conn, "select opened_at is not null from qctl.gate"), 60, "the breaker")
    running.close()
    assert error(conn).startswith("broker away: ")
    assert one(conn, "select coalesce(max(attempts), 0) from qctl.retry") == 0
