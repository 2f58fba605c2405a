"""Every command that a finding prints, typed as it is printed: the finding is gone, and nothing else has changed.

A cause without a way to break it fails here. What prints no command ends by itself, or says where to look, and that is typed too.
"""

import contextlib
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable

import psycopg
import pytest

from helpers import claim, create, drop_pgmq_queue, one, send, settle
from processes import QCTL, Endpoint, environment, ok, qctl, wait_until

TABLE = "create table public.t (id int primary key, n int)"
# The settings that no fix may change but the one of its finding.
SETTINGS = """
select jsonb_build_object('armed', qctl.is_armed(),
  'queues', (select jsonb_agg(to_jsonb(q) - '{queue_id,queue_uuid,created_at}'::text[] order by q.queue_name) from qctl.queue q),
  'attachments', (select jsonb_agg(to_jsonb(a) - '{attachment_id,created_at,created_by,uses}'::text[] order by a.attachment_id)
                  from qctl.attachment a))
"""
ATTEMPTS = "select (select count(*) from qctl.attempt), (select coalesce(sum(attempts), 0) from qctl.retry)"


def live(conn: psycopg.Connection) -> None:
    conn.execute("select qctl.register_worker('w', 'http', (select array_agg(queue_name) from qctl.queue), '0')")


def attached(conn: psycopg.Connection, *options: str) -> None:
    conn.execute(TABLE)
    conn.execute(f"select qctl.attach('public.t', 'orders'{''.join(f', {option}' for option in options)})")
    live(conn)


def old(conn: psycopg.Connection) -> None:
    conn.execute(
        "update pgmq.q_orders set vt = now() - interval '1 h', enqueued_at = now() - interval '1 h', read_ct = 1"
    )


def fail(conn: psycopg.Connection, failed: int, delivered: int = 0, status: int = 500) -> None:
    send(conn, failed + delivered)
    settle(conn, claim(conn, failed + delivered), [status] * failed + [200] * delivered)


def lost_tables(conn: psycopg.Connection) -> None:
    live(conn)
    drop_pgmq_queue(conn)


def lost_archive(conn: psycopg.Connection) -> None:
    live(conn)
    conn.execute("drop table pgmq.a_orders cascade")


def triggers_disabled(conn: psycopg.Connection) -> None:
    attached(conn)
    conn.execute("alter table public.t disable trigger all")


def trigger_dropped(conn: psycopg.Connection) -> None:
    attached(conn)
    name = one(conn, "select tgname from pg_trigger where tgname like 'qctl%%insert'")
    conn.execute(f"drop trigger {name} on public.t")


def column_renamed(conn: psycopg.Connection) -> None:
    attached(conn, "p_operations => '{INSERT,UPDATE}'", "p_columns => '{n}'")
    conn.execute("alter table public.t rename n to m")


def table_made_again(conn: psycopg.Connection) -> None:
    attached(conn)
    conn.execute("drop table public.t")
    conn.execute(TABLE)


def disarmed(conn: psycopg.Connection) -> None:
    live(conn)
    conn.execute("select qctl.disarm()")


def copied(conn: psycopg.Connection) -> None:
    live(conn)
    conn.execute("update qctl.arming set database_oid = 1")


def newer_worker(conn: psycopg.Connection) -> None:
    live(conn)
    conn.execute("select qctl.register_worker('new', 'http', '{orders}', '99.1.2; touch owned')")


def no_worker(conn: psycopg.Connection) -> None:
    conn.execute("update qctl.queue set created_at = now() - interval '1 h'")


def no_worker_of_some(conn: psycopg.Connection) -> None:
    create(conn, "other")
    create(conn, "third")
    conn.execute("select qctl.register_worker('w', 'http', '{other}', '0')")
    no_worker(conn)


def secret_missing(conn: psycopg.Connection) -> None:
    conn.execute("select qctl.set_queue('orders', p_headers => '{\"authorization\": \"secret:token\"}')")
    live(conn)


def address_refused(conn: psycopg.Connection) -> None:
    conn.execute("update qctl.queue set allow_networks = '{}'")
    live(conn)
    send(conn, 1)
    settle(conn, claim(conn, 1), None, error="refused: 127.0.0.1 is not a public address; to allow it: qctl set")


def gone(conn: psycopg.Connection) -> None:
    live(conn)
    fail(conn, 1, status=410)


def paused(conn: psycopg.Connection) -> None:
    live(conn)
    conn.execute("select qctl.pause('orders', 'for the move; until noon')")


def circuit_open(conn: psycopg.Connection) -> None:
    live(conn)
    fail(conn, 12)


def denied(conn: psycopg.Connection) -> None:
    live(conn)
    fail(conn, 12, status=401)


def endpoint_failing(conn: psycopg.Connection) -> None:
    live(conn)
    fail(conn, 5)


def lag(conn: psycopg.Connection) -> None:
    live(conn)
    send(conn, 3)
    old(conn)
    conn.execute("insert into qctl.sample select queue_id, now() - interval '3 min', 200, 0 from qctl.queue")


def age(conn: psycopg.Connection) -> None:
    live(conn)
    fail(conn, 2)
    for table in ("qctl.retry", "pgmq.q_orders"):
        conn.execute(f"update {table} set enqueued_at = date_trunc('hour', now()) - interval '1 h'")


def depth(conn: psycopg.Connection) -> None:
    live(conn)
    send(conn, 3)


def dead(conn: psycopg.Connection) -> None:
    live(conn)
    send(conn, 1)
    conn.execute("select qctl.discard('orders', '{1}')")


def silence(conn: psycopg.Connection) -> None:
    attached(conn)


WAYS: dict[str, list[Callable[[psycopg.Connection], None]]] = {
    "table_missing": [lost_tables, lost_archive],
    "capture_broken": [triggers_disabled, trigger_dropped, column_renamed, table_made_again],
    "silence": [silence],
    "unarmed": [disarmed, copied],
    "schema_outdated": [newer_worker],
    "no_worker": [no_worker, no_worker_of_some],
    "secret_missing": [secret_missing],
    "address_refused": [address_refused],
    "gone": [gone],
    "paused": [paused],
    "circuit_open": [circuit_open, denied],
    "dead": [dead],
    "endpoint_failing": [endpoint_failing],
    "growing": [],  # test_a_growing_queue_drains_after_its_fix: it takes a worker
    "lag": [lag],
    "age": [age],
    "failure_rate": [lambda conn: (live(conn), fail(conn, 2, 18))],
    "depth": [depth],
}
LIMITS = ["--max-depth", "2", "--max-dead", "0", "--max-silence", "1ms", "--max-failure-rate", "5%"]
# Typed at a terminal: the answer to what is asked there.
ANSWERS = {"unarmed": ["y"], "secret_missing": ["hidden"]}
# What the fix of a finding is to change.
CHANGES = {"unarmed": {"armed"}, "address_refused": {"allow_networks"}, "capture_broken": {"columns", "relation"}}


def found(dsn: str, cause: str, *limits: str) -> list[dict]:
    done = qctl("check", "-o", "json", *limits, dsn=dsn)
    assert done.returncode in (0, 8), done.stderr
    return [problem for problem in json.loads(done.stdout)["problems"] if problem["cause"] == cause]


def typed(command: str, dsn: str, answers: list[str] | None = None) -> tuple[int, str]:
    """By a shell, literally; at a terminal, where it asks, with an answer to each question."""
    env = environment(QCTL_DSN=dsn, PATH=f"{QCTL.parent}{os.pathsep}{os.environ['PATH']}", TERM="xterm")
    if answers is None:
        done = subprocess.run(["sh", "-c", command], env=env, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["sh", "-c", command], env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    said, left = b"", list(answers)
    with contextlib.suppress(OSError):
        while part := os.read(ours, 65536):
            said += part
            if left and re.search(rb"(: |\? ?(\[y/N\])?:? ?)$", said):
                os.write(ours, left.pop(0).encode() + b"\n")
    os.close(ours)
    return process.wait(60), said.decode()


def test_every_cause_has_a_way_to_break_it(conn):
    assert {row[0] for row in conn.execute("select cause from qctl.health_causes()")} == set(WAYS)


def cases() -> list:
    return [
        pytest.param(cause, way, id=f"{cause}-{number}")
        for cause, ways in WAYS.items()
        for number, way in enumerate(ways)
    ]


@pytest.mark.parametrize(("cause", "way"), cases())
def test_what_is_printed_works_when_typed(conn, dsn, cause, way):
    create(conn)
    way(conn)
    limits = [] if cause not in ("dead", "depth", "silence", "failure_rate") else LIMITS
    problems = found(dsn, cause, *limits)
    assert problems, qctl("check", "-o", "json", *limits, dsn=dsn).stdout
    fix = problems[0]["fix"]
    before, attempts = one(conn, SETTINGS), conn.execute(ATTEMPTS).fetchone()
    if cause == "schema_outdated":
        # The version of the worker is in no registry here, and only its numbers may be in a command.
        assert fix == "pip install qctl==99.1.2 && qctl upgrade"
        return
    if fix is None:
        text = problems[0]["problem"]
        assert "; see: qctl " in text
        code, said = typed(text.partition("; see: ")[2], dsn)
        assert code in (0, 8), said
        assert found(dsn, cause, *limits)
    elif cause == "no_worker":
        whole = one(conn, "select fix from qctl.findings() where cause = 'no_worker'")
        env = environment(QCTL_DSN=dsn, PATH=f"{QCTL.parent}{os.pathsep}{os.environ['PATH']}")
        worker = subprocess.Popen(["sh", "-c", f"exec {whole}"], env=env, stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: not found(dsn, cause), 30, f"{whole}: no finding")
        finally:
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(30) == 0
    else:
        code, said = typed(fix, dsn, ANSWERS.get(cause))
        assert code == 0, (fix, said)
        assert found(dsn, cause, *limits) == [], fix
        if cause == "table_missing":
            assert [
                problem["cause"] for problem in json.loads(qctl("check", "-o", "json", dsn=dsn).stdout)["problems"]
            ] == []
    changed = differences(before, one(conn, SETTINGS))
    assert changed <= CHANGES.get(cause, set()), (fix, changed)
    assert conn.execute(ATTEMPTS).fetchone() == attempts


def differences(before: dict, after: dict) -> set[str]:
    names: set[str] = set()
    for key in ("queues", "attachments"):
        for old_row, new_row in zip(before[key] or [], after[key] or [], strict=True):
            names |= {name for name in old_row if old_row[name] != new_row.get(name)}
    return names | ({"armed"} if before["armed"] != after["armed"] else set())


@pytest.mark.slow
@pytest.mark.parametrize("status", ["500", "401"])
def test_an_open_breaker_ends_by_itself_and_costs_nothing(conn, dsn, endpoint, worker, status):
    receiver: Endpoint = endpoint("--fail-rate", "1", "--failures", status)
    create(conn, url=receiver.url, breaker_pause_max_s=2)
    send(conn, 15)
    worker("-q", "orders")
    wait_until(lambda: found(dsn, "circuit_open"), 30, "circuit_open")
    (problem,) = found(dsn, "circuit_open")
    assert problem["fix"] is None
    expected = "nothing to type" if status == "500" else "it wants credentials, and this queue sends none"
    assert expected in problem["problem"]
    time.sleep(8)
    # The first attempt, and the second by the schedule of 5 s; the third is due after 5 min.
    assert one(conn, "select max(attempts) from qctl.retry") <= 2
    receiver.become()
    wait_until(lambda: not found(dsn, "circuit_open"), 30, "no circuit_open")
    wait_until(lambda: len(receiver.accepted()) == 15, 30, "all accepted")


@pytest.mark.slow
def test_an_expired_token_is_replaced_by_the_printed_command(conn, dsn, endpoint, worker):
    receiver: Endpoint = endpoint("--token", "Bearer new")
    ok("secret", "set", "token", "-", stdin="Bearer old", dsn=dsn)
    create(conn, url=receiver.url)
    conn.execute("select qctl.set_queue('orders', p_headers => '{\"authorization\": \"secret:token\"}')")
    send(conn, 15)
    worker("-q", "orders")
    wait_until(lambda: found(dsn, "circuit_open"), 30, "circuit_open")
    line = qctl("check", "--dsn", dsn).stdout
    assert "have expired" in line, line
    [command] = re.findall(r"if they have expired: (qctl [^;]*)", line)
    code, said = typed(command, "host=/nowhere", ["Bearer new"])
    assert code == 0, said
    wait_until(lambda: len(receiver.accepted()) == 15, 30, "all accepted")
    # The first attempt, and for what was a probe one more.
    assert one(conn, "select max(attempt_no) from qctl.attempt") <= 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "changes", "delay_s"), [({"rate_per_s": 0.5}, "rate_per_s", 0), ({"concurrency": 1}, "concurrency", 1)]
)
def test_a_growing_queue_drains_after_its_fix(conn, dsn, endpoint, worker, settings, changes, delay_s):
    receiver = endpoint("--delay-s", str(delay_s))
    create(conn, url=receiver.url, **settings)
    worker("-q", "orders")
    wait_until(lambda: one(conn, "select count(*) from qctl.worker") == 1, 20, "a worker")
    send(conn, 60)
    conn.execute(
        "update pgmq.q_orders q set vt = vt - interval '2 min', enqueued_at = enqueued_at - interval '2 min' where vt < now()"
        " and not exists (select from qctl.in_flight f where f.msg_id = q.msg_id)"
    )
    conn.execute("insert into qctl.sample select queue_id, now() - interval '2 min', 5, 0 from qctl.queue")
    (problem,) = found(dsn, "growing")
    before = one(conn, SETTINGS)
    code, said = typed(problem["fix"], dsn)
    assert code == 0, said
    assert differences(before, one(conn, SETTINGS)) == {changes}
    wait_until(lambda: not found(dsn, "growing"), 60, "no finding")
    assert one(conn, "select count(*) from qctl.retry") == 0


def test_a_fix_for_many_queues_is_one_line_that_works(conn, dsn):
    for number in range(4):
        create(conn, f"q{number}")
        conn.execute("select qctl.pause(%s, 'x')", (f"q{number}",))
    live(conn)
    (row,) = conn.execute("select queues, fix from qctl.findings()").fetchall()
    assert len(row[0]) == 4
    assert typed(row[1], dsn)[0] == 0
    assert ok("check", dsn=dsn).stdout.startswith("OK")
    assert shlex.split(row[1])[:3] == ["qctl", "resume", "-q"]
