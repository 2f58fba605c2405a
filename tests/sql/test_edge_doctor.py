"""What doctor says of an Edge Function, and what capacity expects of it."""

import psycopg
import pytest

import standin
from helpers import create, one, send

URL = "https://abc.supabase.co/functions/v1/qctl-worker"


@pytest.fixture
def known(dsn: str, conn: psycopg.Connection) -> psycopg.Connection:
    standin.install(dsn)
    conn.execute("insert into qctl.edge_function (url) values (%s)", [URL])
    create(conn)
    return conn


def began(conn, count: int = 1, version: str | None = None, **columns) -> None:
    """So many wakes whose worker began and ended."""
    names = "".join(f", {name}" for name in columns)
    marks = ", %s" * len(columns)
    for _ in range(count):
        worker = one(conn, "select qctl.register_worker('w', 'http', '{}', coalesce(%s, qctl._version()))", version)
        conn.execute(
            f"insert into qctl.edge_wake (used_at, answered_at, ended_at, worker_id{names})"
            f" values (now(), now(), now(), %s{marks})",
            (worker, *columns.values()),
        )
        conn.execute("select qctl.unregister_worker(%s)", (worker,))


def found(conn) -> list[tuple[str, str, str]]:
    return conn.execute("select severity, problem, fix from qctl.doctor() where kind = 'edge'").fetchall()


def test_all_is_well(known):
    began(known, 10, claimed=5, reason="idle", pooled=True)
    assert found(known) == []


def test_an_older_function_is_named(known):
    began(known, version="0.6.0", claimed=5, reason="idle")
    ((severity, problem, fix),) = found(known)
    assert severity == "warning"
    assert "the deployed function has version 0.6.0, but the schema has version" in problem
    assert fix == "qctl edge init && supabase functions deploy qctl-worker --no-verify-jwt"


def test_a_direct_connection_is_named_where_a_pooler_was_told(known):
    began(known, claimed=5, reason="idle", pooled=False)
    assert found(known) == []
    known.execute("update qctl.edge_function set pooler = 'pool.example.com:6543'")
    ((severity, problem, fix),) = found(known)
    assert (severity, fix) == ("warning", "supabase secrets set --env-file supabase/.env.qctl")
    assert "not through the pooler pool.example.com:6543" in problem
    began(known, claimed=5, reason="idle", pooled=True)
    assert found(known) == []


def test_wakes_without_work_and_used_up_cpu_time_are_noted(known):
    began(known, 6, reason="idle")
    began(known, 2, claimed=5, reason="idle")
    ((severity, problem, _fix),) = found(known)
    assert severity == "note"
    assert problem == "6 of its 8 wakes of the last hour found nothing to do"
    began(known, 20, claimed=6000, cpu_ms=1500, reason="cpu")
    ((severity, problem, fix),) = found(known)
    assert (severity, fix) == ("note", "qctl capacity")
    assert (
        "20 of its 28 workers of the last hour ended because their CPU time was used up, after 6000 messages each"
        in problem
    )


def test_capacity_counts_on_it(known):
    workers, limits, wakes = known.execute("select workers, limits, wakes_per_month from qctl.capacity()").fetchone()
    assert (workers, wakes) == (1, 0)
    assert any("CPU time of edge workers: about 6000 messages each" in limit["limit"] for limit in limits)
    known.execute("update qctl.edge_function set set_at = now() - interval '2 h', most = 2")
    began(known, 20, claimed=1000, cpu_ms=100, reason="idle")
    workers, limits, wakes = known.execute("select workers, limits, wakes_per_month from qctl.capacity()").fetchone()
    assert (workers, wakes) == (2, 20 * 30 * 12)
    assert any("about 15000 messages each" in limit["limit"] for limit in limits)
    assert "no worker process" not in str(limits)
    # A process beside it has no such limit.
    known.execute("select qctl.register_worker('a process', 'http', '{orders}', qctl._version())")
    workers, limits = known.execute("select workers, limits from qctl.capacity()").fetchone()
    assert workers == 1
    assert "1 worker process with" in str(limits)
    assert "edge worker" not in str(limits)


def test_workers_that_claim_nothing_or_are_killed_are_woken_more_rarely(known):
    """Each wake is paid for: a message behind a rate limit is ready for minutes, and one that kills an isolate kills the next."""
    send(known)
    began(known, reason="idle", claimed=7)
    assert one(known, "select until from qctl._edge_pause()") is None
    began(known, 2, reason="idle")
    worker = one(known, "select qctl.register_worker('killed', 'http', '{}', '0.7.0')")
    known.execute(
        "insert into qctl.edge_wake (used_at, answered_at, worker_id, claimed) values (now(), now(), %s, 5)", (worker,)
    )
    known.execute("update qctl.worker set last_seen_at = now() - interval '1 min' where worker_id = %s", (worker,))
    said = one(known, "select qctl.wake_edge()")
    assert said.startswith("its last 3 workers claimed nothing or were killed, so it is woken again at")
    assert one(known, "select round(extract(epoch from until - clock_timestamp())) from qctl._edge_pause()") == 40
    known.execute("update qctl.edge_wake set sent_at = sent_at - interval '41 s'")
    assert one(known, "select qctl.wake_edge()") == "woken"


def test_a_wake_that_pg_net_never_sent_is_taken_back(known):
    send(known)
    assert one(known, "select qctl.wake_edge()") == "woken"
    for _ in range(3):
        # The pause counts from the wake.
        known.execute("update qctl.edge_wake set sent_at = sent_at - interval '31 s' where answered_at is null")
        assert one(known, "select qctl.wake_edge()") == "woken"
    assert one(known, "select count(*) from net.http_request_queue") == 1
    health, reason = known.execute("select health, reason from qctl.health('orders')").fetchone()
    assert (health, reason) == ("no_worker", "the edge function does not answer: no answer within 30 s")


def test_roles_see_and_do_what_their_level_allows(known, dsn):
    for level in ("read", "operate", "work"):
        known.execute(f"drop role if exists edge_{level}")
        known.execute(f"create role edge_{level} login")
        known.execute("select qctl.grant_role(%s, %s)", (f"edge_{level}", level))
    may = {
        "select * from qctl.edge_status()": "read operate work",
        "select * from qctl.scale_edge(2)": "operate",
        "select qctl.begin_edge_worker(gen_random_uuid(), 'w', '0.7.0', true)": "work",
        "select * from qctl.work_queues()": "work",
        "select * from qctl.set_edge('https://a.example.com/f')": "",
        "select * from qctl.stop_edge()": "",
        "select qctl.wake_edge()": "",
        "select * from qctl.edge_secret": "",
        "select qctl._new_edge_secret('1 h')": "",
    }
    for level in ("read", "operate", "work"):
        known.execute(f"set role edge_{level}")
        for statement, levels in may.items():
            allowed = level in levels.split()
            try:
                known.execute(statement)
            except psycopg.errors.InsufficientPrivilege:
                assert not allowed, (level, statement)
            else:
                assert allowed, (level, statement)
        known.execute("reset role")
    for level in ("read", "operate", "work"):
        known.execute("select qctl.revoke_role(%s)", (f"edge_{level}",))
        known.execute(f"drop role edge_{level}")
