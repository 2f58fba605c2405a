"""The endpoint's side, against endpoints of known capacity: concurrency auto beside fixed ones, an outage, order, signing.

Every figure is a ratio within one run: throughput to the best fixed concurrency, p95 to that of one request at a time, the
time after an outage to waiting ÷ rate, late claims to early ones, signed claims to unsigned ones.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import psycopg
from psycopg.types.json import Jsonb
from rig import HERE, QCTL, machine, nginx, options, site, worker


class Places:
    """An endpoint of known capacity as a process; see places.py."""

    def __init__(self, folder: Path, places: int, service_ms: float, *options: str) -> None:
        self.ledger = folder / f"ledger-{time.monotonic_ns()}"
        self._command = [
            sys.executable,
            str(HERE / "places.py"),
            str(self.ledger),
            str(places),
            str(service_ms),
            *options,
        ]
        self.port = 0
        self.start()

    def start(self) -> None:
        """Starts it, again at the same port."""
        self._process = subprocess.Popen([*self._command, "--port", str(self.port)], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self.port = int(self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}/"

    def stop(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()

    def entries(self) -> list[list]:
        """Time, status and body of each request."""
        text = self.ledger.read_bytes()
        return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]


def fill(conn: psycopg.Connection, count: int, keys: int | None = None) -> None:
    """Fills the queue anew."""
    conn.execute("truncate pgmq.q_bench, pgmq.a_bench, qctl.attempt, qctl.in_flight, qctl.retry")
    conn.execute(
        "update qctl.gate set (failures, opened_at, slow_limit, window_at, recall_after, paced_at)"
        " = (0, null, null, null, null, null)"
    )
    conn.execute(
        "insert into pgmq.q_bench (vt, message, headers) select clock_timestamp(), jsonb_build_object('n', n, 'key', n %% k),"
        " case when k > 1 then jsonb_build_object('x-pgmq-group', (n %% k)::text) end"
        " from generate_series(1, %s) n, (values (%s::integer)) as keys (k)",
        (count, keys or 1),
    )
    conn.execute("vacuum analyze pgmq.q_bench")


def configure(conn: psycopg.Connection, endpoint: Places, **settings) -> None:
    """Sets the queue up for a measurement."""
    conn.execute("select qctl.set_queue('bench', %s, p_settings => %s)", (endpoint.url, Jsonb(settings)))


def measured(
    conn: psycopg.Connection, uri: str, endpoint: Places, settle_s: float, for_s: float
) -> tuple[float, float, float]:
    """Requests a second, p50 and p95 in ms, within a time after the worker has settled in."""
    with worker(uri, "-q", "bench"):
        time.sleep(settle_s)
        begin = time.time()
        time.sleep(for_s)
        end = time.time()
        # What is archived at the end was claimed within the time, or just before.
        took = conn.execute(
            "select percentile_cont(array[0.5, 0.95]) within group (order by duration_ms) from qctl.attempt"
            " where settled_at between to_timestamp(%s) and to_timestamp(%s)",
            (begin, end),
        ).fetchone()
    count = sum(begin <= entry[0] < end for entry in endpoint.entries())
    return count / for_s, *took[0]


def auto(conn: psycopg.Connection, uri: str, folder: Path) -> None:
    """--concurrency auto beside fixed ones."""
    print("\n| endpoint | concurrency | requests/s | p50 ms | p95 ms | of the best | p95 to its floor |")
    print("|---|---|---|---|---|---|---|")
    for places, service_ms in ((1, 8), (8, 20), (50, 50)):
        endpoint = Places(folder, places, service_ms)
        capacity = places * 1000 / service_ms
        rows = []
        for concurrency in (1, 2, 5, 10, 20, 50, 100, 0):
            settle_s, for_s = (12.0, 10.0) if concurrency == 0 else (2.0, 6.0)
            configure(conn, endpoint, **({"concurrency": concurrency} if concurrency else {"concurrency_auto": True}))
            fill(conn, int(capacity * (settle_s + for_s) * 1.3) + 500)
            rows.append((concurrency, *measured(conn, uri, endpoint, settle_s, for_s)))
        best = max(rate for concurrency, rate, *_ in rows if concurrency)
        floor = rows[0][3]
        for concurrency, rate, p50, p95 in rows:
            name = concurrency or "**auto**"
            ratios = f"{rate / best:.0%} | {p95 / floor:.1f}"
            print(
                f"| {places} places of {service_ms} ms | {name} | {rate:,.0f} | {p50:.0f} | {p95:.0f} | {ratios} |",
                flush=True,
            )
        endpoint.stop()


def outage(
    conn: psycopg.Connection, uri: str, folder: Path, down_s: float = 60, waiting: int = 20_000, per_s: int = 1000
) -> None:
    """The endpoint is down while messages wait; then it is back."""
    endpoint = Places(folder, 50, 5)
    configure(conn, endpoint, concurrency=50, rate_per_s=per_s, retry_schedule_s=[5, 30, 300, 1800])
    fill(conn, waiting)
    endpoint.stop()
    with worker(uri, "-q", "bench"):
        time.sleep(down_s)
        burnt, most = conn.execute("select count(*), max(attempt_no) from qctl.attempt").fetchone()
        probes = conn.execute("select count(*) from qctl.attempt where next_at is not null").fetchone()[0]
        endpoint.start()
        begin = time.monotonic()
        while conn.execute("select count(*) from pgmq.q_bench").fetchone()[0]:
            time.sleep(0.1)
        took = time.monotonic() - begin
    dead = conn.execute("select count(*) from qctl.dead_letter").fetchone()[0]
    ratio = took / (waiting / per_s)
    print(
        f"\nOutage of {down_s:.0f} s with {waiting:,} waiting, rate {per_s}/s: {burnt} attempts ({probes} of them failed,"
        f" none more than {most} for one message); empty {took:.1f} s after its return, {ratio:.2f} × (waiting ÷ rate);"
        f" {dead} dead.",
        flush=True,
    )
    conn.execute("select qctl.set_queue('bench', p_settings => '{\"rate_per_s\": null}')")
    endpoint.stop()


def order(conn: psycopg.Connection, uri: str, folder: Path, keys: int = 1000, each: int = 100) -> None:
    """Order per key with failures, and the time of a claim behind many followers."""
    endpoint = Places(folder, 200, 2, "--fail-rate", "0.02")
    configure(conn, endpoint, concurrency=200, ordered=True, order_schedule_s=[1] * 20, breaker_after=0)
    fill(conn, keys * each, keys)
    begin = time.monotonic()
    with worker(uri, "-q", "bench"):
        while conn.execute("select count(*) from pgmq.q_bench").fetchone()[0]:
            time.sleep(0.2)
    took = time.monotonic() - begin
    seen: dict[int, list[int]] = defaultdict(list)
    entries = endpoint.entries()
    for _, status, body in entries:
        if status == 200:
            seen[body["key"]].append(body["n"])
    exact = sum(numbers == sorted(numbers) and len(numbers) == each for numbers in seen.values())
    failed = sum(status != 200 for _, status, _ in entries)
    print(
        f"\nOrder: {keys:,} keys × {each} messages, {failed} failures: {exact:,} of {keys:,} keys exactly in order,"
        f" {keys * each / took:,.0f} messages/s.",
        flush=True,
    )
    endpoint.stop()
    for followers in (0, 500_000):
        fill(conn, 2000)
        conn.execute(
            "insert into pgmq.q_bench (vt, message, headers)"
            " select clock_timestamp() - interval '1 h', '{}', '{\"x-pgmq-group\": \"hot\"}' from generate_series(1, %s)",
            (followers + 1,),
        )
        conn.execute("vacuum analyze pgmq.q_bench")
        parking, first = time.perf_counter(), 0.0
        while conn.execute(
            "select exists (select from pgmq.q_bench where vt <= now() and headers is not null offset 1)"
        ).fetchone()[0]:
            conn.execute("select count(*) from qctl.claim('bench', 1)")
            first = time.perf_counter() - parking
        # As autovacuum does within a minute.
        conn.execute("vacuum pgmq.q_bench")
        taken = []
        for _ in range(40):
            at = time.perf_counter()
            conn.execute("select count(*) from qctl.claim('bench', 20)").fetchone()
            taken.append(time.perf_counter() - at)
        median = statistics.median(taken) * 1000
        print(
            f"Claim of 20 with {followers:,} followers: {median:.1f} ms; hiding them took {first:.1f} s, once.",
            flush=True,
        )
    conn.execute("select qctl.set_queue('bench', p_settings => '{\"ordered\": false, \"breaker_after\": 10}')")


def signing(conn: psycopg.Connection) -> None:
    """What a signature costs a claim."""
    conn.execute("select qctl.set_queue('bench', p_settings => '{\"max_in_flight\": 100000}')")
    medians: dict[str, float] = {}
    for name in ("unsigned", "signed", "unsigned", "signed"):
        conn.execute("delete from qctl.signing_secret")
        if name == "signed":
            conn.execute("select qctl.rotate_secret('bench')")
        fill(conn, 30_000)
        taken = []
        for _ in range(50):
            at = time.perf_counter()
            conn.execute("select * from qctl.claim('bench', 500)").fetchall()
            taken.append(time.perf_counter() - at)
        medians[name] = statistics.median(taken)
    more = (medians["signed"] - medians["unsigned"]) / 500 * 1e6
    signed, unsigned = medians["signed"] * 1000, medians["unsigned"] * 1000
    print(f"\nSigning: a claim of 500 {signed:.1f} ms, unsigned {unsigned:.1f} ms: {more:.1f} µs a message.")


def pace(conn: psycopg.Connection, uri: str, folder: Path) -> None:
    """What arrives at the endpoint beside the rate that was set."""
    for per_s in (20, 200, 1000):
        endpoint = Places(folder, 100, 2)
        configure(conn, endpoint, concurrency=100, rate_per_s=per_s)
        fill(conn, per_s * 16)
        with worker(uri, "-q", "bench"):
            time.sleep(14)
        at = [entry[0] for entry in endpoint.entries()]
        # The first second may run ahead; from then on any ten.
        begin = at[0] + 2
        arrived = sum(begin <= moment < begin + 10 for moment in at) / 10
        most = max(sum(moment <= other < moment + 10 for other in at) for moment in at[:: max(1, per_s // 20)])
        print(
            f"Pace: {per_s}/s was set, {arrived:,.1f}/s arrived ({arrived / per_s:.0%}); most in any 10 s {most:,}"
            f" ({most / per_s / 10:.2f} × 10 × rate).",
            flush=True,
        )
        endpoint.stop()
    conn.execute("select qctl.set_queue('bench', p_settings => '{\"rate_per_s\": null}')")


def guard(conn: psycopg.Connection, uri: str) -> None:
    """Deliveries a second with the guard looking at each request, and without."""
    rates: dict[str, list[float]] = {"with": [], "without": []}
    with nginx() as endpoint:
        settings = {"concurrency": 100, "max_in_flight": 400, "allow_networks": ["127.0.0.0/8"]}
        conn.execute("select qctl.set_queue('bench', %s, p_settings => %s)", (endpoint.url, Jsonb(settings)))
        for _ in range(5):
            for name, options in (("with", []), ("without", ["--allow-private"])):
                fill(conn, 20_000)
                began = time.perf_counter()
                command = [QCTL, "worker", "-q", "bench", "--drain", "--dsn", uri, *options]
                subprocess.run(command, check=True, capture_output=True)
                rates[name].append(20_000 / (time.perf_counter() - began))
    with_it, without = (statistics.median(rates[name]) for name in ("with", "without"))
    print(
        f"\nGuard: {with_it:,.0f} deliveries/s with it, {without:,.0f} without: {with_it / without:.3f} (medians of 5).",
        flush=True,
    )


PARTS = ("signing", "auto", "outage", "order", "pace", "guard")


def main() -> None:
    """Runs all, or what is named; with ``--quick`` and none named only signing, for the others take their minutes."""
    given = options(__doc__, PARTS)
    wanted = ["signing"] if given.quick and given.parts == list(PARTS) else given.parts
    with site() as (conn, uri), tempfile.TemporaryDirectory() as folder:
        settings = Jsonb({"allow_networks": ["127.0.0.0/8"]})
        conn.execute("select qctl.create_queue('bench', 'http://127.0.0.1:9/', p_settings => %s)", (settings,))
        print(machine())
        for name in wanted:
            if name == "signing":
                signing(conn)
            elif name == "guard":
                guard(conn, uri)
            else:
                {"auto": auto, "outage": outage, "order": order, "pace": pace}[name](conn, uri, Path(folder))


if __name__ == "__main__":
    main()
