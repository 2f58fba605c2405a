"""One endpoint that takes 5 s among 19 fast ones, one worker for all 20 queues: what the fast ones lose.

In turn without and with: without, the slow queue is paused; with it, it holds more messages than the worker can get rid of. The
rate is that of the fast queues' requests, from the first to the last, as nginx saw them.
"""

import tempfile
import time
from pathlib import Path

import psycopg
from endpoint import Places
from results import Report, Row
from rig import LOGGED_S, Nginx, Rounds, create, fill, nginx, options, refill, site, wait_until, worker

FAST = [f"fast{number}" for number in range(1, 20)]


def fast_rate(connection: psycopg.Connection, uri: str, endpoint: Nginx, each: int) -> float:
    """Requests a second of the fast queues."""
    for queue in FAST:
        refill(connection, queue, 0)
        fill(connection, queue, each)
    # Looked at as nginx counts, which costs the database nothing.
    before = endpoint.requests()
    endpoint.forget()
    # What waits for 5 s need not be waited for.
    with worker(uri, "--all", "--grace", "0s"):
        wait_until(lambda: endpoint.requests() - before >= each * len(FAST), 600, "the fast queues are empty")
    time.sleep(LOGGED_S)
    at = [moment for moment, _ in endpoint.seen()]
    assert len(at) == each * len(FAST), f"{len(at)} requests"
    return (len(at) - 1) / (max(at) - min(at))


def main() -> None:
    """Both in turn."""
    size = options(__doc__, rounds=(3, 1), each=(3000, 100))
    report, rates = Report("slow_endpoint", size.quick), Rounds()
    with site() as (connection, uri), nginx(log=True) as endpoint, tempfile.TemporaryDirectory() as folder:
        slow = Places(Path(folder), 100_000, 5000)
        try:
            create(connection, "slow", slow.url, timeout_ms=10_000)
            for queue in FAST:
                create(connection, queue, endpoint.url)
            fast_rate(connection, uri, endpoint, size.each // 5)
            for number in range(size.rounds):
                refill(connection, "slow", size.each * 10, "jsonb_build_object('n', n)")
                # Each is first in every other round.
                for name in ("without", "with") if number % 2 else ("with", "without"):
                    connection.execute(f"select qctl.{'resume' if name == 'with' else 'pause'}('slow')")
                    rates.add(name, fast_rate(connection, uri, endpoint, size.each))
                print(", ".join(f"{name} {values[-1]:,.0f}/s" for name, values in rates.values.items()), flush=True)
            hung = len(slow.entries())
        finally:
            slow.stop()
    ratio = rates.ratio("with", "without")
    report.add(
        Row(
            "fast queues beside one 5 s endpoint, http", "keep ≥ 95 %", f"{rates.median('with'):,.0f}/s", rates.spread("with"),
            size.rounds, f"without it {rates.median('without'):,.0f}/s", ratio, ratio >= 0.95,
            f"19 fast queues of {size.each:,} messages, one process; {hung} slow answers came meanwhile; pg_net: see inside.py",
        )
    )  # fmt: skip
    report.save()


if __name__ == "__main__":
    main()
