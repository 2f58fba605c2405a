"""Purge of an archive in daily partitions, beside the row by row purge of a plain one, on Debian's PostgreSQL with pg_partman.

``--rows`` delivered messages over ten days in the one, a tenth of them in the other. Nobody's attempts are there: they are one
table, with or without partitions of the archive. Beside both a session claims and settles 50 messages again and again.
"""

import sys
import threading
import time
from collections.abc import Callable

import psycopg
from results import Report, Row
from rig import HERE, create, install, one, options, percentile

sys.path.insert(0, str(HERE.parent / "tests"))
from servers import DebianServer

DAYS = 10
FILL = """
insert into pgmq.a_{} (msg_id, read_ct, enqueued_at, archived_at, vt, message, headers)
select g, 1, t.at, t.at, t.at, jsonb_build_object('record', jsonb_build_object('id', g, 'name', repeat('x', 300))),
       '{{"qctl": {{"outcome": "delivered", "status": 200, "attempts": 1, "delivery_no": 1}}}}'
from generate_series(%(low)s::bigint, %(high)s::bigint) g
cross join lateral (select now() - interval '9 d' - interval '10 d' * g / %(rows)s as at) t
"""


def fill(connection: psycopg.Connection, queue: str, rows: int) -> None:
    """History that is old enough, spread over ten days."""
    connection.execute("set synchronous_commit = off")
    for low in range(0, rows + 1, 500_000):
        high = min(rows, low + 499_999)
        connection.execute(FILL.format(queue), {"low": low, "high": high, "rows": rows})
    connection.execute("reset synchronous_commit")
    connection.execute(f"vacuum analyze pgmq.a_{queue}")
    connection.execute("checkpoint")


def claims(connection: psycopg.Connection, queue: str, goes_on: Callable[[], bool]) -> list[float]:
    """Sends, claims and settles 50 at a time, at least once; the claims' seconds."""
    taken: list[float] = []
    while not taken or goes_on():
        connection.execute("select count(*) from qctl.send(%s, %s::jsonb[])", (queue, ["{}"] * 50))
        started = time.perf_counter()
        rows = connection.execute("select msg_id, lease from qctl.claim(%s, 50)", (queue,)).fetchall()
        taken.append(time.perf_counter() - started)
        n = len(rows)
        connection.execute(
            "select * from qctl.settle(%s, %s, %s, %s, %s, %s, %s, %s)",
            (
                queue,
                [r[1] for r in rows],
                [r[0] for r in rows],
                [200] * n,
                [None] * n,
                [b"ok"] * n,
                [5] * n,
                [None] * n,
            ),
        )
    return taken


def main() -> None:
    """One after the other."""
    size = options(__doc__, rows=(10_000_000, 20_000), alone=(10.0, 1.0))
    report = Report("partitions", size.quick)
    server = DebianServer()
    server.start()
    try:
        uri = server.uri()
        install(uri)
        with psycopg.connect(uri, autocommit=True) as connection, psycopg.connect(uri, autocommit=True) as other:
            for queue in ("parted", "plain"):
                create(connection, queue, "http://127.0.0.1:9/x")
                connection.execute(f"select setval('pgmq.q_{queue}_msg_id_seq', 1000000000)")
            connection.execute("select * from qctl.partition_archive('parted', 'daily')")
            # A message of each hour first, for pg_partman to make the days, as they would have come to be.
            fill(connection, "parted", 24 * DAYS)
            connection.execute("select partman.partition_data_time('pgmq.a_parted', 1000)")
            fill(connection, "parted", size.rows)
            fill(connection, "plain", size.rows // 10)
            until = time.monotonic() + size.alone
            alone = claims(connection, "parted", lambda: time.monotonic() < until)
            took: dict[str, float] = {}

            def drop() -> None:
                began = time.perf_counter()
                found = other.execute(
                    "select partitions, messages from qctl.purge_partitions('parted', '7 d')"
                ).fetchone()
                took["drop"] = time.perf_counter() - began
                print(
                    f"dropped {found[0]} partitions, about {found[1]:,} messages, in {took['drop']:.3f} s", flush=True
                )

            def delete() -> None:
                began, after, after_id = time.perf_counter(), "-infinity", 0
                while after is not None:
                    after, after_id = other.execute(
                        "select next_after, next_after_id from qctl.purge('plain', '7 d', %s, %s)", (after, after_id)
                    ).fetchone()
                took["delete"] = time.perf_counter() - began

            beside: dict[str, list[float]] = {}
            for name, remove in (("drop", drop), ("delete", delete)):
                thread = threading.Thread(target=remove)
                thread.start()
                beside[name] = claims(connection, "parted" if name == "drop" else "plain", thread.is_alive)
                thread.join()
            left = one(connection, "select count(*) from pgmq.a_parted where archived_at < now() - interval '8 d'")
            assert left == 0, left
        report.add(
            Row(
                f"purge of {size.rows:,}, in partitions", "< 1 s", f"{took['drop']:.2f} s", "", 1,
                f"plain, row by row: {took['delete'] * 10:.0f} s for as many", took["drop"] / (took["delete"] * 10),
                took["drop"] < 1,
                f"lock_timeout 50 ms and up to 100 tries; slowest claim beside it {max(beside['drop']) * 1000:.0f} ms,"
                f" alone {percentile(alone, 0.5) * 1000:.1f} ms at the median",
            )
        )  # fmt: skip
        report.save()
    finally:
        server.close()


if __name__ == "__main__":
    main()
