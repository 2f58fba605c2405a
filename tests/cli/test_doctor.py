"""qctl doctor --probe: endpoints that redirect, are down, or have no public address."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from helpers import create
from processes import data, qctl


class _Redirecting(BaseHTTPRequestHandler):
    location = "https://example.org/hook"

    def do_HEAD(self):
        self.send_response(302)
        self.send_header("Location", self.location)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_doctor_probes_for_redirects_and_endpoints_that_are_not_there(conn, dsn):
    server = HTTPServer(("127.0.0.1", 0), _Redirecting)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _Redirecting.location = "https://example.org/hook"
    create(conn, url=f"http://127.0.0.1:{server.server_port}/hook")
    create(conn, "away", url="http://127.0.0.1:9/x")
    conn.execute("select qctl.register_worker('w', 'http', '{orders,away}', '0')")
    found = {(row["object"], row["kind"]): row for row in data("doctor", "--probe", dsn=dsn, code=8)}
    assert "127.0.0.1" in found["away", "endpoint"]["problem"]
    assert "redirects are failures" in found["orders", "endpoint"]["problem"]
    assert found["orders", "endpoint"]["fix"] == "qctl set -q orders --url https://example.org/hook"
    assert qctl("doctor", dsn=dsn).returncode == 0
    server.shutdown()
    server.server_close()


def test_doctor_probes_no_address_that_a_worker_would_not_send_to(conn, dsn):
    with socket.create_server(("127.0.0.1", 0)) as server:
        create(conn, url=f"http://localhost:{server.getsockname()[1]}/hook", allow_networks=["10.0.0.0/8"])
        conn.execute("select qctl.register_worker('w', 'http', '{orders}', '0')")
        found = {(row["object"], row["kind"]): row for row in data("doctor", "--probe", dsn=dsn)}
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    finding = found["orders", "endpoint"]
    assert finding["severity"] == "warning"
    assert "is not a public address: qctl worker does not send there" in finding["problem"]
    assert finding["fix"] == "qctl set -q orders --allow-private"


def test_a_location_that_is_no_plain_url_is_put_into_no_command(conn, dsn):
    _Redirecting.location = "https://x.example/'\x1b[31m;touch${IFS}/tmp/x;'"
    server = HTTPServer(("127.0.0.1", 0), _Redirecting)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    create(conn, url=f"http://127.0.0.1:{server.server_port}/hook")
    for output in ("plain", "json"):
        done = qctl("doctor", "--probe", "-o", output, dsn=dsn)
        assert "touch" not in done.stdout
        assert "\x1b" not in done.stdout
        assert "elsewhere" in done.stdout
    server.shutdown()
    server.server_close()
