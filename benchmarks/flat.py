"""What looking, claiming and settling cost as the archive and the queue grow.

Two databases on one embedded server. The small one has 1,000 delivered messages with their attempts and 1,000 unfinished; the
large one grows, tenfold a step, to ``--rows`` delivered (10,000,000) and ``--depth`` unfinished (1,000,000). In both 100 are
retrying and 1,000 dead, and the newest 1,000 delivered are of the last seconds, all others older than an hour: only the size
differs. Each question is asked in turn in the one and the other; the figures are medians, and ratios of them.

Saves ``EXPLAIN (ANALYZE, BUFFERS)`` of every statement behind these questions, at the largest size, by auto_explain.

Then ``tail -f`` follows 1,000 attempts a second from overlapping transactions: seen, repeated, missed, memory.
"""

import json
import os
import random
import re
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo
from results import SAVED, Plot, Report, Row
from rig import QCTL, Rounds, change, create, fill, install, one, options, postgres

from qctl.operations.attempts import Tail

SMALL = 1_000
RECENT = 1_000
RETRYING = 100
BATCH = 50
WITHIN = 1.5
AGE = "((%(rows)s - g) * interval '10 ms' + case when %(rows)s - g >= %(recent)s then interval '1 h' else '0' end)"
ARCHIVE = f"""
insert into pgmq.a_orders (msg_id, read_ct, enqueued_at, archived_at, vt, message, headers) overriding system value
select g, 1, at, at + interval '300 ms', at, jsonb_build_object('operation', 'INSERT', 'schema', 'public', 'table', 't',
                                                               'record', jsonb_build_object('id', g)),
       '{{"qctl": {{"outcome": "delivered", "status": 200, "attempts": 1, "delivery_no": 1}}}}'
from (select g, now() - interval '1 s' - {AGE} as at from generate_series(%(low)s::bigint, %(high)s::bigint) g) s
"""
ATTEMPTS = f"""
insert into qctl.attempt (queue_id, msg_id, delivery_no, attempt_no, outcome, transport, claimed_at, settled_at, duration_ms,
                          status_code, response)
select 1, g, 1, 1, 'delivered', 'http', at, at + interval '300 ms', 20, 200, '{{"ok":' || (g %% 1000 <> 0)::text || '}}'
from (select g, now() - interval '1 s' - {AGE} as at from generate_series(%(low)s::bigint, %(high)s::bigint) g) s
"""
REST = f"""
insert into qctl.retry (queue_id, msg_id, enqueued_at, delivery_no, attempt_no, attempts, rejected, lost, next_at, last_status)
select 1, q.msg_id, q.enqueued_at, 1, 1, 1, 0, 0, now() + interval '1 h', 500
from pgmq.q_orders q order by q.msg_id limit {RETRYING};
update pgmq.q_orders q set vt = now() + interval '1 h' from qctl.retry r where r.msg_id = q.msg_id;
insert into qctl.dead_letter select 1, -g, 1, 10, 0, 'exhausted', null, 500, 'x', now(), 1, '{{}}', null, null, now()
from generate_series(1, 1000) g;
insert into qctl.throughput select 1, date_trunc('minute', now()) - g * interval '1 min', 6000, 0, 0, 0, 5, 9
from generate_series(1, 1440) g;
update qctl.upkept set rolled_to = date_trunc('minute', now()), retained_at = now(), swept_at = now();
select qctl.register_worker('w', 'http', '{{orders}}', '0');
"""
FRESHEN = f"""
with s as (select now() - max(settled_at) as d from qctl.attempt where queue_id = 1)
update qctl.attempt t set settled_at = t.settled_at + s.d, claimed_at = t.claimed_at + s.d
from s where t.queue_id = 1 and t.msg_id > (select max(msg_id) - {RECENT} from qctl.attempt);
with s as (select now() - max(archived_at) as d from pgmq.a_orders)
update pgmq.a_orders a set enqueued_at = a.enqueued_at + s.d, archived_at = a.archived_at + s.d, vt = a.vt + s.d
from s where a.msg_id > (select max(msg_id) - {RECENT} from pgmq.a_orders);
"""
TABLES = "pgmq.a_orders, pgmq.q_orders, qctl.attempt, qctl.dead_letter, qctl.retry, qctl.throughput"
Ask = Callable[[psycopg.Connection], object]


def asked(query: str) -> Ask:
    """A question in SQL."""
    return lambda connection: connection.execute(query).fetchall()


# What has to stay flat.
JUDGED: dict[str, Ask] = {
    "status": asked("select * from qctl.status"),
    "lag": asked("select * from qctl.lag()"),
    "show": asked("select * from qctl.message_state('orders', 500), qctl.life('orders', 500)"),
    "messages": asked("select * from qctl.messages('orders')"),
    "dead": asked("select * from qctl.dead()"),
    "tail": lambda connection: Tail(connection, None, failed=False).last(10),
    "check": asked("select * from qctl.check()"),
}
OTHERS: dict[str, Ask] = {
    "depth": asked("select * from qctl.depth()"),
    "doctor": asked("select * from qctl.doctor()"),
    "check, with silence": asked("select * from qctl.check(p_max_silence_s => 3600)"),
    "messages: dead": asked("select * from qctl.messages('orders', '{dead}')"),
    "messages: in flight": asked("select * from qctl.messages('orders', '{in_flight}')"),
    "messages: retrying": asked("select * from qctl.messages('orders', p_retrying => true)"),
    "messages: delivered, page": asked("select * from qctl.messages('orders', '{delivered}', p_before_id => 500)"),
    "messages: last minute": asked("select * from qctl.messages('orders', p_since => now() - interval '1 min')"),
    "messages: an answer, 1 min": asked(
        "select * from qctl.messages('orders', p_since => now() - interval '1 min', p_response => 'ok\":false')"
    ),
    "messages: a payload, 1 min": asked(
        "select * from qctl.messages_where('orders', '{\"record\":{\"id\":1}}', p_captured_since => now() - interval '1 min')"
    ),
}


def grow(connection: psycopg.Connection, rows: int, depth: int) -> None:
    """So much delivered history, and so much that is unfinished; what was there before goes."""
    connection.execute("set synchronous_commit = off")
    connection.execute(f"truncate {TABLES}, qctl.in_flight, qctl.worker")
    for low in range(1, rows + 1, 500_000):
        values = {"rows": rows, "recent": RECENT, "low": low, "high": min(rows, low + 499_999)}
        connection.execute(ARCHIVE, values)
        connection.execute(ATTEMPTS, values)
    connection.execute("select setval('pgmq.q_orders_msg_id_seq', %s)", (rows,))
    for low in range(0, depth, 100_000):
        fill(connection, "orders", min(100_000, depth - low))
    for statement in REST.strip().rstrip(";").split(";\n"):
        connection.execute(statement)
    connection.execute("reset synchronous_commit")
    connection.execute(f"vacuum analyze {TABLES}")
    connection.execute("checkpoint")


def claim_and_settle(connection: psycopg.Connection, note: Callable[[str, float], object]) -> None:
    """Times both; then as many messages come in again."""
    began = time.perf_counter()
    rows = connection.execute("select msg_id, lease from qctl.claim('orders', %s)", (BATCH,)).fetchall()
    note(f"claim of {BATCH}", time.perf_counter() - began)
    assert len(rows) == BATCH
    values = (
        [row[1] for row in rows],
        [row[0] for row in rows],
        [200] * BATCH,
        [None] * BATCH,
        [b"ok"] * BATCH,
        [5] * BATCH,
    )
    began = time.perf_counter()
    connection.execute("select * from qctl.settle('orders', %s, %s, %s, %s, %s, %s, %s)", (*values, [None] * BATCH))
    note(f"settle of {BATCH}", time.perf_counter() - began)
    fill(connection, "orders", BATCH)


def measure(sites: dict[str, psycopg.Connection], rounds: int) -> Rounds:
    """Milliseconds of everything, in turn here and there."""
    taken = Rounds()
    # The large one took minutes to fill.
    for connection in sites.values():
        for statement in FRESHEN.strip().split(";\n"):
            connection.execute(statement.rstrip(";"))
    for number in range(-1, rounds):
        for site, connection in sites.items():

            def note(site: str, name: str, seconds: float, number: int = number) -> None:
                if number >= 0:
                    taken.add(f"{site} {name}", seconds * 1000)

            connection.execute("update qctl.worker set last_seen_at = now()")
            for name, ask in (JUDGED | OTHERS).items():
                began = time.perf_counter()
                ask(connection)
                note(site, name, time.perf_counter() - began)
            claim_and_settle(connection, partial(note, site))
    return taken


# A statement that a function runs is told with the function's cost; a plan that touches no table is of no interest.
TOUCHES = re.compile(r"(Scan using|Seq Scan on|Index Only Scan|Bitmap Heap Scan on|Insert on|Update on|Delete on) ")
PLAN = re.compile(r"duration: ([\d.]+) ms  plan:\nQuery Text: (.*)", re.DOTALL)


def explain(uri: str) -> str:
    """The plans of every statement that touches a table, also within functions, as auto_explain tells them."""
    # No parameters, for among them are payloads and the keys that sign.
    settings = {
        "log_min_duration": 0, "log_analyze": "on", "log_buffers": "on", "log_nested_statements": "on",
        "log_parameter_max_length": 0,
    }  # fmt: skip
    told: list[str] = []
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("create table public.orders (id bigint, name text)")
        connection.execute("select qctl.attach('public.orders', 'orders')")
        connection.execute("load 'auto_explain'")
        for name, value in settings.items():
            connection.execute(f"set auto_explain.{name} = {value}")
        connection.execute("set client_min_messages = log")
        connection.add_notice_handler(lambda notice: told.append(notice.message_primary or ""))
        asks = {
            **JUDGED, **OTHERS,
            "claim and settle": lambda connection: claim_and_settle(connection, lambda *_: None),
            "capture": lambda connection: connection.execute("insert into public.orders values (1, 'x')"),
            "purge": asked("select * from qctl.purge('orders', interval '2 h', p_limit => 1000)"),
        }  # fmt: skip
        parts: list[str] = []
        for name, ask in asks.items():
            # The first time fills the caches.
            for _ in range(2):
                told.clear()
                ask(connection)
            parts.extend([f"{'=' * 20} {name}", *plans(told)])
    return "\n\n".join(parts) + "\n"


def plans(told: list[str]) -> list[str]:
    """Each statement once, the costliest first: its time, how often it ran, the plan of its slowest run."""
    runs: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for found in filter(None, map(PLAN.match, told)):
        if TOUCHES.search(found[2]):
            query = re.split(r"\n(?=\S.*\(cost=)", found[2])[0]
            runs[query].append((float(found[1]), found[2]))
    total = {query: sum(ms for ms, _ in seen) for query, seen in runs.items()}
    return [
        f"{total[query]:.3f} ms, {len(runs[query])} times\n{max(runs[query])[1]}"
        for query in sorted(runs, key=lambda q: -total[q])
    ]


def tail(uri: str, for_s: float, per_s: int = 1000) -> None:
    """Follows attempts while six sessions hold theirs back for up to 1.5 s."""
    command = [QCTL, "tail", "-f", "-n", "1", "--dsn", uri]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
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
        time.sleep(min(2.0, for_s / 6))
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
    """Step by step."""
    size = options(__doc__, rounds=(15, 2), rows=(10_000_000, 20_000), depth=(1_000_000, 5_000), tail=(60, 5))
    report, sites, uris = Report("flat", size.quick), {}, {}
    steps = [size.rows // 10**power for power in (3, 2, 1, 0) if size.rows // 10**power >= 10 * SMALL]
    lines: dict[str, list[tuple[float, float]]] = {}
    with postgres() as server:
        for name in ("small", "large"):
            with psycopg.connect(server, autocommit=True) as admin:
                admin.execute(f'create database "{name}"')
            uris[name] = make_conninfo(server, dbname=name)
            install(uris[name])
            sites[name] = psycopg.connect(uris[name], autocommit=True)
            create(sites[name], "orders", "http://127.0.0.1:9/x")
            change(sites[name], "orders", max_in_flight=1000)
        for rows in steps:
            depth = max(SMALL, size.depth * rows // size.rows)
            began = time.monotonic()
            grow(sites["small"], SMALL, SMALL)
            grow(sites["large"], rows, depth)
            print(f"filled {rows:,} and {depth:,} in {time.monotonic() - began:.0f} s", flush=True)
            taken = measure(sites, size.rounds)
            for name in (*JUDGED, f"claim of {BATCH}", f"settle of {BATCH}"):
                lines.setdefault(name, [(SMALL, round(taken.median(f"small {name}"), 3))])
                lines[name].append((rows, round(taken.median(f"large {name}"), 3)))
        for name in OTHERS:
            small, large, ratio = (
                taken.median(f"small {name}"), taken.median(f"large {name}"), taken.ratio(f"large {name}", f"small {name}"),
            )  # fmt: skip
            print(f"{name:28} {small:9.1f} ms {large:9.1f} ms {ratio:7.2f}")
        for name in lines:
            ratio = taken.ratio(f"large {name}", f"small {name}")
            report.add(
                Row(
                    f"{rows:,} archived, {depth:,} deep: {name}", f"within {WITHIN} × of {SMALL:,}",
                    f"{taken.median(f'large {name}'):.2f} ms", taken.spread(f"large {name}", ".2f"), size.rounds,
                    f"{SMALL:,} and {SMALL:,}: {taken.median(f'small {name}'):.2f} ms", ratio, ratio <= WITHIN,
                )
            )  # fmt: skip
        title = f"Cost as archive and queue grow, to {rows:,} and {depth:,}"
        report.plots.append(Plot("archive", title, "messages archived", "ms", lines, log_x=True, log_y=True))
        report.save()
        file = (SAVED / "quick" if size.quick else SAVED) / "explain.txt"
        file.write_text(
            f"-- {rows:,} archived, {depth:,} deep, {one(sites['large'], 'select version()')}\n\n"
            + explain(uris["large"])
        )
        print(f"plans: {os.path.relpath(file)}")
        for connection in sites.values():
            connection.close()
        tail(uris["small"], size.tail)


if __name__ == "__main__":
    main()
