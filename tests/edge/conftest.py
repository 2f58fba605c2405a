"""Edge workers for tests: each in an isolate of its own, begun by a signed wake."""

from collections.abc import Callable, Iterator

import psycopg
import pytest
from isolate import Isolate, known_function, missing, new_wake, signed


class EdgeWorker:
    """An edge worker as tests of ``qctl worker`` use it: ``--drain`` and ``--once`` end when nothing is ready for a moment."""

    def __init__(self, dsn: str, *arguments: str) -> None:
        drains = "--drain" in arguments or "--once" in arguments
        settings = {"QCTL_IDLE_S": "0.4" if drains else "1000"}
        if "--max-bytes" in arguments:
            settings["QCTL_MAX_BYTES"] = str(int(arguments[arguments.index("--max-bytes") + 1].rstrip("m")) << 20)
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute("delete from qctl.edge_function")
            secret = known_function(conn)
            conn.execute("update qctl.edge_function set most = 8")
            # The worker processes of the tests are started with --allow-private.
            conn.execute("update qctl.queue set allow_networks = '{127.0.0.0/8}' where allow_networks = '{}'")
            self._isolate = Isolate(
                dsn, secret, QCTL_CPU_MS="0", ISOLATE_CPU_MS="1000000", ISOLATE_LEAVES="1", **settings
            )
            self.pid = self._isolate.pid
            status, answer = self._isolate.post(signed(secret, new_wake(conn)))
            assert status == 202, answer
        self.send, self.running, self.close = self._isolate.send, self._isolate.running, self._isolate.close

    def end(self, timeout: float = 30) -> tuple[int, str]:
        """Exit code, and what ``qctl worker`` would have said."""
        code, errors = self._isolate.end(timeout)
        waits = [f"{line['step']} waits {line['ms'] / 1000:.0f} s" for line in self._isolate.log("a step waits")]
        again = ["connected again"] * len(self._isolate.log("connected again"))
        return code, "\n".join([*filter(None, [errors]), *waits, *again])


@pytest.fixture
def worker(dsn: str) -> Iterator[Callable[..., EdgeWorker]]:
    """Starts edge workers that are gone after the test."""
    if why := missing():
        pytest.skip(why)
    started: list[EdgeWorker] = []

    def start(*arguments: str, at: str = dsn) -> EdgeWorker:
        started.append(EdgeWorker(at, *arguments))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def isolate(dsn: str, conn: psycopg.Connection) -> Iterator[Callable[..., tuple[Isolate, str]]]:
    """Starts isolates that are gone after the test; with each the secret of its wakes."""
    if why := missing():
        pytest.skip(why)
    started: list[Isolate] = []

    def start(at: str = dsn, **settings: str) -> tuple[Isolate, str]:
        conn.execute("delete from qctl.edge_function")
        secret = known_function(conn)
        started.append(Isolate(at, secret, **settings))
        return started[-1], secret

    yield start
    for one in started:
        one.close()
