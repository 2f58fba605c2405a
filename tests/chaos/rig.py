"""What a fault is injected into: a server, an endpoint with a ledger, workers that somebody starts again, steady load."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.types.json import Jsonb

from helpers import one
from processes import QCTL, Endpoint, environment, wait_until
from qctl import db
from qctl.config import Database
from qctl.operations import migrate
from servers import DebianServer

SETTINGS = {
    "timeout_ms": 2000,
    "concurrency": 50,
    "retry_schedule_s": [1] * 30,
    "retry_jitter": 0.2,
    "transport": "http",
}


@dataclass(frozen=True)
class Result:
    """One row of docs/reliability.md."""

    fault: str
    injections: int
    messages: int
    lost: int
    false: int
    dead: int
    duplicates: int
    recovery_s: float


class Rig:
    """A cluster of its own, one queue, one endpoint."""

    def __init__(self, folder: Path, *endpoint: str, **settings: str) -> None:
        self.folder = folder
        self.server = DebianServer(**settings)
        self.server.start()
        self.endpoint = Endpoint(folder, *endpoint)
        self.dsn = self.server.uri()
        with db.connect(Database(self.dsn, "chaos"), application="chaos") as connection:
            migrate.apply(connection)
            connection.execute("select qctl.arm(true)")
            connection.execute(
                "select qctl.create_queue('orders', %s, p_settings => %s)", (self.endpoint.url, Jsonb(SETTINGS))
            )
        self.committed: set[int] = set()
        self._workers: dict[int, tuple[subprocess.Popen, list[str], str]] = {}
        self._stop = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    # Workers, as a service manager keeps them.

    def worker(self, dsn: str | None = None, *prefix: str) -> int:
        """Starts one; it is started again whenever it ends. Returns its number."""
        number = len(self._workers)
        self._workers[number] = (self._spawn(dsn or self.dsn, list(prefix)), list(prefix), dsn or self.dsn)
        return number

    def _spawn(self, dsn: str, prefix: list[str]) -> subprocess.Popen:
        with (self.folder / "worker.log").open("a") as log:
            return subprocess.Popen(
                [*prefix, str(QCTL), "worker", "-q", "orders"], env=environment(QCTL_DSN=dsn), stdout=log, stderr=log
            )

    def _keep(self) -> None:
        while not self._stop.wait(0.3):
            for number, (process, prefix, dsn) in list(self._workers.items()):
                if process.poll() is not None and not self._stop.is_set():
                    self._workers[number] = (self._spawn(dsn, prefix), prefix, dsn)

    def signal(self, number: int, what: signal.Signals) -> None:
        self._workers[number][0].send_signal(what)

    # Load and time.

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(self.dsn, autocommit=True)

    def send(self, count: int) -> None:
        """Enqueues, and tries again while the server is away. Keeps the ids that were committed for certain."""
        bodies = [Jsonb({"n": n}) for n in range(min(count, 500))]
        left = count
        while left > 0:
            with contextlib.suppress(psycopg.Error), self.connect() as connection:
                connection.execute("set synchronous_commit = on")
                while left > 0:
                    rows = connection.execute("select qctl.send('orders', %s)", (bodies[:left],)).fetchall()
                    self.committed |= {row[0] for row in rows}
                    left -= len(rows)
            if left > 0:
                time.sleep(0.3)

    def accepted(self) -> int:
        return len(self.endpoint.accepted())

    def wait_for_accepted(self, count: int, timeout_s: float = 120) -> None:
        wait_until(lambda: self.accepted() >= count, timeout_s, f"{count} accepted messages")

    def recovery(self, *, timeout_s: float = 120) -> float:
        """Seconds from now until a message is delivered that was claimed after now; 0 when nothing is left to deliver."""
        since, started = time.time(), time.monotonic()
        query = "select exists (select from qctl.attempt where claimed_at > to_timestamp(%s) and outcome = 'delivered')"
        while time.monotonic() - started < timeout_s:
            with contextlib.suppress(psycopg.Error), self.connect() as connection:
                if one(connection, query, since):
                    return time.monotonic() - started
                if not one(connection, "select count(*) from pgmq.q_orders"):
                    return 0.0
            time.sleep(0.1)
        raise AssertionError(f"no delivery within {timeout_s} s after the fault")

    def finish(self, fault: str, injections: int, recoveries: list[float], timeout_s: float = 240) -> Result:
        """Waits for an empty queue and holds the ledger against the database."""

        def is_empty() -> bool:
            with contextlib.suppress(psycopg.Error), self.connect() as connection:
                return not one(connection, "select count(*) from pgmq.q_orders")
            return False

        wait_until(is_empty, timeout_s, "an empty queue")
        accepted = self.endpoint.accepted()
        with self.connect() as connection:
            delivered = {row[0] for row in connection.execute(
                "select qctl.webhook_id(q.queue_uuid, a.msg_id, a.enqueued_at) from pgmq.a_orders a, qctl.queue q")}  # fmt: skip
            dead = one(connection, "select count(*) from qctl.dead_letter")
            finished = {row[0] for row in connection.execute(
                "select msg_id from pgmq.a_orders union select msg_id from qctl.dead_letter")}  # fmt: skip
        return Result(
            fault, injections, len(self.committed), len(self.committed - finished), len(delivered - set(accepted)), dead,
            sum(accepted.values()) - len(accepted), max(recoveries, default=0.0),
        )  # fmt: skip

    def close(self) -> None:
        self._stop.set()
        self._keeper.join()
        for process, _, _ in self._workers.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        self.endpoint.close()
        self.server.close()


class Proxy:
    """A TCP proxy between a worker and the server, which can go silent, cut, or lead elsewhere."""

    def __init__(self, port: int) -> None:
        self.target = port
        self._silent = threading.Event()
        self._pairs: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def uri(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target), 2)
            except OSError:
                client.close()
                continue
            self._pairs += [client, server]
            for source, sink in ((client, server), (server, client)):
                self._threads.append(threading.Thread(target=self._pump, args=(source, sink), daemon=True))
                self._threads[-1].start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                while self._silent.is_set():
                    time.sleep(0.05)
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
        source.close()

    def black_hole(self, seconds: float) -> None:
        """Nothing gets through, nothing is closed."""
        self._silent.set()
        time.sleep(seconds)
        self._silent.clear()

    def cut(self) -> None:
        """Every connection is reset."""
        for end in self._pairs:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._pairs.clear()

    def close(self) -> None:
        # close() alone would leave accept() waiting.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(5)


@contextlib.contextmanager
def rig(folder: Path, *endpoint: str, **settings: str) -> Iterator[Rig]:
    """A rig that is gone afterwards."""
    made = Rig(folder, *endpoint, **settings)
    try:
        yield made
    finally:
        made.close()


Fault = Callable[[Path, int, int, float], Result]


def is_root() -> bool:
    return os.geteuid() == 0
