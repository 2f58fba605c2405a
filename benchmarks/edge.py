"""Deliveries a second of the edge worker beside ``qctl worker``, in turn, in one run: the same signed queue, the same nginx.

Then the seed's case, 5,000 messages a minute: what they cost the database and the isolate.

The edge worker runs in Deno in the isolate of tests/edge, its limits far away. Of both the time is taken from the first claim to
the last settle as the database logged them, because how long an isolate takes to start says nothing about the hosted one. The CPU
time is that of the isolate's main thread, where its JavaScript runs, and of the database's process beside it.
"""

import os
import sys
import time
from pathlib import Path

from results import Report, Row
from rig import HERE, Rounds, change, create, drain, fill, nginx, one, options, refill, site

sys.path[:0] = [str(HERE.parent / "tests"), str(HERE.parent / "tests" / "edge")]
from isolate import Isolate, known_function, new_wake, signed  # noqa: E402

SETTINGS = {"concurrency": 100, "max_in_flight": 1000}
FAR = {"ISOLATE_CPU_MS": "1000000", "ISOLATE_WALL_MS": "1000000"}
SESSION = "select pid from pg_stat_activity where application_name = 'qctl edge'"


def cpu_s(pid: int, thread: int | None = None) -> float:
    """Seconds of CPU time of a process, or of one of its threads."""
    place = Path(f"/proc/{pid}/stat" if thread is None else f"/proc/{pid}/task/{thread}/stat")
    fields = place.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Runs the rounds."""
    size = options(__doc__, rounds=(5, 1), count=(20_000, 1_000), minutes=(1.0, 0.1))
    report = Report("edge", size.quick)
    rates, costs, shares = Rounds(), Rounds(), Rounds()
    with site() as (connection, uri), nginx() as endpoint:
        create(connection, "bench", endpoint.url)
        change(connection, "bench", **SETTINGS)
        secret = known_function(connection)

        def logged() -> float:
            return size.count / float(
                one(connection, "select extract(epoch from max(settled_at) - min(claimed_at)) from qctl.attempt")
            )

        def begun() -> Isolate:
            isolate = Isolate(uri, secret, QCTL_IDLE_S="1000", QCTL_WALL_S="1000", QCTL_CPU_MS="0", **FAR)
            status, body = isolate.post(signed(secret, new_wake(connection)))
            assert status == 202, body
            return isolate

        def ended(isolate: Isolate) -> None:
            isolate.close()
            connection.execute("update qctl.worker set stopped_at = now() where stopped_at is null")

        def edge() -> None:
            isolate = begun()
            before = cpu_s(isolate.pid, isolate.pid)
            until = time.monotonic() + 120
            while one(connection, "select exists (select from pgmq.q_bench)") and time.monotonic() < until:
                time.sleep(0.05)
            used = cpu_s(isolate.pid, isolate.pid) - before
            costs.add("main thread", used / size.count * 1e6)
            costs.add("database", cpu_s(one(connection, SESSION)) / size.count * 1e6)
            ended(isolate)

        def seed() -> tuple[float, float, float]:
            """Shares of a core: the isolate's main thread, the database's process; and the lag's 95th percentile in ms."""
            refill(connection, "bench", 0)
            isolate = begun()
            time.sleep(2)
            pid = one(connection, SESSION)
            before, began = (cpu_s(isolate.pid, isolate.pid), cpu_s(pid)), time.monotonic()
            seconds = size.minutes * 60
            for tick in range(int(seconds * 10)):
                # 83 a second, eight or nine every tenth.
                fill(connection, "bench", 8 if tick % 3 else 9)
                time.sleep(max(0.0, began + (tick + 1) / 10 - time.monotonic()))
            took = time.monotonic() - began
            thread, database = (cpu_s(isolate.pid, isolate.pid) - before[0]) / took, (cpu_s(pid) - before[1]) / took
            time.sleep(2)
            lag = (
                "select percentile_cont(0.95) within group (order by extract(epoch from t.settled_at - a.enqueued_at))"
                " from qctl.attempt t join pgmq.a_bench a using (msg_id)"
            )
            late_ms = 1000 * float(one(connection, lag))
            ended(isolate)
            return thread, database, late_ms

        for number in range(1, size.rounds + 1):
            for name, run in (("qctl worker", lambda: drain(uri, "bench")), ("edge worker", edge)):
                refill(connection, "bench", size.count)
                run()
                assert one(connection, "select count(*) from pgmq.a_bench") == size.count
                rates.add(name, logged())
            shares.add("ratio", rates.values["edge worker"][-1] / rates.values["qctl worker"][-1])
            shown = ", ".join(f"{name} {values[-1]:,.0f}/s" for name, values in rates.values.items())
            thread, database = (costs.values[name][-1] for name in ("main thread", "database"))
            print(
                f"round {number}: {shown}, {thread:.0f} µs of the main thread and {database:.0f} of its database",
                flush=True,
            )
        thread, database, late_ms = seed()
    ratio, cost = shares.median("ratio"), costs.median("main thread")
    report.add(
        Row(
            "deliveries of an edge worker", "≥ 0.7 × qctl worker", f"{rates.median('edge worker'):,.0f}/s",
            rates.spread("edge worker"), size.rounds, f"qctl worker {rates.median('qctl worker'):,.0f}/s", ratio, ratio >= 0.7,
            f"{size.count:,} signed messages, 100 at once, from the first claim to the last settle; median of the rounds' ratios",
        )
    )  # fmt: skip
    report.add(
        Row(
            "CPU time of an isolate's main thread", "≤ 200 µs a delivery", f"{cost:.0f} µs", costs.spread("main thread"),
            size.rounds, f"its process of the database {costs.median('database'):.0f} µs", None, cost <= 200,
            "the seed's 5,000 messages a minute need that much × 83 of each second at such batches",
        )
    )  # fmt: skip
    report.add(
        Row(
            "5,000 messages a minute by an edge worker: share of a core", "", f"database {database:.1%}, isolate {thread:.1%}",
            note=f"{size.minutes:g} min, eight or nine messages each 0.1 s; from commit to settled 95 % within {late_ms:.0f} ms",
        )
    )  # fmt: skip
    report.save()


if __name__ == "__main__":
    main()
