"""How soon a committed row is posted by an idle worker, beside PgQueuer; and what waiting costs.

Single rows are inserted, each with its own commit, at random intervals of 50 to 300 ms. The time counts from just before the
insert is sent, so its own flush to disk is in it, until nginx on this machine has the request. qctl's rows go through the trigger
of ``attach``. Then nobody writes for a while: CPU of the worker process, and transactions of its database.
"""

import json
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.conninfo import make_conninfo
from results import Plot, Report, Row
from rig import (
    HERE,
    LOGGED_S,
    Nginx,
    Rounds,
    cpu_s,
    create,
    libpq,
    nginx,
    one,
    options,
    percentile,
    pgqueuer,
    site,
    version,
    worker,
)


@contextmanager
def pgqueuer_worker(uri: str, url: str) -> Iterator[subprocess.Popen]:
    """PgQueuer, waiting for jobs."""
    command = [str(pgqueuer()), str(HERE / "peers/pgqueuer_deliver.py"), url, "idle"]
    process = subprocess.Popen(command, env=libpq(uri), stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def insert(connection: psycopg.Connection, pauses: list[float]) -> dict[str, float]:
    """Inserts rows; when each was begun, by its webhook-id."""
    begun = {}
    for number, pause in enumerate(pauses):
        time.sleep(pause)
        begun[number] = time.time()
        connection.execute("insert into public.users values (%s, 'x')", (number,), prepare=True)
    time.sleep(2)
    rows = connection.execute(
        "select qctl.webhook_id(q.queue_uuid, a.msg_id, a.enqueued_at), (a.message #>> '{record,id}')::integer"
        " from pgmq.a_bench a, qctl.queue q order by a.msg_id desc limit %s",
        (len(pauses),),
    )
    return {webhook_id: begun[number] for webhook_id, number in rows}


def enqueue(uri: str, pauses: list[float]) -> dict[str, float]:
    """Enqueues jobs for PgQueuer."""
    command = [str(pgqueuer()), str(HERE / "peers/pgqueuer_enqueue.py")]
    done = subprocess.run(
        command, env=libpq(uri), input=json.dumps(pauses), text=True, check=True, stdout=subprocess.PIPE
    )
    time.sleep(2)
    return {str(number): at for number, at in enumerate(json.loads(done.stdout))}


def waited_ms(endpoint: Nginx, begun: dict[str, float]) -> list[float]:
    """Milliseconds to the first request of each."""
    time.sleep(LOGGED_S)
    arrived: dict[str, float] = {}
    for at, webhook_id in endpoint.seen():
        arrived.setdefault(webhook_id, at)
    assert begun.keys() <= arrived.keys(), "not all have arrived"
    return [(arrived[key] - at) * 1000 for key, at in begun.items()]


def idle(uri: str, process: subprocess.Popen, for_s: float) -> tuple[float, float]:
    """Share of a core and transactions a second of a worker with nothing to do."""
    # From another database, so that looking is not counted.
    with psycopg.connect(make_conninfo(uri, dbname="template1"), autocommit=True) as other:
        query = "select xact_commit + xact_rollback from pg_stat_database where datname = 'postgres'"
        time.sleep(3)
        cpu, transactions, began = cpu_s(process.pid), one(other, query), time.monotonic()
        time.sleep(for_s)
        took = time.monotonic() - began
        return (cpu_s(process.pid) - cpu) / took, (one(other, query) - transactions) / took


def main() -> None:
    """Both in turn."""
    size = options(__doc__, rounds=(3, 1), rows=(300, 20), idle=(30.0, 3.0))
    report = Report("latency", size.quick, versions=[version(pgqueuer(), "pgqueuer")])
    found, rounds, choose = {"qctl": [], "PgQueuer": []}, Rounds(), random.Random(1)
    with site() as (connection, uri), nginx(log=True) as endpoint:
        create(connection, "bench", endpoint.url)
        connection.execute("create table public.users (id bigint, name text)")
        connection.execute("select qctl.attach('public.users', 'bench')")
        install = [str(pgqueuer().with_name("pgq")), "install"]
        subprocess.run(install, env=libpq(uri), check=True, capture_output=True)
        for number in range(1, size.rounds + 1):
            pauses = [choose.uniform(0.05, 0.3) for _ in range(size.rows)]
            for name in found:
                endpoint.forget()
                with worker(uri, "-q", "bench") if name == "qctl" else pgqueuer_worker(uri, endpoint.url) as process:
                    time.sleep(2)
                    begun = insert(connection, pauses) if name == "qctl" else enqueue(uri, pauses)
                    waited = waited_ms(endpoint, begun)
                    found[name] += waited
                    for share in (0.5, 0.99):
                        rounds.add(f"{name} {share}", percentile(waited, share))
                    core, queries = idle(uri, process, size.idle)
                    rounds.add(f"{name} core", core * 100)
                    rounds.add(f"{name} queries", queries)
            print(
                f"round {number}: " + ", ".join(f"{name} {values[-1]:.2f}" for name, values in rounds.values.items()),
                flush=True,
            )

    for share, name, target in ((0.5, "p50", 10), (0.99, "p99", 50)):
        ours, theirs = rounds.median(f"qctl {share}"), rounds.median(f"PgQueuer {share}")
        report.add(
            Row(
                f"latency commit → POST, idle, http: {name}", f"≤ {target} ms", f"{ours:.1f} ms",
                rounds.spread(f"qctl {share}", ".1f"), size.rounds, f"PgQueuer {theirs:.1f} ms",
                ours / theirs, ours <= target, f"{size.rows} rows a round",
            )
        )  # fmt: skip
    for what, unit, target, form in (("core", "% of a core", 1, ".2f"), ("queries", " transactions/s", 20, ".1f")):
        ours, theirs = rounds.median(f"qctl {what}"), rounds.median(f"PgQueuer {what}")
        report.add(
            Row(
                f"an idle worker, http: {what}", f"≤ {target}{unit}", f"{ours:{form}}{unit}", rounds.spread(f"qctl {what}", form),
                size.rounds, f"PgQueuer {theirs:{form}}{unit}", ours / theirs if theirs else None, ours <= target,
                f"over {size.idle:.0f} s",
            )
        )  # fmt: skip
    shares = [n / 200 for n in range(1, 199)]
    lines = {
        name: [(round(percentile(values, share), 2), share * 100) for share in shares] for name, values in found.items()
    }
    report.plots.append(
        Plot("latency", "From commit to POST, idle worker", "ms", "% of the rows within", lines, log_x=True)
    )
    report.save()


if __name__ == "__main__":
    main()
