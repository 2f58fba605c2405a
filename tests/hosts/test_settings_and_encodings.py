"""Settings of a role or database, and encodings, as people have them: no command fails, no payload changes."""

import http.server
import itertools
import json
import os
import threading
from collections.abc import Iterator

import psycopg
import pytest

from helpers import create, one
from processes import failing, ok, qctl

SETTINGS = {
    "datestyle": ["German", "SQL, DMY", "Postgres, MDY"],
    "intervalstyle": ["iso_8601", "sql_standard", "postgres_verbose"],
    "timezone": ["Asia/Kathmandu", "-05:30"],
    "extra_float_digits": ["0", "-15"],
    "bytea_output": ["escape"],
    "xmloption": ["document"],
    "quote_all_identifiers": ["on"],
    "array_nulls": ["off"],
    "transform_null_equals": ["on"],
    "standard_conforming_strings": ["off"],
    "client_min_messages": ["error", "debug1"],
    "default_transaction_isolation": ["repeatable read", "serializable"],
    "default_transaction_deferrable": ["on"],
    "check_function_bodies": ["off"],
    "row_security": ["off"],
    "search_path": ["public", "''"],
    "lc_monetary": ["C"],
    "statement_timeout": ["20s"],
    "lock_timeout": ["5s"],
    "idle_in_transaction_session_timeout": ["20s"],
    "client_encoding": ["LATIN1", "SQL_ASCII"],
    "synchronous_commit": ["off"],
    "jit": ["on"],
    "plan_cache_mode": ["force_generic_plan", "force_custom_plan"],
    "enable_seqscan": ["off"],
    "plpgsql.extra_errors": ["all"],
    "plpgsql.extra_warnings": ["all"],
    "work_mem": ["64kB"],
    "from_collapse_limit": ["1"],
}
# Commands for each setting; QCTL_TEST_COMMANDS=30 tries all of them.
EACH = int(os.environ.get("QCTL_TEST_COMMANDS", "2"))
COMMANDS = [
    ["status"], ["check"], ["doctor"], ["verify"], ["queues"], ["describe", "orders"], ["depth"], ["lag"], ["messages"],
    ["messages", "--payload", "-o", "jsonl"], ["dead"], ["show", "1"], ["tail"], ["capacity"], ["scale"], ["metrics"],
    ["send", "-q", "orders", "{}"], ["pause", "-q", "orders"], ["resume", "-q", "orders"],
    ["set", "-q", "orders", "--timeout", "10s"], ["purge", "--older-than", "1d"], ["replay", "--dead", "--dry-run"],
    ["config", "show"], ["upgrade"],
    ["secret", "list", "-q", "orders"], ["events"],
]  # fmt: skip


@pytest.fixture
def used(conn, endpoint) -> Iterator[psycopg.Connection]:
    """A queue that delivered a row, with a failed one."""
    receiver = endpoint()
    create(conn, url=receiver.url)
    conn.execute("create table public.users (id int primary key, f float8, at timestamptz, span interval, raw bytea)")
    conn.execute("select qctl.attach('public.users', 'orders')")
    yield conn


ROW = "insert into public.users values (%s, 0.1::float8 * 3, '2026-01-02 03:04:05+00', '1 day 2 hours', decode('00ff', 'hex'))"


@pytest.mark.timeout(600)
def test_no_setting_of_a_database_breaks_a_command_or_changes_a_payload(used, dsn):
    name = one(used, "select current_database()")
    failures = []
    used.execute(ROW, [0])
    ((expected,),) = used.execute("select message -> 'record' from pgmq.q_orders").fetchall()
    for number, (setting, value) in enumerate(((s, v) for s, values in SETTINGS.items() for v in values), 1):
        given = value if value == "''" else f"'{value}'"
        used.execute(f'alter database "{name}" set {setting} to {given}')
        with psycopg.connect(dsn, autocommit=True) as writer:
            writer.execute(ROW, [number])
        ((record,),) = used.execute(
            "select message -> 'record' from pgmq.q_orders order by msg_id desc limit 1"
        ).fetchall()
        if {**record, "id": 0} != expected:
            failures.append((setting, value, record))
        # Each setting meets some of the commands, and all settings together meet all of them several times.
        for command in itertools.islice(itertools.cycle(COMMANDS), number * EACH, number * EACH + EACH):
            done = qctl(*command, dsn=dsn)
            if done.returncode not in (0, 8) or "bug in qctl" in done.stderr:
                failures.append((setting, value, command, done.returncode, done.stderr[-300:]))
        used.execute(f'alter database "{name}" reset {setting}')
    assert failures == [], "\n".join(map(str, failures))


class Bodies(http.server.ThreadingHTTPServer):
    """An endpoint that keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Keeper)
        self.received: list[bytes] = []
        self.url = f"http://127.0.0.1:{self.server_port}/hook"


class Keeper(http.server.BaseHTTPRequestHandler):
    server: Bodies

    def do_POST(self) -> None:
        self.server.received.append(self.rfile.read(int(self.headers["content-length"])))
        # An answer with letters that most encodings lack.
        answer = "é → 日本 🂡".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def bodies() -> Iterator[Bodies]:
    with Bodies() as endpoint:
        thread = threading.Thread(target=endpoint.serve_forever)
        thread.start()
        yield endpoint
        endpoint.shutdown()
        thread.join()


@pytest.mark.parametrize("encoding", ["UTF8", "LATIN1", "LATIN9", "EUC_JP"])
def test_payloads_arrive_as_they_are_whatever_the_encoding_of_the_database(server, bodies, encoding):
    text = {"UTF8": "é€日本🂡", "LATIN1": "é ß", "LATIN9": "é € ß", "EUC_JP": "日本語"}[encoding]
    name = f"encoded_{encoding.lower()}"
    with psycopg.connect(server.uri(), autocommit=True) as admin:
        admin.execute(f"create database {name} template template0 encoding '{encoding}' locale 'C'")
    dsn = server.uri(name)
    try:
        ok("install", dsn=dsn)
        ok("create", "orders", "--url", bodies.url, "--allow-private", dsn=dsn)
        with psycopg.connect(dsn, autocommit=True, client_encoding="UTF8") as app:
            app.execute("create table public.users (id int, name text)")
            app.execute("select qctl.attach('public.users', 'orders')")
            app.execute("insert into public.users values (1, %s)", [text])
        ok("send", "-q", "orders", json.dumps({"name": text}, ensure_ascii=False), dsn=dsn)
        assert text in ok("messages", "--payload", "-o", "json", dsn=dsn).stdout
        ok("worker", "-q", "orders", "--drain", dsn=dsn)
        got = [json.loads(body) for body in bodies.received]
        assert [body.get("name") or body["record"]["name"] for body in got] == [text, text]
        for command in (["status"], ["check"], ["doctor"], ["show", "1", "--payload"], ["tail"], ["verify"]):
            assert qctl(*command, dsn=dsn).returncode in (0, 8), command
        ok("uninstall", "--yes", dsn=dsn)
    finally:
        with psycopg.connect(server.uri(), autocommit=True) as admin:
            admin.execute(f"drop database {name} with (force)")


def test_a_database_without_an_encoding_is_refused_by_name(server):
    with psycopg.connect(server.uri(), autocommit=True) as admin:
        admin.execute("create database ascii template template0 encoding 'SQL_ASCII' locale 'C'")
    try:
        assert "SQL_ASCII" in failing(4, "install", dsn=server.uri("ascii"))
    finally:
        with psycopg.connect(server.uri(), autocommit=True) as admin:
            admin.execute("drop database ascii with (force)")
