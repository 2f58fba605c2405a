"""Purge of an archive and an attempt log in daily partitions, beside the row by row purge of plain ones.

On Debian's PostgreSQL with pg_partman. A tenth of ``--rows`` delivered messages with an attempt each over ten days, in plain
tables, is deleted batch by batch. Then both are put into partitions, ``--rows`` of each are filled in, and their partitions
are dropped: as they were just written, so that their files are in the system's cache whole, and again with that cache emptied of
them, as files are that nobody has read for days. Beside each a session claims and settles 50 messages again and again.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
from results import Report, Row
from rig import HERE, create, install, one, options, percentile

sys.path.insert(0, str(HERE.parent / "tests"))
from servers import DebianServer

DAYS = 10
# Numbers of the messages that are sent meanwhile begin here.
LIVE = 1_000_000_000
# From 19 to 9 days ago, both included: the few rows for which pg_partman makes the days must reach as far back as the many.
AT = "now() - interval '9 d' - interval '10 d' * (%(high)s - g) / greatest(%(high)s - %(low)s, 1)"
ARCHIVE = f"""
insert into pgmq.a_{{}} (msg_id, read_ct, enqueued_at, archived_at, vt, message, headers)
select g, 1, t.at, t.at, t.at, jsonb_build_object('record', jsonb_build_object('id', g, 'name', repeat('x', 300))),
       '{{{{"qctl": {{{{"outcome": "delivered", "status": 200, "attempts": 1, "delivery_no": 1}}}}}}}}'
from generate_series(%(low)s::bigint, %(high)s::bigint) g cross join lateral (select {AT} as at) t
"""
LOG = f"""
insert into qctl.attempt (queue_id, msg_id, delivery_no, attempt_no, outcome, transport, claimed_at, settled_at, duration_ms,
                          status_code, response)
select q.queue_id, g, 1, 1, 'delivered', 'http', t.at, t.at, 20, 200, '{{{{"ok":true}}}}'
from qctl.queue q, generate_series(%(low)s::bigint, %(high)s::bigint) g cross join lateral (select {AT} as at) t
where q.queue_name = '{{}}'
"""


def fill(connection: psycopg.Connection, queue: str, rows: int) -> None:
    """Messages and attempts that are old enough, spread over ten days, behind what is there."""
    connection.execute("set synchronous_commit = off")
    first = (one(connection, f"select max(msg_id) from pgmq.a_{queue} where msg_id < {LIVE}") or 0) + 1
    step = max(1, rows // 20)
    for low in range(first, first + rows, step):
        for statement in (ARCHIVE, LOG):
            connection.execute(statement.format(queue), {"low": low, "high": min(first + rows, low + step) - 1})
    connection.execute("reset synchronous_commit")
    connection.execute(f"vacuum analyze pgmq.a_{queue}, qctl.attempt")
    connection.execute("checkpoint")


def forget_files(connection: psycopg.Connection) -> None:
    """Empties the system's cache of the files of all old partitions."""
    folder = Path(one(connection, "select current_setting('data_directory')"))
    paths = connection.execute(
        "select pg_relation_filepath(t.oid) from pg_inherits i join pg_class c on c.oid = i.inhrelid"
        " cross join lateral (select c.oid union all select x.indexrelid from pg_index x where x.indrelid = c.oid) t"
        " where i.inhparent in ('pgmq.a_parted'::regclass, 'qctl.attempt'::regclass)"
    ).fetchall()
    for (path,) in paths:
        for file in (folder / path).parent.glob(f"{Path(path).name}*"):
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


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


def drop(connection: psycopg.Connection) -> float:
    """Purges by partitions; its seconds."""
    began = time.perf_counter()
    partitions, messages, until = connection.execute(
        "select partitions, messages, until from qctl.purge_partitions('parted', '7 d')"
    ).fetchone()
    attempts = one(connection, "select qctl.purge_attempts('parted', %s)", (until,))
    took = time.perf_counter() - began
    print(
        f"{partitions} partitions, about {messages:,} messages and {attempts:,} attempts, in {took:.3f} s", flush=True
    )
    for table, column in (("pgmq.a_parted", "archived_at"), ("qctl.attempt", "settled_at")):
        left = one(connection, f"select count(*) from {table} where {column} < now() - interval '8 d'")
        assert left == 0, (table, left)
    return took


def delete(connection: psycopg.Connection) -> float:
    """Purges row by row; its seconds."""
    began, after, after_id = time.perf_counter(), "-infinity", 0
    while after is not None:
        after, after_id = connection.execute(
            "select next_after, next_after_id from qctl.purge('plain', '7 d', %s, %s)", (after, after_id)
        ).fetchone()
    took = time.perf_counter() - began
    left = one(connection, "select count(*) from pgmq.a_plain where archived_at < now() - interval '8 d'")
    assert left == 0, left
    return took


def beside(
    connection: psycopg.Connection, queue: str, other: psycopg.Connection, remove: Callable[[psycopg.Connection], float]
) -> tuple[float, list[float]]:
    """How long the purge took, and the claims that went on meanwhile."""
    took: list[float] = []
    thread = threading.Thread(target=lambda: took.append(remove(other)))
    thread.start()
    taken = claims(connection, queue, thread.is_alive)
    thread.join()
    return took[0], taken


def parted(connection: psycopg.Connection, uri: str) -> None:
    """Both tables in partitions, with those of the past."""
    connection.execute("select * from qctl.partition_archive('parted', 'daily')")
    connection.execute("select * from qctl.partition_attempts('daily')")
    while one(connection, "select qctl.move_attempts()"):
        pass
    # A message of each hour first, for pg_partman to make the days, as they would have come to be.
    fill(connection, "parted", 24 * DAYS)
    for table in ("pgmq.a_parted", "qctl.attempt"):
        # Its temporary table has the columns of the first table for which a session calls it.
        with psycopg.connect(uri, autocommit=True) as session:
            session.execute("select partman.partition_data_time(%s, 1000)", (table,))


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
                connection.execute(f"select setval('pgmq.q_{queue}_msg_id_seq', {LIVE})")
            # pg_cron's maintenance would purge beside us.
            connection.execute("update qctl.queue set retention_s = null")
            fill(connection, "plain", size.rows // 10)
            deleting, _ = beside(connection, "plain", other, delete)
            print(f"{size.rows // 10:,} row by row in {deleting:.1f} s", flush=True)
            # Its own messages of just now would keep the log.
            connection.execute("truncate pgmq.a_plain")
            rows: list[tuple[str, float, list[float], list[float]]] = []
            for name, cold in (("just written", False), ("files not in the cache", True)):
                parted(connection, uri)
                fill(connection, "parted", size.rows)
                until = time.monotonic() + size.alone
                alone = claims(connection, "parted", lambda until=until: time.monotonic() < until)
                if cold:
                    forget_files(connection)
                rows.append((name, *beside(connection, "parted", other, drop), alone))
        for name, took, taken, alone in rows:
            report.add(
                Row(
                    f"purge of {size.rows:,} and their attempts, in partitions, {name}", "< 1 s", f"{took:.2f} s", "", 1,
                    f"plain, row by row: {deleting * 10:.0f} s for as many", took / (deleting * 10),
                    took < 1,
                    f"lock_timeout 50 ms and up to 100 tries; slowest claim beside it {max(taken) * 1000:.0f} ms,"
                    f" alone {percentile(alone, 0.5) * 1000:.1f} ms at the median",
                )
            )  # fmt: skip
        report.save()
    finally:
        server.close()


if __name__ == "__main__":
    main()
