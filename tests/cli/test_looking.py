"""What people, monitors and colleagues look at: JSON, screens, filters through the executable, a role that may only read."""

import json
import os
import pty
import select
import signal
import socket
import subprocess
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, HTTPServer

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from helpers import claim, create, one, send, settle, state
from processes import QCTL, environment, qctl, wait_until


def ok(*arguments: str, **keywords):
    done = qctl(*arguments, **keywords)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done


def failing(code: int, *arguments: str, **keywords) -> str:
    done = qctl(*arguments, **keywords)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stderr


def data(*arguments: str, dsn: str, code: int = 0):
    done = qctl(*arguments, "-o", "json", dsn=dsn)
    assert done.returncode == code, (done.stdout, done.stderr)
    return json.loads(done.stdout)


@pytest.fixture
def busy(conn):
    """A queue with a table, a live worker, a delivered, a dead, a retrying, an in-flight and a ready message."""
    create(conn, retry_schedule_s=[60], reject_after=1)
    conn.execute("create table public.users (id int primary key)")
    conn.execute("select qctl.attach('public.users', 'orders')")
    conn.execute("select qctl.register_worker('host:1', 'http', '{orders}', '0')")
    conn.execute("update qctl.worker set last_seen_at = now() + interval '1 h'")
    conn.execute("insert into public.users select generate_series(1, 5)")
    claims = claim(conn, 4, worker=1)
    settle(conn, claims[:3], [200, 400, 503], response=[b"fine", b"bad field", b"later"])
    return conn


MESSAGE = {
    "queue_name", "msg_id", "state", "webhook_id", "enqueued_at", "visible_at", "finished_at", "delivery_no", "attempts",
    "lost", "next_at",
    "reason", "note",
}  # fmt: skip
LISTED = MESSAGE | {"last_attempt_at", "status_code", "error", "response", "duration_ms"}
EVENT = {
    "at",
    "event",
    "delivery_no",
    "attempt_no",
    "status_code",
    "duration_ms",
    "error",
    "response",
    "actor",
    "detail",
    "until",
}
WORKER = {
    "worker_id", "name", "kind", "transport", "queues", "state", "in_flight", "holds_since", "busy", "qctl_version",
    "role_name", "started_at",
    "last_seen_at", "stopped_at", "job_name", "last_run", "last_message",
}  # fmt: skip


def test_the_shape_of_each_verbs_json(busy, dsn):
    for row in data("messages", dsn=dsn):
        assert set(row) == LISTED
    for row in data("messages", "--payload", dsn=dsn):
        assert set(row) == LISTED | {"headers", "message"}
        assert row["message"]["table"] == "users"
    (life,) = data("show", "2", dsn=dsn)
    assert set(life) == MESSAGE | {"last_status", "last_error", "attempt_log", "life"}
    assert {frozenset(event) for event in life["life"]} == {frozenset(EVENT)}
    (life,) = data("show", "2", "--payload", dsn=dsn)
    assert life["message"]["record"] == {"id": 2}
    dead = data("dead", dsn=dsn)
    assert set(dead) == {"groups", "messages"}
    assert set(dead["groups"][0]) == {"queue_name", "reason", "status_code", "error", "messages", "first_at", "last_at"}
    assert [set(row) for row in dead["messages"]] == [LISTED]
    (worker,) = data("status", "--workers", dsn=dsn)
    assert set(worker) == WORKER
    assert (worker["state"], worker["in_flight"], worker["kind"]) == ("running", 1, "process")
    check = data("check", dsn=dsn)
    assert set(check) == {"ok", "queues", "limits", "problems"}
    assert (check["ok"], check["queues"], check["problems"]) == (True, 1, [])
    assert check["limits"]["max_lag_s"] == 60
    check = data("check", "--max-dead", "0", dsn=dsn, code=8)
    (problem,) = check["problems"]
    assert set(problem) == {"queue_name", "cause", "since", "problem", "value", "limit", "mend"}
    assert (problem["cause"], problem["value"], problem["limit"], problem["mend"]) == (
        "dead",
        1,
        0,
        "qctl dead -q orders",
    )
    for row in data("doctor", dsn=dsn):
        assert set(row) == {"severity", "kind", "object", "problem", "mend"}
    assert set(data("describe", dsn=dsn)) >= {"headers", "attachments", "health", "retention_s", "url"}
    assert set(data("lag", dsn=dsn)[0]) == {"queue_name", "lag_s", "age_s"}


def test_check_is_one_line_that_says_its_limits(busy, dsn):
    line = ok("check", dsn=dsn).stdout
    assert (
        line == "OK 1 queue: armed, workers live, none paused, triggers in place; lag ≤ 1m, age ≤ 15m, failures ≤ 20%\n"
    )
    done = qctl("check", "--max-depth", "1", "--max-dead", "0", dsn=dsn)
    assert done.returncode == 8
    assert (
        done.stdout == "FAILED orders depth: 3 (limit 1) unfinished messages; orders dead: 1 (limit 0) dead letters\n"
    )
    assert done.stderr == ""
    assert "no such cause: tired" in failing(2, "check", "--ignore", "tired", dsn=dsn)
    assert "no share" in failing(2, "check", "--max-failure-rate", "120%", dsn=dsn)
    assert "no queue named 'nope'" in failing(6, "check", "-q", "nope", dsn=dsn)
    assert "lag" not in ok("check", "--max-lag", "none", dsn=dsn).stdout


def test_check_and_doctor_before_an_install(empty_dsn):
    assert "not installed" in failing(5, "doctor", dsn=empty_dsn)
    assert "not installed" in failing(5, "check", dsn=empty_dsn)


def test_a_schema_older_than_the_command(busy, dsn):
    busy.execute("update qctl.routine set checksum = 'x' where name = 'text'")
    assert "schema_outdated: the schema lacks 1 file of this qctl" in qctl("check", dsn=dsn).stdout
    assert "qctl upgrade" in qctl("doctor", dsn=dsn).stdout
    ok("upgrade", dsn=dsn)
    ok("check", dsn=dsn)


def test_exactly_the_37_with_an_error_behind_a_200(conn, dsn):
    create(conn)
    create(conn, "other")
    send(conn, 1000)
    send(conn, 10, "other")
    settle(conn, claim(conn, 10, "other"), 200, response=b'{"ok":false}', name="other")
    claims = claim(conn, 1000)
    wrong = {c.msg_id for c in claims[::27]} - {claims[-1].msg_id}
    wrong = set(sorted(wrong)[:37])
    settle(
        conn,
        claims,
        200,
        response=[b'{"ok":false,"error":"no credit"}' if c.msg_id in wrong else b'{"ok":true}' for c in claims],
    )
    found = ok(
        "messages", "-q", "orders", "--status-code", "200", "--response", '"ok":false', "--ids", dsn=dsn
    ).stdout.split()
    assert found == [f"orders/{msg_id}" for msg_id in sorted(wrong, reverse=True)]
    assert len(ok("messages", "--response", '"ok":false', "--ids", dsn=dsn).stdout.split()) == 47
    assert len(ok("messages", "-q", "orders", "--not-response", '"ok":false', "--ids", dsn=dsn).stdout.split()) == 963
    piped = ok("replay", "-", stdin="\n".join(found), dsn=dsn)
    assert piped.stdout.count("replayed") == 37
    assert {row["msg_id"] for row in data("messages", "--state", "ready", dsn=dsn)} == wrong


def test_messages_of_several_queues_come_newest_first(conn, dsn):
    create(conn)
    create(conn, "other")
    for name in ("orders", "other", "orders"):
        send(conn, 1, name)
    assert ok("messages", "--ids", dsn=dsn).stdout.split() == ["orders/2", "other/1", "orders/1"]
    assert ok("messages", "--ids", "-n", "2", dsn=dsn).stdout.split() == ["orders/2", "other/1"]
    assert "--before needs one queue" in failing(2, "messages", "--before", "2", dsn=dsn)
    assert ok("messages", "--ids", "-q", "orders", "--before", "2", dsn=dsn).stdout == "orders/1\n"


def test_more_than_a_page(conn, dsn):
    create(conn)
    send(conn, 1234)
    assert ok("messages", "--ids", dsn=dsn).stdout.split() == [f"orders/{n}" for n in range(1234, 0, -1)]
    more = ok("messages", "-q", "orders", "-n", "3", dsn=dsn)
    assert "--before 1232" in more.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--since", "yesterday"], "is no time"),
        (["--status-code", "ok"], "no status code"),
        (["--where", "{"], "not JSON"),
        (["--state", "lost"], "no such state"),
        (["--payload"], "payloads have no room"),
        (["--before", "3", "--error", "x", "-q", "orders"], "--until"),
    ],
)
def test_messages_refuses_what_it_cannot_mean(busy, dsn, arguments, words):
    assert words in failing(2, "messages", *arguments, dsn=dsn)


def test_payload_and_error_filters_look_back_a_day_unless_told(busy, dsn):
    assert ok("messages", "--error", "x", "--ids", dsn=dsn).stdout == ""
    assert ok("messages", "--response", "bad", "--ids", dsn=dsn).stdout == "orders/2\n"
    assert ok("messages", "--where", '{"record":{"id":2}}', "--ids", dsn=dsn).stdout == "orders/2\n"
    busy.execute("update qctl.attempt set settled_at = settled_at - interval '25 h'")
    busy.execute("update qctl.dead_letter set enqueued_at = enqueued_at - interval '25 h'")
    assert ok("messages", "--response", "bad", "--ids", dsn=dsn).stdout == ""
    assert ok("messages", "--response", "bad", "--since", "2d", "--ids", dsn=dsn).stdout == "orders/2\n"
    assert ok("messages", "--where", '{"record":{"id":2}}', "--ids", dsn=dsn).stdout == ""
    assert (
        ok("messages", "--where", '{"record":{"id":2}}', "--captured-since", "2d", "--ids", dsn=dsn).stdout
        == "orders/2\n"
    )


def test_show_tells_the_life_to_a_person(busy, dsn):
    ok("replay", "2", "--reason", "field added", dsn=dsn)
    text = ok("show", "2", dsn=dsn).stdout
    for word in ("captured from INSERT on public.users", "bad field", "field added", "next", "attempt, as soon as"):
        assert word in text
    assert text.index("bad field") < text.index("field added") < text.index("attempt, as soon as")


def test_dead_groups_then_lists(busy, dsn):
    done = ok("dead", dsn=dsn)
    assert done.stdout.index("rejected") < done.stdout.index("bad field")
    assert "qctl show orders/2" in done.stderr
    assert ok("dead", "-o", "jsonl", dsn=dsn).stdout.count("\n") == 1
    ok("replay", "2", dsn=dsn)
    assert ok("dead", dsn=dsn).stderr == "no message is dead\n"


# The read-only colleague.


@pytest.fixture
def reader(conn, dsn):
    name = f"reader_{uuid.uuid4().hex[:8]}"
    conn.execute(f"create role {name} login")
    yield make_conninfo(dsn, user=name), name
    conn.execute(f"drop owned by {name}; drop role {name}")


LOOKING = [
    ["status"], ["status", "--workers"], ["depth"], ["lag"], ["queues"], ["describe", "orders"], ["messages"], ["messages",
    "--response", "fine"],
    ["show", "1"], ["dead"], ["tail"], ["check"], ["doctor"], ["verify"], ["scale"],
]  # fmt: skip


def test_every_looking_verb_as_a_role_that_may_only_read(busy, dsn, reader):
    theirs, name = reader
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
                      ["replay", "1"], ["pause"], ["discard", "4", "--yes"], ["arm"], ["grant", name, "--payloads"]):  # fmt: skip
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


def test_payloads_when_granted_and_nothing_when_revoked(busy, dsn, reader):
    theirs, name = reader
    ok("grant", name, "--payloads", dsn=dsn)
    assert {row["message"]["record"]["id"] for row in data("messages", "--payload", dsn=theirs)} == {1, 2, 3, 4, 5}
    assert len(data("messages", "--where", '{"record":{"id":2}}', dsn=theirs)) == 1
    ok("grant", name, dsn=dsn)
    failing(4, "messages", "--payload", "-o", "json", dsn=theirs)
    busy.execute("update qctl.routine set checksum = 'x' where name in ('depth', 'messages')")
    busy.execute("drop view qctl.status; drop function qctl._status(text); drop function qctl.depth(text)")
    ok("upgrade", "--repair", dsn=dsn)
    assert data("status", dsn=theirs)[0]["depth"] == 3
    assert data("revoke", name, dsn=dsn) == [{"role_name": name, "changed": True}]
    assert data("revoke", name, dsn=dsn) == [{"role_name": name, "changed": False}]
    failing(4, "status", dsn=theirs)
    assert "no role named 'nobody_at_all'" in failing(6, "grant", "nobody_at_all", dsn=dsn)
    assert "--as read, operate or work" in failing(2, "grant", name, "--as", "god", dsn=dsn)
    assert (
        ok("grant", name, "--sql").stdout
        == f"""select * from "qctl"."grant_role"("p_role" => '{name}', "p_as" => 'read', "p_payloads" => false);\n"""
    )


# Screens.


def screen(dsn: str, *arguments: str, columns: int, rows: int, seconds: float = 3.0, stop: int | None = None) -> str:
    """What a terminal of that size is sent."""
    import fcntl
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    env = environment(QCTL_DSN=dsn, TERM="xterm-256color")
    env.pop("COLUMNS", None)
    process = subprocess.Popen(
        [str(QCTL), *arguments], env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    seen, until = b"", time.monotonic() + seconds
    while time.monotonic() < until or (stop is None and process.poll() is None):
        if select.select([ours], [], [], 0.1)[0]:
            try:
                part = os.read(ours, 65536)
            except OSError:
                break
            seen += part
        elif process.poll() is not None:
            break
    if stop is not None:
        process.send_signal(stop)
        process.wait(10)
        while select.select([ours], [], [], 0.3)[0]:
            try:
                seen += os.read(ours, 65536)
            except OSError:
                break
    process.wait(10)
    os.close(ours)
    return seen.decode()


def plain(text: str) -> str:
    import re

    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).replace("\r", "")


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (160, 48)])
@pytest.mark.parametrize(
    "arguments", [["status"], ["status", "--workers"], ["messages"], ["dead"], ["show", "2"], ["doctor"], ["tail"]]
)
def test_nothing_is_wider_than_the_screen_but_what_is_to_be_copied(busy, dsn, arguments, columns, rows):
    lines = plain(screen(dsn, *arguments, columns=columns, rows=rows)).splitlines()
    assert lines
    told = [
        line
        for line in lines
        if not line.startswith(("    ", "  Next:", "Next:", "webhook-id", "orders:", "warning", "broken", "note"))
    ]
    assert max(len(line.rstrip()) for line in told) <= columns, told


def test_watch_refreshes_in_place_with_a_sparkline(busy, dsn):
    busy.execute("insert into qctl.throughput select queue_id, date_trunc('minute', now()) - g * interval '1 min', g, 0, 0,"
    " 0, 5, 9"
                 " from qctl.queue, generate_series(1, 60) g")  # fmt: skip
    text = screen(dsn, "status", "--watch", "0.3s", columns=160, rows=48, seconds=2.5, stop=signal.SIGINT)
    assert "\x1b[?1049h" in text
    assert "\x1b[?1049l" in text
    assert plain(text).count("last hour") >= 3
    assert "█" in text
    assert "▁" in text


@pytest.mark.parametrize(
    "given", [["--watch"], ["-w"], ["--watch", "1"], ["-w", "1s"], ["--watch", "-q", "orders"], ["-q", "orders", "-w"]]
)
def test_watch_stands_with_and_without_seconds(busy, dsn, given):
    process = subprocess.Popen(
        [str(QCTL), "status", *given, "-o", "jsonl"], env=environment(QCTL_DSN=dsn), stdout=subprocess.PIPE, text=True
    )
    assert json.loads(process.stdout.readline())["queue_name"] == "orders"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)


# tail


def test_tail_shows_each_attempt_once_while_transactions_overlap(conn, dsn):
    """Settled at one moment, committed at another: several sessions, each holding its rows back for a while."""
    import random

    create(conn)
    process = subprocess.Popen(
        [str(QCTL), "tail", "-f", "-n", "1"],
        env=environment(QCTL_DSN=dsn),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    seen: list[tuple[int, int]] = []
    reader = threading.Thread(
        target=lambda: seen.extend((r["msg_id"], r["attempt_no"]) for r in map(json.loads, process.stdout))
    )
    reader.start()
    wait_until(lambda: one(conn, "select count(*) from pg_stat_activity where application_name = 'qctl tail'") == 1)
    time.sleep(1)
    total = [0] * 6

    def settle_some(number: int) -> None:
        pick = random.Random(number)
        with psycopg.connect(dsn) as connection:
            until = time.monotonic() + 10
            while time.monotonic() < until:
                count = pick.randrange(1, 100)
                connection.execute(
                    "insert into qctl.attempt (queue_id, msg_id, delivery_no, attempt_no, outcome, transport, claimed_at,"
                    " settled_at)"
                    " select 1, %s + g, 1, 1, 'delivered', 'http', clock_timestamp(), clock_timestamp() from"
                    " generate_series(1, %s) g",
                    (number * 1_000_000 + total[number], count))  # fmt: skip
                time.sleep(pick.choice([0, 0, 0.1, 0.7, 1.6]))
                connection.commit()
                total[number] += count

    writers = [threading.Thread(target=settle_some, args=(number,)) for number in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    wait_until(lambda: len(seen) >= sum(total), 15, "every attempt")
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    reader.join(5)
    process.communicate()
    expected = {(number * 1_000_000 + n, 1) for number in range(6) for n in range(1, total[number] + 1)}
    assert len(seen) == len(set(seen)), "an attempt came twice"
    assert set(seen) == expected


def test_tail_ends_when_its_reader_goes_though_nothing_happens(conn, dsn):
    create(conn)
    process = subprocess.Popen(
        [str(QCTL), "tail", "-f"],
        env=environment(QCTL_DSN=dsn),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: one(conn, "select count(*) from pg_stat_activity where application_name = 'qctl tail'") == 1)
    process.stdout.close()
    process.stdout = None
    _, talk = process.communicate(timeout=10)
    assert (process.returncode, talk) == (0, "")


def test_tail_failed_and_of_one_queue(busy, dsn):
    create(busy, "other")
    rows = [
        json.loads(line) for line in ok("tail", "--failed", "-q", "orders", "-o", "jsonl", dsn=dsn).stdout.splitlines()
    ]
    assert [row["msg_id"] for row in rows] == [2, 3]
    assert ok("tail", "-q", "other", "-o", "jsonl", dsn=dsn).stdout == ""
    assert state(busy, 1) == "delivered"


# --probe


class _Redirecting(BaseHTTPRequestHandler):
    location = "https://example.org/hook"

    def do_HEAD(self):
        self.send_response(302)
        self.send_header("Location", self.location)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_doctor_probes_for_redirects_and_endpoints_that_are_not_there(conn, dsn):
    server = HTTPServer(("127.0.0.1", 0), _Redirecting)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _Redirecting.location = "https://example.org/hook"
    create(conn, url=f"http://127.0.0.1:{server.server_port}/hook")
    create(conn, "away", url="http://127.0.0.1:9/x")
    conn.execute("select qctl.register_worker('w', 'http', '{orders,away}', '0')")
    found = {(row["object"], row["kind"]): row for row in data("doctor", "--probe", dsn=dsn, code=8)}
    assert "127.0.0.1" in found["away", "endpoint"]["problem"]
    assert "redirects are failures" in found["orders", "endpoint"]["problem"]
    assert found["orders", "endpoint"]["mend"] == "qctl set -q orders --url https://example.org/hook"
    assert qctl("doctor", dsn=dsn).returncode == 0
    server.shutdown()
    server.server_close()


def test_doctor_probes_no_address_that_a_worker_would_not_send_to(conn, dsn):
    with socket.create_server(("127.0.0.1", 0)) as server:
        create(conn, url=f"http://localhost:{server.getsockname()[1]}/hook", allow_networks=["10.0.0.0/8"])
        conn.execute("select qctl.register_worker('w', 'http', '{orders}', '0')")
        found = {(row["object"], row["kind"]): row for row in data("doctor", "--probe", dsn=dsn)}
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    finding = found["orders", "endpoint"]
    assert finding["severity"] == "warning"
    assert "is no public address: qctl worker sends nothing there" in finding["problem"]
    assert finding["mend"] == "qctl set -q orders --allow-private"


def test_a_location_that_is_no_plain_url_is_put_into_no_command(conn, dsn):
    _Redirecting.location = "https://x.example/'\x1b[31m;touch${IFS}/tmp/x;'"
    server = HTTPServer(("127.0.0.1", 0), _Redirecting)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    create(conn, url=f"http://127.0.0.1:{server.server_port}/hook")
    for output in ("plain", "json"):
        done = qctl("doctor", "--probe", "-o", output, dsn=dsn)
        assert "touch" not in done.stdout
        assert "\x1b" not in done.stdout
        assert "elsewhere" in done.stdout
    server.shutdown()
    server.server_close()


def test_a_grant_takes_nothing_from_an_owner_or_a_worker(busy, dsn, reader):
    theirs, name = reader
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


def test_what_a_payload_says_of_its_table_is_not_told_to_a_reader(conn, dsn, reader):
    theirs, name = reader
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


def test_a_database_ahead_of_the_command_is_no_trouble_of_the_database(busy, dsn):
    busy.execute("update qctl.routine set qctl_version = '9.9.9', checksum = 'x' where name = 'text'")
    ok("check", dsn=dsn)
    assert "made by 9.9.9" in failing(5, "upgrade", dsn=dsn)
    assert "made by 9.9.9" in failing(5, "verify", dsn=dsn)


@pytest.mark.parametrize("table", ["a_other", "q_other"])
def test_a_table_of_pgmq_that_is_gone_blinds_no_verb_for_the_others(busy, dsn, table):
    create(busy, "other")
    busy.execute("select qctl.register_worker('w2', 'http', '{other}', '0')")
    send(busy, 1, "other")
    busy.execute(f"drop table pgmq.{table} cascade")
    for arguments in LOOKING:
        done = qctl(*arguments, "-o", "json", dsn=dsn)
        assert done.returncode in (0, 8), (arguments, done.stderr)
    (mend,) = {row["mend"] for row in data("doctor", dsn=dsn, code=8) if row["object"] == "other"}
    if table == "a_other":
        busy.execute(mend)
    else:
        ok(*mend.split()[1:], dsn=dsn)
    assert data("check", dsn=dsn)["ok"] is True


def test_an_instant_without_end_harms_nobody(busy, dsn):
    busy.execute("update pgmq.q_orders set vt = 'infinity' where msg_id = 5")
    busy.execute("update pgmq.q_orders set enqueued_at = '-infinity' where msg_id = 4")
    assert len(data("messages", dsn=dsn)) == 5
    assert failing(2, "messages", "--since", "99999999d", dsn=dsn)


def test_a_long_queue_is_described_as_what_is_known_of_it(conn, dsn):
    create(conn)
    conn.execute("insert into pgmq.q_orders (vt, message) select now(), '1' from generate_series(1, 12000)")
    conn.execute("analyze pgmq.q_orders")
    assert "unfinished       at least 10,000, about " in ok("describe", "orders", dsn=dsn).stdout
    found = data("check", "--max-depth", "11000", dsn=dsn, code=8)["problems"]
    assert [problem["value"] for problem in found if problem["cause"] == "depth"] == [12000]
