"""What a role of each level may and may not: by the commands, and past them by SQL."""

import contextlib
import json
import signal
import uuid

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from helpers import claim, create, one, send, settle
from processes import WorkerProcess, qctl, wait_until


def ok(*arguments: str, **keywords):
    done = qctl(*arguments, **keywords)
    assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    return done


@pytest.fixture
def role(conn, dsn):
    name = f"colleague_{uuid.uuid4().hex[:8]}"
    conn.execute(f"create role {name} login")
    yield make_conninfo(dsn, user=name), name
    conn.execute(f"drop owned by {name}; drop role {name}")


NOT_BY_OPERATORS = [
    ["create", "bills", "--url", "http://127.0.0.1:9/x"], ["set", "-q", "orders", "--timeout", "5s"],
    ["drop", "orders", "--yes", "--discard"], ["attach", "public.users", "-q", "orders"], ["detach", "public.users"],
    ["arm", "--survive-failover"], ["disarm"], ["grant", "other"], ["revoke", "other"], ["config", "label", "prod"],
    ["upgrade", "--repair"], ["uninstall", "--yes"], ["messages", "--payload", "-o", "jsonl"], ["show", "1", "--payload"],
    ["purge", "--older-than", "0s", "--export", "FILE"], ["worker", "--once", "--all"],
]  # fmt: skip


def test_an_operator_acts_on_messages_and_on_nothing_else(conn, dsn, role, tmp_path):
    theirs, name = role
    create(conn, reject_after=1)
    conn.execute("create table public.users (id int primary key)")
    conn.execute("select qctl.attach('public.users', 'orders')")
    send(conn, 6)
    settle(conn, claim(conn, 3), [200, 400, 400])
    ok("grant", name, "--as", "operate", dsn=dsn)
    for arguments in (["status"], ["check"], ["messages"], ["show", "1"], ["dead"], ["tail"], ["verify"], ["capacity"]):
        assert qctl(*arguments, dsn=theirs).returncode in (0, 8)
    ok("replay", "orders/1", dsn=theirs)
    ok("replay", "--dead", "--yes", "-q", "orders", dsn=theirs)
    ok("discard", "orders/4", "--reason", "a test", "--yes", dsn=theirs)
    ok("send", "-q", "orders", '{"n": 9}', dsn=theirs)
    ok("pause", "-q", "orders", "--reason", "quiet", dsn=theirs)
    ok("resume", "-q", "orders", dsn=theirs)
    ok("scale", "-q", "orders", "--concurrency", "7", dsn=theirs)
    ok("purge", "--older-than", "0s", dsn=theirs)
    ok("purge", "--dead", "--older-than", "0s", "--yes", dsn=theirs)
    assert one(conn, "select count(*) from qctl.dead_letter") == 0
    assert one(conn, "select concurrency from qctl.queue") == 7
    actors = {
        row[0]
        for row in conn.execute(
            "select distinct actor from qctl.audit where verb in ('replay', 'discard', 'pause', 'resume')"
        )
    }
    assert actors == {name}
    before = one(conn, "select count(*) from qctl.audit")
    for arguments in NOT_BY_OPERATORS:
        done = qctl(*[str(tmp_path / "f.gz") if word == "FILE" else word for word in arguments], dsn=theirs)
        assert done.returncode == 4, (arguments, done.stdout, done.stderr)
        assert "permission denied" in done.stderr or "must be owner" in done.stderr, (arguments, done.stderr)
    assert one(conn, "select count(*) from qctl.audit") == before
    with psycopg.connect(theirs, autocommit=True) as connection:
        for query in ("delete from pgmq.q_orders", "update qctl.queue set url = 'x'",
                      "delete from qctl.attempt",
                      "select headers from qctl.queue", "select * from qctl.claim('orders', 1)",
                      "select qctl._queue(p_queue => 'orders')",
                      "select * from qctl.payloads('orders', '{1}')"):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(query)


def test_an_operator_with_payloads_exports_them(conn, dsn, role, tmp_path):
    theirs, name = role
    create(conn)
    send(conn, 2)
    settle(conn, claim(conn, 2), [200, 200])
    ok("grant", name, "--as", "operate", "--payloads", dsn=dsn)
    assert len(json.loads(ok("messages", "--payload", "-o", "json", dsn=theirs).stdout)) == 2
    ok("purge", "--older-than", "0s", "--export", str(tmp_path / "gone.jsonl.gz"), dsn=theirs)
    assert one(conn, "select count(*) from pgmq.a_orders") == 0


def test_a_worker_delivers_maintains_and_does_nothing_else(conn, dsn, role, endpoint):
    theirs, name = role
    receiver = endpoint("--fail-rate", "0.2", "--failures", "500")
    create(conn, url=receiver.url, retry_schedule_s=[1] * 20)
    send(conn, 100)
    ok("grant", name, "--as", "work", dsn=dsn)
    with contextlib.closing(WorkerProcess(theirs, "--all")) as worker:
        wait_until(lambda: len(receiver.accepted()) == 100 or not worker.running(), 60)
        assert worker.running(), worker.end()
        wait_until(lambda: one(conn, "select count(*) from qctl.upkept where swept_at is not null") > 0, 5)
        send(conn, 1)
        wait_until(lambda: len(receiver.accepted()) == 101, 30)
        worker.send(signal.SIGTERM)
        code, talk = worker.end()
    assert code == 0, talk
    assert "put off" not in talk
    ok("status", dsn=theirs)
    assert {row[0] for row in conn.execute("select role_name from qctl.worker")} == {name}
    assert conn.execute("select problem from qctl.doctor() where kind = 'role'").fetchall() == []
    for arguments in (["replay", "orders/1"], ["pause"], ["send", "{}"], ["purge", "--older-than", "0s"]):
        done = qctl(*arguments, dsn=theirs)
        assert (done.returncode, "permission denied" in done.stderr) == (4, True), (arguments, done.stderr)
    with psycopg.connect(theirs, autocommit=True) as connection:
        for query in ("select * from pgmq.q_orders", "select headers from qctl.queue", "select message from qctl.dead_letter",
                      "call qctl.work()", "select qctl.pause('orders')", "delete from qctl.worker"):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(query)


def test_the_last_level_given_is_the_one_that_holds(conn, dsn, role):
    theirs, name = role
    create(conn)
    for level in ("work", "operate", "read"):
        ok("grant", name, "--as", level, dsn=dsn)
    with psycopg.connect(theirs, autocommit=True) as connection:
        for query in ("select qctl.pause('orders')", "select * from qctl.claim('orders', 1)"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(query)
        connection.execute("select * from qctl.status")
    assert "payloads that it delivers" in qctl("grant", name, "--as", "work", "--payloads", dsn=dsn).stderr
    ok("revoke", name, dsn=dsn)
    query = """select count(*) from pg_proc p
               where p.pronamespace = 'qctl'::regnamespace and has_function_privilege(%s, p.oid, 'execute')"""
    assert one(conn, query, name) == 0
    assert one(conn, f"select has_schema_privilege('{name}', 'qctl', 'usage')") is False
