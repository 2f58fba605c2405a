"""qctl worker against real endpoints: delivery, stopping, sleeping, isolation, odd answers."""

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from helpers import create, drop_pgmq_queue, one, send, states
from processes import QCTL, environment, wait_until
from qctl import db
from qctl.config import Database


def in_queue(conn, name: str = "orders") -> int:
    return one(conn, f"select count(*) from pgmq.q_{name}")


def test_drain_delivers_everything_and_ends(conn, endpoint, worker):
    receiver = endpoint()
    create(conn, url=receiver.url)
    send(conn, 500)
    code, talk = worker("-q", "orders", "--drain").end()
    assert code == 0, talk
    assert talk == "", "quiet success in cron"
    assert len(receiver.accepted()) == 500
    assert set(receiver.accepted().values()) == {1}
    assert one(conn, "select count(*) from qctl.attempt where outcome = 'delivered'") == 500
    assert one(conn, "select stopped_at is not null from qctl.worker") is True


def test_the_body_is_what_postgresql_says_and_the_headers_are_those_of_the_standard(conn, worker):
    with _raw_endpoint(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok") as (url, requests):
        conn.execute('select qctl.create_queue(\'orders\', %s, \'{"X-Tenant": "acmé", "X-Empty": ""}\')', (url,))
        conn.execute("""select qctl.send('orders', array['{"b": 1, "a": "é"}']::jsonb[])""")
        assert worker("-q", "orders", "--once").end()[0] == 0
    head, _, body = requests[0].partition(b"\r\n\r\n")
    lines = _headers(head)
    assert head.startswith(b"POST /hook HTTP/1.1")
    assert body == '{"a": "é", "b": 1}'.encode()
    assert lines[b"content-type"] == b"application/json"
    assert lines[b"webhook-id"].startswith(b"msg_")
    assert lines[b"x-tenant"] == "acmé".encode()
    assert lines[b"x-empty"] == b""
    assert lines[b"user-agent"].startswith(b"qctl/")


def test_once_claims_once(conn, endpoint, worker):
    receiver = endpoint()
    create(conn, url=receiver.url, concurrency=10)
    send(conn, 50)
    assert worker("-q", "orders", "--once").end()[0] == 0
    assert len(receiver.accepted()) == 10


def test_all_serves_queues_that_come_later(conn, endpoint, worker):
    receiver = endpoint()
    create(conn, url=receiver.url)
    process = worker("--all")
    send(conn)
    wait_until(lambda: len(receiver.accepted()) == 1)
    create(conn, "later", url=receiver.url)
    send(conn, name="later")
    wait_until(lambda: len(receiver.accepted()) == 2)
    assert process.running()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_settles_what_is_in_flight_and_exits_0(conn, endpoint, worker, number):
    receiver = endpoint("--delay-s", "0.7")
    create(conn, url=receiver.url, concurrency=20)
    ids = send(conn, 100)
    process = worker("-q", "orders")
    wait_until(lambda: len(receiver.entries()) >= 20)
    process.send(number)
    code, talk = process.end()
    assert code == 0, talk
    delivered = states(conn, ids)["delivered"]
    assert delivered == len(receiver.accepted()) >= 20
    assert in_queue(conn) == 100 - delivered
    assert one(conn, "select count(*) from qctl.in_flight") == 0


def test_a_stop_does_not_wait_for_ever(conn, endpoint, worker):
    receiver = endpoint("--delay-s", "20")
    create(conn, url=receiver.url, timeout_ms=25_000)
    send(conn)
    process = worker("-q", "orders", "--grace", "1s")
    wait_until(lambda: receiver.entries())
    process.send(signal.SIGTERM)
    started = time.monotonic()
    assert process.end()[0] == 0
    assert time.monotonic() - started < 10


def test_a_sleeping_worker_wakes_at_once(conn, endpoint, worker):
    receiver = endpoint()
    create(conn, url=receiver.url)
    conn.execute("create table public.users (id int)")
    conn.execute("select qctl.attach('public.users', 'orders')")
    worker("-q", "orders")
    wait_until(
        lambda: one(conn, "select count(*) from pg_locks where locktype = 'advisory' and classid = 1902343276") == 1
    )
    waits = []
    for n in range(5):
        committed = time.time()
        conn.execute("insert into users values (%s)", (n,))
        wait_until(lambda n=n: len(receiver.entries()) > n)
        waits.append(receiver.entries()[n].at - committed)
        time.sleep(0.3)
    assert sorted(waits)[2] < 0.5, waits


def test_retries_are_tried_when_due(conn, endpoint, worker):
    receiver = endpoint("--fail-rate", "0.3", "--hang-s", "1")
    create(conn, url=receiver.url, timeout_ms=300, retry_schedule_s=[1] * 20, retry_jitter=0)
    ids = send(conn, 60)
    process = worker("-q", "orders")
    wait_until(lambda: in_queue(conn) == 0, 60, "an empty queue")
    assert states(conn, ids) == {"delivered": 60}
    assert len(receiver.accepted()) == 60
    process.send(signal.SIGTERM)
    assert process.end()[0] == 0


def test_a_slow_endpoint_stalls_neither_other_queues_nor_other_messages(conn, endpoint, worker):
    slow, quick = endpoint("--delay-s", "25"), endpoint()
    create(conn, "slow", url=slow.url, concurrency=5)
    create(conn, "quick", url=quick.url)
    send(conn, 50, "slow")
    send(conn, 300, "quick")
    worker("--all")
    wait_until(lambda: len(quick.accepted()) == 300, 20, "300 quick deliveries while the slow ones hang")


def test_a_queue_dropped_under_the_worker_stops_only_itself(conn, endpoint, worker):
    receiver = endpoint()
    create(conn, "broken", url=receiver.url)
    create(conn, "sound", url=receiver.url)
    process = worker("--all")
    send(conn, name="sound")
    wait_until(lambda: len(receiver.accepted()) == 1)
    drop_pgmq_queue(conn, "broken")
    time.sleep(1.5)
    send(conn, name="sound")
    wait_until(lambda: len(receiver.accepted()) == 2)
    assert process.running()


def test_a_queue_resumed_is_delivered_by_the_worker_that_runs(conn, endpoint, worker):
    receiver = endpoint()
    create(conn, url=receiver.url)
    conn.execute("select qctl.pause('orders')")
    send(conn)
    worker("-q", "orders")
    time.sleep(1)
    assert receiver.entries() == []
    conn.execute("select qctl.resume('orders')")
    wait_until(lambda: len(receiver.accepted()) == 1)


def test_two_workers_share_a_queue_and_deliver_each_message_once(conn, endpoint, worker):
    receiver = endpoint()
    create(conn, url=receiver.url)
    send(conn, 2000)
    processes = [worker("-q", "orders", "--drain") for _ in range(2)]
    assert [process.end()[0] for process in processes] == [0, 0]
    assert len(receiver.accepted()) == 2000
    assert set(receiver.accepted().values()) == {1}


@pytest.mark.parametrize(
    ("answer", "outcome", "status", "error"),
    [
        (b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", "retrying", 302, None),
        (b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n", "paused", 410, None),
        (b"", "retrying", None, "reply"),
        (b"not http at all\r\n\r\n", "retrying", None, "HTTP/0.9|not HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort", "retrying", None, "after status 200"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n" + b"x" * 3_000_000, "delivered", 200, None),
        (b"HTTP/1.1 200 OK\r\nX: \xff\x00\r\ncontent-length: 3\r\n\r\n\xff\x00a", None, None, None),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000 + b"content-length: 0\r\n\r\n", "delivered", 200, None),
        (b"HTTP/1.1 500 Oops\r\n" + b"x: y\r\n" * 20_000 + b"content-length: 0\r\n\r\n", "retrying", 500, None),
        (
            b"HTTP/1.1 200 OK\r\n" + (b"x: " + b"y" * 4000 + b"\r\n") * 20 + b"content-length: 0\r\n\r\n",
            "delivered",
            200,
            None,
        ),
        (b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 9000, "retrying", None, "endless headers|reply"),
        (b"HTTP/1.1 503 Busy\r\nretry-after: 77\r\ncontent-length: 0\r\n\r\n", "retrying", 503, None),
        (b"HTTP/1.1 503 Busy\r\nRetry-After:  40000 \r\ncontent-length: 0\r\n\r\n", "retrying", 503, None),
    ],
)
def test_odd_answers(conn, worker, answer, outcome, status, error):
    with _raw_endpoint(answer) as (url, requests):
        create(conn, url=url, timeout_ms=2000)
        send(conn)
        code, talk = worker("-q", "orders", "--once").end()
        assert code == 0, talk
    assert len(requests) == 1
    found, found_status, found_error, next_at_s = conn.execute(
        "select outcome, status_code, error, extract(epoch from next_at - settled_at) from qctl.attempt"
    ).fetchone()
    if outcome:
        assert (found, found_status) == (outcome, status)
    assert re.search(error or "", found_error or ""), found_error
    if b"retry-after" in answer.lower():
        assert round(next_at_s) == (77 if b"77" in answer else 40_000)


def test_retry_after_counts_beside_a_200_that_is_not_what_is_expected(conn, worker):
    with _raw_endpoint(b"HTTP/1.1 200 OK\r\nretry-after: 77\r\ncontent-length: 4\r\n\r\nbusy") as (url, _requests):
        create(conn, url=url, expect_text="accepted")
        send(conn)
        assert worker("-q", "orders", "--once").end()[0] == 0
    assert one(conn, "select round(extract(epoch from next_at - settled_at)) from qctl.attempt") == 77


def test_it_delivers_where_there_is_no_epoll(conn, dsn, endpoint):
    receiver = endpoint()
    create(conn, url=receiver.url)
    send(conn, 300)
    hidden = (
        "import select\nfor name in [n for n in vars(select) if n.lower().startswith('epoll')]: delattr(select, name)"
    )
    run = subprocess.run(
        [sys.executable, "-c", f"{hidden}\nfrom qctl.cli import main\nmain()", "worker", "-q", "orders", "--drain"],
        env=environment(QCTL_DSN=dsn), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert len(receiver.accepted()) == 300


def test_an_odd_text_of_a_batch_spoils_none_whatever_encoding_the_connection_string_names(dsn):
    given = ["Könnte", "→ \ud800", None]
    with db.connect_worker(Database(make_conninfo(dsn, client_encoding="latin1"), "test")) as connection:
        assert connection.execute("select %s::text[]", [given]).fetchone() == (["Könnte", "→ ?", None],)
    with db.connect_worker(Database(dsn, "test")) as connection:
        assert connection.execute("select %s::text[]", [given]).fetchone() == (["Könnte", "→ ?", None],)


def test_an_endpoint_that_is_not_there(conn, worker):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    create(conn, url=f"http://127.0.0.1:{port}/")
    create(conn, "nowhere", url="http://nosuchhost.invalid/")
    send(conn)
    send(conn, name="nowhere")
    assert worker("--all", "--once").end()[0] == 0
    errors = [row[0].lower() for row in conn.execute("select error from qctl.attempt order by queue_id")]
    assert "connect" in errors[0]
    assert "resolve" in errors[1]


def test_a_megabyte_goes_through(conn, endpoint, worker):
    receiver = endpoint()
    create(conn, url=receiver.url)
    conn.execute("select qctl.send('orders', array[to_jsonb(repeat('x', 1000000))])")
    assert worker("-q", "orders", "--once").end()[0] == 0
    assert len(receiver.accepted()) == 1


def test_a_worker_that_was_stopped_for_long_posts_nothing_stale(conn, endpoint, worker):
    """SIGSTOP, its leases lapse and another takes over, SIGCONT: what it had not started it must not start."""
    receiver = endpoint("--delay-s", "0.2")
    create(conn, url=receiver.url, concurrency=5)
    send(conn, 40)
    frozen = worker("-q", "orders")
    wait_until(lambda: len(receiver.entries()) >= 5)
    frozen.send(signal.SIGSTOP)
    conn.execute("update qctl.worker set last_seen_at = now() - interval '20 s'")
    conn.execute("select qctl.upkeep()")
    fresh = worker("-q", "orders", "--drain")
    assert fresh.end()[0] == 0
    assert in_queue(conn) == 0
    frozen.send(signal.SIGCONT)
    time.sleep(1)
    assert len(receiver.accepted()) == 40
    assert sum(receiver.accepted().values()) <= 45
    frozen.send(signal.SIGTERM)
    assert frozen.end()[0] == 0


def _headers(head: bytes) -> dict[bytes, bytes]:
    pairs = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return {name.lower(): value.strip() for name, _, value in pairs}


@contextmanager
def _raw_endpoint(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Reads one request whole, sends these bytes, closes."""
    requests: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        with client:
            data = b""
            while b"\r\n\r\n" not in data:
                data += client.recv(65536)
            head, _, body = data.partition(b"\r\n\r\n")
            length = int(_headers(head)[b"content-length"])
            while len(body) < length:
                body += client.recv(65536)
            requests.append(head + b"\r\n\r\n" + body)
            with suppress(OSError):
                client.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/hook", requests
    listener.close()
    thread.join(timeout=5)


def test_drain_empties_a_queue_through_a_narrow_gate(conn, endpoint, worker):
    """max_in_flight below what the worker could hold: a full gate is not an empty queue."""
    receiver = endpoint("--delay-s", "0.05")
    create(conn, url=receiver.url, max_in_flight=5)
    send(conn, 60)
    assert worker("-q", "orders", "--drain").end()[0] == 0
    assert len(receiver.accepted()) == 60
    assert in_queue(conn) == 0


def test_a_locked_queue_table_holds_up_only_its_queue(conn, other, endpoint, worker):
    receiver = endpoint()
    create(conn, "locked", url=receiver.url)
    create(conn, "free", url=receiver.url)
    process = worker("-q", "locked", "-q", "free")
    wait_until(lambda: one(conn, "select count(*) from qctl.worker") == 1)
    with other.transaction():
        other.execute("lock table pgmq.q_locked in access exclusive mode")
        send(conn, 30, "free")
        wait_until(lambda: len(receiver.accepted()) == 30, 10, "30 deliveries beside a locked queue")
        time.sleep(13)
        assert one(conn, "select last_seen_at > clock_timestamp() - interval '12 s' from qctl.worker") is True
    send(conn, 1, "locked")
    wait_until(lambda: len(receiver.accepted()) == 31)
    process.send(signal.SIGTERM)
    assert process.end()[0] == 0


def test_one_of_two_named_queues_dropped(conn, endpoint, worker):
    receiver = endpoint("--delay-s", "1")
    create(conn, "gone", url=receiver.url)
    create(conn, "stays", url=receiver.url)
    process = worker("-q", "gone", "-q", "stays")
    wait_until(lambda: one(conn, "select count(*) from qctl.worker") == 1)
    time.sleep(0.5)
    drop_pgmq_queue(conn, "gone")
    conn.execute("delete from qctl.queue where queue_name = 'gone'")
    send(conn, 3, "stays")
    time.sleep(6)
    assert len(receiver.accepted()) == 3
    assert process.running()
    process.send(signal.SIGTERM)
    code, talk = process.end()
    assert code == 0
    assert "queue gone was dropped" in talk


def test_a_message_with_an_impossible_age_is_delivered_like_any_other(conn, endpoint, worker):
    receiver = endpoint()
    create(conn, url=receiver.url)
    conn.execute(
        "insert into pgmq.q_orders (vt, enqueued_at, message)"
        " values (now(), '-infinity', '1'), (now(), 'infinity', '2')"
    )
    send(conn)
    assert worker("-q", "orders", "--drain").end()[0] == 0
    assert len(receiver.accepted()) == 3


def test_running_out_of_files_costs_no_attempt(conn, endpoint, dsn):
    receiver = endpoint("--delay-s", "0.3")
    create(conn, url=receiver.url, concurrency=200)
    send(conn, 200)
    command = f"ulimit -Sn 60; ulimit -Hn 60; exec {QCTL} worker -q orders --drain"
    done = subprocess.run(
        ["bash", "-c", command], env=environment(QCTL_DSN=dsn), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "at most 8 of 200 requests at once" in done.stderr
    assert len(receiver.accepted()) == 200
    assert one(conn, "select count(*) from qctl.attempt where outcome <> 'delivered'") == 0


def test_an_unknown_queue_ends_the_worker_at_once(conn, worker):
    code, talk = worker("-q", "nosuch").end()
    assert code == 6
    assert "nosuch" in talk
    assert "Traceback" not in talk


def test_a_connection_that_is_lost_is_made_again(conn, endpoint, worker, dsn):
    receiver = endpoint()
    create(conn, url=receiver.url)
    process = worker("-q", "orders")
    send(conn)
    wait_until(lambda: len(receiver.accepted()) == 1)
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name ~ '^qctl (worker|edge)'"
        )
    send(conn, 10)
    wait_until(lambda: len(receiver.accepted()) == 11)
    process.send(signal.SIGTERM)
    code, talk = process.end()
    assert code == 0
    assert "connected again" in talk


def test_a_claim_that_fails_holds_up_no_known_answer(conn, endpoint, worker):
    receiver = endpoint("--delay", "1")
    conn.execute("select qctl.set_header_secret('token', 'x')")
    create(conn, url=receiver.url, concurrency=5, max_in_flight=5)
    conn.execute("select qctl.set_queue('orders', p_headers => '{\"x-token\": \"secret:token\"}')")
    send(conn, 20)
    process = worker("-q", "orders")
    wait_until(lambda: one(conn, "select count(*) from qctl.in_flight") == 5)
    conn.execute("delete from qctl.header_secret")
    wait_until(lambda: one(conn, "select count(*) from qctl.attempt where outcome = 'delivered'") == 5, timeout_s=8)
    process.send(signal.SIGTERM)
    code, talk = process.end()
    assert code == 0, talk
    assert "claim waits 30 s" in talk
    assert len(receiver.accepted()) == 5


def test_answers_that_cannot_be_settled_stop_claims_and_are_settled_at_the_stop(conn, endpoint, worker):
    receiver = endpoint()
    create(conn, url=receiver.url, concurrency=5, max_in_flight=50)
    conn.execute("""create function no() returns trigger language plpgsql as
                    $$ begin raise exception 'no room' using errcode = '42501'; end $$""")
    conn.execute("create trigger no before insert on pgmq.a_orders for each row execute function no()")
    send(conn, 20)
    process = worker("-q", "orders")
    wait_until(lambda: len(receiver.accepted()) >= 5)
    time.sleep(1)
    sent = len(receiver.accepted())
    conn.execute("drop trigger no on pgmq.a_orders")
    process.send(signal.SIGTERM)
    code, talk = process.end()
    assert code == 0, talk
    assert "settle waits 30 s" in talk
    assert sent == len(receiver.accepted()) == one(conn, "select count(*) from pgmq.a_orders")
    assert set(receiver.accepted().values()) == {1}
