"""Trouble of one queue, of the database or of the network that must not become trouble of the others, a duplicate or a bill."""

import http.client
import os
import time
from pathlib import Path

import psycopg
import pytest
from isolate import WHOLE, new_wake, signed

from helpers import create, one, send
from processes import wait_until

whole = pytest.mark.skipif(not WHOLE, reason="the edge worker: make test-edge")
REFUSES = """create function no() returns trigger language plpgsql as
             $$ begin raise exception 'no room' using errcode = '42501'; end $$"""


def begin(conn, isolate, **settings):
    function, secret = isolate(**{"QCTL_IDLE_S": "100", "ISOLATE_LEAVES": "1", **settings})
    assert function.post(signed(secret, new_wake(conn)))[0] == 202
    return function, secret


@pytest.mark.parametrize(
    "url", ["http://300.300.300.300/x", "http://[1:2]/x", "http://a b/x"] if WHOLE else ["http://[1:2]/x"]
)
def test_a_url_that_is_none_here_costs_only_its_queue_attempts(conn, endpoint, isolate, url):
    receiver = endpoint()
    create(conn, "good", url=receiver.url)
    create(conn, "bad")
    conn.execute("update qctl.queue set url = %s where queue_name = 'bad'", [url])
    send(conn, 5, "bad")
    function, _ = begin(conn, isolate)
    wait_until(lambda: one(conn, "select count(*) from qctl.attempt where outcome = 'retrying'") == 5)
    send(conn, 5, "good")
    wait_until(lambda: len(receiver.accepted()) == 5)
    assert function.running()
    assert "Invalid URL" in one(conn, "select max(error) from qctl.attempt where outcome = 'retrying'")


def test_a_queue_called_null_is_delivered(conn, endpoint, isolate):
    receiver = endpoint()
    create(conn, "null", url=receiver.url)
    begin(conn, isolate)
    time.sleep(1)
    send(conn, 2, "null")
    wait_until(lambda: len(receiver.accepted()) == 2)
    assert one(conn, "select queues from qctl.worker") == ["null"]


def test_a_body_without_an_end_is_not_read(conn, isolate):
    function, secret = isolate()
    before = memory_mb(function.pid)
    connection = http.client.HTTPConnection(function.url.split("/")[2], timeout=20)
    headers = {**signed(secret, new_wake(conn)), "transfer-encoding": "chunked"}
    try:
        connection.request("POST", "/", (b"x" * 65536 for _ in range(1600)), headers, encode_chunked=True)
        assert connection.getresponse().status == 401
    except OSError:
        pass
    connection.close()
    assert memory_mb(function.pid) - before < 50, "100 MB were sent"
    assert function.running()


def memory_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


@whole
def test_answers_are_settled_once_a_lock_is_gone(conn, dsn, endpoint, isolate):
    receiver = endpoint("--delay-s", "1")
    create(conn, url=receiver.url, timeout_ms=2000)
    send(conn, 3)
    begin(conn, isolate)
    wait_until(receiver.entries)
    with psycopg.connect(dsn) as other:
        other.execute("lock table pgmq.q_orders in access exclusive mode")
        time.sleep(3.6)
    wait_until(lambda: one(conn, "select count(*) from pgmq.a_orders") == 3, 5)
    assert set(receiver.accepted().values()) == {1}


@whole
def test_a_queue_that_cannot_be_settled_delays_no_other(conn, endpoint, isolate):
    receiver = endpoint("--delay-s", "0.2")
    create(conn, "a", url=receiver.url)
    create(conn, "b", url=receiver.url)
    create(conn, "c", url=endpoint("--delay-s", "20").url, timeout_ms=25_000)
    conn.execute(REFUSES)
    conn.execute("create trigger no before insert on pgmq.a_a for each row execute function no()")
    send(conn, 1, "a"), send(conn, 1, "c")
    begin(conn, isolate)
    wait_until(lambda: len(receiver.accepted()) == 1)
    time.sleep(1)
    send(conn, 12, "b")
    wait_until(lambda: one(conn, "select count(*) from pgmq.a_b") == 12, 5)


@whole
@pytest.mark.parametrize("table", ["qctl.worker", "qctl.queue"])
def test_a_lock_on_a_table_of_qctl_ends_nothing_and_sends_nothing_twice(conn, dsn, endpoint, isolate, table):
    receiver = endpoint("--delay-s", "6")
    create(conn, url=receiver.url, timeout_ms=9000, concurrency=5)
    send(conn, 5)
    function, _ = begin(conn, isolate)
    wait_until(lambda: len(receiver.entries()) == 5)
    with psycopg.connect(dsn) as other:
        other.execute(f"lock table {table} in access exclusive mode")
        time.sleep(7)
    wait_until(lambda: one(conn, "select count(*) from pgmq.a_orders") == 5, 10)
    assert function.running()
    assert set(receiver.accepted().values()) == {1}
    assert function.log("retire") == []


@whole
def test_an_isolate_near_its_end_begins_no_other_worker(conn, endpoint, isolate):
    create(conn, url=endpoint().url, timeout_ms=10_000)
    began = time.monotonic()
    function, secret = begin(conn, isolate, QCTL_WALL_S="18", ISOLATE_LEAVES="0", QCTL_IDLE_S="1")
    wait_until(lambda: function.log("end"))
    send(conn)
    # Half of its time, less than a request may take, is left.
    time.sleep(max(0.0, began + 10.5 - time.monotonic()))
    assert function.post(signed(secret, new_wake(conn)))[0] == 202
    wait_until(lambda: len(function.log("end")) == 2)
    assert function.log("end")[1]["reason"] == "wall"
    assert function.post(signed(secret, new_wake(conn))) == (200, {"done": "the time of this isolate is used up"})
    assert len(function.log("begin")) == 2


@whole
def test_a_queue_that_is_dropped_keeps_nobody(conn, endpoint, isolate):
    slow, quick = endpoint("--delay-s", "2"), endpoint()
    create(conn, "gone", url=slow.url)
    create(conn, "stays", url=quick.url)
    send(conn, 3, "gone")
    function, _ = begin(conn, isolate, QCTL_IDLE_S="3")
    wait_until(slow.entries)
    conn.execute("select * from qctl.drop_queue('gone', true)")
    send(conn, 3, "stays")
    assert function.end(40)[0] == 0
    assert len(quick.accepted()) == 3
    assert one(conn, "select stopped_at is not null from qctl.worker")
    assert one(conn, "select reason from qctl.edge_wake") == "idle"


@whole
def test_a_queue_that_was_created_again_has_its_new_settings(conn, endpoint, isolate):
    receiver = endpoint("--delay-s", "0.3")
    create(conn, url=receiver.url, concurrency=2)
    send(conn, 30)
    begin(conn, isolate)
    wait_until(receiver.entries)
    conn.execute("select * from qctl.drop_queue('orders', true, true)")
    create(conn, url=receiver.url, allow_networks=[])
    time.sleep(6)
    seen = len(receiver.entries())
    send(conn, 20)
    wait_until(lambda: one(conn, "select count(*) from qctl.attempt where error ~ '^refused'") > 0)
    assert len(receiver.entries()) == seen


@whole
def test_what_settings_refused_that_have_changed_costs_no_attempt(conn, endpoint, isolate):
    receiver = endpoint()
    create(conn, url=receiver.url, allow_networks=[])
    begin(conn, isolate)
    time.sleep(1)
    conn.execute("""select qctl.set_queue('orders', p_settings => '{"allow_networks": ["127.0.0.0/8"]}')""")
    send(conn)
    wait_until(lambda: len(receiver.accepted()) == 1)
    wait_until(lambda: one(conn, "select count(*) from qctl.attempt") == 1)
    assert conn.execute("select attempt_no, outcome from qctl.attempt").fetchone() == (1, "delivered")


@whole
def test_while_it_waits_for_the_last_answer_it_rests(conn, endpoint, isolate):
    create(conn, url=endpoint("--delay-s", "8").url, timeout_ms=12_000)
    send(conn)
    function, _ = begin(conn, isolate)
    wait_until(lambda: one(conn, "select count(*) from qctl.in_flight") == 1)
    conn.execute("update qctl.edge_function set stopped_at = now()")
    wait_until(lambda: function.log("retire"))
    before = ticks(function.pid)
    time.sleep(2)
    assert (ticks(function.pid) - before) / os.sysconf("SC_CLK_TCK") < 0.2
    assert function.end(30)[0] == 0
    assert one(conn, "select count(*) from pgmq.a_orders") == 1


def ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@whole
def test_memory_does_not_follow_what_was_sent(conn, endpoint, isolate):
    receiver = endpoint("--delay-s", "0.02")
    create(conn, url=receiver.url, concurrency=20)
    text = (
        "select qctl.send('orders', array_fill(jsonb_build_object('t',"
        " (select string_agg(md5(i::text), '') from generate_series(1, 1200) i)), array[%s]))"
    )
    conn.execute(text, [500])
    function, _ = begin(conn, isolate, QCTL_MAX_BYTES=str(4 << 20), QCTL_CPU_MS="0", ISOLATE_CPU_MS="100000")
    wait_until(lambda: len(receiver.accepted()) == 500)
    before = memory_mb(function.pid)
    for _ in range(8):
        conn.execute(text, [500])
    wait_until(lambda: len(receiver.accepted()) == 4500, 90)
    assert memory_mb(function.pid) - before < 130, "150 MB were sent"
