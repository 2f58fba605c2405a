"""A backfill of a million rows beside a writer and a worker that delivers, killed in the middle.

The writer is pgbench with four clients that each update a random row; first alone, then beside the backfill. Both have the table
captured. The run is killed with kill -9 when a third is queued and started again. In the end every row has one READ, and what
was captured of a row before its READ is not newer.
"""

import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from results import Report, Row
from rig import QCTL, create, nginx, options, site, worker

from qctl.demo import embedded

CLIENTS = 4
UPDATE = "\\set id random(1, {rows})\nupdate public.users set n = n + 1 where id = :id;\n"


class Writer:
    """pgbench, until it is stopped; its transactions a second."""

    def __init__(self, uri: str, rows: int, seconds: int) -> None:
        self._folder = tempfile.TemporaryDirectory()
        script = Path(self._folder.name) / "update.sql"
        script.write_text(UPDATE.format(rows=rows))
        command = [str(embedded.binaries() / "pgbench"), "-n", "-c", str(CLIENTS), "-T", str(seconds)]
        command += ["-f", str(script), uri]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def stop(self) -> float:
        """Waits for its end; transactions a second.

        Raises:
            RuntimeError: a transaction failed.
        """
        said, errors = self._process.communicate()
        self._folder.cleanup()
        found = re.search(r"tps = ([\d.]+)", said)
        if not found or ("failed transactions: 0 " not in said and "number of failed transactions" in said):
            raise RuntimeError(said + errors)
        return float(found[1])


@contextmanager
def backfill(uri: str) -> Iterator[subprocess.Popen[bytes]]:
    """``qctl backfill`` as a process."""
    command = [QCTL, "--dsn", uri, "backfill", "public.users", "-q", "bench"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    yield process
    if process.wait() not in (0, -signal.SIGKILL):
        raise RuntimeError(f"the backfill ended with {process.returncode}")


def queued(connection: psycopg.Connection) -> int:
    """Rows that the run has queued."""
    row = connection.execute("select coalesce(max(queued), 0) from qctl.backfill").fetchone()
    assert row
    return row[0]


def faults(connection: psycopg.Connection, rows: int) -> tuple[int, int, int]:
    """Rows without a READ, with several, and with one that is older than a change captured before it."""
    row = connection.execute(
        """
        with message as (
          select m.msg_id, m.message ->> 'operation' as operation,
                 (m.message -> 'record' ->> 'id')::bigint as id, (m.message -> 'record' ->> 'n')::bigint as n
          from (select msg_id, message from pgmq.q_bench union all select msg_id, message from pgmq.a_bench) m
        ), ranked as (
          select *, max(n) over (partition by id order by msg_id rows between unbounded preceding and 1 preceding) as before
          from message
        )
        select %s - count(distinct id) filter (where operation = 'READ'),
               count(*) filter (where operation = 'READ') - count(distinct id) filter (where operation = 'READ'),
               count(*) filter (where operation = 'READ' and n < before)
        from ranked
        """,
        [rows],
    ).fetchone()
    assert row
    return row


def main() -> None:
    """Alone, then beside the backfill."""
    size = options(__doc__, rows=(1_000_000, 20_000), seconds=(30, 3))
    report = Report("backfill", size.quick)
    with site() as (connection, uri), nginx() as endpoint:
        create(connection, "bench", endpoint.url, concurrency=100)
        connection.execute("create table public.users (id int primary key, n int not null default 0, name text)")
        filled = "insert into public.users select i, 0, repeat('x', 100) from generate_series(1, %s) i"
        connection.execute(filled, [size.rows])
        connection.execute("vacuum analyze public.users")
        connection.execute("select qctl.attach('public.users', 'bench')")
        with worker(uri, "-q", "bench", "--grace", "1s"):
            alone = Writer(uri, size.rows, size.seconds).stop()
            beside = Writer(uri, size.rows, size.seconds)
            started = time.monotonic()
            with backfill(uri) as process:
                while process.poll() is None and queued(connection) < size.rows / 3:
                    time.sleep(0.02)
                process.kill()
            first_s, first = time.monotonic() - started, queued(connection)
            slowed = beside.stop()
            with backfill(uri):
                pass
        took_s = first_s if first == size.rows else first_s + time.monotonic() - started - size.seconds
        missing, twice, older = faults(connection, size.rows)
    report.add(
        Row(
            f"backfill, {size.rows:,} rows, killed in the middle", "each once, none older",
            f"{missing} missing, {twice} twice, {older} older", met=missing == twice == older == 0,
            note=f"killed after {first:,}",
        )
    )  # fmt: skip
    rate = f"{first / first_s:,.0f} rows/s"
    report.add(Row("backfill, beside a writer and a worker", "", rate, note=f"{took_s:.0f} s in all"))
    report.add(
        Row(
            "backfill, what it leaves of a writer's updates", "≥ 0.3 ×", f"{slowed:,.0f}/s", beside=f"alone {alone:,.0f}/s",
            ratio=slowed / alone, met=slowed / alone >= 0.3, note="four clients and a worker on the same two cores",
        )
    )  # fmt: skip
    report.save()


if __name__ == "__main__":
    main()
