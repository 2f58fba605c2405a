"""The pg_net transport: real pg_cron, the stand-in for pg_net, a real endpoint. ``python benchmarks/inside.py [PART …]``

Parts, all of them by default:
  latency   one job: from commit to POST, single rows; and 20 queues of which one hangs until its timeout
  ceiling   messages a second beside plain net.http_post of the same bodies, in turn
  flat      each worker step with 200,000 old answers, 1,000,000 archived and 200,000 hidden messages, beside none of them
  minutes   5,000 events a minute for 5 minutes on default settings: does the lag stay bounded?
"""

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.types.json import Jsonb
from rig import machine

from qctl import db, migrate
from qctl.config import Database
from qctl.receiver import read_ledger

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import standin
from processes import Endpoint
from servers import DebianServer

ROUNDS = 3
LOOPBACK = Jsonb({"allow_networks": ["127.0.0.0/8"]})
BODY = "jsonb_build_object('operation', 'INSERT', 'record', jsonb_build_object('id', n, 'name', repeat('x', 300)))"


@contextmanager
def site() -> Iterator[tuple[psycopg.Connection, str]]:
    """A cluster with pg_cron, pg_net's stand-in at work, and qctl."""
    server = DebianServer()
    server.start()
    with psycopg.connect(server.uri(), autocommit=True) as connection:
        connection.execute("create extension pg_cron")
    standin.install(server.uri())
    with db.connect(Database(server.uri(), "bench"), application="bench") as connection:
        migrate.apply(connection)
    worker = standin.NetWorker(server.uri())
    try:
        with psycopg.connect(server.uri(), autocommit=True) as connection:
            yield connection, server.uri()
    finally:
        worker.close()
        server.close()


def one(connection: psycopg.Connection, query: str, *values):
    return connection.execute(query, values).fetchone()[0]


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def wait_for_job(connection: psycopg.Connection) -> None:
    """Until pg_cron has begun its minute."""
    until = time.monotonic() + 70
    while not one(connection, "select count(*) from qctl.running_jobs()"):
        assert time.monotonic() < until, "pg_cron has not run the job"
        time.sleep(0.1)


def posted(connection: psycopg.Connection, queue: str, endpoint: Endpoint) -> list[float]:
    """Seconds from enqueued to the first POST of each delivered message."""
    first: dict[str, float] = {}
    for entry in read_ledger(endpoint.ledger):
        first.setdefault(entry.webhook_id, entry.at)
    rows = connection.execute(
        f"select qctl.webhook_id(q.queue_uuid, a.msg_id, a.enqueued_at), extract(epoch from a.enqueued_at)::float8"
        f" from pgmq.a_{queue} a, qctl.queue q where q.queue_name = %s", (queue,),
    )  # fmt: skip
    return [first[webhook_id] - enqueued for webhook_id, enqueued in rows]


def latency(folder: Path) -> None:
    with site() as (connection, _):
        endpoint = Endpoint(folder)
        connection.execute("create table public.users (id int, name text)")
        connection.execute("select qctl.create_queue('users', %s, p_settings => %s)", (endpoint.url, LOOPBACK))
        connection.execute("select qctl.attach('public.users', 'users')")
        wait_for_job(connection)
        for n in range(300):
            connection.execute("insert into public.users values (%s, 'x')", (n,))
            time.sleep(0.1)
        time.sleep(4)
        found = posted(connection, "users", endpoint)
        print(f"latency, one job, 10 rows/s: p50 {percentile(found, 0.5):.2f} s, p95 {percentile(found, 0.95):.2f} s"
              f" of {len(found)} delivered")  # fmt: skip
        connection.execute("select qctl.pause('users')")

        good, dead = Endpoint(folder), Endpoint(folder, "--fail-rate", "1", "--failures", "hang", "--hang-s", "8")
        names = [f"q{n}" for n in range(20)]
        for name in names:
            connection.execute(
                "select qctl.create_queue(%s, %s, p_settings => %s)",
                (name, dead.url if name == "q0" else good.url, LOOPBACK),
            )
        wait_for_job(connection)
        until = time.monotonic() + 120
        while time.monotonic() < until:
            for name in names:
                connection.execute("select qctl.send(%s, array[jsonb_build_object('at', clock_timestamp())])", (name,))
            time.sleep(0.5)
        time.sleep(10)
        found = [value for name in names[1:] for value in posted(connection, name, good)]
        print(f"latency, 20 queues, one of which hangs, 38 messages/s, 120 s: the other 19 p50 {percentile(found, 0.5):.2f} s,"
              f" p95 {percentile(found, 0.95):.2f} s of {len(found)} delivered; {len(dead.entries())} requests hung")  # fmt: skip
        for each in (endpoint, good, dead):
            each.close()


def ceiling(folder: Path) -> None:
    count = 6000
    plain, ours = [], []
    with site() as (connection, _):
        endpoint = Endpoint(folder)
        connection.execute("select qctl.create_queue('bench', %s, p_settings => %s)", (endpoint.url, LOOPBACK))

        def posts_a_second() -> float:
            """From the first to the last POST of this turn, as the endpoint saw them."""
            at = [entry.at for entry in endpoint.entries()][-count:]
            return (count - 1) / (at[-1] - at[0])

        for turn in range(ROUNDS):
            connection.execute("truncate net._http_response")
            connection.execute(
                f"select count(net.http_post(%s, {BODY})) from generate_series(1, %s) n", (endpoint.url, count)
            )
            while one(connection, "select count(*) from net._http_response") < count:
                time.sleep(0.1)
            plain.append(posts_a_second())
            connection.execute("select qctl.pause('bench')")
            connection.execute(
                f"insert into pgmq.q_bench (vt, message) select clock_timestamp(), {BODY} from generate_series(1, %s) n",
                (count,),
            )
            wait_for_job(connection)
            connection.execute("select qctl.resume('bench')")
            while one(connection, "select count(*) from pgmq.q_bench"):
                time.sleep(0.1)
            ours.append(posts_a_second())
            print(
                f"ceiling, round {turn + 1}: net.http_post alone {plain[-1]:.0f}/s, by qctl {ours[-1]:.0f}/s",
                flush=True,
            )
        endpoint.close()
    ratio = statistics.median(ours) / statistics.median(plain)
    print(f"ceiling: medians {statistics.median(plain):.0f}/s and {statistics.median(ours):.0f}/s, ratio {ratio:.2f}")


def flat(_folder: Path) -> None:
    def steps(connection: psycopg.Connection) -> dict[str, float]:
        """Median milliseconds of each step over 30 turns of 100 messages."""
        taken: dict[str, list[float]] = {}

        def timed(name: str, query: str) -> None:
            started = time.perf_counter()
            connection.execute(query)
            taken.setdefault(name, []).append((time.perf_counter() - started) * 1000)

        for _ in range(30):
            connection.execute(
                f"insert into pgmq.q_bench (vt, message) select clock_timestamp(), {BODY} from generate_series(1, 100) n"
            )
            timed("plan", "select qctl._work_plan(row(1, null, false, 1, 1, now(), now())::qctl.work_run)")
            timed("dispatch", "select qctl.dispatch('bench', 100)")
            connection.execute(
                "with done as (delete from net.http_request_queue returning id)"
                " insert into net._http_response (id, status_code, headers, content) select id, 200, '{}', 'ok' from done"
            )
            timed(
                "answers",
                "create temp table answers as select * from qctl._answers(array(select queue_id from qctl.queue))",
            )
            timed(
                "settle",
                "select qctl._settle_answers(queue_id, lease, msg_id, status, error, response, retry_after_s)"
                " from answers",
            )
            connection.execute("drop table answers")
            timed("review", "select qctl._net_review(q) from qctl.queue q")
        return {name: statistics.median(values) for name, values in taken.items()}

    server = DebianServer()
    server.start()
    try:
        standin.install(server.uri())
        with db.connect(Database(server.uri(), "bench"), application="bench") as installer:
            migrate.apply(installer)
        with psycopg.connect(server.uri(), autocommit=True) as connection:
            connection.execute(
                "select qctl.create_queue('bench', 'http://127.0.0.1:9/x', p_settings => %s)",
                (Jsonb({"transport": "pg_net", "allow_networks": ["127.0.0.0/8"]}),),
            )
            steps(connection)
            before = [steps(connection) for _ in range(ROUNDS)]
            connection.execute(
                "insert into net._http_response (id, status_code, headers, content, created)"
                " select -n, 200, '{}', 'ok', now() - interval '1 hour' - n * interval '50 ms' from generate_series(1, 200000) n"
            )
            connection.execute(
                "insert into pgmq.a_bench (msg_id, enqueued_at, vt, message, headers)"
                f" select 1000000000 + n, now(), now(), {BODY},"
                ' \'{"qctl": {"outcome": "delivered"}}\' from generate_series(1, 1000000) n'
            )
            connection.execute(
                f"insert into pgmq.q_bench (vt, message) select now() + interval '1 h', {BODY} from generate_series(1, 200000) n"
            )
            connection.execute("vacuum analyze")
            steps(connection)
            after = [steps(connection) for _ in range(ROUNDS)]
    finally:
        server.close()
    for name in before[0]:
        small, large = (statistics.median(run[name] for run in runs) for runs in (before, after))
        print(f"flat, {name}: {small:.2f} ms beside {large:.2f} ms, ratio {large / small:.2f}")


def minutes(folder: Path) -> None:
    minutes_long, per_minute = 5, 5000
    with site() as (connection, uri):
        endpoint = Endpoint(folder)
        connection.execute("create table public.users (id int, name text)")
        connection.execute("select qctl.create_queue('users', %s, p_settings => %s)", (endpoint.url, LOOPBACK))
        connection.execute("select qctl.attach('public.users', 'users')")
        wait_for_job(connection)
        stop = threading.Event()

        def write() -> None:
            with psycopg.connect(uri, autocommit=True) as writer:
                started, sent = time.monotonic(), 0
                while not stop.is_set() and sent < minutes_long * per_minute:
                    due = min(int((time.monotonic() - started) * per_minute / 60), minutes_long * per_minute)
                    for n in range(sent, due):
                        writer.execute("insert into public.users values (%s, 'x')", (n,))
                    sent = due
                    time.sleep(0.02)

        writer = threading.Thread(target=write)
        writer.start()
        lags: list[float] = []
        while writer.is_alive():
            lags.append(one(connection, "select coalesce(lag_s, 0) from qctl.lag('users')"))
            time.sleep(0.5)
        writer.join()
        started = time.monotonic()
        while one(connection, "select count(*) from pgmq.q_users"):
            time.sleep(0.1)
        found = posted(connection, "users", endpoint)
        half = len(lags) // 2
        lag = percentile(lags, 0.5)
        post = percentile(found, 0.5)
        print(f"minutes: {per_minute}/min for {minutes_long} min: lag p50 {lag:.2f} s, most {max(lags):.2f} s"
              f" (first half {max(lags[:half]):.2f}, second {max(lags[half:]):.2f}); {len(found)} delivered, empty"
              f" {time.monotonic() - started:.1f} s after the last event; commit to POST p50 {post:.2f} s")  # fmt: skip
        endpoint.close()


PARTS: dict[str, Callable[[Path], None]] = {"latency": latency, "ceiling": ceiling, "flat": flat, "minutes": minutes}

if __name__ == "__main__":
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for part in sys.argv[1:] or PARTS:
            PARTS[part](Path(scratch))
