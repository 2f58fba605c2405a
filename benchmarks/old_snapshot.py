"""Claiming and settling while another session holds a snapshot, as pg_dump does: nothing that ended since can be cleaned up.

Two databases of one server: one has the frozen schema of 0.6.0, the other this version. In both, 100,000 messages go through
while the snapshot is held, in claims of 50 with fresh messages coming in, and one claim in five has a single message. The cost of
both is noted before the snapshot and after each tenth of the messages; the server's other processes do not matter to it.
"""

import sys
import time

import psycopg
from psycopg.conninfo import make_conninfo
from results import Report, Row
from rig import HERE, Rounds, create, fill, install, options, postgres

sys.path.insert(0, str(HERE.parent / "scripts"))

from schema_dump import restore

RELEASED = HERE.parent / "tests/upgrade/released/v0.6.0.sql"
SIZES = (1, 50)


def through(connection: psycopg.Connection, size: int, note=lambda *_: None) -> None:
    """One claim, its settle, and as many fresh messages."""
    fill(connection, "bench", size)
    began = time.perf_counter()
    rows = connection.execute("select msg_id, lease from qctl.claim('bench', %s)", (size,)).fetchall()
    note(f"claim of {size}", (time.perf_counter() - began) * 1000)
    assert len(rows) == size
    leases, ids, none = [row[1] for row in rows], [row[0] for row in rows], [None] * size
    values = (leases, ids, [200] * size, none, [b"ok"] * size, [5] * size, none)
    began = time.perf_counter()
    connection.execute("select * from qctl.settle('bench', %s, %s, %s, %s, %s, %s, %s)", values)
    note(f"settle of {size}", (time.perf_counter() - began) * 1000)


def main() -> None:
    """Both in turn."""
    size = options(__doc__, messages=(100_000, 5_000), waiting=(1_000, 1_000), samples=(40, 5))
    report, taken = Report("old_snapshot", size.quick), Rounds()
    with postgres() as uri, psycopg.connect(uri, autocommit=True) as admin:
        sites = {}
        for name in ("0.6.0", "now"):
            database = f"v{name.replace('.', '_')}"
            admin.execute(f"create database {database}")
            there = make_conninfo(uri, dbname=database)
            if name == "now":
                install(there)
            else:
                restore(there, RELEASED)
                with psycopg.connect(there, autocommit=True) as connection:
                    connection.execute("select qctl.arm()")
            sites[name] = psycopg.connect(there, autocommit=True)
            create(sites[name], "bench", "http://127.0.0.1:9/")
            fill(sites[name], "bench", size.waiting)
            for _ in range(20):
                through(sites[name], 50)
            sites[name].execute("vacuum analyze")

        def sample(moment: int) -> None:
            for _ in range(size.samples):
                for name, connection in sites.items():
                    for count in SIZES:
                        through(
                            connection, count, lambda what, ms, name=name: taken.add(f"{name} {what} at {moment}", ms)
                        )

        sample(0)
        holders = [psycopg.connect(connection.info.dsn) for connection in sites.values()]
        for holder in holders:
            holder.execute("set transaction isolation level repeatable read")
            holder.execute("select count(*) from qctl.queue")
        step = size.messages // 10
        for moment in range(1, 11):
            for connection in sites.values():
                for _ in range(step // 50):
                    through(connection, 50)
            sample(moment * step)
            print(
                f"{moment * step:,} messages: "
                + ", ".join(
                    f"{name} {what} {taken.median(f'{name} {what} at {moment * step}'):.2f}"
                    for name in sites
                    for what in (f"{verb} of {count}" for verb in ("claim", "settle") for count in SIZES)
                ),
                flush=True,
            )
        for holder in holders:
            holder.close()
        for connection in sites.values():
            connection.close()
    for what in (f"{verb} of {count}" for verb in ("claim", "settle") for count in SIZES):
        after, before = f"now {what} at {size.messages}", f"now {what} at 0"
        old = taken.ratio(f"0.6.0 {what} at {size.messages}", f"0.6.0 {what} at 0")
        ratio = taken.ratio(after, before)
        report.add(
            Row(
                f"{what} after {size.messages:,} messages under an old snapshot", "≤ 1.5 × before",
                f"{taken.median(after):.2f} ms", taken.spread(after, ".2f"), size.samples,
                f"before {taken.median(before):.2f} ms; 0.6.0: {old:.1f} ×", ratio, ratio <= 1.5,
            )
        )  # fmt: skip
    report.save()


if __name__ == "__main__":
    main()
