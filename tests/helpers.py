"""What many tests do: a queue, a claim, an answer."""

import json
import time
from collections import Counter
from dataclasses import dataclass
from subprocess import CompletedProcess
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

QUEUE = "orders"
URL = "http://127.0.0.1:9/hook"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

# Commands that only look, with a queue orders and a message 1.
LOOKING = [
    ["status"], ["status", "--workers"], ["depth"], ["lag"], ["queues"], ["describe", "orders"], ["messages"],
    ["messages", "--response", "fine"], ["show", "1"], ["dead"], ["tail"], ["check"], ["doctor"], ["verify"], ["scale"],
]  # fmt: skip


def create(conn: psycopg.Connection, name: str = QUEUE, url: str = "http://127.0.0.1:9/x", **settings) -> None:
    settings = {"allow_networks": ["127.0.0.0/8", "::1/128"], **settings}
    conn.execute("select qctl.create_queue(%s, %s, p_settings => %s)", (name, url, Jsonb(settings)))


def create_pg_net(conn: psycopg.Connection, name: str = QUEUE, **settings) -> None:
    """A queue that pg_net delivers."""
    create(conn, name, transport="pg_net", **settings)


def send(conn: psycopg.Connection, count: int = 1, name: str = QUEUE) -> list[int]:
    bodies = [Jsonb({"n": n}) for n in range(count)]
    return [row[0] for row in conn.execute("select qctl.send(%s, %s)", (name, bodies))]


@dataclass(frozen=True)
class Claim:
    msg_id: int
    lease: UUID
    delivery_no: int
    attempt_no: int
    headers: dict
    body: str


def claim(conn: psycopg.Connection, limit: int = 100, name: str = QUEUE, worker: int | None = None) -> list[Claim]:
    rows = conn.execute(
        "select msg_id, lease, delivery_no, attempt_no, headers, body from qctl.claim(%s, %s, %s)",
        (name, limit, worker),
    )
    return [Claim(*row) for row in rows]


def settle(
    conn: psycopg.Connection,
    claims: list[Claim],
    status: int | list[int | None] | None,
    *,
    error: str | None = None,
    response: bytes | list[bytes] = b"ok",
    retry_after: int | None = None,
    took_ms: list[int | None] | None = None,
    name: str = QUEUE,
) -> dict[str, int]:
    """Settles all with one status, or each with its own; the counts that are not 0."""
    n = len(claims)
    statuses = status if isinstance(status, list) else [status] * n
    responses = response if isinstance(response, list) else [response] * n
    cursor = conn.execute(
        "select * from qctl.settle(%s, %s, %s, %s, %s, %s, %s, %s)",
        (
            name,
            [c.lease for c in claims],
            [c.msg_id for c in claims],
            statuses,
            [error] * n,
            responses,
            took_ms or [5] * n,
            [retry_after] * n,
        ),
    )
    names = [column.name for column in cursor.description]
    return {key: value for key, value in zip(names, cursor.fetchone(), strict=True) if value}


def deliver(conn: psycopg.Connection, count: int = 1) -> list[Claim]:
    """Sends and delivers so many."""
    send(conn, count)
    claimed = claim(conn, count)
    settle(conn, claimed, 200)
    return claimed


def state(conn: psycopg.Connection, msg_id: int, name: str = QUEUE) -> str | None:
    row = conn.execute("select state from qctl.message(%s, %s)", (name, msg_id)).fetchone()
    return row and row[0]


def states(conn: psycopg.Connection, ids: list[int], name: str = QUEUE) -> Counter:
    return Counter(state(conn, msg_id, name) for msg_id in ids)


def outcomes(conn: psycopg.Connection, msg_id: int) -> list[str]:
    rows = conn.execute(
        "select outcome from qctl.attempt where msg_id = %s order by delivery_no, attempt_no", (msg_id,)
    )
    return [row[0] for row in rows]


def outcome_counts(done: CompletedProcess[str]) -> Counter:
    """How many messages came out how, from what a command printed with -o json."""
    return Counter(row["outcome"] for row in json.loads(done.stdout))


def drop_pgmq_queue(conn: psycopg.Connection, name: str = QUEUE) -> None:
    """Drops pgmq's tables of a queue past qctl.

    Not by ``pgmq.drop_queue``, because as an extension pgmq 1.5 refuses a queue whose tables are not members of it, and
    ``qctl.create_queue`` takes them out.
    """
    conn.execute(f"drop table pgmq.q_{name}, pgmq.a_{name}")
    conn.execute("delete from pgmq.meta where queue_name = %s", [name])


def expire_leases(conn: psycopg.Connection) -> None:
    """As if the leases' time had passed."""
    conn.execute("update qctl.in_flight set expires_at = clock_timestamp() - interval '1 ms' where lapsed_at is null")


def upkeep(conn: psycopg.Connection) -> None:
    conn.execute("select qctl.upkeep()")


def make_due(conn: psycopg.Connection, name: str = QUEUE) -> None:
    """As if every wait had passed."""
    conn.execute(f"update pgmq.q_{name} q set vt = clock_timestamp() where vt > clock_timestamp() and not exists"
                 " (select from qctl.in_flight f where f.msg_id = q.msg_id and f.lapsed_at is null)")  # fmt: skip


def report_statistics(conn: psycopg.Connection) -> None:
    """Adds to PostgreSQL's statistics what this session did; by itself, it does so up to a second later.

    Before PostgreSQL 15 a session reports at the end of a statement, if its last report is half a second old.
    """
    conn.execute("select pg_stat_force_next_flush()" if conn.info.server_version >= 150000 else "select pg_sleep(1.2)")


def reset_statistics(conn: psycopg.Connection, name: str = QUEUE) -> None:
    """PostgreSQL knows no number of rows of the queue's table, as after a crash."""
    report_statistics(conn)
    conn.execute("select pg_stat_reset()")
    conn.execute("update pg_class set reltuples = -1 where oid = %s::regclass", [f"pgmq.q_{name}"])
    # PostgreSQL 14 shows the old statistics for up to half a second.
    deadline = time.monotonic() + 10
    while one(conn, "select pg_stat_get_live_tuples(%s::regclass)", f"pgmq.q_{name}"):
        assert time.monotonic() < deadline, "the old statistics stay"
        time.sleep(0.05)


def grow_old(conn: psycopg.Connection, days: int, count: int = 1000, table: str = "a_orders") -> None:
    """Delivered messages with an attempt each, spread evenly over so many days until now."""
    conn.execute(
        f"""with made as (
              insert into pgmq.{table} (msg_id, enqueued_at, archived_at, vt, message, headers)
              select 100000 + n, t.at, t.at, t.at, '{{}}', '{{"qctl": {{"outcome": "delivered", "status": 200, "attempts": 1}}}}'
              from generate_series(1, %(count)s) n
              cross join lateral (select now() - make_interval(secs => %(days)s * 86400.0 * n / %(count)s) as at) t
              returning msg_id, archived_at)
            insert into qctl.attempt (queue_id, msg_id, delivery_no, attempt_no, outcome, transport,
                                      claimed_at, settled_at, status_code)
            select q.queue_id, m.msg_id, 1, 1, 'delivered', 'http', m.archived_at, m.archived_at, 200
            from made m, qctl.queue q where q.queue_name = 'orders'""",
        {"days": days, "count": count},
    )


def replay(conn: psycopg.Connection, *ids: int, name: str = QUEUE) -> dict[int, str]:
    return dict(conn.execute("select * from qctl.replay(%s, %s)", (name, list(ids))).fetchall())


def one(conn: psycopg.Connection, query: str, *values):
    row = conn.execute(query, values).fetchone()
    return row and row[0]
