"""Taking over a Supabase Database Webhook: triggers on a stand-in of its function, with the real arguments."""

import json

import pytest

from helpers import claim, one
from processes import failing, ok

HOOK = """
create table public.orders (id int primary key, total int, note text);
create schema if not exists supabase_functions;
create table if not exists public.sent (id int);
create or replace function supabase_functions.http_request() returns trigger language plpgsql as
  $$ begin insert into public.sent values (1); return coalesce(new, old); end $$;
"""
TRIGGER = """
create trigger "Orders to n8n" after insert or update on public.orders for each row when (new.total > 10)
execute function supabase_functions.http_request('https://n8n.example.com/hook', 'POST',
  '{"Content-type":"application/json","X-Tenant":"acme"}', '{"a":"1"}', '5000')
"""


@pytest.fixture
def hooked(conn):
    conn.execute(HOOK)
    conn.execute(TRIGGER)
    return conn


def test_the_queue_does_what_the_webhook_did_and_the_webhook_no_more(hooked, dsn):
    done = ok("adopt-webhook", "public.orders", "Orders to n8n", "-o", "json", dsn=dsn)
    (row,) = json.loads(done.stdout)
    assert (row["queue_name"], row["url"], row["operations"]) == (
        "orders_to_n8n",
        "https://n8n.example.com/hook?a=1",
        ["INSERT", "UPDATE"],
    )
    assert "Next: qctl worker -q orders_to_n8n" in done.stderr
    assert hooked.execute("select headers, timeout_ms from qctl.queue").fetchone() == ({"x-tenant": "acme"}, 15000)
    hooked.execute("insert into public.orders values (1, 11, 'a'), (2, 5, 'b')")
    hooked.execute("update public.orders set note = note")
    hooked.execute("delete from public.orders")
    assert one(hooked, "select count(*) from public.sent") == 0
    bodies = [json.loads(c.body) for c in claim(hooked, name="orders_to_n8n")]
    assert [body["type"] for body in bodies] == ["INSERT", "UPDATE"]
    assert set(bodies[0]) == {"type", "table", "schema", "record", "old_record"}
    assert one(hooked, "select enabled from qctl.webhooks()") is False


def test_attach_warns_of_a_webhook_on_the_same_table(hooked, dsn):
    ok("create", "orders", "--url", "https://e.org/x", dsn=dsn)
    assert (
        "table public.orders also has a Supabase Database Webhook"
        in ok("attach", "public.orders", "-q", "orders", dsn=dsn).stderr
    )
    hooked.execute('alter table public.orders disable trigger "Orders to n8n"')
    ok("detach", "public.orders", "-q", "orders", dsn=dsn)
    assert "Webhook" not in ok("attach", "public.orders", "-q", "orders", dsn=dsn).stderr


def test_what_cannot_be_taken_over_is_refused_and_nothing_is_changed(hooked, dsn):
    assert "webhooks of the table: Orders to n8n" in failing(6, "adopt-webhook", "public.orders", "other", dsn=dsn)
    failing(6, "adopt-webhook", "public.nothing", "other", dsn=dsn)
    ok("create", "orders", "--url", "https://e.org/x", dsn=dsn)
    assert "with another URL" in failing(7, "adopt-webhook", "public.orders", "Orders to n8n", "-q", "orders", dsn=dsn)
    ok("create", "bare", "--url", "https://n8n.example.com/hook?a=1", dsn=dsn)
    assert "other headers" in failing(7, "adopt-webhook", "public.orders", "Orders to n8n", "-q", "bare", dsn=dsn)
    hooked.execute("create trigger odd after delete on public.orders for each row"
                   " execute function supabase_functions.http_request('https://e.org/g', 'POST', '{}', '{\"a\":\"x&y\"}',"
                   " '1000')")  # fmt: skip
    assert "need encoding" in failing(7, "adopt-webhook", "public.orders", "odd", dsn=dsn)
    hooked.execute("alter table public.orders disable trigger odd")
    assert "is disabled" in failing(7, "adopt-webhook", "public.orders", "odd", dsn=dsn)
    hooked.execute("drop trigger odd on public.orders")
    hooked.execute("create trigger getter after delete on public.orders for each row"
                   " execute function supabase_functions.http_request('https://e.org/g', 'GET', '{}', '{}', '1000')")  # fmt: skip
    assert "sends GET" in failing(7, "adopt-webhook", "public.orders", "getter", dsn=dsn)
    assert one(hooked, "select bool_and(enabled) from qctl.webhooks()")
    assert one(hooked, "select count(*) from qctl.attachment") == 0


def test_columns_and_a_table_that_wants_quotes(conn, dsn):
    conn.execute(HOOK)
    conn.execute('alter table public.orders rename to "Big Orders"')
    conn.execute('create trigger h after update of total, note on public."Big Orders" for each row execute function'
                 " supabase_functions.http_request('https://e.org/p?x=1', 'POST', '', '', '')")  # fmt: skip
    (row,) = json.loads(ok("adopt-webhook", 'public."Big Orders"', "h", "-o", "json", dsn=dsn).stdout)
    assert row["url"] == "https://e.org/p?x=1"
    conn.execute('insert into public."Big Orders" values (1, 1, null)')
    conn.execute('update public."Big Orders" set id = 2')
    conn.execute('update public."Big Orders" set total = 2')
    assert len(claim(conn, name="h")) == 1
    conn.execute('create trigger odd after delete on public."Big Orders" for each row execute function'
                 " supabase_functions.http_request('https://e.org/é\\\\x', 'POST', '{\"X\": \"ü\"}', '', '')")  # fmt: skip
    assert conn.execute("select url, headers from qctl.webhooks() where trigger_name = 'odd'").fetchone() == (
        "https://e.org/é\\\\x",
        {"X": "ü"},
    )
