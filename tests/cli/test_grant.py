"""qctl grant and revoke: what a role of each level may and may not, by the commands and by SQL past them."""

import contextlib
import json
import signal
import uuid

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from helpers import LOOKING, claim, create, one, send, settle
from processes import WorkerProcess, data, failing, ok, qctl, wait_until


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


@pytest.mark.slow
def test_every_looking_verb_as_a_role_that_may_only_read(busy, dsn, role):
    theirs, name = role
    assert "permission denied" in failing(4, "status", dsn=theirs)
    granted = data("grant", name, "--as", "read", dsn=dsn)
    assert granted == [{"role_name": name, "level": "read", "payloads": False, "changed": True}]
    assert data("grant", name, dsn=dsn)[0]["changed"] is False
    for arguments in LOOKING:
        mine, seen = qctl(*arguments, "-o", "json", dsn=dsn), qctl(*arguments, "-o", "json", dsn=theirs)
        assert seen.returncode == mine.returncode == 0, (arguments, seen.stderr)
        if arguments[0] in ("queues", "describe", "show", "dead", "verify", "tail"):
            assert seen.stdout == mine.stdout
    assert data("status", dsn=theirs)[0]["depth"] == 3
    for arguments in (["messages", "--payload"], ["messages", "--where", "{}"], ["show", "1", "--payload"], ["purge",
    "--older-than", "1d"],
                      ["replay", "1"], ["pause"], ["discard", "4", "--yes"], ["arm", "--yes"],
                      ["grant", name, "--payloads"]):  # fmt: skip
        assert "permission denied" in failing(4, *arguments, "-o", "json", dsn=theirs)
    with psycopg.connect(theirs, autocommit=True) as connection:
        # On a busy machine the above takes longer than the minute after which a message that waits is an ailment.
        busy.execute("update pgmq.q_orders set enqueued_at = now(), vt = now() where vt <= now()")
        assert one(connection, "select health from qctl.status") == "ok"
        assert one(connection, "select count(*) from qctl.attempt") == 3
        for query in ("select headers from qctl.queue", "select message from qctl.dead_letter", "select * from pgmq.q_orders",
                      "select qctl.settle('orders', '{}', '{}', '{}', '{}', '{}', '{}', '{}')",
                      "select * from qctl.message('orders', 1)"):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(query)


def test_payloads_when_granted_and_nothing_when_revoked(busy, dsn, role):
    theirs, name = role
    ok("grant", name, "--payloads", dsn=dsn)
    assert {row["message"]["record"]["id"] for row in data("messages", "--payload", dsn=theirs)} == {1, 2, 3, 4, 5}
    assert len(data("messages", "--where", '{"record":{"id":2}}', dsn=theirs)) == 1
    ok("grant", name, dsn=dsn)
    failing(4, "messages", "--payload", "-o", "json", dsn=theirs)
    busy.execute("update qctl.routine set checksum = 'x' where name in ('depth', 'messages')")
    busy.execute("drop view qctl.status; drop function qctl._queue_status(text); drop function qctl.depth(text)")
    ok("upgrade", "--repair", dsn=dsn)
    assert data("status", dsn=theirs)[0]["depth"] == 3
    assert data("revoke", name, dsn=dsn) == [{"role_name": name, "changed": True}]
    assert data("revoke", name, dsn=dsn) == [{"role_name": name, "changed": False}]
    failing(4, "status", dsn=theirs)
    assert "role 'nobody_at_all' not found" in failing(6, "grant", "nobody_at_all", dsn=dsn)
    assert "--as read, operate or work" in failing(2, "grant", name, "--as", "god", dsn=dsn)
    assert (
        ok("grant", name, "--sql").stdout
        == f"""select * from "qctl"."grant_role"("p_role" => '{name}', "p_as" => 'read', "p_payloads" => false);\n"""
    )


def test_a_grant_takes_nothing_from_an_owner_or_a_worker(busy, dsn, role):
    theirs, name = role
    busy.execute(f"create table public.theirs (id int primary key); alter table public.theirs owner to {name}")
    busy.execute("select qctl.attach('public.theirs', 'orders')")
    ok("grant", name, dsn=dsn)
    with psycopg.connect(theirs, autocommit=True) as connection:
        connection.execute("insert into public.theirs values (1)")
        assert "keeps USAGE on schema qctl" in ok("revoke", name, dsn=dsn).stderr
        connection.execute("insert into public.theirs values (2)")
        connection.execute("update public.theirs set id = 3 where id = 2")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select * from qctl.queue")
    busy.execute(f"grant execute on all routines in schema qctl to {name}")
    ok("grant", name, dsn=dsn)
    assert one(busy, f"select has_function_privilege('{name}', 'qctl.claim(text, integer, bigint)', 'execute')")
    assert "installed qctl" in failing(7, "grant", one(busy, "select current_user"), dsn=dsn)


def test_what_a_payload_says_of_its_table_is_not_told_to_a_reader(conn, dsn, role):
    theirs, name = role
    create(conn)
    ok("grant", name, dsn=dsn)
    for body in (
        {"table": {"card": "4111"}, "schema": "public", "type": "INSERT"},
        {"table": "hunter2", "schema": "public", "operation": "INSERT"},
    ):
        ok("send", json.dumps(body), dsn=dsn)
    for msg_id in ("1", "2"):
        text = ok("show", msg_id, "-o", "json", dsn=theirs).stdout
        assert "4111" not in text
        assert "hunter2" not in text


@pytest.mark.slow
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


@pytest.mark.slow
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


def missing(theirs: str, *arguments: str) -> str:
    """What a command says to type where its role lacks a right."""
    [line] = [line for line in failing(4, *arguments, dsn=theirs).splitlines() if line.startswith("  Try:  ")]
    return line.removeprefix("  Try:  ")


def test_a_missing_right_names_the_grant_and_who_can_give_it(busy, dsn, role):
    theirs, name = role
    [owner] = busy.execute("select current_user").fetchone()
    looking = f"as {owner}, who installed qctl: qctl grant {name} --as read"
    acting = looking.replace("read", "operate")
    for arguments in (["status"], ["messages"], ["doctor"], ["verify"], ["metrics"], ["check"]):
        assert missing(theirs, *arguments) == looking
    assert looking in ok("--dsn", theirs).stdout
    for arguments in (["replay", "1", "-q", "orders"], ["pause", "-q", "orders"], ["send", "-q", "orders", "{}"]):
        assert missing(theirs, *arguments) == acting
    assert missing(theirs, "worker", "--all") == looking.replace("read", "work")
    for arguments in (["create", "bills", "--url", "http://x.example"], ["set", "-q", "orders", "--timeout", "3s"]):
        assert missing(theirs, *arguments) == f"connect as {owner}, who installed qctl; no grant allows this"

    typed = missing(theirs, "status").partition(": ")[2]
    ok(*typed.split()[1:], dsn=dsn)
    ok("status", dsn=theirs)
    assert missing(theirs, "messages", "--where", "true").endswith(f"qctl grant {name} --as read --payloads")
    assert missing(theirs, "replay", "1", "-q", "orders") == acting
    ok("grant", name, "--as", "operate", dsn=dsn)
    assert f"(a role has one level, and {name} has operate)" in missing(theirs, "worker", "--all")


def test_the_named_grant_takes_nothing_and_gives_no_payloads_unasked(busy, dsn, role):
    theirs, name = role
    ok("grant", name, "--as", "work", dsn=dsn)
    assert (
        missing(theirs, "messages", "--where", "true")
        == "a role with level work cannot read payloads: use another role"
    )
    ok("grant", name, "--as", "read", dsn=dsn)
    assert missing(theirs, "purge", "--older-than", "1d", "--dry-run").endswith(f"qctl grant {name} --as operate")
    for command in (
        ["drop", "orders", "--dry-run"],
        ["partition", "-q", "orders", "--dry-run"],
        ["uninstall", "--dry-run"],
    ):
        assert "no grant allows this" in missing(theirs, *command)
    assert "--as work" in missing(theirs, "worker", "--all", "--processes", "2")


def test_a_missing_right_that_no_grant_gives_is_not_called_one(busy, dsn, role):
    theirs, name = role
    ok("grant", name, "--as", "read", dsn=dsn)
    busy.execute("create table public.theirs (id int primary key)")
    assert "qctl grant" not in failing(4, "attach", "public.theirs", "-q", "orders", dsn=theirs)
