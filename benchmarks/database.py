"""What a delivery costs the database, in processor time, beside release 0.6.0. ``python benchmarks/database.py [PART …]``

Parts, all of them by default:
  calls   claim and settle, by one session: of one message, and of 500, with each success logged and with failures only
  queues  all processes of the server while a worker delivers ten queues of 8 messages/s each, beside one queue of 80/s

0.6.0 is its own code, from its commit, on a server of its own; both are in turn. Messages are signed, fsync is on.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.types.json import Jsonb
from results import Report, Row
from rig import CLOCK_TICKS, HERE, Rounds, change, create, nginx, one, options, postgres, site, worker
from seed import released, server_cpu_s

BODY = {"table": "users", "operation": "INSERT", "record": {"id": 1, "name": "somebody", "email": "user@example.com"}}
SETTLE = """
select delivered from qctl.settle('bench', %s::uuid[], %s::bigint[], %s::int[], %s::text[], %s::bytea[], %s::int[], %s::int[])
"""


@contextmanager
def installed(source: Path) -> Iterator[psycopg.Connection]:
    """A server of its own with that code's schema and a queue."""
    with postgres() as uri:
        env = {**os.environ, "PYTHONPATH": str(source), "QCTL_DSN": uri}
        subprocess.run([sys.executable, "-m", "qctl", "install"], env=env, check=True, capture_output=True)
        with psycopg.connect(uri, autocommit=True) as connection:
            create(connection, "bench", "http://127.0.0.1:9/x")
            yield connection


class Session:
    """One that claims and settles, as a worker's does."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self.connection = connection
        connection.prepare_threshold = 3
        self._stat = Path(f"/proc/{connection.info.backend_pid}/stat")

    def cpu_s(self) -> float:
        fields = self._stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def cost_us(self, size: int, rounds: int) -> float:
        """Microseconds of the backend for one message, claimed and settled with so many."""
        self.connection.execute(
            "select qctl.send('bench', array(select %s::jsonb from generate_series(1, %s)))",
            [Jsonb(BODY), size * rounds],
        )
        before = self.cpu_s()
        for _ in range(rounds):
            rows = self.connection.execute(
                "select msg_id, lease from qctl.claim('bench', %s, null::bigint)", [size]
            ).fetchall()
            count = len(rows)
            assert count == size, (count, size)
            values = (
                [row[1] for row in rows], [row[0] for row in rows], [200] * count, [None] * count, [b'{"ok":true}'] * count,
                [5] * count, [None] * count,
            )  # fmt: skip
            assert self.connection.execute(SETTLE, values).fetchone() == (count,)
        return (self.cpu_s() - before) / (size * rounds) * 1e6


def calls(report: Report, quick: bool) -> None:
    """Claim and settle by one session each."""
    sizes = {1: 50, 500: 2} if quick else {1: 2000, 500: 60}
    measured = Rounds()
    with installed(released()) as old, installed(HERE.parent / "src") as new:
        sessions = {"0.6.0": Session(old), "now": Session(new)}
        for turn in range(2 if quick else 6):
            for size, rounds in sizes.items():
                for name, session in sessions.items():
                    found = session.cost_us(size, rounds)
                    if turn:
                        measured.add(f"{name}, {size}", found)
            change(new, "bench", log="failures")
            found = sessions["now"].cost_us(500, sizes[500])
            change(new, "bench", log="all")
            if turn:
                measured.add("now, failures", found)
    single, before = measured.median("now, 1"), measured.median("0.6.0, 1")
    report.add(
        Row(
            "database: claim of one and settle of one", "≤ 0.5 × 0.6.0", f"{single:.0f} µs", measured.spread("now, 1", ".0f"),
            len(measured.values["now, 1"]), f"0.6.0 {before:.0f} µs", single / before, single / before <= 0.5,
        )
    )  # fmt: skip
    for name, what, most in (("now, 500", "", 40), ("now, failures", ", --log failures", 25)):
        cost, before = measured.median(name), measured.median("0.6.0, 500")
        report.add(
            Row(
                f"database: one delivery, batches of 500{what}", f"≤ {most} µs", f"{cost:.0f} µs", measured.spread(name, ".0f"),
                len(measured.values[name]), f"0.6.0 {before:.0f} µs", cost / before, cost <= most,
            )
        )  # fmt: skip


def queues(report: Report, quick: bool) -> None:
    """The same rate in one queue and in ten."""
    seconds = 5 if quick else 60
    shares: dict[int, float] = {}
    with nginx() as endpoint:
        for count in (1, 10):
            with site() as (connection, uri):
                names = [f"bench{number}" for number in range(count)]
                for name in names:
                    create(connection, name, endpoint.url)
                    connection.execute("select qctl.rotate_secret(%s)", [name])
                with worker(uri, "--all", "--grace", "1s"), writer(uri, names, 80):
                    time.sleep(min(10, seconds))
                    shares[count] = share(connection, seconds)
    ratio = shares[10] / shares[1]
    report.add(
        Row(
            "database: ten queues of 8 messages/s each, one worker", "≤ 1.3 × one queue of 80/s",
            f"{100 * shares[10]:.1f} % of a core", beside=f"one queue {100 * shares[1]:.1f} %", ratio=ratio, met=ratio <= 1.3,
            note="all processes of the server, what the sender costs included",
        )
    )  # fmt: skip


@contextmanager
def writer(uri: str, names: list[str], per_s: float) -> Iterator[None]:
    """Sends single messages at an even pace, to each queue in turn."""
    stop = threading.Event()

    def send() -> None:
        with psycopg.connect(uri, autocommit=True) as connection:
            number, started = 0, time.monotonic()
            while not stop.wait(max(0.0, started + number / per_s - time.monotonic())):
                connection.execute("select qctl.send(%s, array[%s::jsonb])", [names[number % len(names)], Jsonb(BODY)])
                number += 1

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def share(connection: psycopg.Connection, seconds: float) -> float:
    """Of a core, that all processes of the server use."""
    postmaster = int((Path(one(connection, "show data_directory")) / "postmaster.pid").read_text().split()[0])
    before, started = server_cpu_s(postmaster), time.monotonic()
    time.sleep(seconds)
    return (server_cpu_s(postmaster) - before) / (time.monotonic() - started)


PARTS = {"calls": calls, "queues": queues}


def main() -> None:
    """The parts that were asked for."""
    size = options(__doc__, PARTS)
    report = Report("database", size.quick)
    for name in size.parts:
        PARTS[name](report, size.quick)
    if len(size.parts) == len(PARTS):
        report.save()


if __name__ == "__main__":
    main()
