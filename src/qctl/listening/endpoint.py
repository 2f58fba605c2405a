"""An endpoint on this machine: takes every request, says what came, and fails on purpose where it is told to."""

import queue
import random
import socket
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from qctl.errors import UsageError
from qctl.listening import signature

_MOST_BYTES = 16 << 20
# Handlers wait while so many requests, or bytes of them, have not been shown.
_WAITING = 1000
_WAITING_BYTES = 32 << 20


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


class _RefusedError(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    wbufsize = -1
    disable_nagle_algorithm = True

    def __getattr__(self, name: str) -> Any:
        # Any method is a request, also one that nobody has heard of.
        if name.startswith("do_"):
            return self._take
        raise AttributeError(name)

    def _take(self) -> None:
        server = self.server
        assert isinstance(server, Endpoint)
        how = server.behaviour
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            body = self._body()
        except _RefusedError as refused:
            self.close_connection = True
            server.put(self._arrival(headers, b"", None, refused.status))
            self._send(refused.status)
            return
        if how.delay_s:
            time.sleep(how.delay_s)
        judged = None if how.key is None else signature.judge(how.key, headers, body)
        status = how.status if random.random() < how.fail else 401 if judged not in (None, "verified") else 200
        server.put(self._arrival(headers, body, judged, status))
        self._send(status)

    def _arrival(self, headers: dict[str, str], body: bytes, judged: str | None, status: int) -> Arrival:
        return Arrival(
            datetime.now(UTC), self.command, self.path, headers.get("webhook-id"), judged, status, headers, body
        )

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            return self._chunks()
        given = self.headers.get("content-length", "0")
        if not given.isascii() or not given.isdecimal():
            raise _RefusedError(400)
        if int(given[:12]) > _MOST_BYTES:
            raise _RefusedError(413)
        body = self.rfile.read(int(given))
        if len(body) < int(given):
            raise _RefusedError(400)
        return body

    def _chunks(self) -> bytes:
        """A body in chunks: RFC 9112, section 7.1."""
        parts: list[bytes] = []
        size = 0
        while True:
            try:
                length = int(self.rfile.readline(100).partition(b";")[0], 16)
            except ValueError:
                raise _RefusedError(400) from None
            if length == 0:
                while self.rfile.readline(65536).strip():
                    pass
                return b"".join(parts)
            size += length
            if length < 0 or size > _MOST_BYTES:
                raise _RefusedError(413)
            parts.append(self.rfile.read(length))
            self.rfile.readline(10)

    def _send(self, status: int) -> None:
        body = b"" if status == 304 or self.command == "HEAD" else b"ok\n" if status == 200 else f"{status}\n".encode()
        self.send_response(status)
        if status != 304:
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
        self._bytes = 0
        self._room = threading.Condition()
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise UsageError(
                f"cannot listen on 127.0.0.1:{port}: {error.strerror}", hint="name another --port"
            ) from None
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"

    def put(self, arrival: Arrival) -> None:
        """Notes a request; waits while too much has not been shown."""
        with self._room:
            self._room.wait_for(lambda: self._bytes < _WAITING_BYTES)
            self._bytes += len(arrival.body)
        self.arrivals.put(arrival)

    def get(self, within_s: float) -> Arrival | None:
        """The next request, if one comes in time."""
        try:
            arrival = self.arrivals.get(timeout=within_s)
        except queue.Empty:
            return None
        with self._room:
            self._bytes -= len(arrival.body)
            self._room.notify_all()
        return arrival

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
