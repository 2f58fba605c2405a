"""Purge beside delivering. ``python benchmarks/purging.py [ROWS]``

One embedded server, ROWS (1,000,000 by default) delivered messages with their attempts, and a session that claims and settles
50 messages again and again, as a worker does. Its claims are timed first alone, then while ``qctl purge`` runs; printed are the
rows a second that purge deletes and the slowest and median claim of both times. Then the same with ``--export``, killed with
SIGKILL in the middle and started again: how many messages the file and the archive are short of.
"""

import contextlib
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import psycopg
from rig import machine, postgres

from qctl import db, migrate
from qctl.config import Database

QCTL = str(Path(sys.executable).with_name("qctl"))
FILL = """
insert into pgmq.a_orders (msg_id, read_ct, enqueued_at, archived_at, vt, message, headers) overriding system value
select g, 1, now() - interval '9 d', now() - interval '8 d', now(), jsonb_build_object('record', jsonb_build_object('id', g,
'name', repeat('x', 300))),
       '{"qctl": {"outcome": "delivered", "status": 200, "attempts": 1, "delivery_no":'
       ' 1}}' from generate_series(%(low)s::bigint, %(high)s::bigint) g;
insert into qctl.attempt (queue_id, msg_id, delivery_no, attempt_no, outcome, transport, claimed_at, settled_at, duration_ms,
status_code, response)
select 1, g, 1, 1, 'delivered', 'http', now() - interval '8 d', now() - interval '8 d', 20, 200,
'ok' from generate_series(%(low)s::bigint, %(high)s::bigint) g;
"""


def fill(connection: psycopg.Connection, low: int, high: int) -> None:
    for statement in FILL.strip().rstrip(";").split(";\n"):
        connection.execute(statement, {"low": low, "high": high})
    connection.execute("vacuum analyze pgmq.a_orders, qctl.attempt")


def deliver(connection: psycopg.Connection, goes_on: Callable[[], bool]) -> list[float]:
    """Sends, claims and settles 50 at a time; the claims' seconds."""
    taken: list[float] = []
    bodies = ["{}"] * 50
    while goes_on():
        connection.execute("select count(*) from qctl.send('orders', %s::jsonb[])", (bodies,))
        started = time.perf_counter()
        rows = connection.execute("select msg_id, lease from qctl.claim('orders', 50)").fetchall()
        taken.append(time.perf_counter() - started)
        n = len(rows)
        connection.execute(
            "select * from qctl.settle('orders', %s, %s, %s, %s, %s, %s, %s)",
            ([r[1] for r in rows], [r[0] for r in rows], [200] * n, [None] * n, [b"ok"] * n, [5] * n, [None] * n),
        )
    return taken


def told(name: str, taken: list[float]) -> str:
    ordered = sorted(taken)
    p99 = ordered[int(len(ordered) * 0.99)]
    return (
        f"{name}: {len(taken)} claims, median {statistics.median(taken) * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms,"
        f" slowest {ordered[-1] * 1000:.1f} ms"
    )


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    print(machine())
    with postgres() as uri:
        with db.connect(Database(uri, "bench"), application="bench") as connection:
            migrate.apply(connection)
        env = {**os.environ, "QCTL_DSN": uri}
        with psycopg.connect(uri, autocommit=True) as connection:
            connection.execute(
                "select qctl.create_queue('orders', 'http://127.0.0.1:9/x', p_settings => '{\"transport\": \"http\"}')"
            )
            connection.execute("select setval('pgmq.q_orders_msg_id_seq', 100000000)")
            fill(connection, 1, rows)
            until = time.monotonic() + 10
            print(told("alone", deliver(connection, lambda: time.monotonic() < until)), flush=True)
            started = time.monotonic()
            purge = subprocess.Popen([QCTL, "purge", "--older-than", "7d"], env=env)
            beside = deliver(connection, lambda: purge.poll() is None)
            seconds = time.monotonic() - started
            print(told("beside purge", beside))
            left = connection.execute("select count(*) from pgmq.a_orders where msg_id <= %s", (rows,)).fetchone()
            print(
                f"purge: {rows:,} messages and their attempts in {seconds:.0f} s, {rows / seconds:,.0f} a second; {left[0]}"
                " left",
                flush=True,
            )

            count = rows // 5
            fill(connection, 1, count)
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "old.jsonl.gz"
                command = [QCTL, "purge", "--older-than", "7d", "--export", str(file)]
                for _ in range(3):
                    killed = subprocess.Popen(command, env=env)
                    time.sleep(1.5)
                    with contextlib.suppress(ProcessLookupError):
                        killed.kill()
                    killed.wait()
                started = time.monotonic()
                subprocess.run(command, env=env, check=True)
                seen = [json.loads(line)["msg_id"] for line in lines(file)]
                left = connection.execute("select count(*) from pgmq.a_orders where msg_id <= %s", (count,)).fetchone()
                print(
                    f"export of {count:,}, killed three times: {len(set(seen)):,} in the file, {len(seen) - len(set(seen)):,}"
                    " of them twice,"
                    f" {left[0]} left in the archive; the last run took {time.monotonic() - started:.0f} s"
                )


def lines(file: Path) -> list[str]:
    with contextlib.suppress(EOFError, zlib.error), gzip.open(file, "rt", encoding="utf-8") as text:
        return [line for line in text if line.strip()]
    raise SystemExit("the file is broken")


if __name__ == "__main__":
    main()
