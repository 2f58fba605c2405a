"""qctl export: what runs, as the file of apply."""

import tomllib

import psycopg
import pytest

from helpers import create
from processes import ok, qctl
from qctl.cli import queue_settings

# Names of a file that stand for the same column as another one.
OTHER_NAMES = {"expect_text", "expect_json", "allow_private"}

TABLES = [
    "create table public.users (id int primary key, total int, name text, tenant int)",
    'create table public."Odd ""Name""" (id int primary key, total int)',
]
EVERYTHING = [
    *TABLES,
    "select qctl.create_queue('plain', 'https://example.com/x')",
    r"""select qctl.create_queue('full', 'https://example.com/x', '{"X-Tenant": "acmé \" \\", "X-Token": "secret:token"}', '{
         "transport": "http", "timeout_ms": 2500, "concurrency": 7, "max_in_flight": 70, "rate_per_s": 0.3333333333333333,
         "linger_ms": 50, "log": "failures", "archive": false, "breaker_after": 0, "breaker_share": 0.35,
         "breaker_pause_max_s": 9,
         "allow_networks": ["10.0.0.0/8", "fd00::/8"], "expect_json": {"ok": true, "deep": [null, 1.5, "é"]},
         "retry_schedule_s": [], "retry_jitter": 0.25, "retry_after_max_s": 61, "ordered": true, "order_schedule_s": [1, 90],
         "on_dead": "block", "reject_after": 2, "max_lost": 3, "retention_s": null, "batch": 9, "trust_location": true}')""",
    r"""select qctl.create_queue('text', 'https://example.com/x', p_settings =>
         '{"expect_text": "it''s\n\"ok\"", "concurrency_auto": true}')""",
    """select qctl.create_queue('broker', 'amqps://rabbit.example.com/?queue=a', p_settings =>
         '{"broker": {"username": "qctl", "password": "secret:rabbit"}}')""",
    """select qctl.attach('public.users', 'full', '{INSERT,UPDATE}', 'new.total > 0 and new.name <> ''a"b''', '{total,name}',
                          p_unchanged => true, p_on_error => 'fail', p_max_bytes => 2048, p_order_by => 'tenant')""",
    "select qctl.attach('public.users', 'plain', p_payload => 'supabase', p_as_me => true)",
    'select qctl.attach(\'public."Odd ""Name"""\', \'plain\', p_replicated => true)',
    """select qctl.attach('public.users', 'text', p_payload => 'slack', p_body => 'format(''%s\n"paid"'', new.total)')""",
]


@pytest.fixture
def everything(conn) -> None:
    for statement in EVERYTHING:
        conn.execute(statement)


def facts(uri: str) -> list[tuple]:
    """All settings of all queues and attachments."""
    with psycopg.connect(uri, autocommit=True) as conn:
        return conn.execute(
            "select to_jsonb(q) - '{queue_id,queue_uuid,created_at,created_by}'::text[],"
            " (select jsonb_agg(jsonb_build_array(a.table_name, a.operations, a.when_sql, a.columns, a.payload, a.unchanged,"
            "               a.as_me, a.replicated, a.on_error, a.max_bytes, a.order_by, a.body_sql) order by a.table_name)"
            "  from qctl.attachment a where a.queue_id = q.queue_id)"
            " from qctl.queue q order by q.queue_name"
        ).fetchall()


def test_every_setting_is_written(conn, dsn):
    create(conn)
    written = set(tomllib.loads(ok("export", dsn=dsn).stdout)["queues"]["orders"]) - {"url", "headers", "attach"}
    assert written | {"broker"} == {setting.name for setting in queue_settings.SETTINGS} - OTHER_NAMES


def test_what_was_exported_is_as_declared_and_makes_the_same_elsewhere(conn, dsn, everything, server, tmp_path):
    exported = ok("export", dsn=dsn)
    assert ok("apply", "-", "--check", dsn=dsn, stdin=exported.stdout).stderr.endswith("as declared\n")

    file = tmp_path / "qctl.toml"
    file.write_text(exported.stdout)
    name = "qctl_export_target"
    with psycopg.connect(server.uri(), autocommit=True) as admin:
        admin.execute(f'create database "{name}" template template0')
    try:
        with psycopg.connect(server.uri(name), autocommit=True) as other:
            for statement in TABLES:
                other.execute(statement)
        ok("install", dsn=server.uri(name))
        ok("apply", str(file), "--yes", dsn=server.uri(name))
        assert facts(server.uri(name)) == facts(dsn)
        assert ok("export", dsn=server.uri(name)).stdout == exported.stdout
    finally:
        with psycopg.connect(server.uri(), autocommit=True) as admin:
            admin.execute(f'drop database "{name}" with (force)')


def test_a_value_that_looks_like_a_secret_is_not_written_and_the_check_stays_clean(conn, dsn):
    headers = '{"Authorization": "Bearer hush", "X-T": "1"}'
    conn.execute("select qctl.create_queue('orders', 'https://example.com/x', %s)", (headers,))
    exported = ok("export", dsn=dsn)
    assert "hush" not in exported.stdout + exported.stderr
    assert "headers" not in exported.stdout
    assert "qctl secret set NAME && qctl set -q orders --header 'authorization: secret:NAME'" in exported.stderr
    ok("apply", "-", "--check", dsn=dsn, stdin=exported.stdout)


def test_only_the_queues_that_are_named(conn, dsn, everything):
    written = tomllib.loads(ok("export", "-q", "plain", "-q", "text", dsn=dsn).stdout)
    assert set(written["queues"]) == {"plain", "text"}
    done = qctl("export", "-q", "nothing", dsn=dsn)
    assert done.returncode == 6 and done.stdout == ""


def test_references_are_written_and_nothing_else_of_a_secret(conn, dsn, everything):
    conn.execute("select qctl.set_header_secret('rabbit', 'hush'), qctl.set_header_secret('token', 'hush')")
    exported = ok("export", dsn=dsn).stdout
    queues = tomllib.loads(exported)["queues"]
    assert queues["broker"]["broker"] == {"password": "secret:rabbit", "username": "qctl"}
    assert queues["full"]["headers"]["x-token"] == "secret:token"
    assert "hush" not in exported
