"""The plan of ``qctl capacity --users``, held against a real run of the case that qctl grew from: 100,000 users, 5 % of them
active, an event a minute each, so 5,000 events a minute; an endpoint that answers after 200 ms.

First the constants of this machine: what a claim and a settle cost the database, by call and by message, and what a delivered
message takes on disk. With them a simulation of the worker's loop, event by event; and ``qctl.plan``, a formula. Beside both the
real thing: a writer, ``qctl worker``, an endpoint. Compared are the database's busy time (pg_stat_database.active_time, less
what the same writer costs without capture and worker), requests under way, and the time from a message's row to its claim.
"""

import heapq
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo
from results import Report, Row
from rig import HERE, QCTL, create, nginx, one, options, refill, site, worker

from qctl.worker.queue_state import QueueState

LATENCY_S = 0.2
PER_S = 5000 / 60
PAUSE_S = 0.045
POLL_S, AWAKE_POLL_S, AWAKE_S, LONGEST_POLL_S, SETTLE_WITHIN_S, SETTLE_AT = 0.01, 0.02, 0.1, 1.0, 0.01, 500


@dataclass(frozen=True)
class Costs:
    """Seconds of the database for a claim, a settle and a capture, by call and by message; bytes of a delivered message."""

    claim_call: float
    claim_message: float
    settle_call: float
    settle_message: float
    capture: float
    message_bytes: float


def line(points: list[tuple[int, float]]) -> tuple[float, float]:
    """Slope and height at nothing of the line through points, by least squares of relative error."""
    result = statistics.linear_regression([n for n, _ in points], [s for _, s in points])
    return result.slope, max(0.0, result.intercept)


def measured(connection: psycopg.Connection, rounds: int) -> Costs:
    """The constants of this machine."""
    number = one(connection, "select qctl.register_worker('bench', 'http', '{bench}', 'bench')")
    points: dict[str, list[tuple[int, float]]] = {"claim": [], "settle": []}
    for batch in (1, 10, 50, 200):
        refill(connection, "bench", batch * (rounds + 5))
        times: dict[str, list[float]] = {"claim": [], "settle": []}
        for _ in range(rounds + 5):
            # As far apart as in the seed's case: a session that rested finds its memory cold, and takes twice as long.
            time.sleep(PAUSE_S)
            began = time.perf_counter()
            claimed = connection.execute(
                "select msg_id, lease from qctl.claim('bench', %s, %s, 33554432)", (batch, number)
            ).fetchall()
            times["claim"].append(time.perf_counter() - began)
            n = len(claimed)
            answers = (
                [r[1] for r in claimed],
                [r[0] for r in claimed],
                [200] * n,
                [None] * n,
                [b"ok"] * n,
                [3] * n,
                [None] * n,
            )
            time.sleep(PAUSE_S)
            began = time.perf_counter()
            connection.execute(
                "select qctl.settle('bench', %s, %s, %s::int[], %s::text[], %s::bytea[], %s::int[], %s::int[])", answers
            )
            times["settle"].append(time.perf_counter() - began)
        for what, values in times.items():
            points[what].append((batch, statistics.median(values[5:])))
    claim_message, claim_call = line(points["claim"])
    settle_message, settle_call = line(points["settle"])
    refill(connection, "bench", 5000)
    before = one(connection, "select pg_total_relation_size('pgmq.a_bench') + pg_total_relation_size('qctl.attempt')")
    uri = connection.info.dsn
    subprocess.run([QCTL, "worker", "-q", "bench", "--drain", "--dsn", uri], check=True)
    after = one(connection, "select pg_total_relation_size('pgmq.a_bench') + pg_total_relation_size('qctl.attempt')")
    return Costs(claim_call, claim_message, settle_call, settle_message, 20e-6, (after - before) / 5000)


def simulated(costs: Costs, per_s: float, latency_s: float, for_s: float) -> dict[str, float]:
    """The worker's loop, event by event, as src/qctl/worker/loop.py has it: busy share, under way, delay, claims a second."""
    choose = random.Random(1)
    arrivals, moment = [], 0.0
    while moment < for_s:
        moment += choose.expovariate(per_s)
        arrivals.append(moment)
    now, busy, claims, taken, poll_at, poll_s = 0.0, 0.0, 0, 0, 0.0, POLL_S
    linger_s = QueueState("q", 1, 1000, 100_000, rate=per_s).linger_s
    flying: list[tuple[float, float]] = []
    unsettled: list[float] = []
    quiet_since: float | None = None
    answered, settle_by, under_way, delays = 0, None, 0.0, list[float]()
    while now < for_s:
        while flying and flying[0][0] <= now:
            unsettled.append(heapq.heappop(flying)[1])
            answered += 1
            settle_by = settle_by or now + max(SETTLE_WITHIN_S, linger_s)
        if answered and (not (flying or linger_s) or answered >= SETTLE_AT or now >= settle_by):
            spent = costs.settle_call + answered * costs.settle_message
            busy, now, answered, settle_by, quiet_since = busy + spent, now + spent, 0, None, None
            under_way += sum(now - claimed for claimed in unsettled)
            unsettled.clear()
            if not linger_s:
                poll_at, poll_s = 0.0, POLL_S
            continue
        if now >= poll_at:
            ready = 0
            while taken + ready < len(arrivals) and arrivals[taken + ready] <= now:
                ready += 1
            spent = costs.claim_call + ready * costs.claim_message
            busy, now, claims = busy + spent, now + spent, claims + 1
            for arrived in arrivals[taken : taken + ready]:
                delays.append(now - arrived)
                heapq.heappush(flying, (now + latency_s, now))
            taken += ready
            quiet_since = None if ready else quiet_since or now
            longest = AWAKE_POLL_S if quiet_since is None or now - quiet_since < AWAKE_S else LONGEST_POLL_S
            poll_s = POLL_S if ready else min(poll_s * 1.5, longest)
            poll_at = now + (max(POLL_S, linger_s) if ready else poll_s)
            continue
        moments = [poll_at, for_s, *(end for end, _ in flying[:1])]
        if settle_by is not None:
            moments.append(settle_by)
        now = max(now, min(moments))
    return {
        "busy": busy / for_s + per_s * costs.capture,
        "under way": under_way / for_s,
        "delay": statistics.median(delays),
        "claims": claims / for_s,
    }


@contextmanager
def writing(uri: str, table: str, per_s: float) -> Iterator[None]:
    """Rows one by one at that mean rate, by chance; after three seconds of it the block runs."""
    stop = threading.Event()

    def write() -> None:
        choose = random.Random(2)
        with psycopg.connect(uri, autocommit=True) as writer:
            due = time.monotonic()
            while not stop.is_set():
                due += choose.expovariate(per_s)
                time.sleep(max(0.0, due - time.monotonic()))
                writer.execute(
                    f"insert into {table} (at, text) values (clock_timestamp(), repeat('x', 300))", prepare=True
                )

    thread = threading.Thread(target=write)
    thread.start()
    try:
        time.sleep(3)
        yield
    finally:
        stop.set()
        thread.join()


def busy_s(connection: psycopg.Connection) -> float:
    """Seconds that this database's sessions have spent in statements."""
    return one(connection, "select active_time / 1000 from pg_stat_database where datname = current_database()")


def real(uri: str, connection: psycopg.Connection, per_s: float, for_s: float, folder: Path) -> dict[str, float]:
    """The same of the real thing."""
    ledger = folder / "ledger"
    command = [sys.executable, str(HERE / "places.py"), str(ledger), "10000", str(LATENCY_S * 1000)]
    endpoint = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert endpoint.stdout
        url = f"http://127.0.0.1:{int(endpoint.stdout.readline())}/hook"
        create(connection, "seed", url, concurrency=100)
        for table in ("events", "plain"):
            connection.execute(
                f"create table public.{table} (id bigint generated always as identity, at timestamptz, text text)"
            )
        connection.execute("select qctl.attach('public.events', 'seed')")
        with writing(uri, "plain", per_s):
            before, began = busy_s(connection), time.monotonic()
            time.sleep(for_s / 3)
            alone = (busy_s(connection) - before) / (time.monotonic() - began)
        flying = list[int]()
        with worker(uri, "-q", "seed"), writing(uri, "events", per_s):
            before, began = busy_s(connection), time.monotonic()
            first = one(connection, "select count(*) from pgmq.a_seed")
            while time.monotonic() - began < for_s:
                time.sleep(0.5)
                flying.append(one(connection, "select count(*) from qctl.in_flight where lapsed_at is null"))
            busy, took = busy_s(connection) - before, time.monotonic() - began
            delivered = one(connection, "select count(*) from pgmq.a_seed") - first
        delay = one(
            connection,
            "select percentile_cont(0.5) within group"
            " (order by extract(epoch from t.claimed_at - (a.message #>> '{record,at}')::timestamptz))"
            " from qctl.attempt t join qctl.queue q on q.queue_id = t.queue_id and q.queue_name = 'seed'"
            " join pgmq.a_seed a using (msg_id)",
        )
        return {
            "busy": busy / took - alone,
            "under way": statistics.mean(flying),
            "delay": float(delay),
            "delivered": delivered / took,
        }
    finally:
        endpoint.kill()
        endpoint.wait()


def main() -> None:
    """Measures, simulates, runs, compares."""
    size = options(__doc__, rounds=(60, 10), seconds=(60.0, 5.0))
    report = Report("capacity", size.quick)
    with site() as (connection, uri), tempfile.TemporaryDirectory() as folder:
        uri = make_conninfo(uri)
        with nginx() as quick:
            create(connection, "bench", quick.url, concurrency=100)
            before = measured(connection, size.rounds)
            practice = real(uri, connection, PER_S, size.seconds, Path(folder))
            after = measured(connection, size.rounds)
        # The machine is not equally fast all the time.
        costs = Costs(*(statistics.mean(pair) for pair in zip(astuple(before), astuple(after), strict=True)))
        print(
            f"claim {costs.claim_call * 1000:.2f} ms + {costs.claim_message * 1e6:.0f} µs a message,"
            f" settle {costs.settle_call * 1000:.2f} ms + {costs.settle_message * 1e6:.0f} µs;"
            f" {costs.message_bytes:,.0f} bytes a delivered message"
        )
        theory = simulated(costs, PER_S, LATENCY_S, max(60.0, size.seconds))
    for what, form in (("busy", ".1%"), ("under way", ".1f"), ("delay", ".4f")):
        ratio = theory[what] / practice[what]
        report.add(
            Row(
                f"capacity, the seed's case: {what}", "simulation within 20 %", f"{theory[what]:{form}}", "", 1,
                f"real {practice[what]:{form}}", ratio, 0.8 <= ratio <= 1.25,
                f"{theory['claims']:.0f} claims a second; {practice['delivered']:.1f} delivered a second",
            )
        )  # fmt: skip
    report.save()


if __name__ == "__main__":
    main()
