"""The life of a worker's connections: names that move, HTTP/2, several addresses, coded answers, proxies with a login."""

import base64
import gzip
import http.server
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers import create, one, send
from processes import QCTL, environment, wait_until
from qctl.worker.request import CONNECTION_LIFE_S

_HANGING: set[str] = set()


@contextmanager
def _hanging(host: str) -> Iterator[None]:
    """Lets the endpoint of an address take requests and answer none."""
    _HANGING.add(host)
    try:
        yield
    finally:
        _HANGING.clear()


@contextmanager
def _endpoint(
    host: str, port: int, seen: list[str], *, coding: str | None = None, body: bytes = b"ok"
) -> Iterator[int]:
    """An HTTP/1.1 server of its own address that keeps connections."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            while host in _HANGING:
                time.sleep(0.05)
            seen.append(host)
            data = gzip.compress(body) if coding else body
            self.send_response(200)
            if coding:
                self.send_header("content-encoding", coding)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer((host, port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def test_an_answer_that_is_compressed_is_understood(conn, worker):
    seen: list[str] = []
    with _endpoint("127.0.0.1", 0, seen, coding="gzip", body=b'{"status": "accepted"}') as port:
        create(conn, url=f"http://127.0.0.1:{port}/x", expect_text="accepted")
        send(conn)
        code, talk = worker("-q", "orders", "--drain").end()
    assert code == 0, talk
    assert one(conn, "select response from qctl.attempt") == '{"status": "accepted"}'
    assert one(conn, "select count(*) from pgmq.a_orders") == 1


def test_of_a_name_with_a_refused_address_the_reason_of_the_tried_one_is_told(conn, worker):
    """localhost is ::1, which is refused, and 127.0.0.1, which is allowed and where nobody listens."""
    if not {"::1", "127.0.0.1"} <= {str(a[4][0]) for a in socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)}:
        pytest.skip("localhost has one address here")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    create(conn, url=f"http://localhost:{port}/x", allow_networks=["127.0.0.0/8"])
    send(conn)
    worker("-q", "orders", "--once").end()
    error = one(conn, "select error from qctl.attempt")
    assert not error.startswith("refused")
    assert "connect" in error.lower()


@contextmanager
def _worker_with_names(hosts: Path, dsn: str) -> Iterator[None]:
    """A worker for which names have the addresses of a file that the test changes."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("names of its own need root and unshare")
    into = f"mount --bind {hosts} /etc/hosts && exec {QCTL} worker -q orders"
    process = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", into], env=environment(QCTL_DSN=dsn), text=True, stderr=subprocess.PIPE
    )
    try:
        yield
    finally:
        process.terminate()
        _, talk = process.communicate(timeout=30)
    if "Operation not permitted" in talk:
        pytest.skip(f"no namespaces here: {talk.strip()[:100]}")


def _until_it_moves(conn, seen: list[str], within_s: float) -> float:
    begun = time.monotonic()
    while "127.0.0.3" not in seen:
        assert time.monotonic() - begun < within_s
        send(conn, 5)
        time.sleep(0.1)
    return time.monotonic() - begun


@pytest.mark.slow
def test_a_name_that_moves_under_load_is_followed(conn, dsn, tmp_path):
    seen: list[str] = []
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.2 hook.test\n")
    with _endpoint("127.0.0.2", 0, seen) as port, _endpoint("127.0.0.3", port, seen):
        create(conn, url=f"http://hook.test:{port}/x")
        with _worker_with_names(hosts, dsn):
            send(conn, 5)
            wait_until(lambda: "127.0.0.2" in seen)
            hosts.write_text("127.0.0.3 hook.test\n")
            _until_it_moves(conn, seen, 2 * CONNECTION_LIFE_S + 10)
    assert one(conn, "select count(*) from qctl.attempt where outcome <> 'delivered'") == 0


def test_a_name_that_moves_is_followed_through_an_open_breaker(conn, dsn, tmp_path):
    seen: list[str] = []
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.2 hook.test\n")
    with _endpoint("127.0.0.2", 0, seen) as port:
        create(conn, url=f"http://hook.test:{port}/x", timeout_ms=1000)
        with _worker_with_names(hosts, dsn):
            send(conn, 5)
            wait_until(lambda: "127.0.0.2" in seen)
            # It accepts and says nothing any more, as an address that was given up does.
            with _hanging("127.0.0.2"):
                send(conn, 20)
                wait_until(lambda: one(conn, "select opened_at is not null from qctl.gate"))
                with _endpoint("127.0.0.3", port, seen):
                    hosts.write_text("127.0.0.3 hook.test\n")
                    _until_it_moves(conn, seen, 13)
                    wait_until(lambda: one(conn, "select opened_at is null from qctl.gate"))


@pytest.mark.slow
def test_an_endpoint_behind_http2_that_reloads_costs_no_attempt(conn, worker, tmp_path):
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if nginx is None:
        pytest.skip("no nginx here: scripts/debian_parts.sh")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    conf = tmp_path / "nginx.conf"
    conf.write_text(
        f"daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log;\n{'user root;' if os.geteuid() == 0 else ''}\n"
        f"events {{}}\nhttp {{ access_log off; client_body_temp_path {tmp_path}/b; proxy_temp_path {tmp_path}/p;"
        f" fastcgi_temp_path {tmp_path}/f; uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;"
        f" server {{ listen 127.0.0.1:{port} ssl http2; ssl_certificate {cert}; ssl_certificate_key {key};"
        f" location / {{ return 200 'ok'; }} }} }}\n"
    )
    server = subprocess.Popen([nginx, "-c", str(conf), "-p", str(tmp_path)], stderr=subprocess.DEVNULL)
    try:
        create(conn, url=f"https://localhost:{port}/x", allow_networks=["127.0.0.0/8", "::1/128"], timeout_ms=5000)
        process = worker("-q", "orders", "--ca", str(cert))
        for n in range(10):
            send(conn, 300)
            server.send_signal(1)
            time.sleep(0.2)
            wait_until(lambda n=n: one(conn, "select count(*) from qctl.attempt") >= 300 * n)
        wait_until(lambda: one(conn, "select count(*) from qctl.attempt") >= 3000)
        assert (
            conn.execute("select error, count(*) from qctl.attempt where outcome <> 'delivered' group by 1").fetchall()
            == []
        )
        assert process.running()
    finally:
        server.terminate()
        server.wait(10)


def test_a_proxy_with_a_login_comes_from_the_environment(conn, dsn, worker):
    asked: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    head = b""
                    while b"\r\n\r\n" not in head:
                        head += client.recv(65536)
                    asked.append(head.decode())
                    client.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")

        threading.Thread(target=serve, daemon=True).start()
        create(conn, url="http://hooks.example.com/x")
        send(conn)
        code, talk = worker("-q", "orders", "--once", "--proxy", f"http://me:word@127.0.0.1:{port}").end()
        assert code == 2
        assert "QCTL_PROXY" in talk
        assert "word" not in talk
        done = subprocess.run(
            [QCTL, "worker", "-q", "orders", "--once"], capture_output=True, text=True, check=False, timeout=60,
            env=environment(QCTL_DSN=dsn, QCTL_PROXY=f"http://me:word@127.0.0.1:{port}"),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    login = base64.b64encode(b"me:word").decode()
    assert f"Proxy-Authorization: Basic {login}" in asked[0]
    assert one(conn, "select count(*) from pgmq.a_orders") == 1
