"""Deliveries a second of ``qctl worker`` beside PgQueuer: the same POSTs to the same nginx, in turn, in one run.

Both with fsync on. qctl claims, archives and logs each attempt; PgQueuer deletes the job and logs it. Prints each round, the
medians and their ratio.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.json import Jsonb
from rig import HERE, machine, nginx, peer, postgres

from qctl import db, migrate
from qctl.config import Database

ROUNDS = 3
QCTL_COUNT, PEER_COUNT = 40_000, 10_000
LOOPBACK = Jsonb({"allow_networks": ["127.0.0.0/8"]})
QCTL = Path(sys.executable).with_name("qctl")


def qctl_round(uri: str, endpoint, settings: dict[str, int]) -> float:
    """Messages a second from start of the worker to its end, start-up included."""
    with psycopg.connect(uri, autocommit=True) as conn:
        conn.execute("truncate pgmq.q_bench, pgmq.a_bench, qctl.attempt, qctl.in_flight")
        conn.execute("select qctl.set_queue('bench', p_settings => %s)", (Jsonb(settings),))
        conn.execute(
            "insert into pgmq.q_bench (vt, message) select clock_timestamp(), jsonb_build_object('operation', 'INSERT', 'record',"
            " jsonb_build_object('id', n, 'name', repeat('x', 300))) from generate_series(1, %s) n",
            (QCTL_COUNT,),
        )
        conn.execute("vacuum analyze pgmq.q_bench")
        before = endpoint.requests()
        started = time.perf_counter()
        subprocess.run([str(QCTL), "worker", "-q", "bench", "--drain", "--dsn", uri], check=True, capture_output=True)
        took = time.perf_counter() - started
        assert endpoint.requests() - before == QCTL_COUNT
        assert conn.execute("select count(*) from pgmq.a_bench").fetchone() == (QCTL_COUNT,)
    return QCTL_COUNT / took


def pgqueuer_round(uri: str, endpoint, python: Path) -> float:
    """Jobs a second from start to empty queue, start-up not included."""
    before = endpoint.requests()
    command = [str(python), str(HERE / "peers/pgqueuer_deliver.py"), endpoint.url, str(PEER_COUNT)]
    done = subprocess.run(command, env=_pg(uri), check=True, capture_output=True, text=True)
    assert endpoint.requests() - before == PEER_COUNT
    return PEER_COUNT / float(done.stdout.split()[-1])


def _pg(uri: str) -> dict[str, str]:
    given = conninfo_to_dict(uri)
    return {
        "PGHOST": str(given["host"]),
        "PGUSER": str(given["user"]),
        "PGDATABASE": str(given["dbname"]),
        "PATH": "/usr/bin:/bin",
    }


def main() -> None:
    """Runs the rounds."""
    python = peer("pgqueuer", "pgqueuer", "asyncpg", "aiohttp", "uvloop", "typer")
    with postgres() as uri, nginx() as endpoint:
        with db.connect(Database(uri, "bench"), application="bench") as connection:
            migrate.apply(connection)
            connection.execute("select qctl.create_queue('bench', %s, p_settings => %s)", (endpoint.url, LOOPBACK))
        subprocess.run([str(python.with_name("pgq")), "install"], env=_pg(uri), check=True, capture_output=True)
        ours: dict[int, list[float]] = {100: [], 500: []}
        theirs: list[float] = []
        for number in range(1, ROUNDS + 1):
            for concurrency, rates in ours.items():
                rates.append(qctl_round(uri, endpoint, {"concurrency": concurrency, "max_in_flight": 4 * concurrency}))
            theirs.append(pgqueuer_round(uri, endpoint, python))
            shown = ", ".join(f"qctl {concurrency} at once {rates[-1]:,.0f}/s" for concurrency, rates in ours.items())
            print(f"round {number}: {shown}, PgQueuer {theirs[-1]:,.0f}/s", flush=True)
        version = subprocess.run(
            [str(python), "-c", "from importlib.metadata import version; print(version('pgqueuer'))"],
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        peer_median = statistics.median(theirs)
        print(f"machine: {machine()}")
        print(f"median of {ROUNDS}: PgQueuer {version} {peer_median:,.0f}/s (batch 100, asyncpg, aiohttp, uvloop)")
        for concurrency, rates in ours.items():
            median = statistics.median(rates)
            print(
                f"median of {ROUNDS}: qctl worker, {concurrency} at once, {median:,.0f}/s = {median / peer_median:.1f} × PgQueuer"
            )


if __name__ == "__main__":
    main()
