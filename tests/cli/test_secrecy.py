"""Planted secrets and payloads are in nothing that people, logs or other processes see."""

import json
import os
from pathlib import Path

import pytest

from helpers import URL, create, one, send
from processes import WorkerProcess, ok, qctl, wait_until

PAYLOAD = "planted-payload-7301"
HEADER = "planted-header-7302"
KEY = "UExBTlRFRC1LRVktNzMwMy1QTEFOVEVELUtFWQ=="

LOOKS = [
    ["status"], ["status", "--workers"], ["depth"], ["lag"], ["queues"], ["describe", "orders"], ["messages"],
    ["show", "orders/1"],
    ["show", "orders/2"], ["dead"], ["tail", "-n", "50"], ["check"], ["doctor"], ["capacity"], ["verify"], ["secret", "list"],
    ["events"], ["config", "show"], ["scale"], ["discard", "orders/3", "--dry-run"], ["replay", "--dead", "--dry-run"],
    ["purge", "--older-than", "1d", "--dry-run"],
]  # fmt: skip


@pytest.fixture
def planted(conn, dsn, endpoint):
    """A queue with secrets, whose messages were delivered, failed and died under a worker's eyes."""
    receiver = endpoint("--fail-rate", "0.4", "--failures", "500,422,reset")
    create(conn, url=receiver.url, retry_schedule_s=[1], breaker_after=0)
    assert qctl("secret", "set", "token", "-", dsn=dsn, stdin=HEADER).returncode == 0
    assert qctl("secret", "rotate", "--given", "-", dsn=dsn, stdin=f"whsec_{KEY}").returncode == 0
    assert qctl("set", "-H", "Authorization: secret:token", dsn=dsn).returncode == 0
    conn.execute("create table public.users (id int primary key, note text)")
    conn.execute("select qctl.attach('public.users', 'orders', p_on_error => 'skip')")
    conn.execute(f"insert into public.users select n, '{PAYLOAD}' from generate_series(1, 40) n")
    process = WorkerProcess(dsn, "-q", "orders")
    wait_until(lambda: one(conn, "select count(*) from pgmq.q_orders") == 0)
    arguments = Path(f"/proc/{process.pid}/cmdline").read_bytes() + Path(f"/proc/{process.pid}/environ").read_bytes()
    seen = str(conn.execute("select query, application_name from pg_stat_activity").fetchall())
    process.send(15)
    _, talk = process.end()
    return [arguments.decode(errors="replace"), seen, talk]


def clean(text: str) -> bool:
    return not any(word in text for word in (PAYLOAD, HEADER, KEY, KEY.rstrip("=")))


@pytest.mark.slow
def test_nothing_that_looks_shows_a_secret_or_a_payload(conn, dsn, planted):
    assert all(map(clean, planted))
    for command in LOOKS:
        done = qctl(*command, "-o", "json", dsn=dsn)
        assert done.returncode in (0, 7, 8), (command, done.stderr)
        assert clean(done.stdout + done.stderr), command


def test_the_audit_and_the_tables_of_attempts_hold_neither(conn, planted):
    send(conn, 1)
    for table in ("audit", "attempt", "in_flight", "retry", "worker", "throughput", "capture_error", "gate", "sample"):
        assert clean(str(conn.execute(f"select * from qctl.{table}").fetchall())), table


def test_errors_quote_neither(conn, dsn, planted):
    for arguments, stdin in (
        (("send", "-"), f'{{"note": "{PAYLOAD}'),
        (("secret", "set", "token", "-"), f"{HEADER}\nsecond line"),
        (("secret", "rotate", "--given", "-"), f"whsec_{KEY}!"),
        (("send", '{"a": 1}', "-H", f"Host: {HEADER}"), None),
        (("set", "-H", f"Authorization: {HEADER}"), None),
    ):
        done = qctl(*arguments, dsn=dsn, stdin=stdin)
        assert done.returncode == 2, (arguments[:2], done.stderr)
        assert clean(done.stdout + done.stderr), arguments[:2]


def test_the_servers_log_holds_no_secret_and_of_payloads_only_what_statements_carry(conn, dsn, planted):
    log = one(conn, "select pg_current_logfile()") or one(conn, "select current_setting('data_directory') || '/log'")
    text = one(conn, "select pg_read_file(%s)", log)
    assert clean(text)


def test_an_export_is_for_its_owner_alone(conn, dsn, planted, tmp_path):
    file = tmp_path / "out.jsonl.gz"
    os.umask(0o022)
    done = qctl("purge", "--older-than", "0s", "--export", str(file), dsn=dsn)
    assert done.returncode == 0, done.stderr
    assert file.stat().st_mode & 0o077 == 0
    assert clean(done.stdout + done.stderr)


def test_a_payload_comes_when_it_is_asked_for(conn, dsn, planted):
    shown = qctl("messages", "--payload", "-o", "json", dsn=dsn)
    assert PAYLOAD in shown.stdout
    assert not any(word in shown.stdout for word in (HEADER, KEY))
    assert json.loads(shown.stdout)


def test_secrets_in_headers_are_not_shown(conn, dsn):
    ok("create", "orders", "--url", URL, "-H", "X-Plain: seen", dsn=dsn)
    conn.execute("""select qctl.set_queue('orders', p_headers => '{"Authorization": "Bearer hush"}')""")
    for output in ("json", "plain", "csv"):
        text = ok("describe", "orders", "-o", output, dsn=dsn).stdout
        assert "hush" not in text
        assert "seen" in text
    assert "hush" not in ok("set", "--timeout", "9s", "-o", "json", dsn=dsn).stdout


def test_no_secret_reaches_the_servers_log_or_activity(conn, dsn):
    """With every statement and every parameter logged, what COPY carries is not."""
    create(conn)
    conn.execute("create table public.seen (query text)")
    path = one(conn, "select pg_current_logfile()") or one(conn, "select current_setting('data_directory') || '/log'")
    conn.execute("alter database {} set log_statement = 'all'".format(one(conn, "select current_database()")))
    ok("secret", "set", "token", "-", dsn=dsn, stdin="planted-1")
    ok("secret", "rotate", "--given", "-", dsn=dsn, stdin="whsec_UExBTlRFRC0yLVBMQU5URUQtMi1QTEFOVEVE")
    text = one(conn, "select pg_read_file(%s)", path)
    assert "set_header_secret" in text
    assert "planted-1" not in text
    assert "UExBTlRFRC0y" not in text
