"""What a role that was let into nothing, and the owner of an attached table, must not do: refused by PostgreSQL itself."""

from collections.abc import Iterator

import psycopg
import pytest

from helpers import SECRET, claim, create, one, send, settle

READS = [
    "select * from qctl.queue", "select headers from qctl.queue", "select * from qctl.status", "select * from qctl.orders_status",
    "select * from qctl.signing_secret", "select * from qctl.header_secret", "select * from qctl.attempt",
    "select * from qctl.dead_letter", "select * from qctl.audit", "select * from qctl.in_flight", "select * from qctl.dedup",
    "select * from pgmq.q_orders", "select * from pgmq.a_orders", "select * from qctl.depth()",
    "select * from qctl.messages('orders')",
    "select * from qctl.message('orders', 1)", "select * from qctl.payloads('orders', '{1}')",
    "select * from qctl.signing_secrets()",
    "select qctl._secret_value('secret:token')", "select qctl._resolved_headers(null)",
]  # fmt: skip
ACTS = [
    "select * from qctl.claim('orders', 1)",
    "select * from qctl.settle('orders', '{}', '{}', '{}', '{}', '{}', '{}', '{}')",
    "select qctl.send('orders', array['1']::jsonb[])",
    "select * from qctl.send_once('orders', '1', 'k')",
    "select * from qctl.replay('orders', '{1}')",
    "select * from qctl.discard('orders', '{1}')",
    "select * from qctl.pause('orders')",
    "select * from qctl.resume('orders')",
    "select * from qctl.rotate_secret('orders')",
    "select * from qctl.revoke_secret('orders', null, true)",
    "select * from qctl.set_header_secret('token', 'mine')",
    "select qctl.set_queue('orders', 'https://evil.example.com/')",
    "select qctl.create_queue('mine', 'https://evil.example.com/')",
    "select * from qctl.set_event_route('orders')",
    "select * from qctl.attach('public.theirs', 'orders')",
    "select * from qctl.detach('public.theirs')",
    "select * from qctl.drop_queue('orders', true)",
    "select * from qctl.purge('orders', '0 s')",
    "select * from qctl.grant_role(current_user::text)",
    "select * from qctl.arm()",
    "select * from qctl.disarm()",
    "call qctl.maintenance()",
    "call qctl.work()",
    "insert into pgmq.q_orders (vt, message) values (now(), '1')",
    "update pgmq.q_orders set vt = now()",
    "delete from pgmq.q_orders",
    "truncate pgmq.q_orders",
    "delete from qctl.audit",
    "update qctl.queue set url = 'https://evil.example.com/'",
    "update qctl.arming set database_oid = 0",
    "create function qctl.mine() returns int language sql as 'select 1'",
    "create table qctl.mine ()",
    "create or replace function qctl.is_armed() returns boolean language sql as 'select true'",
    "alter function qctl.is_armed() owner to current_user",
    "drop schema qctl cascade",
]
OWNERS = [
    "insert into pgmq.q_orders (msg_id, vt, message) overriding system value values (99, now(), '1')",
    "insert into pgmq.q_orders (vt, enqueued_at, message) values (now(), 'infinity', '1')",
    """insert into pgmq.q_orders (vt, message, headers) values (now(), '1', '{"x-evil": "1"}')""",
    "insert into pgmq.q_orders (vt, message, read_ct) values (now(), '1', -1)",
    "insert into pgmq.q_second (vt, message) values (now(), '1')",
    "select message from pgmq.q_orders",
    "select headers from pgmq.q_orders",
    "update pgmq.q_orders set message = '2'",
    "delete from pgmq.q_orders",
    "select * from pgmq.a_orders",
    "create trigger evil after insert on pgmq.q_orders for each row execute function public.evil()",
    "create or replace function qctl.is_armed() returns boolean language sql as 'select true'",
    "create function qctl.evil() returns int language sql as 'select 1'",
    "alter function qctl.is_armed() rename to evil",
    "select * from qctl.claim('orders', 1)",
    "select qctl._capture_failed(1, '42501', 'x')",
    "select * from qctl.queue",
    "select * from qctl.signing_secret",
    "select * from qctl.header_secret",
    "select qctl.send('orders', array['1']::jsonb[])",
    "alter table public.theirs disable trigger qctl_capture_orders_theirs_5b841424_insert; select qctl.detach('public.theirs')",
]


@pytest.fixture
def database(conn) -> psycopg.Connection:
    """Two queues, secrets, a delivered message, a dead one and one in flight."""
    create(conn, retry_schedule_s=[])
    create(conn, "second")
    conn.execute("select qctl.rotate_secret('orders', %s)", [SECRET])
    conn.execute("select qctl.set_header_secret('token', 'planted')")
    send(conn, 3)
    first, second, _ = claim(conn)
    settle(conn, [first, second], [200, 400])
    return conn


@pytest.fixture
def role(database) -> Iterator[str]:
    """A role with a table of its own."""
    name = f"outsider_{database.info.backend_pid}"
    database.execute(
        f"create role {name}; grant create, usage on schema public to {name}; create table public.theirs (id int)"
    )
    database.execute(f"alter table public.theirs owner to {name}")
    yield name
    database.execute("reset role")
    database.execute(f"drop owned by {name} cascade; drop role {name}")


def state(conn) -> list[tuple]:
    """What must be as it was."""
    return [
        conn.execute("select queue_name, url, headers from qctl.queue order by 1").fetchall(),
        conn.execute("select msg_id, message, headers from pgmq.q_orders order by 1").fetchall(),
        conn.execute("select count(*) from pgmq.a_orders").fetchall(),
        conn.execute("select count(*) from qctl.dead_letter").fetchall(),
        conn.execute("select name, value from qctl.header_secret").fetchall(),
        conn.execute("select queue_id, inner_pad from qctl.signing_secret").fetchall(),
        conn.execute("select count(*) from qctl.audit").fetchall(),
        conn.execute("select qctl.is_armed()").fetchall(),
    ]  # fmt: skip


@pytest.mark.parametrize("action", READS + ACTS)
def test_an_outsider_is_refused(database, role, action):
    before = state(database)
    database.execute(f"set role {role}")
    with pytest.raises(psycopg.errors.InsufficientPrivilege) as refused:
        database.execute(action)
    database.execute("reset role")
    assert state(database) == before
    assert "planted" not in str(refused.value)


@pytest.mark.parametrize("action", OWNERS)
def test_the_owner_of_an_attached_table_is_refused(database, role, action):
    database.execute("select qctl.attach('public.theirs', 'orders')")
    before = state(database)
    database.execute(f"set role {role}")
    database.execute(
        "create or replace function public.evil() returns trigger language plpgsql as 'begin return null; end'"
    )
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        database.execute(action)
    database.execute("reset role")
    assert state(database) == before


@pytest.mark.parametrize("level", ["read", "operate", "work"])
def test_no_level_reads_a_secret(database, role, level):
    database.execute("select qctl.grant_role(%s, %s)", (role, level))
    database.execute(f"set role {role}")
    for action in (
        "select * from qctl.signing_secret",
        "select * from qctl.header_secret",
        "select headers from qctl.queue",
        "select qctl._secret_value('secret:token')",
        "select * from qctl.rotate_secret('orders')",
        "select * from qctl.set_header_secret('token', 'mine')",
        "select qctl.set_queue('orders', 'https://evil.example.com/')",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            database.execute(action)
    database.execute("reset role")
    assert one(database, "select value from qctl.header_secret") == "planted"


def test_public_may_execute_and_read_nothing(database):
    routines = database.execute(
        "select p.oid::regprocedure::text from pg_proc p where p.pronamespace = 'qctl'::regnamespace"
        " and has_function_privilege('public', p.oid, 'execute')"
    ).fetchall()
    tables = database.execute(
        "select c.oid::regclass::text from pg_class c where c.relnamespace in ('qctl'::regnamespace, 'pgmq'::regnamespace)"
        " and c.relkind in ('r', 'v', 'p', 'S') and c.relname ~ '^(q_|a_)|.' and c.relnamespace = 'qctl'::regnamespace"
        " and has_table_privilege('public', c.oid, 'select, insert, update, delete')"
    ).fetchall()
    assert (routines, tables) == ([], [])


def test_every_function_has_a_fixed_search_path(database):
    """But for the procedures that commit, which qualify every name, and bodies that were parsed when they were made."""
    loose = database.execute(
        "select p.oid::regprocedure::text from pg_proc p where p.pronamespace = 'qctl'::regnamespace and p.prosqlbody is null"
        " and not exists (select from unnest(p.proconfig) as c where c like 'search_path=%')"
        " and p.proname not in ('work', 'maintenance')"
    ).fetchall()
    assert loose == []
