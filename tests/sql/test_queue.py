"""Queues: names, URLs, headers, settings, adopting, pausing."""

import psycopg
import pytest
from psycopg.types.json import Jsonb

from helpers import claim, create, one, send

URL = "https://n8n.example.com/webhook/orders"


@pytest.mark.parametrize(
    "name",
    [
        "Orders",
        "a b",
        "a-b",
        'a"b',
        "a'b",
        "a;drop table x",
        "",
        "1a",
        "x" * 48,
        "é",
        "a.b",
        "a\nb",
        "pg_catalog.x",
        "a$b",
    ],
)
def test_bad_names_are_refused(conn, name):
    with pytest.raises(psycopg.Error, match="is not a valid queue name") as caught:
        conn.execute("select qctl.create_queue(%s, %s)", (name, URL))
    assert caught.value.sqlstate == "QC002"
    assert one(conn, "select count(*) from pgmq.meta") == 0


@pytest.mark.parametrize("name", ["o", "x" * 47, "_private", "order", "select", "a1_b2"])
def test_good_names_work_through_a_whole_life(conn, name):
    create(conn, name)
    send(conn, name=name)
    assert len(claim(conn, name=name)) == 1


@pytest.mark.parametrize(
    "url",
    [
        "n8n.example.com/x",
        "ftp://example.com/",
        "file:///etc/passwd",
        "http://",
        "http:///x",
        "http://a b/",
        "http://example.com/\r\nX-Evil: 1",
        "http://example.com/é",
        "javascript:alert(1)",
        "http://user:pw@example.com/",
        "http://example.com:port/",
        "",
    ],
)
def test_bad_urls_are_refused(conn, url):
    with pytest.raises(psycopg.Error) as caught:
        conn.execute("select qctl.create_queue('orders', %s)", (url,))
    assert caught.value.sqlstate == "QC002"
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["http://localhost:5678/webhook/x?a=b#c", "https://[::1]:8443/", "HTTPS://EXAMPLE.com", "http://10.0.0.1/x~y"],
)
def test_good_urls_are_taken(conn, url):
    create(conn, url=url)
    assert one(conn, "select url from qctl.queue") == url


@pytest.mark.parametrize(
    "headers",
    [
        {"X\r\n": "a"},
        {"X": "a\nb"},
        {"webhook-id": "x"},
        {"Content-Length": "3"},
        {"Host": "x"},
        {"X": 3},
        {"X": "a" * 5000},
        {"": "x"},
    ],
)
def test_bad_headers_are_refused(conn, headers):
    with pytest.raises(psycopg.Error) as caught:
        conn.execute("select qctl.create_queue('orders', %s, %s)", (URL, Jsonb(headers)))
    assert caught.value.sqlstate == "QC002"


@pytest.mark.parametrize(
    "settings",
    [
        {"timeout_ms": 0},
        {"timeout_ms": "soon"},
        {"concurrency": 0},
        {"max_in_flight": -1},
        {"retry_schedule_s": [0]},
        {"retry_schedule_s": [None]},
        {"retry_jitter": 2},
        {"nonsense": 1},
    ],
)
def test_settings_out_of_range_are_refused_and_nothing_is_made(conn, settings):
    with pytest.raises(psycopg.Error) as caught:
        create(conn, **settings)
    assert caught.value.sqlstate == "QC002"
    assert one(conn, "select count(*) from qctl.queue") == one(conn, "select count(*) from pgmq.meta") == 0


def test_set_changes_what_is_named_and_leaves_the_rest(conn):
    conn.execute("select qctl.create_queue('orders', %s, %s)", (URL, Jsonb({"A": "1", "B": "2"})))
    conn.execute(
        "select qctl.set_queue('orders', p_headers => %s, p_settings => %s)",
        (Jsonb({"a": "9", "b": None}), Jsonb({"timeout_ms": 3000})),
    )
    assert conn.execute("select url, headers, timeout_ms, concurrency from qctl.queue").fetchone() == (
        URL,
        {"a": "9"},
        3000,
        50,
    )


def test_an_unknown_queue_is_named_with_those_there_are(conn):
    create(conn, "billing")
    with pytest.raises(psycopg.Error) as caught:
        conn.execute("select qctl.claim('orders', 1)")
    assert caught.value.sqlstate == "QC006"
    assert "billing" in caught.value.diag.message_hint


def test_a_queue_is_not_made_twice(conn):
    create(conn)
    with pytest.raises(psycopg.Error) as caught:
        create(conn)
    assert caught.value.sqlstate == "QC007"


def test_an_existing_pgmq_queue_is_adopted_only_when_asked(conn):
    conn.execute("select pgmq.create('orders')")
    conn.execute("select pgmq.send('orders', '{}'::jsonb)")
    with pytest.raises(psycopg.Error, match="holds 1 messages") as caught:
        create(conn)
    assert caught.value.sqlstate == "QC007"
    waiting = one(conn, "select waiting from qctl.create_queue('orders', %s, p_waiting => 'deliver')", URL)
    assert waiting == 1
    assert len(claim(conn)) == 1


@pytest.mark.parametrize("kind", ["unlogged", "partitioned"])
def test_queues_that_lose_messages_are_refused(conn, kind):
    conn.execute("select pgmq.create('orders')")
    conn.execute(f"update pgmq.meta set is_{kind} = true")
    with pytest.raises(psycopg.Error, match=kind) as caught:
        conn.execute("select qctl.create_queue('orders', %s, p_waiting => 'deliver')", (URL,))
    assert caught.value.sqlstate == "QC007"


def test_pausing_twice_keeps_the_first_reason(conn):
    create(conn)
    conn.execute("select qctl.pause('orders', 'first')")
    assert one(conn, "select changed from qctl.pause('orders', 'second')") is False
    assert one(conn, "select pause_reason from qctl.gate") == "first"
    assert one(conn, "select changed from qctl.resume('orders')") is True
    assert one(conn, "select changed from qctl.resume('orders')") is False


def test_whatever_changes_something_writes_audit(conn):
    create(conn)
    conn.execute("create table public.users (id int)")
    for call in (
        "set_queue('orders', p_settings => '{\"concurrency\": 3}')",
        "pause('orders')",
        "resume('orders')",
        "attach('public.users', 'orders')",
        "detach('public.users')",
    ):
        conn.execute(f"select qctl.{call}")
    verbs = [row[0] for row in conn.execute("select verb from qctl.audit order by audit_id")]
    assert verbs == ["upgrade", "arm", "create", "set", "pause", "resume", "attach", "detach"]


def test_audit_and_describe_hold_no_header_value(conn):
    conn.execute("select qctl.create_queue('orders', %s, %s)", (URL, Jsonb({"Authorization": "Bearer s3cret"})))
    conn.execute("select qctl.set_queue('orders', p_headers => %s)", (Jsonb({"Authorization": "Bearer s3cret2"}),))
    assert "s3cret" not in one(conn, "select string_agg(detail::text, '') from qctl.audit")


def test_every_function_has_a_fixed_search_path(conn):
    """Or a body that PostgreSQL bound when it was made, where nothing is looked up at run time.

    A procedure that commits may have none.
    """
    rows = conn.execute(
        "select proname from pg_proc where pronamespace = 'qctl'::regnamespace and prosqlbody is null and prokind = 'f'"
        " and not coalesce(proconfig::text like '%search_path=pg_catalog, pg_temp%', false)"
    )
    assert [row[0] for row in rows] == []


def test_every_table_and_public_function_says_what_it_is(conn):
    tables = conn.execute(
        "select relname from pg_class where relnamespace = 'qctl'::regnamespace and relkind in ('r', 'v')"
        " and obj_description(oid, 'pg_class') is null"
    ).fetchall()
    assert tables == []


@pytest.mark.parametrize("url", ["https://bücher.example/hook", "https://example.com/bestellung/größe?x=é"])
def test_a_url_outside_ascii_is_refused_with_the_way_to_write_it(conn, url):
    with pytest.raises(psycopg.Error, match="has characters outside ASCII") as caught:
        create(conn, url=url)
    hint = caught.value.diag.message_hint
    assert hint.startswith("write its host in the form xn--")
    if "größe" in url:
        assert hint.endswith("/bestellung/gr%C3%B6%C3%9Fe?x=%C3%A9")
        create(conn, url="https://example.com" + hint.split(" as ")[-1])
