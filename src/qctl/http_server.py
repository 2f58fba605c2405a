"""A small HTTP server for probes and scrapes, on threads of its own."""

import signal
import socket
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from qctl.errors import QctlError, UsageError


@dataclass(frozen=True, slots=True)
class Page:
    """An answer."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


Pages = Mapping[str, Callable[[], Page]]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    pages: Pages


class _SixServer(_Server):
    address_family = socket.AF_INET6


class _Handler(BaseHTTPRequestHandler):
    timeout = 10

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        make = server.pages.get(self.path.split("?", 1)[0])
        try:
            page = make() if make else Page(404, f"here are {', '.join(sorted(server.pages))}\n".encode())
        except QctlError as error:
            page = Page(503, f"{error.message}\n".encode())
        self.send_response(page.status)
        self.send_header("content-type", page.content_type)
        self.send_header("content-length", str(len(page.body)))
        self.end_headers()
        self.wfile.write(page.body)

    def log_message(self, format: str, *args: object) -> None:
        """Probes are not worth a line."""


def address(text: str) -> tuple[str, int]:
    """Host and port of ``9187``, on every address, ``127.0.0.1:9187`` or ``[::1]:9187``.

    Raises:
        UsageError: it is none of these.
    """
    host, _, port = text.strip().rpartition(":")
    if not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise UsageError(f"'{text[:50]}' is not a port", hint="for example 9187, or 127.0.0.1:9187")
    return host.strip("[]"), int(port)


@contextmanager
def serving(wanted: Mapping[tuple[str, int], Pages]) -> Generator[list[int]]:
    """Serves pages by path at each address while the block runs; yields the ports, in order.

    Raises:
        UsageError: an address cannot be had.
    """
    servers: list[_Server] = []
    try:
        for (host, port), pages in wanted.items():
            try:
                server = (_SixServer if ":" in host else _Server)((host, port), _Handler)
            except OSError as error:
                raise UsageError(
                    f"cannot listen on {host or '*'}:{port}: {error.strerror}", hint="name another port"
                ) from None
            server.pages = pages
            servers.append(server)
            threading.Thread(target=server.serve_forever, daemon=True).start()
        yield [server.server_address[1] for server in servers]
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


def until_told() -> None:
    """Waits for SIGTERM or SIGINT."""
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: told.set())
    told.wait()
