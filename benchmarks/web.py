"""qctl web on a busy database: pages beside a large archive, and twenty tabs that stay open.

The archive is filled first; each page is then asked for several times, with its answer no longer remembered. Then, while a
producer sends 80 messages a second and a worker delivers them, nobody looks, then one tab for each page, then twenty tabs, each
asking as often as the script of the page does. Statements and CPU of the server without tabs are subtracted.
"""

import http.client
import random
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from results import Report, Row
from rig import QCTL, create, memory_mb, nginx, one, options, site, worker
from seed import server_cpu_s

from qctl.web.database import SHARED_S

PAGES = {
    "queues": "/",
    "queue": "/queues/bench",
    "messages": "/messages?queue=bench",
    "delivered": "/messages?queue=bench&state=delivered",
    "failed": "/messages?queue=bench&status_code=5xx",
    "message": "/messages/bench/1?payload=yes",
    "dead": "/dead",
    "workers": "/workers",
    "doctor": "/doctor",
}
EVERY_S = 5.0
TABS = 20
PER_S = 80
FILL = """
insert into pgmq.a_bench (msg_id, read_ct, enqueued_at, archived_at, vt, message, headers)
overriding system value
select n, 1, at, at, at, jsonb_build_object('n', n), '{"qctl": {"outcome": "delivered"}}'
from (select n, now() - interval '1 day' + n * interval '1 ms' as at from generate_series(%s::bigint, %s::bigint) n) s
"""


@dataclass
class Look:
    """What the server did meanwhile: transactions a second and share of a core; answers, and the memory of qctl web."""

    per_s: float
    share: float
    answers: int
    before_mb: float
    after_mb: float


@contextmanager
def window(uri: str) -> Iterator[tuple[int, int]]:
    """``qctl web`` on a free port; yields port and process id."""
    process = subprocess.Popen([QCTL, "--dsn", uri, "web", "--port", "0"], stderr=subprocess.PIPE, text=True)
    assert process.stderr
    found = re.search(r"localhost:(\d+)", process.stderr.readline())
    assert found
    try:
        yield int(found[1]), process.pid
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()


def ask(port: int, path: str) -> float:
    """Seconds that a page takes."""
    started = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path, headers={"x-qctl-part": "main"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status == 200, answer.status
    return time.monotonic() - started


def tabs(port: int, count: int, seconds: float) -> int:
    """So many tabs, each on its page; how many answers they got."""
    answers = [0] * count
    paths = list(PAGES.values())

    def tab(number: int) -> None:
        until = time.monotonic() + seconds
        time.sleep(random.uniform(0, EVERY_S))
        while time.monotonic() < until:
            ask(port, paths[number % len(paths)])
            answers[number] += 1
            time.sleep(EVERY_S)

    threads = [threading.Thread(target=tab, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(answers)


@contextmanager
def producer(uri: str) -> Iterator[None]:
    """Sends messages at an even pace."""
    stop = threading.Event()

    def send() -> None:
        with psycopg.connect(uri, autocommit=True) as connection:
            while not stop.wait(1 / PER_S):
                connection.execute("select qctl.send('bench', array['{}'::jsonb])")

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def look(connection: psycopg.Connection, port: int, pid: int, count: int, seconds: float) -> Look:
    """So many tabs for so long, and what the server did meanwhile."""
    postmaster = int((Path(one(connection, "show data_directory")) / "postmaster.pid").read_text().split()[0])
    query = "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()"
    before, started = (one(connection, query), server_cpu_s(postmaster)), time.monotonic()
    memory = memory_mb(pid, "VmRSS")
    answers = tabs(port, count, seconds) if count else time.sleep(seconds) or 0
    took = time.monotonic() - started
    transactions, cpu_s = one(connection, query) - before[0], server_cpu_s(postmaster) - before[1]
    return Look(transactions / took, cpu_s / took, answers, memory, memory_mb(pid, "VmRSS"))


def main() -> None:
    """Pages beside the archive, then tabs."""
    size = options(__doc__, archived=(10_000_000, 20_000), seconds=(600, 6))
    report = Report("web", size.quick)
    with site() as (connection, uri), nginx() as endpoint:
        create(connection, "bench", endpoint.url)
        for first in range(1, size.archived, 1_000_000):
            connection.execute(FILL, [first, min(size.archived, first + 999_999)])
        connection.execute(
            "select setval(pg_get_serial_sequence('pgmq.q_bench', 'msg_id'), (select max(msg_id) from pgmq.a_bench))"
        )
        connection.execute("vacuum analyze")
        with worker(uri, "-q", "bench", "--grace", "1s"), window(uri) as (port, pid), producer(uri):
            time.sleep(min(60, size.seconds))
            for name, path in PAGES.items():
                times = []
                for _ in range(5):
                    time.sleep(SHARED_S + 0.1)
                    times.append(ask(port, path))
                median = sorted(times)[2] * 1000
                report.add(
                    Row(
                        f"web, page {name}, {size.archived:,} archived",
                        "≤ 100 ms",
                        f"{median:.0f} ms",
                        met=median <= 100,
                    )
                )
            nobody = look(connection, port, pid, 0, min(120, size.seconds))
            few = look(connection, port, pid, len(PAGES), min(120, size.seconds))
            many = look(connection, port, pid, TABS, size.seconds)
            for count, found in ((len(PAGES), few), (TABS, many)):
                report.add(
                    Row(
                        f"web, {count} tabs open", "", f"{found.per_s - nobody.per_s:.1f} transactions/s", rounds=1,
                        beside=f"{100 * (found.share - nobody.share):.1f} % of a core of the database",
                        note=f"{found.answers:,} answers, memory {found.before_mb:.0f} to {found.after_mb:.0f} MB, "
                        f"database without them {100 * nobody.share:.1f} %",
                    )
                )  # fmt: skip
            ratio = (many.per_s - nobody.per_s) / (few.per_s - nobody.per_s)
            report.add(
                Row(
                    f"web, work of {TABS} tabs beside that of {len(PAGES)}, one for each page", "≤ 1.5 ×", f"{ratio:.1f} ×",
                    ratio=ratio, met=ratio <= 1.5,
                )
            )  # fmt: skip
    report.save()


if __name__ == "__main__":
    main()
