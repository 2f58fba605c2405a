"""qctl test: one event delivered end to end, and nothing left behind."""

import json
import signal
import subprocess
import time

from helpers import create, one
from processes import QCTL, WorkerProcess, environment, failing, ok, wait_until


def test_no_test_event_is_sent_where_nothing_is_sent(conn, dsn):
    create(conn)
    conn.execute("select qctl.pause('orders', 'moving')")
    told = failing(8, "test", dsn=dsn)
    assert "not sent: queue orders is not delivering" in told
    assert "paused: moving" in told
    assert "qctl resume -q orders" in told
    conn.execute("select qctl.disarm()")
    told = failing(8, "test", dsn=dsn)
    assert "unarmed: " in told
    assert "qctl arm" in told
    assert one(conn, "select count(*) from pgmq.q_orders") == 0


def test_a_test_event_takes_the_whole_way(conn, dsn, endpoint):
    receiver = endpoint()
    create(conn, url=receiver.url)
    process = WorkerProcess(dsn, "-q", "orders")
    try:
        done = ok("test", "-o", "json", dsn=dsn)
        (row,) = json.loads(done.stdout)
        assert (row["outcome"], row["status_code"]) == ("delivered", 200)
        assert len(receiver.accepted()) == 1
        receiver.become("--fail-rate", "1", "--failures", "404")
        told = failing(8, "test", dsn=dsn)
        assert "not delivered: HTTP 404" in told
        receiver.kill()
        assert "not delivered: Failed to connect" in failing(8, "test", "--body", "[1]", dsn=dsn)
    finally:
        process.close()
    assert one(conn, "select count(*) from pgmq.q_orders") == 0
    assert one(conn, "select count(*) from qctl.dead_letter") == 0
    told = failing(8, "test", "--within", "1s", dsn=dsn)
    assert "no answer within 1s" in told
    assert one(conn, "select count(*) from pgmq.q_orders") == 0
    failing(2, "test", "--body", "{", dsn=dsn)


def test_an_interrupted_test_leaves_no_event(conn, dsn):
    create(conn)
    process = subprocess.Popen([str(QCTL), "test"], env=environment(QCTL_DSN=dsn), stderr=subprocess.PIPE, text=True)
    wait_until(lambda: one(conn, "select count(*) from pgmq.q_orders") == 1)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130
    assert one(conn, "select count(*) from pgmq.q_orders") == 0
    assert one(conn, "select count(*) from qctl.dead_letter") == 0
