"""qctl listen: an endpoint that shows what comes, and live copies of messages, taken from nobody."""

import json
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pexpect
import psycopg
import pytest
from psycopg.types.json import Jsonb
from standardwebhooks import Webhook

from helpers import SECRET, claim, create, one, send
from processes import QCTL, environment, ok, qctl, wait_until


class Local(ThreadingHTTPServer):
    """A developer's application: keeps what comes."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, status: int = 200) -> None:
        self.came: list[tuple[dict, bytes]] = []
        self.status = status
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://localhost:{self.server_address[1]}/hook"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.came]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Local

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.came.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(self.server.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def local() -> Iterator[Local]:
    server = Local()
    yield server
    server.shutdown()
    server.server_close()


class Running:
    """qctl listen as a process."""

    def __init__(self, *arguments: str, dsn: str | None = None) -> None:
        env = environment(**({"QCTL_DSN": dsn} if dsn else {}))
        self.process = subprocess.Popen(
            [str(QCTL), "listen", *arguments], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.lines: list[dict] = []
        self.talk: list[str] = []
        self._threads = [threading.Thread(target=hear, daemon=True) for hear in (self._read, self._hear)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join()
        for stream in (self.process.stdout, self.process.stderr):
            if stream:
                stream.close()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.lines.append(json.loads(line))

    def _hear(self) -> None:
        for line in self.process.stderr or ():
            self.talk.append(line)

    def said(self, pattern: str) -> str:
        wait_until(lambda: re.search(pattern, "".join(self.talk)) or self.process.poll() is not None, 30)
        found = re.search(pattern, "".join(self.talk))
        assert found, self.talk
        return found[1]

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(20)


@pytest.fixture
def listen(dsn) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(*arguments: str, database: str | None = dsn) -> Running:
        started.append(Running(*arguments, dsn=database))
        return started[-1]

    yield start
    for one_ in started:
        one_.close()


def posted(url: str, body: bytes, headers: dict[str, str]) -> int:
    try:
        request = urllib.request.Request(url, body, {"content-type": "application/json", **headers})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_the_endpoint_shows_verifies_and_delivers_from_a_queue(conn, listen, worker, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    running = listen("--port", "0", "--secret", f"@{secret}", database=None)
    url = running.said(r"listening on (\S+);")
    create(conn, url=url)
    conn.execute("select qctl.rotate_secret('orders', %s)", [SECRET])
    send(conn, 3)
    assert worker("-q", "orders", "--once").end()[0] == 0
    wait_until(lambda: len(running.lines) == 3)
    assert {line["signature"] for line in running.lines} == {"verified"}
    assert {line["status"] for line in running.lines} == {200}
    assert sorted(line["payload"]["n"] for line in running.lines) == [0, 1, 2]
    signed = Webhook("whsec_" + "A" * 32).sign(
        "msg_1", __import__("datetime").datetime.now(__import__("datetime").UTC), "{}"
    )
    stamp = str(int(time.time()))
    for given, said in (
        ({}, "not signed"),
        (
            {"webhook-id": "msg_1", "webhook-timestamp": stamp, "webhook-signature": signed},
            "signed with another secret",
        ),
        (
            {"webhook-id": "msg_1", "webhook-timestamp": "1", "webhook-signature": signed},
            "the timestamp is more than 5 minutes away",
        ),
        (
            {"webhook-id": "msg_1", "webhook-timestamp": "x", "webhook-signature": signed},
            "the timestamp is not a number",
        ),
    ):
        assert posted(url, b"{}", given) == 401
        wait_until(lambda said=said: running.lines[-1]["signature"] == said)


def test_it_misbehaves_on_purpose(listen):
    running = listen("--port", "0", "--fail", "50%", "--status", "429", "--delay", "100ms", database=None)
    url = running.said(r"listening on (\S+);")
    started = time.monotonic()
    answers = [posted(url, b"not json", {}) for _ in range(20)]
    assert time.monotonic() - started > 2
    assert set(answers) == {200, 429}
    wait_until(lambda: len(running.lines) == 20)
    assert running.lines[0]["payload"] == "not json"
    assert running.end() == 130


def test_live_copies_are_signed_with_a_secret_of_their_own_and_leave_the_queue_alone(conn, dsn, local, listen):
    create(conn)
    conn.execute(
        'select qctl.set_queue(\'orders\', p_headers => \'{"X-Open": "yes", "Authorization": "Bearer x", "X-Key": "k"}\')'
    )
    conn.execute("select qctl.rotate_secret('orders', %s)", [SECRET])
    send(conn, 2)
    before = conn.execute("select msg_id, vt, read_ct, headers from pgmq.q_orders order by 1").fetchall()
    running = listen("-q", "orders", "--to", local.url)
    secret = running.said(r"signed with (whsec_\S+)")
    assert secret != SECRET
    conn.execute("select qctl.send('orders', array['{\"n\": 7}']::jsonb[], '{\"X-One\": \"1\"}')")
    wait_until(lambda: len(local.came) == 1)
    headers, body = local.came[0]
    assert Webhook(secret).verify(body, headers) == {"n": 7}
    assert (headers["x-open"], headers["x-one"]) == ("yes", "1")
    assert "authorization" not in headers
    assert "x-key" not in headers
    claims = claim(conn)
    assert headers["webhook-id"] == next(
        one_.headers["webhook-id"] for one_ in claims if json.loads(one_.body) == {"n": 7}
    )
    wait_until(lambda: running.lines != [])
    assert (running.lines[0]["status"], running.lines[0]["msg_id"], running.lines[0]["payload"]) == (200, 3, {"n": 7})
    assert len(claims) == 3
    assert [row[0] for row in before] == [1, 2]
    assert one(conn, "select count(*) from qctl.attempt") == 0
    assert one(conn, "select count(*) from qctl.worker") == 0


def test_what_commits_late_is_not_missed(conn, dsn, local, listen):
    """Transactions commit in another order than that of their ids, and some not at all."""
    create(conn)
    send(conn, 1)
    running = listen("-q", "orders", "--to", local.url, "--where", '{"n": 0}')
    running.said(r"signed with (\S+)")
    with psycopg.connect(dsn) as late, psycopg.connect(dsn) as never:
        never.execute("select qctl.send('orders', array['{\"n\": 0}']::jsonb[])")
        late.execute("select qctl.send('orders', array['{\"n\": 0, \"late\": true}', '{\"n\": 1}']::jsonb[])")
        send(conn, 1)
        wait_until(lambda: len(local.came) == 1)
        time.sleep(1)
        never.rollback()
        late.commit()
        wait_until(lambda: len(local.came) == 2)
    time.sleep(0.5)
    assert [json.loads(body) for _, body in local.came] == [{"n": 0}, {"n": 0, "late": True}]


def test_messages_of_before_are_forwarded_once(conn, dsn, local):
    create(conn)
    send(conn, 5)
    conn.execute("select qctl.discard('orders', array[2], 'test')")
    done = ok("listen", "--to", local.url, "--replay", "orders/4", "--replay", "2", dsn=dsn)
    assert sorted(json.loads(line)["msg_id"] for line in done.stdout.splitlines()) == [2, 4]
    assert sorted(local.ids) == sorted(json.loads(line)["webhook_id"] for line in done.stdout.splitlines())
    done = ok("listen", "-q", "orders", "--to", local.url, "--state", "ready", "--once", dsn=dsn)
    assert sorted(json.loads(line)["msg_id"] for line in done.stdout.splitlines()) == [1, 3, 4, 5]
    local.status = 500
    failed = qctl("listen", "-q", "orders", "--to", local.url, "--captured-since", "1h", "--once", dsn=dsn)
    assert (failed.returncode, "5 of 5 copies were not taken" in failed.stderr) == (9, True)
    assert qctl("listen", "--to", local.url, "--replay", "99", dsn=dsn).returncode == 6


def test_it_is_never_sent_where_a_queue_delivers(conn, dsn, local):
    create(conn, url="https://api.example.com/hooks/orders")
    create(conn, "local", url="http://127.0.0.1:3000/hook")
    for to, code, said in (
        ("https://api.example.com/other", 7, "is where queue orders delivers"),
        ("https://user:PASS@api.example.com:443/", 7, "is where queue orders delivers"),
        ("https://api.example.com./h", 7, "is where queue orders delivers"),
        ("http://api.example.com:8443/h", 7, "is where queue orders delivers"),
        ("https://api%2eexample.com/h", 7, "is where queue orders delivers"),
        ("http://localhost:3000/hook", 7, "is where queue local delivers"),
        ("http://127.0.0.1:3000/hook/", 7, "is where queue local delivers"),
        ("https://192.0.2.1/", 7, "is not this machine"),
        ("http://0x7f.1:99999/", 2, "is not an http or https URL"),
        ("file:///etc/passwd", 2, "is not an http or https URL"),
    ):
        refused = qctl("listen", "-q", "orders", "--to", to, dsn=dsn)
        assert (refused.returncode, said in refused.stderr) == (code, True), refused.stderr
        assert "PASS" not in refused.stderr


def test_a_reader_forwards_as_far_as_payloads_are_granted(conn, dsn, local, server):
    create(conn)
    send(conn, 1)
    role = f"reader_{one(conn, 'select pg_backend_pid()')}"
    conn.execute(f"create role {role} login")
    try:
        ok("grant", role, dsn=dsn)
        theirs = f"{dsn}&user={role}" if "?" in dsn else f"{dsn}?user={role}"
        refused = qctl("listen", "-q", "orders", "--to", local.url, "--replay", "1", dsn=theirs)
        assert refused.returncode == 4, refused.stderr
        assert local.came == []
        ok("grant", role, "--payloads", dsn=dsn)
        ok("listen", "-q", "orders", "--to", local.url, "--replay", "1", dsn=theirs)
        assert len(local.came) == 1
    finally:
        conn.execute(f"drop owned by {role}")
        conn.execute(f"drop role {role}")


@pytest.mark.parametrize("width", [80, 160])
def test_at_a_terminal(conn, dsn, local, width):
    """p pauses, r sends again, o opens, q ends; no line is wider than the terminal where it need not be."""
    create(conn)
    conn.execute("create table public.users (id int primary key, name text)")
    conn.execute("select qctl.attach('public.users', 'orders')")
    child = pexpect.spawn(
        str(QCTL), ["listen", "-q", "orders", "--to", local.url],
        env=environment(QCTL_DSN=dsn, TERM="xterm", COLUMNS=str(width)), encoding="utf-8", timeout=20, dimensions=(40, width),
    )  # fmt: skip
    child.expect("p pauses, r sends the last one again")
    conn.execute("insert into public.users values (1, 'Ada')")
    child.expect(r"orders/1\S*  \S*INSERT public.users id 1")
    child.expect("200")
    child.send("o")
    child.expect('"name": "Ada"')
    child.send("r")
    child.expect("INSERT public.users id 1")
    assert len(local.came) == 2
    assert local.ids[0] == local.ids[1]
    child.send("p")
    child.expect("paused: what comes waits in the database")
    conn.execute("insert into public.users values (2, 'Bob')")
    time.sleep(1)
    assert len(local.came) == 2
    child.send("p")
    child.expect("going on")
    child.expect("INSERT public.users id 2")
    child.send("q")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_copies_keep_up_and_the_delivery_is_unchanged(conn, dsn, local, listen, endpoint, worker):
    """Some hundred events a second, delivered by a worker beside: every copy once, every message delivered once."""
    receiver = endpoint()
    create(conn, url=receiver.url)
    worker("-q", "orders")
    running = listen("-q", "orders", "--to", local.url)
    running.said(r"signed with (\S+)")
    for _ in range(20):
        send(conn, 50)
        time.sleep(0.05)
    wait_until(lambda: len(local.came) >= 1000, 60)
    wait_until(lambda: one(conn, "select count(*) from pgmq.a_orders") == 1000, 60)
    time.sleep(0.5)
    assert len(local.ids) == len(set(local.ids)) == 1000
    assert len(receiver.accepted()) == 1000
    assert one(conn, "select count(*) from qctl.attempt") == 1000


def test_it_goes_on_after_a_lost_connection_and_forwards_no_old_dead_letter(conn, dsn, local, listen):
    create(conn)
    send(conn, 3)
    conn.execute("select qctl.discard('orders', array[1, 2, 3], 'test')")
    running = listen("-q", "orders", "--to", local.url)
    running.said(r"signed with (\S+)")
    send(conn, 1)
    wait_until(lambda: len(local.came) == 1)
    conn.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name like '%listen%'")
    running.said("(connected again)")
    send(conn, 2)
    wait_until(lambda: len(local.came) == 3)
    assert [line["msg_id"] for line in running.lines] == [4, 5, 6]


def test_a_queue_that_is_made_again_is_heard(conn, dsn, local, listen):
    create(conn)
    send(conn, 5)
    running = listen("-q", "orders", "--to", local.url)
    running.said(r"signed with (\S+)")
    conn.execute("begin; select qctl.drop_queue('orders', true, true)")
    create(conn)
    conn.execute("commit")
    send(conn, 2)
    wait_until(lambda: len(local.came) == 2)


def test_what_began_before_and_commits_after_the_start_is_heard(conn, dsn, local, listen):
    create(conn)
    with psycopg.connect(dsn) as late:
        late.execute("select qctl.send('orders', array['{\"late\": true}']::jsonb[])")
        send(conn, 1)
        running = listen("-q", "orders", "--to", local.url)
        running.said(r"signed with (\S+)")
        late.commit()
        wait_until(lambda: len(local.came) == 1)
    assert json.loads(local.came[0][1]) == {"late": True}


def test_large_bodies_and_headers_of_messages(conn, dsn, local, listen):
    create(conn)
    running = listen("-q", "orders", "--to", local.url)
    running.said(r"signed with (\S+)")
    headers = Jsonb({"Authorization": "Bearer x", "X-Ref": "secret:foo", "X-Tenant": "7"})
    conn.execute(
        "select qctl.send('orders', array[jsonb_build_object('big', repeat('x', 100000), 'n', 1.10)], %s)", [headers]
    )
    wait_until(lambda: running.lines != [])
    sent, body = local.came[0]
    assert len(body) > 100_000
    assert len(running.lines[0]["payload"]["big"]) == 100_000
    assert sent["x-tenant"] == "7"
    assert not {"authorization", "x-ref"} & set(sent)


def test_the_endpoint_takes_any_request(listen):
    running = listen("--port", "0", database=None)
    port = int(running.said(r"listening on \S+:(\d+)/"))
    chunks = b"3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n"
    for raw, status in (
        (b"BREW /pot HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 200),
        (
            b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n" + chunks,
            200,
        ),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n", 400),
    ):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(raw)
            assert client.recv(100).startswith(f"HTTP/1.1 {status}".encode())
    wait_until(lambda: len(running.lines) == 4)
    assert [line["payload"] for line in running.lines] == ["", [1, 2], "", ""]
    assert posted(f"http://127.0.0.1:{port}/", b'{"a": NaN, "n": 12345678901234567.89}', {}) == 200
    wait_until(lambda: len(running.lines) == 5)
    assert running.lines[4]["payload"] == '{"a": NaN, "n": 12345678901234567.89}'


def test_what_makes_no_sense_is_refused(conn, dsn):
    create(conn)
    for arguments, said in (
        (["-q", "orders"], "need --to"),
        (["--to", "http://localhost:1/", "--fail", "10%"], "of the endpoint"),
        (["--to", "http://localhost:1/", "--once"], "--once needs a filter"),
        (["--to", "http://localhost:1/", "--replay", "1", "--since", "1h"], "exclude each other"),
        (["--secret", "whsec_abc"], "would show"),
        (["--status", "429"], "--status needs --fail"),
        (["--to", "http://localhost:1/", "--port", "9"], "of the endpoint"),
        (["--port", "0", "-o", "csv"], "events are not written as csv"),
    ):
        refused = qctl("listen", *arguments, dsn=dsn)
        assert (refused.returncode, said in refused.stderr) == (2, True), refused.stderr
