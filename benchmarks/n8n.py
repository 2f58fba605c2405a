"""How fast n8n takes what ``qctl worker`` delivers, by requests at once: answers, executions, latency; a Markdown table.

    python benchmarks/n8n.py [--messages 1000] [--rounds 3] [--concurrency 1,2,5,10,20,50,100] [--modes immediately] [--auto]

The workflow is a Webhook node and a Code node that returns what it got; in the mode ``waiting`` the Code node waits 200 ms,
as one does that asks another server; there it is at most 100 messages for each request at once. n8n, the PostgreSQL that
both use (fsync on) and the worker share this machine. A rate of answers counts from the first claim to the last settling; one
of executions to the last that n8n finished. Latency is what the attempts say: from sending a request to its answer. The
median of the rounds.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb
from rig import HERE, machine, postgres

from qctl import db
from qctl.config import Database
from qctl.operations import migrate

sys.path[:0] = [str(HERE.parent / "tests"), str(HERE.parent / "tests/n8n")]
import n8n_process  # noqa: E402
from n8n_process import Flow, N8n, workflow  # noqa: E402

from processes import qctl  # noqa: E402

MODES = {
    "immediately": ("respond immediately", "onReceived", "return $input.all();"),
    "done": ("when done", "lastNode", "return $input.all();"),
    "waiting": ("when done, 200 ms of waiting", "lastNode",
                "await new Promise((go) => setTimeout(go, 200));\nreturn $input.all();"),
}  # fmt: skip
LIMIT_S = 300


@dataclass(frozen=True)
class Measured:
    """One round."""

    answers: float
    executions: float
    p50_ms: float
    p95_ms: float
    max_ms: float
    cpu: float


@contextmanager
def started(uri: str) -> Iterator[N8n]:
    """An n8n whose database is on that server."""
    with psycopg.connect(uri, autocommit=True) as admin:
        admin.execute("create database n8n template template0")
    with tempfile.TemporaryDirectory(prefix="qctl-n8n-") as folder:
        n8n = N8n(Path(folder), make_conninfo(uri, dbname="n8n"))
        try:
            yield n8n
        finally:
            n8n.close()


def settings(uri: str, concurrency: str) -> str | None:
    """Sets how many requests go out at once; why not, where qctl refuses."""
    room = [] if concurrency == "auto" else ["--max-in-flight", str(4 * int(concurrency))]
    done = qctl("set", "-q", "bench", "--concurrency", concurrency, *room, dsn=uri)
    return done.stderr.strip() if done.returncode else None


def measure(uri: str, n8n: N8n, flow: Flow, count: int) -> Measured:
    """Delivers so many messages and waits until n8n has executed them."""
    with psycopg.connect(uri, autocommit=True) as conn, psycopg.connect(n8n.dsn, autocommit=True) as theirs:
        conn.execute("truncate pgmq.q_bench, pgmq.a_bench, qctl.attempt, qctl.in_flight, qctl.retry")
        theirs.execute("truncate execution_entity cascade")
        theirs.execute("vacuum analyze execution_entity")
        conn.execute(
            "insert into pgmq.q_bench (vt, message) select clock_timestamp(), jsonb_build_object('operation', 'INSERT', 'record',"
            " jsonb_build_object('id', n, 'name', repeat('x', 300))) from generate_series(1, %s) n",
            (count,),
        )
        cpu, began = n8n.cpu_s(), time.perf_counter()
        qctl("worker", "-q", "bench", "--drain", dsn=uri, timeout=LIMIT_S).check_returncode()
        while flow.counts()["success"] < count:
            assert time.perf_counter() - began < LIMIT_S, flow.counts()
            time.sleep(0.1)
        cpu = (n8n.cpu_s() - cpu) / (time.perf_counter() - began)
        assert set(flow.counts()) == {"success"}
        (ended,) = theirs.execute('select max("stoppedAt") from execution_entity').fetchone() or (None,)
        row = conn.execute(
            "select count(*), count(*) filter (where outcome = 'delivered'), count(*) / extract(epoch from max(settled_at) -"
            " min(claimed_at)), count(*) / extract(epoch from %s::timestamptz - min(claimed_at)), percentile_cont(0.5) within"
            " group (order by duration_ms), percentile_cont(0.95) within group (order by duration_ms), max(duration_ms)"
            " from qctl.attempt",
            (ended,),
        ).fetchone()
        assert row
        assert row[:2] == (count, count), "an attempt failed"
        answers, executions, p50, p95, slowest = (float(value) for value in row[2:])
        return Measured(answers, executions, p50, p95, slowest, cpu)


def main() -> None:
    """Runs the rounds and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", default="1,2,5,10,20,50,100", metavar="NUMBER,…")
    parser.add_argument("--modes", default=",".join(MODES), metavar="MODE,…", help=", ".join(MODES))
    parser.add_argument("--auto", action="store_true", help="also what qctl finds by itself: set --concurrency auto")
    options = parser.parse_args()
    steps = [*options.concurrency.split(","), *(["auto"] if options.auto else [])]
    subprocess.run([sys.executable, str(HERE.parent / "scripts/n8n_parts.py")], check=True)
    if reason := n8n_process.missing():
        sys.exit(reason)
    found: dict[tuple[str, str], list[Measured]] = {}
    with postgres() as uri, started(uri) as n8n:
        with db.connect(Database(uri, "bench"), application="bench") as connection:
            migrate.apply(connection)
            loopback = Jsonb({"allow_networks": ["127.0.0.0/8"]})
            connection.execute(
                "select qctl.create_queue('bench', 'http://127.0.0.1:9/x', p_settings => %s)", (loopback,)
            )
        for mode in options.modes.split(","):
            _, responds, code = MODES[mode]
            flow = n8n.add(workflow(responds, code=code))
            qctl("set", "-q", "bench", "--url", flow.url, "--timeout", "60s", dsn=uri).check_returncode()
            settings(uri, "10")
            # Not counted: n8n compiles what it runs often.
            measure(uri, n8n, flow, min(300, options.messages))
            for number in range(1, options.rounds + 1):
                for step in steps:
                    if refused := settings(uri, step):
                        print(f"--concurrency {step} is refused: {refused}", file=sys.stderr)
                        continue
                    # One after another, 1000 of them would wait for minutes.
                    slow = mode == "waiting" and step != "auto"
                    count = min(options.messages, 100 * int(step)) if slow else options.messages
                    one = measure(uri, n8n, flow, count)
                    found.setdefault((mode, step), []).append(one)
                    print(f"{mode}, {step} at once, round {number}: {one}", file=sys.stderr, flush=True)
    cores = len(os.sched_getaffinity(0))
    print(f"{machine()}; {cores} of them used. {options.messages} messages, median of {options.rounds} rounds.\n")
    print("| n8n responds | at once | answers/s | executions/s | p50 | p95 | slowest | n8n's CPU |")
    print("|---|---|---|---|---|---|---|---|")
    for (mode, step), rounds in found.items():
        columns = zip(*map(astuple, rounds), strict=True)
        answers, executions, p50, p95, slowest, cpu = (statistics.median(each) for each in columns)
        times = " | ".join(f"{value:,.0f} ms" for value in (p50, p95, slowest))
        print(f"| {MODES[mode][0]} | {step} | {answers:.0f} | {executions:.0f} | {times} | {cpu:.0%} |")


if __name__ == "__main__":
    main()
