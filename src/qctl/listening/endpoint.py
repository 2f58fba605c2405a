"""An endpoint on this machine: takes every request, says what came, and fails on purpose where it is told to."""

import queue
import random
import socket
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from qctl.errors import UsageError
from qctl.listening import signature

_MOST_BYTES = 16 << 20
# Handlers wait while so many requests have not been shown.
_WAITING = 10_000


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How it answers: ``fail`` is the share of requests that get ``status``, after ``delay_s``; ``key`` verifies signatures."""

    fail: float = 0.0
    status: int = 500
    delay_s: float = 0.0
    key: bytes | None = None


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that came, and how it was answered. ``signature`` is None where there is no secret to verify it with."""

    at: datetime
    method: str
    path: str
    webhook_id: str | None
    signature: str | None
    status: int
    headers: dict[str, str]
    body: bytes


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Any request, of any method."""
        server = self.server
        assert isinstance(server, Endpoint)
        body = self._body()
        if body is None:
            return
        how = server.behaviour
        if how.delay_s:
            time.sleep(how.delay_s)
        headers = {name.lower(): value for name, value in self.headers.items()}
        judged = None if how.key is None else signature.judge(how.key, headers, body)
        status = how.status if random.random() < how.fail else 401 if judged not in (None, "verified") else 200
        arrival = Arrival(
            datetime.now(UTC), self.command, self.path, headers.get("webhook-id"), judged, status, headers, body
        )
        server.arrivals.put(arrival)
        self._send(status, b"ok\n" if status == 200 else f"{status}\n".encode())

    do_GET = do_PUT = do_PATCH = do_DELETE = do_POST  # noqa: N815

    def do_HEAD(self) -> None:
        """Whether somebody is there."""
        self._send(200, b"")

    def _body(self) -> bytes | None:
        given = self.headers.get("content-length", "0")
        if "transfer-encoding" in self.headers or not given.isdecimal() or int(given) > _MOST_BYTES:
            self.close_connection = True
            self._send(413 if given.isdecimal() and "transfer-encoding" not in self.headers else 411, b"")
            return None
        body = self.rfile.read(int(given))
        return body if len(body) == int(given) else None

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """What came is shown by who asked for it."""


class Endpoint(ThreadingHTTPServer):
    """Listens on loopback; what comes is in ``arrivals``."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, port: int, behaviour: Behaviour) -> None:
        """``port`` 0 takes a free one.

        Raises:
            UsageError: the port is taken.
        """
        self.behaviour = behaviour
        self.arrivals: queue.Queue[Arrival] = queue.Queue(_WAITING)
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise UsageError(
                f"cannot listen on 127.0.0.1:{port}: {error.strerror}", hint="name another --port"
            ) from None
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"

    def start(self) -> None:
        """Serves in a thread of its own."""
        threading.Thread(target=self.serve_forever, name="qctl-listen", daemon=True).start()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is no news."""

    def server_bind(self) -> None:
        """Binds without asking for this machine's name, which can take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]
