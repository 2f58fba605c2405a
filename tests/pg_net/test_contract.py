"""What the transport relies on in pg_net, checked against the stand-in always, and against the real one of QCTL_TEST_SERVER.

``make test-server DSN=…`` names a server with pg_net in that database, and a loopback that it shares with the tests. The
tests make schema qctl there, and drop it again.
"""

import os
import re
import time
from collections.abc import Iterator

import psycopg
import pytest

import standin
from helpers import create, one, send, states
from processes import wait_until
from qctl import db
from qctl.config import Database
from qctl.operations import migrate
from standin import NetWorker

GIVEN = os.environ.get("QCTL_TEST_SERVER")


@pytest.fixture(params=["given"] if GIVEN else ["whole batch", "early commit"])
def site(request) -> Iterator[psycopg.Connection]:
    """A database with pg_net at work and qctl installed."""
    if not GIVEN:
        dsn = request.getfixturevalue("dsn")
        standin.install(dsn)
        worker = NetWorker(dsn, *(["--early-commit"] if request.param == "early commit" else []))
        with psycopg.connect(dsn, autocommit=True) as connection:
            yield connection
        worker.close()
        return
    with psycopg.connect(GIVEN, autocommit=True) as connection:
        assert one(connection, "select to_regnamespace('qctl') is null"), (
            "the server's database has a schema qctl already"
        )
        had_pgmq = one(connection, "select to_regnamespace('pgmq') is not null")
        with db.connect(Database(GIVEN, "QCTL_TEST_SERVER"), application="test") as installer:
            migrate.apply(installer)
        yield connection
        if one(connection, "select to_regnamespace('cron') is not null"):
            connection.execute("select cron.unschedule(job_id) from qctl.jobs()")
        if not had_pgmq:
            connection.execute("drop schema pgmq cascade")
        connection.execute("drop schema qctl cascade")


def post(site, url: str, *, headers: str = "{}", timeout_ms: int = 3000) -> int:
    return one(
        site, "select net.http_post(url := %s, headers := %s, timeout_milliseconds := %s)", url, headers, timeout_ms
    )


def answer(site, request_id: int):
    query = "select status_code, headers, content, timed_out, error_msg, created from net._http_response where id = %s"
    wait_until(lambda: site.execute(query, (request_id,)).fetchone(), 20, "pg_net's answer")
    return site.execute(query, (request_id,)).fetchone()


def test_tables(site):
    columns = site.execute(
        "select table_name, column_name, data_type, column_default from information_schema.columns"
        " where table_schema = 'net' and table_name in ('http_request_queue', '_http_response') order by 1, ordinal_position"
    ).fetchall()
    assert columns == [
        ("_http_response", "id", "bigint", None),
        ("_http_response", "status_code", "integer", None),
        ("_http_response", "content_type", "text", None),
        ("_http_response", "headers", "jsonb", None),
        ("_http_response", "content", "text", None),
        ("_http_response", "timed_out", "boolean", None),
        ("_http_response", "error_msg", "text", None),
        ("_http_response", "created", "timestamp with time zone", "now()"),
        ("http_request_queue", "id", "bigint", "nextval('net.http_request_queue_id_seq'::regclass)"),
        ("http_request_queue", "method", "text", None),
        ("http_request_queue", "url", "text", None),
        ("http_request_queue", "headers", "jsonb", None),
        ("http_request_queue", "body", "bytea", None),
        ("http_request_queue", "timeout_milliseconds", "integer", None),
    ]
    kinds = site.execute(
        "select relpersistence from pg_class where relnamespace = 'net'::regnamespace and relkind = 'r'"
    ).fetchall()
    assert {row[0] for row in kinds} == {"u"}
    indexes = site.execute("select indexdef from pg_indexes where schemaname = 'net'").fetchall()
    assert [re.search(r"\((.*)\)", row[0])[1] for row in indexes] == ["created"]


def test_functions_and_grants(site):
    names, defaults = site.execute(
        "select proargnames, pronargdefaults from pg_proc where pronamespace = 'net'::regnamespace and proname = 'http_post'"
    ).fetchone()
    assert names[:5] == ["url", "body", "params", "headers", "timeout_milliseconds"]
    assert defaults == 4
    for table in ("net.http_request_queue", "net._http_response"):
        for right in ("select", "insert", "update", "delete"):
            assert one(site, "select has_table_privilege('public', %s, %s)", table, right)
    assert one(site, "select has_sequence_privilege('public', 'net.http_request_queue_id_seq', 'usage')")
    assert one(site, "select has_schema_privilege('public', 'net', 'usage')")


def test_what_http_post_refuses(site):
    with pytest.raises(psycopg.Error, match='Content-Type header must be "application/json"'):
        post(site, "http://127.0.0.1:9/", headers='{"content-type": "text/plain"}')
    for url in ("", "example.com", "http://a b/"):
        with pytest.raises(psycopg.Error, match="invalid URL"):
            post(site, url)


def test_requests_begin_with_the_commit_and_a_rollback_sends_nothing(site, endpoint):
    receiver = endpoint()
    with site.transaction(force_rollback=True):
        post(site, receiver.url)
    with site.transaction():
        request_id = post(site, receiver.url)
        time.sleep(1.5)
        assert receiver.entries() == []
    assert answer(site, request_id)[0] == 200
    assert len(receiver.entries()) == 1


def test_answers(site, endpoint):
    status, headers, content, timed_out, error, _ = answer(site, post(site, endpoint().url))
    assert (status, content, timed_out, error) == (200, "ok\n", False, None)
    assert {key.lower() for key in headers} >= {"content-type", "content-length"}
    status, headers, _, _, _, _ = answer(site, post(site, endpoint("--fail-rate", "1", "--failures", "429").url))
    assert status == 429
    assert {key.lower(): value for key, value in headers.items()}["retry-after"] == "1"


def test_no_answer(site, endpoint):
    status, _, _, _, error, _ = answer(site, post(site, "http://127.0.0.1:1/"))
    assert (status, error) == (None, "Couldn't connect to server")
    status, _, _, _, error, _ = answer(
        site, post(site, endpoint("--fail-rate", "1", "--failures", "hang").url, timeout_ms=500)
    )
    assert status is None
    assert error.lower().startswith("timeout")


def test_a_redirected_post_becomes_a_get_and_keeps_the_first_answers_location(site, endpoint):
    receiver = endpoint("--status", "302")
    status, headers, _, _, error, _ = answer(site, post(site, receiver.url))
    assert (status, error) == (200, None)
    assert {key.lower(): value for key, value in headers.items()}["location"] == "/elsewhere"
    assert [entry.answer for entry in receiver.entries()] == ["302", "get"]


def test_only_what_is_not_started_can_be_locked_and_what_is_deleted_is_never_sent(site, endpoint):
    receiver = endpoint("--delay-s", "2")
    batch = one(site, "select qctl._net_batch_size()")
    ids = [row[0] for row in site.execute("select net.http_post(%s, timeout_milliseconds := 9000) from generate_series(1, %s)",
                                          (receiver.url, batch + 20))]  # fmt: skip
    wait_until(lambda: receiver.entries())
    time.sleep(0.3)
    free = [row[0] for row in site.execute("delete from net.http_request_queue where id in"
            " (select id from net.http_request_queue for update skip locked) returning id")]  # fmt: skip
    assert sorted(free) == ids[batch:]
    wait_until(
        lambda: one(site, "select count(*) from net._http_response where id = any (%s)", ids[:batch]) == batch, 30
    )
    time.sleep(1.5)
    assert len(receiver.entries()) == batch


def test_an_answer_is_dated_no_earlier_than_its_batch_began(site, endpoint):
    before = one(site, "select clock_timestamp()")
    created = answer(site, post(site, endpoint("--delay-s", "1").url))[5]
    assert (created - before).total_seconds() > -1


def test_the_whole_way(site, endpoint):
    receiver = endpoint("--fail-rate", "0.2", "--failures", "500,reset,429")
    create(site, url=receiver.url, transport="pg_net", retry_schedule_s=[1] * 20)
    ids = send(site, 60)
    site.execute("set statement_timeout = '17s'")
    site.execute("call qctl.work()")
    site.execute("reset statement_timeout")
    assert states(site, ids) == {"delivered": 60}
    assert len(receiver.accepted()) == 60


def test_a_redirect_is_a_failure(site, endpoint):
    create(site, url=endpoint("--status", "302").url, transport="pg_net")
    [msg_id] = send(site)
    site.execute("select qctl.dispatch('orders')")
    wait_until(lambda: one(site, "select qctl.collect('orders')") == 1)
    assert states(site, [msg_id]) == {"retrying": 1}
    assert "redirected to /elsewhere" in one(site, "select error from qctl.attempt")
