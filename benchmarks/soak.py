"""Long: 1,000 rows a second are written, captured, delivered and, each half minute, purged. ``--minutes`` says how long.

Looked at every 2 s: memory of the worker, size of the queue, its archive and the log of attempts with their indexes; and at the
begin and the end, when a row's message reached the endpoint. Flat means: at the end no more than in the middle.
"""

import statistics
import subprocess
import threading
import time

import psycopg
from results import Plot, Report, Row
from rig import LOGGED_S, QCTL, create, memory_mb, nginx, one, options, percentile, site, worker

TABLES = {"queue": "pgmq.q_bench", "archive": "pgmq.a_bench", "attempts": "qctl.attempt"}
KEPT_S = 30
WINDOW_S = 10
FLAT = 1.2
LONG_MIN = 10


def write(uri: str, per_s: int, until: float) -> None:
    """Inserts rows at an even pace, some at a time, each batch with its commit."""
    with psycopg.connect(uri, autocommit=True) as connection:
        began, done = time.monotonic(), 0
        while (now := time.monotonic()) < until:
            if due := int((now - began) * per_s) - done:
                connection.execute(
                    "insert into public.users select %s::bigint + n, repeat('x', 300) from generate_series(1, %s) n",
                    (done, due),
                )
                done += due
            time.sleep(0.02)


def thirds(samples: list[float]) -> tuple[float, float]:
    """Medians of the second third and of the last."""
    third = max(1, len(samples) // 3)
    return statistics.median(samples[third : 2 * third] or samples), statistics.median(samples[-third:])


def main() -> None:
    """One run."""
    size = options(__doc__, minutes=(2.0, 0.4), rate=(1000, 200))
    report = Report("soak", size.quick)
    samples: dict[str, list[float]] = {"memory": [], **{name: [] for name in TABLES}}
    at, waited = [], {}
    with site() as (connection, uri), nginx(log=True) as endpoint:
        create(connection, "bench", endpoint.url, concurrency=100)
        connection.execute("create table public.users (id bigint, name text)")
        connection.execute("select qctl.attach('public.users', 'bench')")

        def latencies() -> list[float]:
            """Seconds from capture to request of what was captured in the last moments and has been delivered."""
            time.sleep(LOGGED_S)
            arrived: dict[str, float] = {}
            for moment, webhook_id in endpoint.seen():
                arrived.setdefault(webhook_id, moment)
            rows = connection.execute(
                "select qctl.webhook_id(q.queue_uuid, a.msg_id, a.enqueued_at), extract(epoch from a.enqueued_at)::float8"
                " from pgmq.a_bench a, qctl.queue q where a.enqueued_at > now() - %s * interval '1 s'",
                (WINDOW_S,),
            )
            endpoint.forget()
            return [(arrived[webhook_id] - begun) * 1000 for webhook_id, begun in rows if webhook_id in arrived]

        began = time.monotonic()
        ends = began + size.minutes * 60
        with worker(uri, "-q", "bench") as process:
            writer = threading.Thread(target=write, args=(uri, size.rate, ends))
            writer.start()
            next_purge, purges = began + KEPT_S, []
            while (now := time.monotonic()) < ends - 1:
                at.append(round(now - began))
                samples["memory"].append(memory_mb(process.pid, "VmRSS"))
                for name, table in TABLES.items():
                    samples[name].append(one(connection, f"select pg_total_relation_size('{table}')") / 1e6)
                if now > next_purge:
                    next_purge += KEPT_S
                    command = [QCTL, "purge", "--older-than", f"{KEPT_S}s", "--dsn", uri]
                    purges.append(subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
                # When the worker's start is out of the window.
                if "begin" not in waited and now > began + 1.5 * WINDOW_S:
                    waited["begin"] = latencies()
                elif "begin" in waited and now < ends - 2 * WINDOW_S:
                    endpoint.forget()
                time.sleep(min(2.0, max(0.0, ends - time.monotonic())))
            writer.join()
            waited["end"] = latencies()
            assert not any(purge.wait() for purge in purges), "a purge failed"
            left = one(connection, "select count(*) from pgmq.q_bench")
    span = f"{size.minutes:g} min at {size.rate:,}/s, purged every {KEPT_S} s"
    sizes = [sum(samples[name][n] for name in TABLES) for n in range(len(at))]
    for what, values in (("memory of the worker", samples["memory"]), ("tables and indexes", sizes)):
        middle, end = thirds(values)
        # Autovacuum looks once a minute; before it has come a few times tables only grow.
        judged = what.startswith("memory") or size.minutes >= LONG_MIN
        report.add(
            Row(
                f"soak: {what}", "flat", f"{end:.0f} MB at the end", f"{min(values):.0f} – {max(values):.0f}", 1,
                f"in the middle {middle:.0f} MB", end / middle, end / middle <= FLAT if judged else None,
                span if judged else f"{span}; too short to judge",
            )
        )  # fmt: skip
    for share, name in ((0.5, "p50"), (0.99, "p99")):
        begin, end = (percentile(waited[when], share) for when in ("begin", "end"))
        report.add(
            Row(
                f"soak: latency {name}", "flat", f"{end:.0f} ms at the end", "", 1, f"at the begin {begin:.0f} ms", end / begin,
                end / begin <= 1.5 or end <= 50, f"{len(waited['end']):,} messages; {left:,} left in the queue",
            )
        )  # fmt: skip
    lines = {
        name: list(zip(at, (round(value, 1) for value in values), strict=True)) for name, values in samples.items()
    }
    lines["worker's memory"] = lines.pop("memory")
    report.plots.append(Plot("soak", f"{size.minutes:g} minutes at {size.rate:,} a second", "s", "MB", lines))
    report.save()


if __name__ == "__main__":
    main()
