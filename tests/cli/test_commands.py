"""Every command through the installed executable: what it prints where, its formats, its exit code."""

import csv
import importlib
import io
import json
import signal
import subprocess
import sys
import time

import pytest
import typer
from psycopg.conninfo import make_conninfo

from helpers import claim, create, one, send, settle, state
from processes import QCTL, environment, qctl, wait_until
from qctl import sqlfiles
from qctl.cli.app import MODULES, whole

URL = "http://127.0.0.1:9/hook"


def ok(*arguments: str, **keywords):
    """Runs a command that must succeed."""
    done = qctl(*arguments, **keywords)
    assert done.returncode == 0, done.stderr
    return done


def failing(code: int, *arguments: str, **keywords) -> str:
    """Runs a command that must fail with that code, in a way a user can read; its stderr."""
    done = qctl(*arguments, **keywords)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stderr


def test_the_whole_way_from_an_empty_database(empty_dsn, conn, tmp_path):
    import psycopg

    dsn = empty_dsn
    with psycopg.connect(dsn, autocommit=True) as there:
        there.execute("create table public.users (id int primary key, name text)")
        installed = ok("install", dsn=dsn)
        assert "migration" in installed.stdout
        assert "Next: qctl create" in installed.stderr
        created = ok("create", "users", "--url", URL, "--attach", "public.users", "-H", "X-Tenant: acme", dsn=dsn)
        assert "Next: qctl worker -q users" in created.stderr
        there.execute("insert into users values (1, 'a'), (2, 'b')")
        (row,) = json.loads(ok("depth", "-o", "json", dsn=dsn).stdout)
        assert row == {
            "queue_name": "users", "depth": 2, "ready": 2, "delayed": 0, "in_flight": 0, "retrying": 0, "dead": 0,
            "exact": True, "estimate": 2,
        }  # fmt: skip
        described = json.loads(ok("describe", "users", "-o", "json", dsn=dsn).stdout)
        assert described["headers"] == {"x-tenant": "acme"}
        assert described["attachments"][0]["relation"] == "public.users"
        assert described["attachments"][0]["triggers"] == "ok"
        ok("detach", "public.users", dsn=dsn)
        there.execute("insert into users values (3, 'c')")
        assert one(there, "select count(*) from pgmq.q_users") == 2


def test_install_dry_run_changes_nothing(empty_dsn):
    files = len(sqlfiles.migrations()) + len(sqlfiles.routines())
    assert f"{files} files would be applied" in ok("install", "--dry-run", dsn=empty_dsn).stderr
    assert "not installed" in failing(5, "status", dsn=empty_dsn)
    ok("install", dsn=empty_dsn)
    again = ok("install", dsn=empty_dsn)
    assert "nothing to do" in again.stderr
    assert again.stdout == ""


STATUS_KEYS = {
    "queue_name", "health", "depth", "ready", "delayed", "in_flight", "retrying", "dead", "lag_s", "age_s", "delivered_1m",
    "failed_1m", "last_error", "paused_at", "paused_by", "pause_reason", "url", "transport", "since", "reason", "mend",
    "depth_exact", "depth_estimate", "dead_1m", "delivered_1h", "failed_1h", "dead_1h", "p50_s", "p95_s", "growth_per_s",
    "drain_s", "last_delivered_at", "last_failed_at",
}  # fmt: skip


def test_status_in_every_format(conn, dsn):
    create(conn)
    send(conn, 3)
    (row,) = json.loads(ok("status", "-o", "json", dsn=dsn).stdout)
    assert set(row) == STATUS_KEYS
    assert (row["health"], row["ready"]) == ("no_worker", 3)
    assert row["lag_s"] >= 0
    assert json.loads(ok("status", "-o", "jsonl", dsn=dsn).stdout)["depth"] == 3
    for separator, name in ((",", "csv"), ("\t", "tsv")):
        (line,) = csv.DictReader(io.StringIO(ok("status", "-o", name, dsn=dsn).stdout), delimiter=separator)
        assert set(line) == STATUS_KEYS
        assert line["ready"] == "3"
    assert ok("status", "-o", "markdown", dsn=dsn).stdout.startswith("| queue")
    plain = ok("status", dsn=dsn).stdout
    assert "orders" in plain
    assert "no_worker" in plain
    assert ok("status", dsn=dsn).stderr == ""


def test_health_says_paused_and_ok(conn, dsn):
    create(conn)
    conn.execute("select qctl.register_worker('w', 'http', '{orders}', '0')")
    assert json.loads(ok("status", "-o", "json", dsn=dsn).stdout)[0]["health"] == "ok"
    assert "yes" in ok("pause", "-q", "orders", "--reason", "moving", dsn=dsn).stdout
    (row,) = json.loads(ok("status", "-o", "json", dsn=dsn).stdout)
    assert (row["health"], row["pause_reason"]) == ("paused", "moving")
    assert json.loads(ok("resume", "-o", "json", dsn=dsn).stdout)[0]["changed"] is True


def test_lag_and_age(conn, dsn):
    create(conn)
    send(conn)
    conn.execute("update pgmq.q_orders set vt = now() - interval '90 s', enqueued_at = now() - interval '1 h'")
    (row,) = json.loads(ok("lag", "-o", "json", dsn=dsn).stdout)
    assert 85 < row["lag_s"] < 120
    assert 3590 < row["age_s"] < 3700
    assert "1m 3" in ok("lag", dsn=dsn).stdout


def test_show_is_a_messages_whole_life(conn, dsn):
    create(conn)
    send(conn)
    settle(conn, claim(conn), 500, error="boom", response=b"it broke")
    ok("replay", "1", dsn=dsn)
    settle(conn, claim(conn), 200)
    (life,) = json.loads(ok("show", "1", "-o", "json", dsn=dsn).stdout)
    assert (life["state"], life["queue_name"], life["msg_id"]) == ("delivered", "orders", 1)
    assert "message" not in life
    assert [a["outcome"] for a in life["attempt_log"]] == ["retrying", "delivered"]
    assert life["attempt_log"][0]["response"] == "it broke"
    assert json.loads(ok("show", "orders/1", "--payload", "-o", "json", dsn=dsn).stdout)[0]["message"] == {"n": 0}
    text = ok("show", "1", "--payload", dsn=dsn).stdout
    assert "it broke" in text
    assert '{"n": 0}' in text


def test_piped_output_is_uncut_at_any_width(conn, dsn):
    long_url = "http://127.0.0.1:9/" + "x" * 300
    create(conn, url=long_url)
    send(conn)
    settle(conn, claim(conn), None, error="e" * 400)
    for width in ("20", "80", "200"):
        assert long_url in ok("queues", dsn=dsn, COLUMNS=width).stdout
        assert "e" * 400 in ok("tail", dsn=dsn, COLUMNS=width).stdout
        assert "e" * 400 in ok("show", "1", dsn=dsn, COLUMNS=width).stdout
        assert long_url in ok("describe", "orders", dsn=dsn, COLUMNS=width).stdout
        assert long_url in ok("queues", "-o", "table", dsn=dsn, COLUMNS=width).stdout


def test_no_colour_where_none_is_wanted(conn, dsn):
    create(conn)
    for arguments in (("status",), ("status", "-o", "table"), ("describe", "orders")):
        assert "\x1b" not in ok(*arguments, dsn=dsn).stdout
        assert "\x1b" not in ok(*arguments, dsn=dsn, NO_COLOR="1").stdout


def test_tail_follows_and_ends_cleanly(conn, dsn):
    create(conn)
    send(conn, 3)
    claims = claim(conn)
    settle(conn, claims[:1], 200)
    process = subprocess.Popen(
        [str(QCTL), "tail", "-f"],
        env=environment(QCTL_DSN=dsn),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = [json.loads(process.stdout.readline())]
    settle(conn, claims[1:2], 500)
    lines.append(json.loads(process.stdout.readline()))
    settle(conn, claims[2:], 200)
    lines.append(json.loads(process.stdout.readline()))
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=10) == ("", "")
    assert process.returncode == 130
    assert [(line["msg_id"], line["outcome"]) for line in lines] == [
        (1, "delivered"),
        (2, "retrying"),
        (3, "delivered"),
    ]


def test_tail_can_show_failures_only(conn, dsn):
    create(conn)
    send(conn, 2)
    first, second = claim(conn)
    settle(conn, [first], 200)
    settle(conn, [second], 500)
    assert [row["msg_id"] for row in json.loads(ok("tail", "--failed", "-o", "json", dsn=dsn).stdout)] == [2]


def test_a_reader_that_goes_away_is_no_error(conn, dsn):
    create(conn)
    send(conn, 500)
    settle(conn, claim(conn, 500), 200)
    script = f"{QCTL} tail -n 500 -o jsonl | head -n 1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script], env=environment(QCTL_DSN=dsn), capture_output=True, text=True, check=True
    )
    assert (done.stdout.strip(), done.stderr) == ("0", "")


def test_send_takes_an_argument_and_lines(conn, dsn):
    create(conn)
    assert json.loads(ok("send", '{"a": 1}', "-H", "X-One: 1", "-o", "json", dsn=dsn).stdout) == [
        {"queue_name": "orders", "msg_id": 1, "duplicate": False}
    ]
    assert one(conn, "select headers from pgmq.q_orders") == {"x-one": "1"}
    ok("send", "-", "-q", "orders", stdin='{"a": 2}\n\n[3]\n"text"\n', dsn=dsn)
    assert [r[0] for r in conn.execute("select message from pgmq.q_orders order by msg_id")] == [
        {"a": 1},
        {"a": 2},
        [3],
        "text",
    ]
    ok("send", "7", "--delay", "1h", dsn=dsn)
    assert state(conn, 5) == "delayed"


def test_broken_lines_are_named_and_the_others_sent(conn, dsn):
    create(conn)
    lines = '{"a": 1}\n{"a":\n{"nul": "\\u0000"}\n{"b": 2}\n'
    talk = failing(9, "send", "-", stdin=lines, dsn=dsn)
    assert "line 2: not JSON" in talk
    assert "line 3:" in talk
    assert "2 sent, 2 not" in talk
    assert one(conn, "select count(*) from pgmq.q_orders") == 2
    assert "nothing was sent" in failing(2, "send", "{", dsn=dsn)


def test_a_megabyte_is_taken(conn, dsn):
    create(conn)
    ok("send", "-", stdin=json.dumps("x" * 1_000_000) + "\n", dsn=dsn)
    assert one(conn, "select length(message::text) from pgmq.q_orders") > 1_000_000


def test_replay_says_what_it_did(conn, dsn):
    create(conn)
    send(conn, 2)
    settle(conn, claim(conn), 200)
    assert json.loads(ok("replay", "1", "--dry-run", "-o", "json", dsn=dsn).stdout)[0]["outcome"] == "delivered"
    assert state(conn, 1) == "delivered"
    assert json.loads(ok("replay", "1", "--reason", "test", "-o", "json", dsn=dsn).stdout) == [
        {"queue_name": "orders", "msg_id": 1, "outcome": "replayed"}
    ]
    assert state(conn, 1) == "ready"
    assert "no queue knows 77" in failing(9, "replay", "2", "77", dsn=dsn)
    assert state(conn, 2) == "ready"
    assert "no queue knows 77" in failing(6, "replay", "77", dsn=dsn)
    assert json.loads(ok("replay", "-", "-o", "json", stdin="1 2\n", dsn=dsn).stdout)[1]["outcome"] == "ready"


def test_acts_are_in_the_audit_without_payloads(conn, dsn):
    create(conn)
    ok("send", '{"secret": "hush"}', dsn=dsn)
    settle(conn, claim(conn), 200)
    ok("replay", "1", "--reason", "asked for", dsn=dsn)
    settle(conn, claim(conn), 200)
    ok("purge", "--older-than", "0s", dsn=dsn)
    rows = conn.execute(
        "select verb, application, detail from qctl.audit where queue_name = 'orders' order by audit_id"
    ).fetchall()
    assert [(verb, application) for verb, application, _ in rows[1:]] == [
        ("send", "qctl send"), ("replay", "qctl replay"), ("purge", "qctl purge"),
    ]  # fmt: skip
    assert rows[3][2]["messages"] == 1
    assert "hush" not in str(rows)


def test_an_id_known_in_two_queues_must_be_named_with_its_queue(conn, dsn):
    for name in ("alpha", "beta"):
        create(conn, name)
        send(conn, name=name)
    talk = failing(2, "replay", "1", dsn=dsn)
    assert "alpha/1" in talk
    assert "beta/1" in talk
    assert json.loads(ok("show", "beta/1", "-o", "json", dsn=dsn).stdout)[0]["queue_name"] == "beta"
    assert json.loads(ok("show", "1", "-q", "alpha", "-o", "json", dsn=dsn).stdout)[0]["queue_name"] == "alpha"


def test_purge_from_cron_is_silent_and_complete(conn, dsn):
    """env -i, no terminal, two queues: exit 0, nothing on stderr."""
    for name in ("alpha", "beta"):
        create(conn, name)
        send(conn, 3, name)
        settle(conn, claim(conn, name=name), 200, name=name)
        conn.execute(f"update pgmq.a_{name} set archived_at = now() - interval '8 days' where msg_id < 3")
    preview = json.loads(ok("purge", "--older-than", "7d", "--dry-run", "-o", "json", dsn=dsn).stdout)
    assert [(row["messages"], row["attempts"]) for row in preview] == [(2, 2), (2, 2)]
    done = subprocess.run(
        ["env", "-i", str(QCTL), "--dsn", dsn, "purge", "--older-than", "7d", "-o", "json"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert [(row["queue_name"], row["messages"]) for row in json.loads(done.stdout)] == [("alpha", 2), ("beta", 2)]
    assert one(conn, "select count(*) from pgmq.a_alpha") == 1
    again = ok("purge", "--older-than", "7d", "-o", "json", dsn=dsn)
    assert [row["messages"] for row in json.loads(again.stdout)] == [0, 0]


def test_which_queue(conn, dsn):
    assert "no queue exists yet" in failing(6, "pause", dsn=dsn)
    create(conn, "alpha")
    ok("pause", dsn=dsn)
    create(conn, "beta")
    assert "alpha, beta" in failing(2, "resume", dsn=dsn)
    ok("resume", dsn=dsn, QCTL_QUEUE="alpha")
    assert "no queue named 'gamma'" in failing(6, "pause", "-q", "gamma", dsn=dsn)
    assert "alpha, beta" in failing(6, "status", "-q", "gamma", dsn=dsn)


@pytest.mark.parametrize("name", ["a;b", 'a"b', "a'b", "Orders", "x" * 60, "", "ä"])
def test_bad_queue_names(conn, dsn, name):
    talk = failing(2, "create", name, "--url", URL, dsn=dsn)
    assert "not a queue name" in talk
    assert "Try:" in talk


@pytest.mark.parametrize("url", ["nothing", "ftp://x/", "http://u:secret@h/", "http://a b/"])
def test_bad_urls(conn, dsn, url):
    talk = failing(2, "create", "orders", "--url", url, dsn=dsn)
    assert "URL" in talk
    assert "secret" not in talk


def test_bad_words(conn, dsn):
    create(conn)
    assert "not a duration" in failing(2, "purge", "--older-than", "7 dogs", dsn=dsn)
    assert "not a message id" in failing(2, "show", "1;drop", dsn=dsn)
    assert "not a message id" in failing(2, "show", "9" * 30, dsn=dsn)
    assert "header" in failing(2, "send", "1", "-H", "nocolon", dsn=dsn)
    assert "which queues?" in failing(2, "worker", dsn=dsn)
    assert "exclude each other" in failing(2, "worker", "--all", "--once", "--drain", dsn=dsn)
    assert "nothing to change" in failing(2, "set", dsn=dsn)
    assert "out of range" in failing(2, "set", "--concurrency", "0", dsn=dsn)
    assert "No such command" in failing(2, "staus", dsn=dsn)
    assert "no table named" in failing(6, "attach", "public.nosuch", dsn=dsn)
    assert "not attached" in failing(6, "detach", "public.nosuch", dsn=dsn)
    assert "no queue knows 5" in failing(6, "show", "5", dsn=dsn)


def test_what_exists_is_refused(conn, dsn):
    create(conn)
    assert "exists already" in failing(7, "create", "orders", "--url", URL, dsn=dsn)


def test_create_with_a_missing_table_makes_nothing(conn, dsn):
    failing(6, "create", "orders", "--url", URL, "--attach", "public.nosuch", dsn=dsn)
    assert one(conn, "select count(*) from qctl.queue") == one(conn, "select count(*) from pgmq.meta") == 0


def test_a_locked_table_is_busy(conn, dsn, other, monkeypatch):
    create(conn)
    conn.execute("create table public.users (id int)")
    with other.transaction():
        other.execute("lock table public.users")
        talk = failing(10, "attach", "public.users", dsn=dsn)
    assert "try 2 of 5" in talk
    assert "lock" in talk


def test_no_server(tmp_path):
    talk = failing(3, "status", "--dsn", f"postgresql://someone:hush@/db?host={tmp_path}")
    assert "cannot connect" in talk
    assert "--dsn" in talk
    assert "hush" not in talk


def test_a_dsn_that_is_none():
    assert "cannot be read" in failing(2, "status", "--dsn", "this is = no dsn at all")
    assert "empty" in failing(2, "status", "--dsn", " ")


def test_a_database_that_does_not_exist(server):
    talk = failing(3, "status", "--dsn", server.uri("nosuchdb"))
    assert 'database "nosuchdb" does not exist' in talk


def test_a_role_without_rights(conn, dsn):
    name = f"outsider_{one(conn, 'select current_database()')}"
    conn.execute(f"create role {name} login")
    try:
        theirs = make_conninfo(dsn, user=name)
        talk = failing(4, "status", dsn=theirs)
        assert "permission denied for schema qctl" in talk
        assert "Try:" in talk
    finally:
        conn.execute(f"drop role {name}")


def test_pgmq_gone_behind_our_back(conn, dsn):
    create(conn)
    conn.execute("drop schema pgmq cascade")
    assert json.loads(ok("status", "-o", "json", dsn=dsn).stdout)[0]["depth"] is None
    assert "pgmq" in failing(4, "send", "1", dsn=dsn)


def test_one_broken_queue_blinds_no_one(conn, dsn):
    for name in ("broken", "sound"):
        create(conn, name)
        send(conn, name=name)
    settle(conn, claim(conn, name="sound"), 200, name="sound")
    conn.execute("select pgmq.drop_queue('broken')")
    rows = json.loads(ok("status", "-o", "json", dsn=dsn).stdout)
    assert [(row["queue_name"], row["depth"]) for row in rows] == [("broken", None), ("sound", 0)]
    assert [row["queue_name"] for row in json.loads(ok("depth", "-o", "json", dsn=dsn).stdout)] == ["sound"]
    assert json.loads(ok("show", "1", "-o", "json", dsn=dsn).stdout)[0]["queue_name"] == "sound"
    assert "broken:" in failing(9, "purge", "--older-than", "0s", dsn=dsn)
    assert one(conn, "select count(*) from pgmq.a_sound") == 0


def test_an_empty_queue_name_never_means_all(conn, dsn):
    create(conn)
    send(conn)
    settle(conn, claim(conn), 200)
    for arguments in (("purge", "--older-than", "0s"), ("status",), ("depth",), ("pause",)):
        assert "no queue named" in failing(6, *arguments, "-q", "", dsn=dsn)
    assert one(conn, "select count(*) from pgmq.a_orders") == 1


def test_numbers_are_sent_as_they_are_written(conn, dsn):
    create(conn)
    number = "0.12345678901234567890123"
    ok("send", f'{{"n": {number}}}', dsn=dsn)
    assert number in one(conn, "select message::text from pgmq.q_orders")
    assert "line 1" in failing(2, "send", "", dsn=dsn)
    assert "10 years" in failing(2, "send", "1", "--delay", "99999d", dsn=dsn)


def test_secrets_in_headers_are_not_shown(conn, dsn):
    ok("create", "orders", "--url", URL, "-H", "X-Plain: seen", dsn=dsn)
    conn.execute("""select qctl.set_queue('orders', p_headers => '{"Authorization": "Bearer hush"}')""")
    for output in ("json", "plain", "csv"):
        text = ok("describe", "orders", "-o", output, dsn=dsn).stdout
        assert "hush" not in text
        assert "seen" in text
    assert "hush" not in ok("set", "--timeout", "9s", "-o", "json", dsn=dsn).stdout


def test_odd_surroundings(conn, dsn):
    create(conn)
    script = f"""
        {QCTL} queues >/dev/full; echo $?
        {QCTL} queues >&-; echo $?
        {QCTL} status -h | head -n 1 >/dev/null; echo ${{PIPESTATUS[0]}}
        {QCTL} describe $'\\xff'; echo $?
    """
    done = subprocess.run(
        ["bash", "-c", script], env=environment(QCTL_DSN=dsn), capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "0", "0", "2"]
    assert "Traceback" not in done.stderr
    assert "bug" not in done.stderr
    assert "cannot connect" in failing(3, "queues", "--dsn", "postgresql:///x?connect_timeout=abc&host=/nonexistent")


def test_tail_shows_as_many_lines_as_asked_and_then_only_new_ones(conn, dsn):
    create(conn)
    send(conn, 60)
    settle(conn, claim(conn, 50), 200)
    process = subprocess.Popen(
        [str(QCTL), "tail", "-f", "-n", "3"], env=environment(QCTL_DSN=dsn), stdout=subprocess.PIPE, text=True
    )
    lines = [json.loads(process.stdout.readline())["msg_id"] for _ in range(3)]
    time.sleep(1.2)
    settle(conn, claim(conn, 1), 200)
    lines.append(json.loads(process.stdout.readline())["msg_id"])
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert len(set(lines)) == 4
    assert lines[3] == 51


def test_upgrade_does_not_install(empty_dsn):
    assert "qctl install" in failing(5, "upgrade", dsn=empty_dsn)


@pytest.mark.parametrize("flag", ["before", "after", "env", "database_url"])
def test_where_the_database_may_be_named(conn, dsn, flag):
    create(conn)
    wrong = "postgresql://nobody@/nowhere?host=/nonexistent"
    match flag:
        case "before":
            ok("--dsn", dsn, "queues", QCTL_DSN=wrong)
        case "after":
            ok("--dsn", wrong, "queues", "--dsn", dsn, QCTL_DSN=wrong)
        case "env":
            ok("queues", QCTL_DSN=dsn, DATABASE_URL=wrong)
        case "database_url":
            ok("queues", DATABASE_URL=dsn, PGHOST="/nonexistent")


def test_set_up_verbs_print_their_sql(dsn, conn):
    conn.execute("create table public.users (id int, name text)")
    script = ""
    for arguments in (
        ("create", "orders", "--url", URL, "--timeout", "5s", "-H", "X-Its: a 'b'", "--sql"),
        ("set", "-q", "orders", "--concurrency", "7", "--sql"),
        ("attach", "public.users", "-q", "orders", "--on", "insert", "--when", "new.name = 'x'", "--sql"),
    ):
        script += ok(*arguments).stdout
    conn.execute(script.encode())
    conn.execute("insert into users values (1, 'x'), (2, 'y')")
    assert conn.execute("select timeout_ms, concurrency, headers from qctl.queue").fetchone() == (
        5000,
        7,
        {"x-its": "a 'b'"},
    )
    assert one(conn, "select count(*) from pgmq.q_orders") == 1
    conn.execute(ok("detach", "public.users", "--sql").stdout.encode())
    assert one(conn, "select count(*) from qctl.attachment") == 0


def test_workers_are_listed(conn, dsn):
    create(conn)
    process = subprocess.Popen([str(QCTL), "worker", "--all"], env=environment(QCTL_DSN=dsn), stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: one(conn, "select count(*) from qctl.worker") == 1)
        (row,) = json.loads(ok("status", "--workers", "-o", "json", dsn=dsn).stdout)
        assert (row["state"], row["queues"], row["transport"]) == ("running", ["orders"], "http")
        time.sleep(0.2)
        assert json.loads(ok("status", "-o", "json", dsn=dsn).stdout)[0]["health"] == "ok"
    finally:
        process.terminate()
        process.wait(30)
    assert process.returncode == 0


def test_status_watch_repeats_until_interrupted(conn, dsn):
    create(conn)
    process = subprocess.Popen(
        [str(QCTL), "status", "--watch", "200ms", "-o", "jsonl"],
        env=environment(QCTL_DSN=dsn), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert [json.loads(process.stdout.readline())["queue_name"] for _ in range(3)] == ["orders"] * 3
    process.send_signal(signal.SIGINT)
    _, talk = process.communicate(timeout=10)
    assert (process.returncode, talk) == (130, "")


def test_version_and_help():
    from importlib.metadata import version

    assert ok("--version").stdout == f"qctl {version('qctl')}\n"
    assert "Set up" in ok("--help").stdout
    assert ok("-h").stdout == ok("--help").stdout


@pytest.mark.parametrize("command", sorted(c.name for c in whole().registered_commands))
def test_every_command_has_help_with_an_example(command):
    assert "Example: qctl " + command in " ".join(ok(command, "--help").stdout.split())


def test_a_bug_is_reported_without_a_traceback(dsn, conn, tmp_path):
    """A module that breaks stands for the bug; the real executable's boundary meets it."""
    (tmp_path / "sitecustomize.py").write_text("import qctl.queues\nqctl.queues.listed = lambda c: 1 / 0\n")
    talk = failing(1, "queues", dsn=dsn, PYTHONPATH=str(tmp_path))
    assert "this is a bug in qctl: ZeroDivisionError" in talk
    assert "QCTL_DEBUG=1" in talk
    assert "Traceback" in qctl("queues", dsn=dsn, PYTHONPATH=str(tmp_path), QCTL_DEBUG="1").stderr


def test_python_m_qctl():
    done = subprocess.run([sys.executable, "-m", "qctl", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("qctl ")


def test_each_command_is_found_in_the_module_that_has_it():
    for module, commands in MODULES.items():
        app = typer.Typer()
        importlib.import_module(f"qctl.cli.{module}").register(app)
        named = [c.name or c.callback.__name__ for c in app.registered_commands] + [
            g.name for g in app.registered_groups
        ]
        assert tuple(named) == commands
