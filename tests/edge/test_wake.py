"""The wake: only when there is something to do and nobody does it, signed, used once, one at a time, rarer if nobody answers."""

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import psycopg
import pytest
from gateway import Gateway
from isolate import BODY, WHOLE, known_function, missing, new_wake, signed

import standin
from helpers import create, one, send
from processes import wait_until
from standin import NetWorker

whole = pytest.mark.skipif(not WHOLE, reason="the edge worker: make test-edge")


def woken(conn) -> str:
    return one(conn, "select qctl.wake_edge()")


@pytest.fixture
def net(dsn: str, conn: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """A database with the stand-in of pg_net, which sends what it is given."""
    standin.install(dsn)
    worker = NetWorker(dsn)
    yield conn
    worker.close()


@pytest.fixture
def function(net: psycopg.Connection, dsn: str) -> Iterator[Callable[..., Gateway]]:
    """A function that the database knows, behind a gateway."""
    if why := missing():
        pytest.skip(why)
    started: list[Gateway] = []

    def start(**settings) -> Gateway:
        net.execute("delete from qctl.edge_function")
        secret = known_function(net)
        started.append(Gateway(dsn, settings.pop("secret", secret), **settings))
        net.execute("update qctl.edge_function set url = %s", [started[-1].url])
        return started[-1]

    yield start
    for one_of_them in started:
        one_of_them.close()


class Answering:
    """A function that always answers the same, or nothing."""

    def __init__(self, status: int, body: bytes = b"") -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/functions/v1/qctl-worker"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_40_wakes_that_are_none_begin_nothing(conn, isolate):
    """Not signed, forged, signed with something else, old, replayed: no worker begins, and none is registered."""
    create(conn)
    send(conn)
    function, secret = isolate(QCTL_IDLE_S="0.1")
    other = "whsec_" + "A" * 32
    good = signed(secret, new_wake(conn))
    wrong: list[tuple[dict[str, str], str]] = [
        ({}, BODY),
        *(({k: v for k, v in good.items() if k != name}, BODY) for name in good if name.startswith("webhook")),
        *((dict(good, **{"webhook-signature": value}), BODY) for value in (
            "", "v1,", "v1,AAAA", "v2," + good["webhook-signature"][3:], good["webhook-signature"][3:], "v1a,AAAA",
            good["webhook-signature"][:-3] + "AA=", "v1," + good["webhook-signature"][3:].swapcase(), " ".join(["v1,AAAA"] * 500),
            "v1,\x7f", "v1,=" * 10,
        )),
        *((dict(good, **{"webhook-timestamp": value}), BODY) for value in (
            "", "0", "-1", "1e9", "9" * 30, str(int(time.time()) - 1), str(int(time.time()) + 299), "now",
        )),
        *((dict(good, **{"webhook-id": value}), BODY) for value in (
            "", "1", str(new_wake(conn)), "msg_x", "../../x", "00000000-0000-0000-0000-000000000000",
        )),
        *((good, body) for body in ("", "{}", BODY + " ", BODY.replace("wake", "wakf"), "x" * 5000)),
        (signed(other, new_wake(conn)), BODY),
        (signed(secret, new_wake(conn), at=time.time() - 400), BODY),
        (signed(secret, new_wake(conn), at=time.time() + 400), BODY),
        (signed(secret, new_wake(conn), body="{}"), BODY),
        (signed(secret, "not-a-uuid"), BODY),
        (signed(secret, "00000000-0000-4000-8000-000000000000"), BODY),
    ]  # fmt: skip
    assert len(wrong) >= 40
    answers = [function.post(headers, body)[0] for headers, body in wrong]
    # What is no header at all Deno refuses itself, with 400.
    assert set(answers) <= {400, 401, 409}, answers
    # Rightly signed, but never sent by this database.
    assert answers.count(409) == 1
    assert function.post(good, method="GET")[0] == 405
    assert one(conn, "select count(*) from qctl.worker") == 0
    assert function.log("begin") == []
    assert function.post(good)[0] == 202
    wait_until(lambda: function.log("end"))
    # It answers 200 until what comes after that line is over.
    wait_until(lambda: function.post(good)[0] != 200)
    assert [function.post(good)[0] for _ in range(3)] == [409] * 3, "a wake begins one worker"
    stale = new_wake(conn)
    conn.execute("update qctl.edge_wake set sent_at = sent_at - interval '6 min' where wake_id = %s", [stale])
    assert function.post(signed(secret, stale))[0] == 409
    assert one(conn, "select count(*) from qctl.worker") == 1


def test_an_idle_queue_wakes_nobody_and_is_healthy(function):
    gateway = function()
    conn = psycopg.connect(gateway.dsn, autocommit=True)
    with conn:
        create(conn)
        assert woken(conn) == "nothing is ready"
        assert one(conn, "select health from qctl.health('orders')") == "ok"
        send(conn)
        conn.execute("select qctl.pause('orders')")
        assert woken(conn) == "nothing is ready"
        conn.execute("select qctl.resume('orders')")
        conn.execute("select qctl.disarm()")
        assert woken(conn) == "the database is not armed"
        conn.execute("select qctl.arm()")
        conn.execute("update qctl.edge_function set stopped_at = now()")
        assert woken(conn) == "it is stopped"
        assert one(conn, "select health from qctl.health('orders')") == "no_worker"
    assert gateway.answers == []


def test_a_ready_message_wakes_it_and_it_delivers(net, function, endpoint):
    receiver, gateway = endpoint(), function(QCTL_IDLE_S="1")
    create(net, url=receiver.url)
    send(net, 300)
    assert woken(net) == "woken"
    assert woken(net) in ("a wake is in flight", "nothing is ready", "enough edge workers run")
    wait_until(lambda: len(receiver.accepted()) == 300)
    send(net)
    wait_until(lambda: len(receiver.accepted()) == 301)
    assert woken(net) in ("nothing is ready", "enough edge workers run")
    kind, version = net.execute("select kind, qctl_version from qctl.workers()").fetchone()
    assert (kind, version) == ("edge", "0.0.0")
    wait_until(lambda: not gateway.running())
    status = net.execute(
        "select state, wakes_today, delivered_30_days, ended, last_answer from qctl.edge_status()"
    ).fetchone()
    assert status == ("idle", 1, 301, {"idle": 1}, "a worker began")
    assert gateway.answers == [202]


def test_50_sessions_at_once_send_one_wake(net, function, endpoint, dsn):
    gateway = function(QCTL_IDLE_S="1")
    create(net, url=endpoint().url)
    send(net, 100)

    def wake() -> None:
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute("select qctl.wake_edge()")

    threads = [threading.Thread(target=wake) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert one(net, "select count(*) from qctl.edge_wake") == 1
    wait_until(lambda: one(net, "select count(*) from pgmq.q_orders") == 0)
    wait_until(lambda: not gateway.running())
    assert gateway.answers == [202]


@whole
def test_no_wake_where_a_process_delivers(net, function, endpoint):
    gateway = function()
    create(net, url=endpoint().url)
    net.execute("select qctl.register_worker('a process', 'http', '{orders}', '0.0.0')")
    send(net)
    assert woken(net) == "a worker runs"
    net.execute("update qctl.worker set last_seen_at = now() - interval '40 s'")
    assert woken(net) == "woken"
    wait_until(lambda: gateway.answers == [202])


@pytest.mark.parametrize(
    ("status", "body", "reason", "fix"),
    [
        (404, b"{}", "is not deployed", "supabase functions deploy qctl-worker --no-verify-jwt"),
        (401, b'{"error": "the signature does not match QCTL_WAKE_SECRET"}', "QCTL_WAKE_SECRET is another one",
         "supabase secrets set --env-file supabase/.env.qctl"),
        (401, b'{"code": 401, "message": "Missing authorization header"}', "without JWT verification",
         "supabase functions deploy qctl-worker --no-verify-jwt"),
        (500, b'{"error": "QCTL_DSN is not set"}', "QCTL_DSN is not set", "supabase secrets set --env-file supabase/.env.qctl"),
        (503, b'{"error": "no connection to the database: password authentication failed"}', "password authentication failed",
         "qctl edge wake --new-password"),
        (546, b'{"code": "WORKER_LIMIT"}', "HTTP 546", "qctl help edge-worker"),
        (None, b"", "does not answer", "qctl help edge-worker"),
    ],
)  # fmt: skip
def test_who_does_not_begin_is_named_and_woken_more_rarely_each_time(net, status, body, reason, fix):
    there = Answering(status, body) if status else None
    known_function(net, there.url if there else "http://127.0.0.1:9/functions/v1/qctl-worker")
    create(net)
    send(net)
    pauses = []
    for number in range(1, 5):
        assert woken(net) == "woken"
        wait_until(lambda: one(net, "select count(*) from net._http_response") == number)  # noqa: B023
        assert "woken again" in woken(net)
        pauses.append(
            one(
                net,
                "select round(extract(epoch from next_at - (select max(sent_at) from qctl.edge_wake))) from qctl.edge_function",
            )
        )
        health = net.execute("select health, reason, fix from qctl.health('orders')").fetchone()
        # What refuses goes on refusing; what does not answer may do so at the next wake.
        if number < (1 if status in (401, 404, 500) else 2):
            assert health == ("ok", None, None)
            assert [row[0] for row in net.execute("select fix from qctl.doctor() where kind = 'edge'")] == [fix]
        else:
            assert health[0] == "no_worker"
            assert reason in health[1]
            assert health[2] == fix
        net.execute("update qctl.edge_function set next_at = clock_timestamp()")
    assert pauses == [5, 10, 20, 40]
    if there:
        there.close()


@whole
def test_it_is_healthy_again_once_it_answers(net, function, endpoint):
    receiver, gateway = endpoint(), function(QCTL_IDLE_S="1")
    right = gateway.url
    net.execute("update qctl.edge_function set url = 'http://127.0.0.1:9/x', unanswered = 5")
    create(net, url=receiver.url)
    send(net)
    assert one(net, "select health from qctl.health('orders')") == "no_worker"
    net.execute("update qctl.edge_function set url = %s", [right])
    assert woken(net) == "woken"
    wait_until(lambda: len(receiver.accepted()) == 1)
    wait_until(lambda: not gateway.running())
    assert one(net, "select unanswered from qctl.edge_function") == 0
    assert one(net, "select health from qctl.health('orders')") == "ok"


@whole
def test_used_up_cpu_time_ends_it_and_the_next_one_goes_on(net, function, endpoint):
    receiver, gateway = endpoint(), function(QCTL_IDLE_S="1", QCTL_CPU_MS="400")
    create(net, url=receiver.url, concurrency=50)
    send(net, 6000)
    woken(net)
    wait_until(lambda: len(receiver.accepted()) == 6000, 90)
    wait_until(lambda: not gateway.running())
    ended = one(net, "select ended from qctl.edge_status()")
    assert ended["cpu"] >= 1, ended
    assert set(receiver.accepted().values()) == {1}, "what was under way was settled first"
    assert one(net, "select cpu_ms_per_message from qctl.edge_status()") > 0
    assert one(net, "select count(*) from qctl.in_flight") == 0


@whole
def test_the_end_of_the_wall_clock_hands_back_what_has_not_begun(net, function, endpoint):
    receiver, gateway = (
        endpoint("--delay-s", "0.5"),
        function(QCTL_IDLE_S="1", QCTL_WALL_S="8", ISOLATE_WALL_MS="20000"),
    )
    create(net, url=receiver.url, concurrency=5, timeout_ms=2000)
    send(net, 100)
    woken(net)
    wait_until(lambda: gateway.isolates and gateway.isolates[0].log("end"))
    (end,) = gateway.isolates[0].log("end")
    assert end["reason"] == "wall"
    wait_until(lambda: len(receiver.accepted()) == 100, 60)
    assert set(receiver.accepted().values()) == {1}


@whole
def test_a_function_that_is_stopped_ends_its_workers(net, function, endpoint):
    gateway = function(QCTL_IDLE_S="100")
    create(net, url=endpoint().url)
    send(net)
    woken(net)
    wait_until(lambda: one(net, "select running from qctl.edge_status()") == 1)
    net.execute("update qctl.edge_function set stopped_at = now()")
    wait_until(lambda: not gateway.running(), 20)
    assert gateway.isolates[0].log("end")[0]["reason"] == "stopped"
    assert one(net, "select state from qctl.edge_status()") == "stopped"


@whole
def test_more_workers_begin_only_while_one_cannot_keep_up(net, function, endpoint):
    receiver, gateway = endpoint("--delay-s", "1"), function(most=3, QCTL_IDLE_S="1")
    create(net, url=receiver.url, concurrency=2)
    net.execute("select qctl.scale_edge(2)")
    send(net, 60)
    assert woken(net) == "woken"
    wait_until(lambda: one(net, "select running from qctl.edge_status()") == 1)
    assert woken(net) == "a worker runs"
    time.sleep(5.5)
    assert woken(net) == "woken"
    wait_until(lambda: one(net, "select running from qctl.edge_status()") == 2)
    time.sleep(1)
    assert woken(net) == "enough edge workers run"
    wait_until(lambda: len(receiver.accepted()) == 60, 60)
    assert len(gateway.isolates) == 2
    assert set(receiver.accepted().values()) == {1}


def test_a_worker_claims_only_what_it_can_carry(conn):
    create(conn)
    send(conn)
    conn.execute("update qctl.queue set url = 'sqs://example/orders'")
    claim = "select count(*) from qctl.claim('orders', 10, %s)"
    carries = "select qctl.register_worker('w', 'http', '{orders}', '0.0.0')"
    worker = one(conn, carries)
    assert one(conn, claim, worker) == 0
    assert one(conn, claim, None) == 0
    conn.execute("update qctl.worker set carriers = '{http,sqs}'")
    assert one(conn, claim, worker) == 1
