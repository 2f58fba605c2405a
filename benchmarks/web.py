"""qctl web on a busy database: pages beside a large archive, and twenty tabs that stay open.

The archive is filled first; each page is then asked for several times, with its answer no longer remembered. Then twenty tabs
ask for pages as often as the script of the page does, for some minutes, while a worker delivers what a producer sends; one tab
alone is measured beside them in the same run.
"""

import http.client
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from results import Report, Row
from rig import QCTL, create, memory_mb, nginx, one, options, site, worker

PAGES = {
    "queues": "/",
    "queue": "/queues/bench",
    "messages": "/messages?queue=bench",
    "delivered": "/messages?queue=bench&state=delivered",
    "message": "/messages/bench/1",
    "dead": "/dead",
    "workers": "/workers",
}
EVERY_S = 5.0
TABS = 20
FILL = """
insert into pgmq.a_bench (msg_id, read_ct, enqueued_at, archived_at, vt, message, headers)
overriding system value
select n, 1, at, at, at, jsonb_build_object('n', n), '{"qctl": {"outcome": "delivered"}}'
from (select n, now() - interval '1 day' + n * interval '1 ms' as at from generate_series(%s, %s) n) s
"""


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


def statements(connection: psycopg.Connection) -> int:
    """Transactions that all sessions have ended so far."""
    return one(connection, "select xact_commit from pg_stat_database where datname = current_database()")


def main() -> None:
    """Pages beside the archive, then tabs."""
    size = options(__doc__, archived=(10_000_000, 20_000), seconds=(300, 6))
    report = Report("web", size.quick)
    with site() as (connection, uri), nginx() as endpoint:
        create(connection, "bench", endpoint.url, rate_per_s=50)
        for first in range(1, size.archived, 1_000_000):
            connection.execute(FILL, [first, min(size.archived, first + 999_999)])
        connection.execute("vacuum analyze")
        with worker(uri, "-q", "bench", "--grace", "1s"), window(uri) as (port, pid):
            for name, path in PAGES.items():
                times = []
                for _ in range(5):
                    time.sleep(2.1)
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
            found = {}
            for count in (1, TABS):
                connection.execute("select qctl.send('bench', array(select '{}'::jsonb from generate_series(1, 1000)))")
                before, started, first = statements(connection), time.monotonic(), memory_mb(pid, "VmRSS")
                answers = tabs(port, count, size.seconds)
                took = time.monotonic() - started
                found[count] = (statements(connection) - before) / took
                report.add(
                    Row(
                        f"web, {count} tabs open for {took:.0f} s", "", f"{found[count]:.1f} transactions/s", rounds=1,
                        beside=f"{answers:,} answers", note=f"memory {first:.0f} to {memory_mb(pid, 'VmRSS'):.0f} MB",
                    )
                )  # fmt: skip
            ratio = found[TABS] / found[1]
            report.add(
                Row(f"web, work of {TABS} tabs beside one", "≤ 3 ×", f"{ratio:.1f} ×", ratio=ratio, met=ratio <= 3)
            )
    report.save()


if __name__ == "__main__":
    main()
