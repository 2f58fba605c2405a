"""A queue moves between transports while both deliver: nothing lost, nothing twice."""

import signal

import psycopg
import pytest
from psycopg.types.json import Jsonb

import standin
from helpers import create, one, send, states
from processes import WorkerProcess, qctl, wait_until


def move(conn, transport: str) -> None:
    conn.execute("select qctl.set_queue('orders', p_settings => %s)", (Jsonb({"transport": transport}),))


@pytest.fixture
def calling(dsn, net):
    with standin.calls(dsn):
        yield


def test_there_and_back_with_messages_in_flight(net, net_worker, calling, endpoint, dsn):
    receiver = endpoint("--delay-s", "0.3")
    net_worker()
    create(net, url=receiver.url, transport="http", concurrency=20)
    ids = send(net, 1000)
    first = WorkerProcess(dsn, "--all")
    for target, transport in ((200, "pg_net"), (400, "http"), (600, "pg_net"), (800, "http")):
        wait_until(lambda n=target: len(receiver.entries()) > n, 60, f"{target} requests")
        move(net, transport)
    wait_until(lambda: one(net, "select count(*) from pgmq.q_orders") == 0, 60, "an empty queue")
    first.send(signal.SIGTERM)
    code, talk = first.end()
    assert code == 0, talk
    assert states(net, ids) == {"delivered": 1000}
    assert len(receiver.entries()) == 1000
    assert {row[0] for row in net.execute("select distinct transport from qctl.attempt")} == {"http", "pg_net"}


def test_a_worker_process_says_who_delivers_a_pg_net_queue(net, dsn):
    create(net, transport="pg_net")
    done = qctl("worker", "-q", "orders", "--drain", dsn=dsn)
    assert done.returncode == 2
    assert "has transport pg_net" in done.stderr
    assert "qctl set -q orders --transport http" in done.stderr


def test_create_and_set_say_which_transport_and_why(net, dsn):
    done = qctl("create", "orders", "--url", "http://127.0.0.1:9/x", dsn=dsn)
    assert "transport http: pg_cron is not installed in this database" in done.stderr
    assert "Next: qctl worker -q orders" in done.stderr
    done = qctl("set", "-q", "orders", "--transport", "pg_net", dsn=dsn)
    assert done.returncode == 0, done.stderr
    assert "transport pg_net: as requested" in done.stderr
    assert "call qctl.work();" in done.stderr
    assert qctl("set", "-q", "orders", "--transport", "auto", dsn=dsn).returncode == 0
    assert one(net, "select transport from qctl.queue") == "http"


def test_pg_net_where_there_is_none_is_refused_with_the_way_out(dsn):
    done = qctl("create", "orders", "--url", "http://127.0.0.1:9/x", "--transport", "pg_net", dsn=dsn)
    assert done.returncode == 4
    assert "pg_net is not installed" in done.stderr
    assert "--transport http" in done.stderr


@pytest.mark.parametrize(
    ("option", "value"), [("--transport", "carrier"), ("--retention", "1s"), ("--waiting", "maybe")]
)
def test_bad_choices_are_usage_errors(conn, dsn, option, value):
    done = qctl("create", "orders", "--url", "http://127.0.0.1:9/x", option, value, dsn=dsn)
    assert done.returncode == 2
    assert one(conn, "select count(*) from qctl.queue") == 0


def test_a_content_type_that_pg_net_refuses_is_refused_at_once(net):
    with pytest.raises(psycopg.Error, match="application/json"):
        net.execute("select qctl.create_queue('orders', 'http://h/x', '{\"Content-Type\": \"text/plain\"}',"
                    " '{\"transport\": \"pg_net\"}')")  # fmt: skip


def test_retention_by_the_command_line(conn, dsn):
    assert qctl("create", "orders", "--url", "http://127.0.0.1:9/x", dsn=dsn).returncode == 0
    assert one(conn, "select retention_s from qctl.queue") == 7 * 86400
    assert qctl("set", "-q", "orders", "--retention", "never", dsn=dsn).returncode == 0
    assert one(conn, "select retention_s from qctl.queue") is None
    assert qctl("set", "-q", "orders", "--retention", "30d", dsn=dsn).returncode == 0
    assert one(conn, "select retention_s from qctl.queue") == 30 * 86400
    assert "deleted after 30d" in qctl("describe", "orders", dsn=dsn).stdout
