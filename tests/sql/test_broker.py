"""Queues that hand over to a broker, as far as the database decides."""

import tomllib
from pathlib import Path

import psycopg
import pytest
from psycopg.types.json import Jsonb

from helpers import claim, create, make_due, one, send, settle, state
from qctl.worker import carriers

URLS = [
    ("sqs://sqs.eu-west-1.amazonaws.com/123456789012/orders.fifo", "sqs"),
    ("sqs+http://127.0.0.1:4566/000000000000/orders", "sqs"),
    ("amqps://rabbit.example.com/?queue=orders", "rabbitmq"),
    ("amqps://rabbit.example.com:5671/prod?exchange=events&routing_key=order.{key}", "rabbitmq"),
    ("AMQPS://rabbit.example.com/%2F?exchange=events", "rabbitmq"),
    ("nats://n1.example.com,n2.example.com:4222/orders.created", "nats"),
    ("nats://[2001:db8::1]:4222/orders.{key}", "nats"),
    ("rediss://redis.example.com/0/orders", "redis"),
    ("redis://127.0.0.1/orders:{key}", "redis"),
    ("kafka://k1.example.com:9093,k2.example.com:9093/orders", "kafka"),
]
NOT_URLS = [
    "sqs://sqs.eu-west-1.amazonaws.com/orders",
    "sqs://sqs.eu-west-1.amazonaws.com/123456789012/",
    "sqs://sqs.eu-west-1.amazonaws.com/123456789012/a b",
    "amqps://rabbit.example.com/",
    "amqps://rabbit.example.com/?queue=",
    "amqps://rabbit.example.com/?queue=a&exchange=b",
    "amqps://rabbit.example.com:70000/?queue=a",
    "nats://nats.example.com/",
    "nats://nats.example.com/orders.*",
    "nats://nats.example.com/orders.>",
    "nats://nats.example.com,/orders",
    "rediss://redis.example.com/",
    "kafka://kafka.example.com",
    "kafka://kafka.example.com:0/orders",
    "nats://nats.example.com/orders\nX",
    "amqps://rabbit.example.com/?QUEUE=orders",
    "amqps://rabbit.example.com/?exchange=e&routing_key={KEY}",
    "amqps://rabbit.example.com/?queue=%00",
    "amqps://rabbit.example.com/?queue=" + "x" * 256,
    "nats://nats.example.com/orders.{KEY}",
    "redis://redis.example.com/0/",
    "redis://redis.example.com/{KEY}",
    "kafka://[1.2.3.4]:9093/orders",
    "sqs://sqs.eu-west-1.amazonaws.com/123456789012/orders.FIFO",
]


def registered(conn, *carriers: str) -> int:
    return one(conn, "select qctl.register_worker('w', 'http', '{orders}', '0.7.0', %s::text[])", list(carriers))


@pytest.mark.parametrize(("url", "carrier"), URLS)
def test_the_scheme_picks_the_carrier(conn, url, carrier):
    create(conn, url=url)
    assert one(conn, "select qctl._carrier(url) from qctl.queue") == carrier == carriers.of(url)
    assert conn.execute("select concurrency, max_in_flight from qctl.queue").fetchone() == (500, 4000)


def test_each_carrier_has_a_form_and_an_extra(conn):
    forms = {row[0] for row in conn.execute("select carrier from qctl._broker_forms()")}
    extras = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert {"http", *forms} == set(carriers.available())
    assert forms <= set(extras)


@pytest.mark.parametrize("url", NOT_URLS)
def test_what_names_no_destination_is_refused_with_an_example(conn, url):
    with pytest.raises(psycopg.Error, match="is not the URL of a destination") as refused:
        create(conn, url=url)
    assert refused.value.sqlstate == "QC002"
    assert "for example" in refused.value.diag.message_hint


@pytest.mark.parametrize(
    "url", ["amqps://me:secret@rabbit.example.com/?queue=a", "rediss://:secret@redis.example.com/a"]
)
def test_credentials_do_not_stand_in_the_url(conn, url):
    with pytest.raises(psycopg.Error, match="must not contain a user name or password") as refused:
        create(conn, url=url)
    assert "secret:NAME" in refused.value.diag.message_hint


@pytest.mark.parametrize("url", ["ftp://example.com/x", "mqtt://example.com/x", "sqs:example.com"])
def test_other_schemes_are_refused(conn, url):
    with pytest.raises(psycopg.Error, match="is not an http or https URL"):
        create(conn, url=url)


@pytest.mark.parametrize(
    "broker",
    [
        {"nothing": "x"},
        {"password": "plain"},
        {"password": "secret:"},
        {"username": ""},
        {"username": "a\nb"},
        {"username": "x" * 1001},
        {"sasl": "PLAIN"},
        [],
        "text",
    ],
)
def test_options_that_the_connection_does_not_take_are_refused(conn, broker):
    create(conn, url="amqps://rabbit.example.com/?queue=a")
    with pytest.raises(psycopg.Error) as refused:
        conn.execute("select qctl.set_queue('orders', p_settings => %s)", (Jsonb({"broker": broker}),))
    assert refused.value.sqlstate == "QC002"


def test_options_go_with_a_broker_only_and_secrets_come_from_their_store(conn):
    create(conn, url="amqps://rabbit.example.com/?queue=a", broker={"username": "qctl", "password": "secret:rabbit"})
    assert one(conn, "select cause from qctl._cause_gate(qctl._queue('orders'::text))") == "secret_missing"
    with pytest.raises(psycopg.Error, match="secret:rabbit is missing"):
        send(conn)
        claim(conn, worker=registered(conn, "http", "rabbitmq"))
    conn.execute("select qctl.set_header_secret('rabbit', 'hush')")
    assert one(conn, "select qctl.broker_options('orders')") == {"username": "qctl", "password": "hush"}
    (message,) = claim(conn, worker=registered(conn, "http", "rabbitmq"))
    assert message.headers["webhook-id"], "without a header of the queue too"
    assert one(conn, "select used_by from qctl.header_secrets() where reference = 'secret:rabbit'") == ["orders"]
    with pytest.raises(psycopg.Error, match="in use by orders"):
        conn.execute("select qctl.drop_header_secret('rabbit')")
    with pytest.raises(psycopg.Error, match="takes no options of one"):
        conn.execute("select qctl.set_queue('orders', 'https://example.com/x')")


@pytest.mark.parametrize("carriers", [["http"], [], ["http", "kafka"]])
def test_no_worker_gets_what_it_cannot_carry(conn, carriers):
    create(conn, url="amqps://rabbit.example.com/?queue=a")
    send(conn, 3)
    assert claim(conn, worker=registered(conn, *carriers)) == []
    assert claim(conn) == [], "a worker of 0.6.0, or psql"
    old = one(conn, "select qctl.register_worker('w', 'http', '{orders}', '0.6.0')")
    assert claim(conn, worker=old) == []
    assert len(claim(conn, worker=registered(conn, "http", "rabbitmq"))) == 3


def test_a_worker_without_the_carrier_does_not_count_as_one(conn):
    create(conn, url="amqps://rabbit.example.com/?queue=a")
    registered(conn, "http")
    cause, reason = conn.execute("select cause, reason from qctl._cause_worker(qctl._queue('orders'::text))").fetchone()
    assert cause == "no_worker" and "pip install 'qctl[rabbitmq]'" in reason
    registered(conn, "http", "rabbitmq")
    assert conn.execute("select from qctl._cause_worker(qctl._queue('orders'::text))").fetchone() is None


def test_pg_net_gets_no_broker(conn):
    with pytest.raises(psycopg.Error, match="pg_net cannot send to a broker") as refused:
        create(conn, url="amqps://rabbit.example.com/?queue=a", transport="pg_net")
    assert refused.value.sqlstate == "QC002"
    chosen = conn.execute(
        "select * from qctl.choose_transport('auto', 'sqs://sqs.eu-west-1.amazonaws.com/123456789012/a')"
    )
    assert chosen.fetchone() == ("http", "a qctl worker process hands over to sqs")


def test_a_broker_answers_with_no_body_to_expect(conn):
    create(conn, url="amqps://rabbit.example.com/?queue=a")
    with pytest.raises(psycopg.Error, match="cannot be met"):
        conn.execute("select qctl.set_queue('orders', p_settings => '{\"expect_text\": \"ok\"}')")


def handed(conn, count: int = 1, **settings):
    create(conn, url="amqps://rabbit.example.com/?queue=a", **settings)
    send(conn, count)
    return claim(conn, worker=registered(conn, "http", "rabbitmq"))


def test_the_order_key_goes_to_the_carrier_and_to_no_endpoint(conn):
    create(conn, url="amqps://rabbit.example.com/?queue=a", ordered=True)
    conn.execute("""select qctl.send('orders', array['{}']::jsonb[], p_order_key => 'k1')""")
    (message,) = claim(conn, worker=registered(conn, "http", "rabbitmq"))
    assert message.headers[":order-key"] == "k1"
    conn.execute("select qctl.release('orders', array[%s::uuid], array[%s::bigint])", (message.lease, message.msg_id))
    conn.execute("select qctl.set_queue('orders', 'https://example.com/x')")
    (message,) = claim(conn)
    assert ":order-key" not in message.headers


def test_too_large_is_a_dead_letter_at_once(conn):
    (message,) = handed(conn)
    settle(conn, [message], None, error="too large: 3 MB")
    assert state(conn, message.msg_id) == "dead"
    assert one(conn, "select reason from qctl.dead_letter") == "oversize"


def test_a_missing_destination_pauses_with_its_reason(conn):
    (message,) = handed(conn)
    settle(conn, [message], None, error="destination missing: there is no queue a")
    cause, reason, fix = conn.execute(
        "select cause, reason, fix from qctl._cause_gate(qctl._queue('orders'::text))"
    ).fetchone()
    assert (cause, fix) == ("gone", "qctl resume -q orders")
    assert "there is no queue a" in reason
    assert one(conn, "select attempts from qctl.retry") == 0


@pytest.mark.parametrize("what", ["broker away: connection refused", "access denied: wrong password"])
def test_a_broker_that_takes_nothing_costs_no_attempt_and_opens_the_breaker(conn, what):
    messages = handed(conn, 30, retry_schedule_s=[1])
    settle(conn, messages, None, error=what)
    assert one(conn, "select opened_at is not null from qctl.gate") is True
    assert one(conn, "select max(attempts) from qctl.retry") == 0
    assert one(conn, "select count(*) from qctl.dead_letter") == 0
    make_due(conn)
    for _ in range(5):
        conn.execute("update qctl.gate set probe_at = clock_timestamp()")
        (probe,) = claim(conn, worker=registered(conn, "http", "rabbitmq"))
        settle(conn, [probe], None, error=what)
        make_due(conn)
    assert one(conn, "select max(attempts) from qctl.retry") == 0


def test_without_a_breaker_an_absent_broker_is_not_asked_without_a_pause(conn):
    messages = handed(conn, 1, breaker_after=0)
    settle(conn, messages, None, error="broker away: connection refused")
    assert one(conn, "select vt > clock_timestamp() + interval '3 s' from pgmq.q_orders") is True


def test_an_unroutable_message_is_a_failed_attempt_and_no_outage(conn):
    messages = handed(conn, 30, retry_schedule_s=[1])
    settle(conn, messages, None, error="unroutable: no queue is bound")
    assert one(conn, "select opened_at from qctl.gate") is None
    assert one(conn, "select min(attempts) from qctl.retry") == 1
    make_due(conn)
    settle(conn, claim(conn, worker=registered(conn, "http", "rabbitmq")), None, error="unroutable: no queue is bound")
    assert one(conn, "select count(*) from qctl.dead_letter where reason = 'exhausted'") == 30


def test_what_the_broker_does_not_accept_is_rejected(conn):
    (message,) = handed(conn, reject_after=1)
    settle(conn, [message], None, error="not accepted: U+FFFE")
    assert one(conn, "select reason from qctl.dead_letter") == "rejected"


def test_of_successes_settled_together_one_is_logged_and_stands_for_all(conn):
    create(conn, log="failures")
    send(conn, 20)
    messages = claim(conn)
    settle(conn, messages[:12], 200)
    settle(conn, messages[12:15], 500)
    settle(conn, messages[15:], 200)
    assert one(conn, "select count(*) from pgmq.a_orders") == 17
    logged = conn.execute(
        "select outcome, count(*), sum(stands_for) from qctl.attempt group by 1 order by 1"
    ).fetchall()
    assert logged == [("delivered", 2, 17), ("retrying", 3, 3)]
    assert conn.execute("select delivered_1m, failed_1m, delivered_1h from qctl.rates('orders')").fetchone() == (
        17,
        3,
        17,
    )
    total = "select coalesce(sum(attempts), 0) from qctl.attempt_totals() where outcome = 'delivered'"
    assert one(conn, total) == 17
    conn.execute("update qctl.attempt set settled_at = settled_at - interval '5 min'")
    conn.execute("update qctl.upkept set rolled_to = null, totalled_to = clock_timestamp() - interval '1 day'")
    conn.execute("select qctl._roll_up()")
    assert one(conn, total) == 17
    assert one(conn, "select sum(delivered) from qctl.throughput") == 17


def test_a_success_after_failures_is_logged_whatever_is_left_out(conn):
    create(conn, log="failures")
    send(conn, 5)
    settle(conn, claim(conn), 500)
    make_due(conn)
    settle(conn, claim(conn), 200)
    assert one(conn, "select count(*) from qctl.attempt where outcome = 'delivered'") == 5


@pytest.mark.parametrize("status", [200, 500])
def test_without_an_archive_what_is_delivered_is_gone(conn, status):
    create(conn, archive=False)
    send(conn, 4)
    messages = claim(conn)
    settle(conn, messages, status)
    make_due(conn)
    if status == 500:
        settle(conn, claim(conn), 200)
    assert one(conn, "select count(*) from pgmq.a_orders") == 0
    assert one(conn, "select count(*) from pgmq.q_orders") == 0
    assert one(conn, "select delivered_1m from qctl.rates('orders')") == 4
    settle(conn, messages[:1], 200)
    assert one(conn, "select count(*) from qctl.in_flight where lapsed_at is null") == 0


def test_without_an_archive_a_replayed_dead_letter_is_gone_once_it_is_delivered(conn):
    create(conn, archive=False, retry_schedule_s=[])
    send(conn, 1)
    settle(conn, claim(conn), 500)
    assert one(conn, "select count(*) from qctl.dead_letter") == 1
    conn.execute("select qctl.replay('orders', array[1::bigint])")
    settle(conn, claim(conn), 200)
    assert one(conn, "select count(*) from qctl.dead_letter") == 0
    assert one(conn, "select count(*) from pgmq.q_orders") == 0


def test_a_queue_that_changes_its_carrier_takes_as_many_at_once_as_that_can(conn):
    limits = "select concurrency, max_in_flight from qctl.queue"
    create(conn, concurrency=7)
    conn.execute("select qctl.set_queue('orders', 'amqps://rabbit.example.com/?queue=a')")
    assert conn.execute(limits).fetchone() == (500, 4000)
    conn.execute(
        "select qctl.set_queue('orders', 'amqps://rabbit.example.com/?queue=b', p_settings => '{\"concurrency\": 9}')"
    )
    conn.execute("select qctl.set_queue('orders', 'kafka://kafka.example.com/b')")
    assert conn.execute(limits).fetchone() == (9, 4000)
    conn.execute("select qctl.set_queue('orders', 'https://example.com/x')")
    assert conn.execute(limits).fetchone() == (50, 1000)
    conn.execute("select qctl.set_queue('orders', 'https://example.com/y', p_settings => '{\"concurrency\": 3}')")
    conn.execute("select qctl.set_queue('orders', 'https://example.com/z')")
    assert conn.execute(limits).fetchone() == (3, 1000)
    create(conn, name="plain")
    assert conn.execute(f"{limits} where queue_name = 'plain'").fetchone() == (50, 1000), "as the columns have it"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("redis://localhost.evil.example.com/a", "localhost.evil.example.com"),
        ("nats+plain://localhost,remote.example.com/a", "remote.example.com"),
        ("amqp://127.0.0.1.evil.example.com/?queue=a", "127.0.0.1.evil.example.com"),
        ("redis://127.0.0.1/a", None),
        ("amqp://LOCALHOST/?queue=a", None),
        ("kafka+plain://[::1]:9092/a", None),
        ("rediss://redis.example.com/a", None),
    ],
)
def test_what_goes_without_encryption_to_another_machine_is_warned_of(conn, url, host):
    said: list[str] = []
    conn.add_notice_handler(lambda notice: said.append(notice.message_primary))
    create(conn, url=url, allow_networks=["127.0.0.0/8", "::1/128"])
    warned = [line for line in said if "without encryption" in line]
    assert warned == ([f"messages and passwords go to {host} without encryption"] if host else [])


def test_a_missing_secret_of_a_header_is_not_hidden_by_an_option_of_that_name(conn):
    create(conn, url="nats://nats.example.com/a", broker={"token": "env:TOKEN"})
    conn.execute("select qctl.set_queue('orders', p_headers => '{\"token\": \"secret:nope\"}')")
    send(conn)
    with pytest.raises(psycopg.Error, match="secret:nope is missing"):
        claim(conn, worker=registered(conn, "http", "nats"))
    assert one(conn, "select cause from qctl._cause_gate(qctl._queue('orders'::text))") == "secret_missing"


def test_without_an_archive_the_last_delivery_is_known_and_so_is_the_highest_number(conn):
    create(conn, archive=False, log="failures")
    send(conn, 5)
    settle(conn, claim(conn), 200)
    assert one(conn, "select last_delivered_at is not null from qctl.rates('orders')") is True
    assert conn.execute("select msg_id, stands_for from qctl.attempt").fetchall() == [(5, 5)]
