"""Commits a second of 48 clients that insert a row each, by pgbench: without capture, with a bare trigger, with capture.

The bare trigger inserts the same message into a queue, and nobody delivers it. With capture a worker is awake: once it delivers
to nginx all that the clients write, so it shares the processors with them; once the queue's rate lets it send 200 a second, so
what is lost is not to its work. Also with a NOTIFY on each commit, which is what other queues do to wake theirs. fsync is on;
once with synchronous_commit on, where the disk limits, and once off, where the processor does. In turn.
"""

import re
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

from results import Report, Row
from rig import Rounds, change, create, nginx, options, refill, site, worker

from qctl.demo import embedded

CLIENTS = 48
BARE = """
create function public.queue_rows() returns trigger language plpgsql as $$
begin
  insert into pgmq.q_bare (vt, message)
  select clock_timestamp(), '{"operation": "INSERT", "table": "bare", "schema": "public", "old_record": null}'::jsonb
                            || jsonb_build_object('record', to_jsonb(r))
  from new_rows r;
  return null;
end $$;
create trigger queue after insert on public.bare referencing new table as new_rows for each statement
  execute function public.queue_rows();
"""
INSERT = "insert into public.{} (name) values ('somebody');\n"
NOTIFY = """
create function public.tell() returns trigger language plpgsql as $$ begin notify told; return null; end $$;
create trigger tell after insert on public.notify for each statement execute function public.tell();
"""


def commits(uri: str, table: str, for_s: int, *, flushed: bool) -> float:
    """A second, as pgbench counts."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "insert.sql"
        script.write_text(INSERT.format(table))
        command = [
            str(embedded.binaries() / "pgbench"),
            "-n",
            "-c",
            str(CLIENTS),
            "-j",
            "1",
            "-T",
            str(for_s),
            "-f",
            str(script),
        ]
        env = {"PGOPTIONS": f"-c synchronous_commit={'on' if flushed else 'off'}"}
        done = subprocess.run([*command, uri], env=env, check=True, capture_output=True, text=True)
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    assert found and "processed: 0" not in done.stdout, done.stdout
    return float(found[1])


def main() -> None:
    """All in turn."""
    size = options(__doc__, rounds=(5, 1), seconds=(8, 1))
    report, rates = Report("commits", size.quick), Rounds()
    with site() as (connection, uri), nginx() as endpoint:
        create(connection, "bench", endpoint.url, concurrency=100)
        for table in ("plain", "bare", "captured", "notify"):
            connection.execute(f"create table public.{table} (id bigint generated always as identity, name text)")
        connection.execute("select qctl.attach('public.captured', 'bench')")
        connection.execute("select pgmq.create('bare')")
        connection.execute(BARE)
        connection.execute(NOTIFY)
        # Somebody must listen, or a NOTIFY costs less than it does in life.
        connection.execute("listen told")
        for number in range(-1, size.rounds):
            for flushed in (True, False):
                for name in ("plain", "bare", "captured", "paced", "notify"):
                    table = "captured" if name == "paced" else name
                    connection.execute(f"truncate public.{table}")
                    connection.execute("truncate pgmq.q_bare")
                    refill(connection, "bench", 0)
                    change(connection, "bench", rate_per_s=200 if name == "paced" else None)
                    with ExitStack() as beside:
                        if table == "captured":
                            beside.enter_context(worker(uri, "-q", "bench", "--grace", "1s"))
                        rate = commits(uri, table, size.seconds, flushed=flushed)
                    list(connection.notifies(timeout=0))
                    if number >= 0:
                        rates.add(f"{name} {flushed}", rate)
    for flushed in (True, False):
        plain, bare, notify = (rates.median(f"{name} {flushed}") for name in ("plain", "bare", "notify"))
        for name, how in (("captured", "worker delivers it all"), ("paced", "worker awake, 200/s")):
            kept = rates.ratio(f"{name} {flushed}", f"bare {flushed}")
            report.add(
                Row(
                    f"commits/s of {CLIENTS} clients, captured, {how}, synchronous_commit {'on' if flushed else 'off'}",
                    "≥ 0.9 × a bare trigger" if flushed and name == "paced" else "",
                    f"{rates.median(f'{name} {flushed}'):,.0f}/s", rates.spread(f"{name} {flushed}"), size.rounds,
                    f"a bare trigger {bare:,.0f}/s", kept, kept >= 0.9 if flushed and name == "paced" else None,
                    f"without {plain:,.0f}/s, with a NOTIFY on each commit {notify:,.0f}/s",
                )
            )  # fmt: skip
    report.save()


if __name__ == "__main__":
    main()
