"""A server that takes connections and then says nothing, as a stuck proxy or a stopped backend does: TCP stays alive."""

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo


class Line:
    """Carries bytes between clients and a server until it is told to hold them."""

    def __init__(self, dsn: str) -> None:
        parts = conninfo_to_dict(dsn)
        with psycopg.connect(dsn) as probe:
            host, port = probe.info.host, probe.info.port
        self._to = f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._flows = threading.Event()
        self._flows.set()
        self._ended = False
        self._open: list[socket.socket] = []
        self.dsn = make_conninfo(**{**parts, "host": "127.0.0.1", "port": self._listener.getsockname()[1]})
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self) -> None:
        """From now on nothing passes in either direction; connections stay open and new ones are accepted."""
        self._flows.clear()

    def release(self) -> None:
        """Everything passes again, what was held first."""
        self._flows.set()

    def cut(self) -> None:
        """Ends every connection, as a server that restarts does."""
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._ended = True
        self._flows.set()
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while not self._ended:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        self._flows.wait()
        family = socket.AF_UNIX if isinstance(self._to, str) else socket.AF_INET
        with client, socket.socket(family) as server:
            server.connect(self._to)
            self._open += [client, server]
            while not self._ended:
                readable, _, _ = select.select([client, server], [], [], 1)
                self._flows.wait()
                for one in readable:
                    try:
                        data = one.recv(65536)
                        if not data:
                            return
                        (server if one is client else client).sendall(data)
                    except OSError:
                        return


@contextmanager
def line(dsn: str) -> Iterator[Line]:
    """A line to the server of ``dsn``."""
    made = Line(dsn)
    try:
        yield made
    finally:
        made.close()
