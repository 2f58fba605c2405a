"""What it costs the application that its rows are captured: many rows in one statement, and single rows.

The same rows into tables that differ in how they are captured: not at all; by ``qctl attach``; by the row trigger of the seed,
which calls pgmq.send; by a bare statement trigger, which is one insert; by one that calls pgmq.send_batch; and, for many rows, by
a bare ``insert … select`` into the queue's table after the plain insert, in one transaction, which is the least that capture can
cost. In turn; before each the tables are emptied and a checkpoint is made. Single rows are inserted in one transaction, so that
the disk has no part in it: by a loop inside the server, and as prepared statements that a client sends.
"""

import time

import psycopg
from results import Report, Row
from rig import Rounds, create, options, site

CASES = ("none", "qctl", "trigger", "seed", "send_batch")
TABLE = "create table public.{0} (id bigint primary key, name text, email text, plan text, created_at timestamptz)"
ROWS = "select n, 'user ' || n, n || '@example.com', 'free', now() from generate_series(1, %s::bigint) n"
ONE = "insert into public.{0} values ({1}, 'user', 'user@example.com', 'free', now())"
# As the seed has it.
SEED = """
create function public.encolar_evento_pgmq() returns trigger language plpgsql as $$
begin
  perform pgmq.send('seed', jsonb_build_object('record', new, 'operation', tg_op, 'table', tg_table_name));
  return new;
end $$;
create trigger encolar after insert or update on public.seed for each row execute function public.encolar_evento_pgmq();
"""
SEND_BATCH = """
create function public.send_rows() returns trigger language plpgsql as $$
begin
  perform pgmq.send_batch('send_batch', array_agg(jsonb_build_object('record', to_jsonb(r), 'operation', tg_op, 'table',
    tg_table_name))) from new_rows r;
  return null;
end $$;
create trigger send after insert on public.send_batch referencing new table as new_rows for each statement
  execute function public.send_rows();
"""
# The least that a trigger can do: the statement of qctl's own function, and nothing around it.
TRIGGER = """
create function public.queue_rows() returns trigger language plpgsql as $$
begin
  insert into pgmq.q_trigger (vt, message)
  select clock_timestamp(), '{"type": "INSERT", "table": "trigger", "schema": "public", "old_record": null}'::jsonb
                            || jsonb_build_object('record', to_jsonb(r))
  from new_rows r;
  return null;
end $$;
create trigger queue after insert on public.trigger referencing new table as new_rows for each statement
  execute function public.queue_rows();
"""
BARE = """
insert into pgmq.q_bare (vt, message)
select clock_timestamp(), jsonb_build_object('record', to_jsonb(r), 'old_record', null, 'operation', 'INSERT', 'table', 'bare',
                                             'schema', 'public') from public.bare r
"""


def prepare(connection: psycopg.Connection) -> None:
    """The tables and how they are captured."""
    for table in (*CASES, "bare"):
        connection.execute(TABLE.format(table))
    create(connection, "qctl", "http://127.0.0.1:9/")
    connection.execute("select qctl.attach('public.qctl', 'qctl')")
    for queue in ("trigger", "seed", "send_batch", "bare"):
        connection.execute("select pgmq.create(%s)", (queue,))
    connection.execute(TRIGGER)
    connection.execute(SEED)
    connection.execute(SEND_BATCH)


def seconds(connection: psycopg.Connection, table: str, statements: list[tuple[str, tuple]]) -> float:
    """Of one transaction on an empty table, its commit included."""
    connection.execute(f"truncate public.{table}")
    if table != "none":
        connection.execute(f"truncate pgmq.q_{table}")
    connection.execute("checkpoint")
    started = time.perf_counter()
    with connection.transaction():
        for statement, values in statements:
            connection.execute(statement, values or None, prepare=True)
    return time.perf_counter() - started


def main() -> None:
    """All in turn."""
    size = options(__doc__, rounds=(5, 1), rows=(100_000, 2_000), single=(20_000, 2_000))
    report, taken = Report("capture", size.quick), Rounds()
    with site() as (connection, uri):
        prepare(connection)
        for number in range(-1, size.rounds):
            for table in (*CASES, "bare"):
                statements = [(f"insert into public.{table} {ROWS}", (size.rows,))]
                took = seconds(connection, table, statements + ([(BARE, ())] if table == "bare" else []))
                if number >= 0:
                    taken.add(table, took)
            for table in CASES:
                loop = f"do $$ begin for n in 1 .. {size.single} loop {ONE.format(table, 'n')}; end loop; end $$"
                sent = [(ONE.format(table, "%s"), (n,)) for n in range(size.single)]
                for how, statements in (("loop", [(loop, ())]), ("sent", sent)):
                    # A session that has handled 100,000 rows gives memory back and takes it again at each statement.
                    with psycopg.connect(uri, autocommit=True) as fresh:
                        took = seconds(fresh, table, statements) / size.single * 1e6
                    if number >= 0:
                        taken.add(f"{table} {how}", took)
    for beside, target, ratio, met in (
        ("seed", "≥ 6 × faster than the seed's row trigger", taken.ratio("seed", "qctl"), lambda r: r >= 6),
        ("bare", "within 1.1 × of a bare insert … select", taken.ratio("qctl", "bare"), lambda r: r <= 1.1),
        ("trigger", "", taken.ratio("qctl", "trigger"), None),
        ("send_batch", "", taken.ratio("send_batch", "qctl"), None),
        ("none", "", taken.ratio("qctl", "none"), None),
    ):
        report.add(
            Row(
                f"capture, {size.rows:,} rows in one statement, beside {NAMES[beside]}", target, f"{taken.median('qctl'):.3f} s",
                taken.spread("qctl", ".3f"), size.rounds, f"{NAMES[beside]} {taken.median(beside):.3f} s",
                ratio, met and met(ratio),
                f"of the whole statement; added is {added(taken, 'qctl', size.rows):.1f} µs a row beside"
                f" {added(taken, beside, size.rows):.1f}",
            )
        )  # fmt: skip
    for how, where in (("loop", "inside the server"), ("sent", "statements sent")):
        costs = {case: taken.median(f"{case} {how}") - taken.median(f"none {how}") for case in CASES}
        ratio = costs["qctl"] / costs["trigger"]
        report.add(
            Row(
                f"capture, single rows, {where}", "≤ 1.3 × a bare statement trigger", f"{costs['qctl']:.1f} µs added", "",
                size.rounds, f"a bare statement trigger {costs['trigger']:.1f} µs", ratio, ratio <= 1.3,
                f"an insert takes {taken.median(f'none {how}'):.1f} µs without; the seed's row trigger adds"
                f" {costs['seed']:.1f} µs, send_batch {costs['send_batch']:.1f} µs",
            )
        )  # fmt: skip
    report.save()


NAMES = {
    "none": "no capture",
    "trigger": "a bare statement trigger",
    "seed": "the seed's row trigger",
    "send_batch": "send_batch",
    "bare": "a bare insert … select",
}


def added(taken: Rounds, name: str, rows: int) -> float:
    """Microseconds a row more than without capture."""
    return (taken.median(name) - taken.median("none")) / rows * 1e6


if __name__ == "__main__":
    main()
