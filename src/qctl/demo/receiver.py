"""A local endpoint that misbehaves on purpose and keeps a ledger: for the demo and the tests.

``python -m qctl.demo.receiver LEDGER`` listens on a free port of 127.0.0.1, prints the port, and writes one JSON object per
request to LEDGER, before it answers.
"""

import argparse
import hashlib
import json
import random
import socket
import struct
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TextIO


@dataclass(frozen=True, slots=True)
class Entry:
    """One request as the endpoint saw it; ``answer`` is a status, ``200-slow``, ``hang``, ``reset`` or, for a GET, ``get``."""

    at: float
    webhook_id: str
    answer: str
    body_sha256: str


def read_ledger(path: Path) -> list[Entry]:
    """The requests in the order they came; of a line that is just being written nothing."""
    text = path.read_bytes()
    # One cut of what was there, for a file that grows can end in the middle of a line and go on at the next read.
    return [Entry(**json.loads(line)) for line in text[: text.rfind(b"\n") + 1].splitlines()]


class Receiver(ThreadingHTTPServer):
    """The endpoint.

    Args:
        ledger: where requests are written.
        fail_rate: share of requests that fail.
        failures: how they fail, each equally often: a status; ``hang``; ``reset``; ``close`` after the request; ``drip``, a byte
            every half second without end; ``huge``, 100 MB; or ``200-slow``, a good answer after 1.5 s.
        delay_s: before each answer.
        hang_s: how long a request without an answer is held.
        status: of the good answers.
        seed: of the choice which requests fail.
        port: 0 for a free one.
        token: what the header ``authorization`` must be; anything else is answered 401.
    """

    daemon_threads = True
    request_queue_size = 1024

    def __init__(
        self,
        ledger: Path,
        *,
        fail_rate: float = 0.0,
        failures: str = "500,hang,reset",
        delay_s: float = 0.0,
        hang_s: float = 30.0,
        status: int = 200,
        seed: int = 1,
        port: int = 0,
        token: str | None = None,
    ) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.fail_rate = fail_rate
        self.failures = failures.split(",")
        self.delay_s = delay_s
        self.hang_s = hang_s
        self.status = status
        self.token = token
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._ledger: TextIO = ledger.open("a", encoding="utf-8", buffering=1)

    def choose(self, authorization: str | None) -> str:
        """The next request's answer."""
        if self.token is not None and authorization != self.token:
            return "401"
        with self._lock:
            if self._random.random() < self.fail_rate:
                return self._random.choice(self.failures)
        return str(self.status)

    def note(self, entry: Entry) -> None:
        """Writes a request to the ledger."""
        line = json.dumps({name: getattr(entry, name) for name in Entry.__slots__}) + "\n"
        with self._lock:
            self._ledger.write(line)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_POST(self) -> None:
        endpoint = self.server
        assert isinstance(endpoint, Receiver)
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        answer = endpoint.choose(self.headers.get("authorization"))
        digest = hashlib.sha256(body).hexdigest()
        endpoint.note(Entry(time.time(), self.headers.get("webhook-id", ""), answer, digest))
        if endpoint.delay_s:
            time.sleep(endpoint.delay_s)
        if answer == "hang":
            time.sleep(endpoint.hang_s)
            self.close_connection = True
        elif answer == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        elif answer == "close":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        elif answer in ("drip", "huge"):
            self._pour(b"x" if answer == "drip" else b"x" * 1_000_000, 0.5 if answer == "drip" else 0.0)
        else:
            if answer.endswith("-slow"):
                time.sleep(1.5)
            text = b"ok\n" if answer.startswith("2") else b"the endpoint failed on purpose\n"
            self.send_response(int(answer[:3]))
            self.send_header("content-type", "text/plain")
            if answer == "429":
                self.send_header("retry-after", "1")
            elif answer.startswith("3"):
                self.send_header("location", "/elsewhere")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    def _pour(self, piece: bytes, pause_s: float) -> None:
        """A 500 of a hundred pieces that the client may cut."""
        self.close_connection = True
        self.send_response(500)
        self.end_headers()
        for _ in range(100):
            self.wfile.write(piece)
            self.wfile.flush()
            time.sleep(pause_s)

    def do_GET(self) -> None:
        endpoint = self.server
        assert isinstance(endpoint, Receiver)
        endpoint.note(Entry(time.time(), self.headers.get("webhook-id", ""), "get", ""))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """The ledger is the log."""


def main() -> None:
    """The command line of the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ledger", type=Path)
    parser.add_argument("--fail-rate", type=float, default=0.0)
    parser.add_argument("--failures", default="500,hang,reset")
    parser.add_argument("--delay-s", type=float, default=0.0)
    parser.add_argument("--hang-s", type=float, default=30.0)
    parser.add_argument("--status", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token", help="401 unless the header authorization is this")
    options = parser.parse_args()
    receiver = Receiver(**vars(options))
    print(receiver.server_address[1], flush=True)
    receiver.serve_forever()


if __name__ == "__main__":
    main()
