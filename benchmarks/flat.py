"""What people look at, with a small and a large archive side by side. ``python benchmarks/looking.py [ROWS]``

Two databases on one embedded server: one with 10,000 delivered messages and their attempts, one with ROWS of them
(10,000,000 by default); both with 2,000 unfinished messages, 500 of them retrying, and 1,000 dead letters. Each question is asked
in turn in the one and the other; printed is the median of each and their ratio.

``tail`` follows 1,000 attempts a second from overlapping transactions for 60 s: seen, repeated, missed, memory.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo
from rig import machine, postgres

from qctl import db, migrate
from qctl.config import Database

SMALL = 10_000
ROUNDS = 5
FILL = """
insert into pgmq.a_orders (msg_id, read_ct, enqueued_at, archived_at, vt, message, headers) overriding system value
select g, 1, at, at + interval '300 ms', at, jsonb_build_object('operation', 'INSERT', 'schema', 'public', 'table', 't',
'record', jsonb_build_object('id', g)),
       '{"qctl": {"outcome": "delivered", "status": 200, "attempts": 1, "delivery_no": 1}}'
from (select g, now() - (%(rows)s - g) * interval '10 ms' as at from generate_series(%(low)s::bigint, %(high)s::bigint) g) s;
insert into qctl.attempt (queue_id, msg_id, delivery_no, attempt_no, outcome, transport, claimed_at, settled_at, duration_ms,
status_code, response)
select 1, g, 1, 1, 'delivered', 'http', at, at + interval '300 ms', 20, 200, '{"ok":' || (g %% 1000 <> 0)::text || '}'
from (select g, now() - (%(rows)s - g) * interval '10 ms' as at from generate_series(%(low)s::bigint, %(high)s::bigint) g) s;
"""
REST = """
select setval('pgmq.q_orders_msg_id_seq', %(rows)s);
select count(*) from qctl.send('orders', (select array_agg('{"table": "t"}'::jsonb) from generate_series(1, 2000)));
insert into qctl.retry (queue_id, msg_id, enqueued_at, delivery_no, attempt_no, attempts, rejected, lost, next_at, last_status)
select 1, q.msg_id, q.enqueued_at, 1, 1, 1, 0, 0, now() + interval '1 h', 500 from pgmq.q_orders q order by q.msg_id limit 500;
update pgmq.q_orders q set vt = now() + interval '1 h' from qctl.retry r where r.msg_id = q.msg_id;
insert into qctl.dead_letter select 1, -g, 1, 10, 0, 'exhausted', null, 500, 'x', now(), 1, '{}', null, null,
now() from generate_series(1, 1000) g;
insert into qctl.throughput select 1, date_trunc('minute', now()) - g * interval '1 min', 6000, 0, 0, 0, 5,
9 from generate_series(1, 1440) g;
update qctl.upkept set rolled_to = date_trunc('minute', now()), retained_at = now(), swept_at = now();
select qctl.register_worker('w', 'http', '{orders}', '0');
"""
QUESTIONS = {
    "status": "select * from qctl.status",
    "check": "select * from qctl.check()",
    "check, with silence": "select * from qctl.check(p_max_silence_s => 3600)",
    "doctor": "select * from qctl.doctor()",
    "depth": "select * from qctl.depth()",
    "lag": "select * from qctl.lag()",
    "messages": "select * from qctl.messages('orders')",
    "messages: dead": "select * from qctl.messages('orders', '{dead}')",
    "messages: in flight": "select * from qctl.messages('orders', '{in_flight}')",
    "messages: retrying": "select * from qctl.messages('orders', p_retrying => true)",
    "messages: delivered, page": "select * from qctl.messages('orders', '{delivered}', p_before_id => 5000)",
    "messages: last minute": "select * from qctl.messages('orders', p_since => now() - interval '1 min')",
    "messages: an answer, 1 min": "select * from qctl.messages('orders', p_since => now() - interval '1 min', p_response =>"
    " 'ok\":false')",
    "messages: a payload, 1 min": "select * from qctl.messages_where('orders', '{\"record\":{\"id\":1}}', p_captured_since =>"
    " now() - interval '1 min')",
    "show": "select * from qctl.message_state('orders', 5000), qctl.life('orders', 5000)",
    "dead": "select * from qctl.dead()",
}


def fill(connection: psycopg.Connection, rows: int) -> None:
    """Delivered history of 100 messages a second up to now, and what is unfinished."""
    connection.execute(
        "select qctl.create_queue('orders', 'http://127.0.0.1:9/x', p_settings => '{\"transport\": \"http\"}')"
    )
    connection.execute("set synchronous_commit = off")
    for low in range(1, rows + 1, 500_000):
        values = {"rows": rows, "low": low, "high": min(rows, low + 499_999)}
        for statement in FILL.strip().rstrip(";").split(";\n"):
            connection.execute(statement, values)
    for statement in REST.strip().rstrip(";").split(";\n"):
        connection.execute(statement, {"rows": rows} if "%(" in statement else None)
    connection.execute(
        "vacuum analyze pgmq.a_orders, qctl.attempt, pgmq.q_orders, qctl.dead_letter, qctl.retry, qctl.throughput"
    )


def measure(sites: dict[int, psycopg.Connection]) -> None:
    print(f"{'question':28} " + " ".join(f"{rows:>12,}" for rows in sites) + "   ratio")
    for name, query in QUESTIONS.items():
        taken: dict[int, list[float]] = {rows: [] for rows in sites}
        for _ in range(ROUNDS):
            for rows, connection in sites.items():
                connection.execute("update qctl.worker set last_seen_at = now()")
                started = time.perf_counter()
                connection.execute(query).fetchall()
                taken[rows].append(time.perf_counter() - started)
        small, large = (statistics.median(values) * 1000 for values in taken.values())
        print(f"{name:28} {small:9.1f} ms {large:9.1f} ms {large / small:7.2f}", flush=True)


def tail(uri: str, for_s: float = 60, per_s: int = 1000) -> None:
    """Follows attempts while six sessions hold theirs back for up to 1.5 s."""
    process = subprocess.Popen([str(Path(sys.executable).with_name("qctl")), "tail", "-f", "-n", "1"], env={**os.environ,
    "QCTL_DSN": uri},
                               stdout=subprocess.PIPE, text=True)  # fmt: skip
    seen: list[int] = []
    reader = threading.Thread(
        target=lambda: seen.extend(row["msg_id"] for row in map(json.loads, process.stdout or []))
    )
    reader.start()
    time.sleep(3)
    first = 10**9
    counts = [0] * 6

    def write(number: int) -> None:
        pick = random.Random(number)
        with psycopg.connect(uri) as connection:
            started = time.monotonic()
            while (passed := time.monotonic() - started) < for_s:
                count = max(0, int(passed * per_s / 6) - counts[number])
                connection.execute(
                    "insert into qctl.attempt (queue_id, msg_id, delivery_no, attempt_no, outcome, transport, claimed_at,"
                    " settled_at)"
                    " select 1, %s + g, 1, 1, 'delivered', 'http', clock_timestamp(), clock_timestamp() from"
                    " generate_series(1, %s) g",
                    (first * (number + 1) + counts[number], count),
                )
                time.sleep(pick.choice([0.05, 0.1, 0.3, 1.5]))
                connection.commit()
                counts[number] += count

    writers = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for writer in writers:
        writer.start()
    memory: list[int] = []
    while any(writer.is_alive() for writer in writers):
        time.sleep(2)
        memory.append(int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * 4096 // 1024**2)
    time.sleep(3)
    process.terminate()
    reader.join()
    written = {first * (number + 1) + n for number in range(6) for n in range(1, counts[number] + 1)}
    mine = [msg_id for msg_id in seen if msg_id >= first]
    third = len(memory) // 3
    missed, repeated = len(written - set(mine)), len(mine) - len(set(mine))
    print(
        f"tail -f: {len(written):,} attempts in {for_s:.0f} s; missed {missed}, repeated {repeated};"
        f" resident {max(memory[:third])} MiB in the first third, {max(memory[-third:])} MiB in the last"
    )


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    print(machine())
    with postgres() as server:
        sites: dict[int, psycopg.Connection] = {}
        for count in (SMALL, rows):
            with psycopg.connect(server, autocommit=True) as admin:
                admin.execute(f'create database "looking_{count}"')
            uri = make_conninfo(server, dbname=f"looking_{count}")
            with db.connect(Database(uri, "bench"), application="bench") as connection:
                migrate.apply(connection)
            sites[count] = psycopg.connect(uri, autocommit=True)
            started = time.monotonic()
            fill(sites[count], count)
            print(f"filled {count:,} in {time.monotonic() - started:.0f} s", flush=True)
        measure(sites)
        for connection in sites.values():
            connection.close()
        tail(make_conninfo(server, dbname=f"looking_{SMALL}"))


if __name__ == "__main__":
    main()
