"""What doctor finds besides the health, and that its commands fix it."""

import uuid

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

import standin
from helpers import claim, create, one, send, settle


def findings(conn, kind: str | None = None) -> list[tuple]:
    rows = conn.execute("select severity, kind, object, problem, fix from qctl.doctor()").fetchall()
    return [row for row in rows if kind is None or row[1] == kind]


@pytest.fixture
def live(conn):
    create(conn)
    conn.execute("select qctl.register_worker('w', 'http', '{orders}', '0')")
    return conn


@pytest.fixture
def role(conn, dsn):
    """A role that works, with the rights of a worker."""
    name = f"worker_{uuid.uuid4().hex[:8]}"
    conn.execute(f"create role {name} login; grant usage on schema qctl, pgmq to {name};"
                 f" grant select, insert, update, delete on all tables in schema qctl to {name};"
                 f" grant execute on all routines in schema qctl to {name}")  # fmt: skip
    yield name
    conn.execute(f"drop owned by {name}; drop role {name}")


def work_as(dsn: str, name: str) -> list:
    with psycopg.connect(make_conninfo(dsn, user=name), autocommit=True) as worker:
        worker.execute("select qctl.register_worker('theirs', 'http', '{orders}', '0')")
        return worker.execute("select msg_id from qctl.claim('orders', 10)").fetchall()


def job_as(dsn: str, name: str) -> list:
    """What a job of that role sees of the queue."""
    with psycopg.connect(make_conninfo(dsn, user=name), autocommit=True) as job:
        job.execute("select qctl.register_worker('theirs', 'pg_net', '{orders}', '0')")
        return job.execute("select msg_id from pgmq.q_orders").fetchall()


def test_nothing_to_say_of_a_well_queue(live):
    assert findings(live) == []


def test_a_job_without_rights_and_behind_row_level_security(live, dsn, role):
    send(live, 3)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        job_as(dsn, role)
    missing = findings(live, "role")
    assert {row[0] for row in missing} == {"broken"}
    assert {row[2] for row in missing} == {role}
    for row in missing:
        live.execute(row[4])
    assert findings(live, "role") == []
    live.execute("alter table pgmq.q_orders enable row level security")
    assert job_as(dsn, role) == []
    (hidden,) = findings(live, "role")
    assert "row level security hides" in hidden[3]
    live.execute(hidden[4])
    assert findings(live, "role") == []
    assert len(job_as(dsn, role)) == 3


def test_a_function_that_a_worker_may_not_execute(live, dsn, role):
    work_as(dsn, role)
    assert findings(live, "role") == []
    live.execute(f"revoke execute on function qctl.upkeep(interval) from {role}")
    ((severity, _, who, problem, fix),) = findings(live, "role")
    assert (severity, who, "qctl.upkeep" in problem) == ("broken", role, True)
    assert fix == f"qctl grant {role} --as work"
    live.execute("select qctl.grant_role(%s, 'work')", [role])
    assert findings(live, "role") == []


def test_dead_letters_failures_and_load(live):
    send(live, 2)
    live.execute("select qctl.discard('orders', '{1}')")
    assert findings(live, "queue") == [("warning", "queue", "orders", "1 dead letter", "qctl dead -q orders")]
    live.execute("select qctl._audit_rarely('lapse_failed', 'orders', '42501', 'no right')")
    ((severity, _, who, problem, _),) = findings(live, "audit")
    assert (severity, who) == ("warning", "orders")
    assert "lapse_failed" in problem
    assert problem.endswith("no right")
    live.execute(
        "insert into qctl.worker (name, transport, queues, qctl_version, busy_s, busy_of_s) values ('j', 'pg_net',"
        " '{orders}', '0', 10, 60)"
    )
    assert findings(live, "load") == []
    live.execute("update qctl.worker set busy_s = 30 where name = 'j'")
    ((_, _, _, problem, fix),) = findings(live, "load")
    assert "50 %" in problem
    assert fix.endswith("qctl worker -q orders")


def test_history_that_is_kept_for_ever_with_its_growth_a_day(live):
    live.execute("select qctl.set_queue('orders', p_settings => '{\"retention_s\": null}')")
    assert findings(live) == []
    live.execute("insert into pgmq.a_orders (msg_id, enqueued_at, vt, message) overriding system value"
                 " select g, now(), now(), to_jsonb(repeat(md5(g::text), 32)) from generate_series(1, 120000) g")  # fmt: skip
    live.execute("insert into qctl.throughput values (1, date_trunc('minute', now()), 60000, 0, 0, 0, 1, 1)")
    live.execute("analyze pgmq.a_orders")
    ((severity, _, _, problem, fix),) = findings(live, "queue")
    assert severity == "note"
    assert "kept forever" in problem
    assert "MB more per day" in problem
    assert fix == "qctl set -q orders --retention 7d"


def test_a_long_queue_says_whether_it_ends(live):
    send(live, 1500)
    ((severity, _, _, problem, _),) = findings(live, "queue")
    assert severity == "note"
    assert "no maintenance has run" in problem
    live.execute("insert into qctl.sample select queue_id, now() - interval '100 s', 3000, 0 from qctl.queue")
    assert "empty in 00:01:40" in findings(live, "queue")[0][3]
    live.execute("update qctl.sample set depth = 500")
    assert "grows by 10" in findings(live, "queue")[0][3]


def test_secret_headers_that_pg_net_shows_to_all(conn, dsn):
    standin.install(dsn)
    conn.execute(
        "select qctl.create_queue('orders', 'https://hooks.example.com/x', '{\"Authorization\": \"Bearer x\"}',"
        ' \'{"transport": "pg_net"}\')'
    )
    conn.execute("select qctl.register_worker('w', 'pg_net', '{orders}', '0')")
    problems = [row[3] for row in findings(conn, "queue")]
    assert problems == ["every role of this database can read its secret headers in schema net"]
    conn.execute("revoke usage on schema net from public")
    assert findings(conn, "queue") == []


def test_an_old_transaction_is_told_before_it_does_harm(live, dsn):
    live.execute(f"alter database {one(live, 'select current_database()')} set qctl.old_transaction = '500 ms'")
    old = psycopg.connect(dsn)
    with psycopg.connect(dsn, autocommit=True) as fresh:
        old.execute("set transaction isolation level repeatable read")
        old.execute("select 1")
        fresh.execute("select pg_sleep(0.7)")
        ((severity, _, who, _, fix),) = findings(fresh, "transaction")
        assert (severity, who) == ("warning", f"pid {old.info.backend_pid}")
        fresh.execute(fix)
        fresh.execute("select pg_sleep(0.2)")
        assert findings(fresh, "transaction") == []
    old.close()


def test_a_pgmq_table_gone_behind_our_back_blinds_nobody(live):
    create(live, "other")
    live.execute("select qctl.register_worker('w2', 'http', '{other}', '0')")
    send(live, 1)
    settle(live, claim(live), 200)
    live.execute("drop table pgmq.q_other cascade")
    live.execute("drop table pgmq.a_other cascade")
    rows = dict(live.execute("select queue_name, health from qctl.status").fetchall())
    assert rows == {"orders": "ok", "other": "table_missing"}
    assert {row[2] for row in findings(live)} == {"other"}
    assert [row[0] for row in live.execute("select cause from qctl.check()")] == ["table_missing"]
    assert one(live, "select count(*) from qctl.messages('orders')") == 1
