"""verify, drop, discard, uninstall as users type them."""

import json

import pytest

from helpers import claim, create, make_due, one, send, settle, state
from processes import WorkerProcess, qctl, wait_until


@pytest.fixture
def full(conn):
    create(conn)
    conn.execute("create table public.users (id int primary key)")
    conn.execute("select qctl.attach('public.users', 'orders')")
    conn.execute("insert into users values (1), (2)")
    return conn


def failing(code: int, *arguments: str, dsn: str):
    done = qctl(*arguments, dsn=dsn)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_verify_finds_nothing_in_a_fresh_install(full, dsn):
    done = qctl("verify", dsn=dsn)
    assert (done.returncode, done.stdout) == (0, "")
    assert "all is as it was installed" in done.stderr


@pytest.mark.parametrize(
    ("damage", "problem", "mend"),
    [
        ("drop function qctl.pause(text, text)", "missing", "qctl upgrade --repair"),
        ("alter function qctl.is_armed() reset all", "changed", "qctl upgrade --repair"),
        ("drop index qctl.attempt_settled_idx", "missing", "sql/schema.sql"),
        ("alter table qctl.queue drop constraint queue_timeout_check", "missing", "sql/schema.sql"),
        ("drop trigger qctl_capture_1_insert on users", "missing", "qctl attach public.users -q orders --again"),
        ("alter table users disable trigger qctl_capture_1_insert", "disabled", "alter table"),
        ("drop table users", "the table is gone", "qctl detach"),
        ("select pgmq.drop_queue('orders')", "is gone", "qctl drop orders --discard --with-archive --yes"),
        ("update pgmq.meta set is_unlogged = true", "unlogged", "plain queue"),
    ],
)  # fmt: skip
def test_verify_names_what_differs_and_what_mends_it(full, dsn, damage, problem, mend):
    full.execute(damage)
    done = failing(8, "verify", "-o", "json", dsn=dsn)
    findings = json.loads(done.stdout)
    assert any(problem in f["problem"] and mend in f["mend"] for f in findings), findings


def test_the_commands_that_verify_prints_mend(full, dsn):
    full.execute("drop view qctl.status; drop function qctl.pause(text, text)")
    full.execute("drop trigger qctl_capture_1_insert on users")
    for finding in json.loads(failing(8, "verify", "-o", "json", dsn=dsn).stdout):
        qctl(*finding["mend"].split()[1:], dsn=dsn)
    assert qctl("verify", dsn=dsn).returncode == 0
    full.execute("insert into users values (5)")
    assert one(full, "select count(*) from pgmq.q_orders") == 3


def test_drop_refuses_asks_and_drops(full, dsn):
    done = failing(7, "drop", "orders", dsn=dsn)
    assert "2 unfinished messages" in done.stderr
    assert "--discard" in done.stderr
    done = failing(7, "drop", "orders", "--discard", dsn=dsn)
    assert "2 unfinished messages, 0 dead letters" in done.stderr
    assert "--yes" in done.stderr
    [before] = json.loads(qctl("drop", "orders", "--discard", "--dry-run", "-o", "json", dsn=dsn).stdout)
    assert (before["unfinished"], before["attached"]) == (2, 1)
    done = qctl("drop", "orders", "--discard", "--yes", "-o", "json", dsn=dsn)
    [row] = json.loads(done.stdout)
    assert (row["discarded"], row["dead"], row["archive"]) == (2, 2, "pgmq.a_orders")
    full.execute("insert into users values (3)")
    failing(6, "drop", "orders", dsn=dsn)


def test_discard(full, dsn):
    done = failing(7, "discard", "1", dsn=dsn)
    assert "1 message (orders/1) to be given up" in done.stderr
    done = failing(9, "discard", "1", "99", "--yes", "--reason", "test data", dsn=dsn)
    assert "discarded" in done.stdout
    assert state(full, 1) == "dead"
    assert one(full, "select note from qctl.dead_letter") == "test data"
    failing(6, "discard", "99", "--yes", dsn=dsn)


def test_uninstall_leaves_pgmq_and_says_what_is_undelivered(full, dsn):
    [dead] = send(full, 1)
    settle(full, [c for c in claim(full) if c.msg_id == dead], 410)
    full.execute("select qctl.discard('orders', %s)", ([dead],))
    done = failing(7, "uninstall", dsn=dsn)
    assert "2 unfinished messages left in pgmq" in done.stderr
    assert qctl("uninstall", "--dry-run", dsn=dsn).returncode == 0
    assert one(full, "select to_regnamespace('qctl') is not null")
    done = qctl("uninstall", "--yes", "-o", "json", dsn=dsn)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [{"queue_name": "orders", "unfinished": 2, "archived": 1}]
    assert one(full, "select to_regnamespace('qctl') is null")
    assert one(full, "select count(*) from pgmq.q_orders") == 2
    assert one(full, "select count(*) from pgmq.a_orders") == 1
    full.execute("insert into users values (9)")
    full.execute("delete from users")
    failing(5, "uninstall", "--yes", dsn=dsn)
    failing(5, "verify", dsn=dsn)
    # And back again: what waited is delivered, if asked.
    assert qctl("install", dsn=dsn).returncode == 0
    assert qctl("create", "orders", "--url", "http://127.0.0.1:9/x", "--waiting", "deliver", dsn=dsn).returncode == 0
    make_due(full)
    assert len(claim(full)) == 2


def test_uninstall_of_a_table_that_two_queues_take(full, dsn):
    create(full, "second")
    full.execute("select qctl.attach('public.users', 'second')")
    done = qctl("uninstall", "--yes", dsn=dsn)
    assert done.returncode == 0, done.stderr
    full.execute("insert into users values (9)")


def test_a_running_worker_ends_with_5_when_qctl_is_uninstalled(full, dsn):
    worker = WorkerProcess(dsn, "--all")
    try:
        wait_until(lambda: one(full, "select count(*) from qctl.worker") == 1)
        assert qctl("uninstall", "--yes", dsn=dsn).returncode == 0
        code, talk = worker.end(20)
        assert code == 5, talk
    finally:
        worker.close()


@pytest.mark.parametrize("command", [("drop", "orders"), ("uninstall",)])
def test_sql_is_printed_without_a_connection(command):
    done = qctl(*command, "--sql")
    assert done.returncode == 0
    assert "qctl" in done.stdout


def test_attach_with_every_option_and_again(full, dsn):
    full.execute("create table public.t (id int primary key, v text) partition by range (id)")
    done = qctl(
        "attach", "public.t", "-q", "orders", "--on", "insert,truncate", "--replicated", "--on-error", "skip",
        "--max-size", "64k", dsn=dsn,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "not seen" not in done.stderr
    described = json.loads(qctl("describe", "orders", "-o", "json", dsn=dsn).stdout)
    [found] = [a for a in described["attachments"] if a["relation"] == "public.t"]
    assert (found["level"], found["replicated"], found["on_error"], found["max_bytes"]) == ("row", True, "skip", 65536)
    assert sorted(found["operations"]) == ["INSERT", "TRUNCATE"]
    assert found["triggers"] == "ok"
    assert qctl("attach", "public.t", "-q", "orders", "--again", dsn=dsn).returncode == 0
    again = json.loads(qctl("describe", "orders", "-o", "json", dsn=dsn).stdout)["attachments"]
    assert found["max_bytes"] in {a["max_bytes"] for a in again}
    failing(6, "attach", "public.nosuch", "-q", "orders", "--again", dsn=dsn)


@pytest.mark.parametrize(
    "options", [("--on-error", "shrug"), ("--max-size", "9g"), ("--max-size", "2m"), ("--on", "insert,select")]
)
def test_bad_options_of_attach(full, dsn, options):
    full.execute("create table public.t (id int primary key)")
    failing(2, "attach", "public.t", "-q", "orders", *options, dsn=dsn)


def test_for_a_person_each_command_that_mends_stands_on_one_line(full, dsn):
    full.execute("drop trigger qctl_capture_1_insert on users")
    done = failing(8, "verify", "-o", "table", dsn=dsn)
    assert "\n    qctl attach public.users -q orders --again\n" in done.stdout
