"""Backfill in SQL: pages, what they lock, what they leave out, who they run as."""

import threading
import time

import psycopg
import pytest

from helpers import create, one


@pytest.fixture
def table(conn):
    create(conn)
    conn.execute("create table public.users (id int primary key, name text, active boolean default true)")
    conn.execute("insert into public.users select n, 'user ' || n from generate_series(1, 25) n")
    return conn


def begin(conn: psycopg.Connection, **options) -> int:
    named = "".join(f", p_{name} => %({name})s" for name in options)
    begun = f"select backfill_id from qctl.begin_backfill('public.users', 'orders'{named})"
    return conn.execute(begun, options).fetchone()[0]


def page(conn: psycopg.Connection, number: int, limit: int = 10) -> tuple[str, int, int, str | None]:
    return conn.execute("select state, rows, queued, error from qctl.backfill_page(%s, %s)", (number, limit)).fetchone()


def run(conn: psycopg.Connection, number: int, limit: int = 10) -> list[int]:
    """All pages, with how many rows each had."""
    rows = []
    while (done := page(conn, number, limit))[0] == "running":
        rows.append(done[1])
    assert done[0] == "done", done
    return rows


def queued(conn: psycopg.Connection) -> list[dict]:
    return [row[0] for row in conn.execute("select message from pgmq.q_orders order by msg_id")]


def ids(conn: psycopg.Connection) -> list[int]:
    return [message["record"]["id"] for message in queued(conn)]


def test_each_row_becomes_one_message_in_the_order_of_the_key(table):
    assert run(table, begin(table)) == [10, 10, 5]
    assert ids(table) == list(range(1, 26))
    assert queued(table)[0] == {
        "operation": "READ", "table": "users", "schema": "public",
        "record": {"id": 1, "name": "user 1", "active": True}, "old_record": None,
    }  # fmt: skip
    assert one(table, "select count(*) from pg_proc where proname like 'capture\\_backfill%%'") == 0


@pytest.mark.parametrize(
    ("columns", "key", "values"),
    [
        ("a int, b text, primary key (a, b)", "a, b", "n %% 3, 'x' || n"),
        ('"Odd ""Key" timestamptz primary key', '"Odd ""Key"', "timestamptz '2026-01-01' + n * interval '1.000001 s'"),
        ("k float8 primary key", "k", "n / 7.0"),
        ("k bytea primary key", "k", "decode(md5(n::text), 'hex')"),
        ("k numeric not null, x int, unique (k)", "k", "n * 1.1, n"),
        ("k text collate \"C\" primary key", "k", "md5(n::text)"),
        ("k uuid primary key", "k", "md5(n::text)::uuid"),
        ("k interval primary key", "k", "n * interval '1 day 1.5 s'"),
    ],
)  # fmt: skip
def test_pages_follow_every_kind_of_key(conn, columns, key, values):
    create(conn)
    conn.execute(f"create table public.users ({columns})")
    conn.execute(f"insert into public.users select {values} from generate_series(1, 25) n".replace("%%", "%"))
    conn.execute("set datestyle = 'German'")
    conn.execute("set extra_float_digits = -5")
    run(conn, begin(conn), limit=4)
    assert one(conn, "select count(distinct message -> 'record') from pgmq.q_orders") == 25
    ordered = one(conn, f"select jsonb_agg(to_jsonb(u) order by {key}) from public.users u")
    if "float" not in columns and "timestamp" not in columns and "interval" not in columns:
        assert [message["record"] for message in queued(conn)] == ordered


def test_partitions_are_read_through_their_table(conn):
    create(conn)
    conn.execute("create table public.users (id int primary key) partition by hash (id)")
    for part in range(3):
        conn.execute(
            f"create table public.part_{part} partition of public.users for values with (modulus 3, remainder {part})"
        )
    conn.execute("insert into public.users select generate_series(1, 25)")
    assert run(conn, begin(conn)) == [10, 10, 5]
    assert ids(conn) == list(range(1, 26))


def test_where_and_columns(table):
    run(table, begin(table, where="id % 5 = 0 and name like 'user%'", columns=["name"]))
    assert [message["record"] for message in queued(table)] == [{"id": n, "name": f"user {n}"} for n in range(5, 26, 5)]


@pytest.mark.parametrize(
    "where", ["nothing", "true) or (true", "1 = 1; drop table public.users", "id in (select 1 from users)"]
)
def test_a_condition_that_is_none_is_refused(table, where):
    with pytest.raises(psycopg.errors.Error) as refused:
        begin(table, where=where)
    assert refused.value.sqlstate == "QC002"
    assert one(table, "select count(*) from public.users") == 25


def test_a_table_whose_rows_nothing_identifies_is_refused(conn):
    create(conn)
    conn.execute("create table public.users (id int)")
    with pytest.raises(psycopg.errors.Error, match="no primary key"):
        begin(conn)


def test_the_attachment_says_what_a_message_is(table):
    table.execute(
        "select qctl.attach('public.users', 'orders', p_when => 'new.active', p_order_by => 'name',"
        " p_operations => '{INSERT,UPDATE}',"
        " p_body => 'jsonb_build_object(''op'', operation, ''id'', new.id, ''was'', old.id)')"
    )
    table.execute("set qctl.capture = off; update public.users set active = false where id > 2; reset qctl.capture")
    assert run(table, begin(table)) == [10, 10, 5]
    assert queued(table) == [{"op": "READ", "id": 1, "was": None}, {"op": "READ", "id": 2, "was": None}]
    keys = [row[0] for row in table.execute("select headers ->> 'x-pgmq-group' from pgmq.q_orders order by msg_id")]
    assert keys == ["user 1", "user 2"]


def test_a_run_goes_on_where_it_stopped_and_another_is_refused(table):
    number = begin(table, where="id > 3")
    assert page(table, number)[1] == 10
    assert begin(table) == number
    with pytest.raises(psycopg.errors.Error, match="another backfill"):
        begin(table, where="id > 4")
    run(table, number)
    assert ids(table) == list(range(4, 26))
    assert begin(table) != number


def test_paused_and_cancelled(table):
    number = begin(table)
    page(table, number)
    assert table.execute(
        "select state, changed from qctl.set_backfill('public.users', 'orders', 'paused')"
    ).fetchone() == ("paused", True)
    assert page(table, number) == ("paused", 0, 0, None)
    assert table.execute("select state, fix from qctl.backfills()").fetchone() == (
        "paused",
        "qctl backfill public.users -q orders",
    )
    assert begin(table) == number
    assert page(table, number)[0] == "running"
    table.execute("select qctl.set_backfill('public.users', 'orders', 'cancelled')")
    assert page(table, number)[0] == "cancelled"
    assert len(ids(table)) == 20
    assert one(table, "select count(*) from pg_proc where proname like 'capture\\_backfill%%'") == 0
    with pytest.raises(psycopg.errors.Error, match="no backfill"):
        table.execute("select qctl.set_backfill('public.users', 'orders', 'paused')")


def test_a_page_waits_for_a_writer_only_at_its_first_row_and_sends_what_it_wrote(table, dsn):
    """Rows 5 and 6 are held: the page ends before them; the next one waits for 5, and is never part of a deadlock."""
    number = begin(table)
    with psycopg.connect(dsn) as writer:
        writer.execute("update public.users set name = 'new' where id in (5, 6)")
        assert page(table, number)[1] == 4
        ended = []
        waits = threading.Thread(target=lambda: ended.append(page(table, number)))
        waits.start()
        time.sleep(0.3)
        assert not ended
        # The writer takes a row behind it, which a page that held it would make a deadlock.
        writer.execute("update public.users set name = 'new' where id in (4, 7)")
        writer.commit()
        waits.join(10)
    assert ended[0][1] >= 3
    run(table, number)
    names = {message["record"]["id"]: message["record"]["name"] for message in queued(table)}
    assert len(ids(table)) == 25
    assert [names[n] for n in (5, 6, 7)] == ["new"] * 3


def test_a_writer_that_never_ends_makes_it_busy(table, dsn):
    number = begin(table)
    with psycopg.connect(dsn) as writer:
        writer.execute("update public.users set name = 'new' where id = 1")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            page(table, number)
    assert run(table, number)[0] == 10


def test_what_cannot_go_on_says_so_and_goes_on_later(table):
    number = begin(table, where="1 / (13 - id) > -100")
    assert page(table, number)[:2] == ("running", 10)
    assert page(table, number) == ("failed", 0, 0, "SQLSTATE 22012")
    assert table.execute("select state, error, fix from qctl.backfills()").fetchone() == (
        "failed", "SQLSTATE 22012", "qctl backfill public.users -q orders",
    )  # fmt: skip
    table.execute("delete from public.users where id = 13")
    run(table, begin(table))
    assert len(ids(table)) == 24


def test_a_table_that_lost_a_column_fails_and_a_dropped_one_too(table):
    number = begin(table, where="active")
    table.execute("alter table public.users drop active")
    assert page(table, number)[0] == "failed"
    table.execute("select qctl.set_backfill('public.users', 'orders', 'cancelled')")
    number = begin(table)
    table.execute("drop table public.users")
    assert page(table, number)[0] == "failed"
    table.execute("select qctl.drop_queue('orders')")
    assert one(table, "select count(*) from qctl.backfill") == 0
    assert one(table, "select count(*) from pg_proc where proname like 'capture\\_backfill%%'") == 0


def test_it_runs_as_the_owner_of_the_table(table):
    role = f"owner_{one(table, 'select pg_backend_pid()')}"
    table.execute(f"create role {role}")
    try:
        table.execute(f"create schema planted authorization {role}")
        table.execute(f"alter table public.users owner to {role}")
        table.execute(f"set role {role}")
        table.execute("create table planted.said (who text)")
        table.execute(
            "create function planted.who() returns boolean language plpgsql as $$ begin"
            " insert into planted.said values (current_user); perform set_config('search_path', 'planted', true);"
            " begin perform set_config('role', 'postgres', true); exception when others then"
            "   insert into planted.said values (sqlerrm); end; return true; end $$"
        )
        table.execute(
            "create function planted.clock_timestamp() returns timestamptz language sql as $$ select 'epoch'::timestamptz $$"
        )
        table.execute("reset role")
        number = begin(table, where="planted.who()")
        assert one(table, "select qctl.count_backfill(%s)", number) == 25
        run(table, number)
        said = {row[0] for row in table.execute("select distinct who from planted.said")}
        assert said == {role, 'cannot set parameter "role" within security-definer function'}
        assert one(table, "select current_user") == "postgres"
        assert len(ids(table)) == 25
    finally:
        table.execute("reset role")
        table.execute(f"drop owned by {role} cascade")
        table.execute(f"drop role {role}")


def test_what_was_missed_is_found_by_comparing(table):
    """A trigger was off: rows were inserted, updated and deleted meanwhile."""
    table.execute("select qctl.attach('public.users', 'orders')")
    table.execute("update public.users set name = name || '!'")
    table.execute("set qctl.capture = off")
    table.execute("update public.users set name = 'missed' where id = 7")
    table.execute("delete from public.users where id in (8, 9)")
    table.execute("insert into public.users values (26, 'missed')")
    table.execute("reset qctl.capture")
    number = begin(table, missed=True)
    # While it runs: 8 comes back and is captured.
    table.execute("insert into public.users values (8, 'back')")
    page(table, number)
    run(table, number)
    later = queued(table)[25:]
    assert [(message["operation"], (message["record"] or message["old_record"])["id"]) for message in later] == [
        ("INSERT", 8), ("READ", 7), ("READ", 8), ("READ", 26), ("DELETE", 9),
    ] or [(message["operation"], (message["record"] or message["old_record"])["id"]) for message in later] == [
        ("INSERT", 8), ("READ", 7), ("READ", 26), ("DELETE", 9),
    ]  # fmt: skip
    assert later[-1]["old_record"]["name"] == "user 9!"
    assert run(table, begin(table, missed=True)) == [10, 10, 5]
    assert len(queued(table)) == 25 + len(later)


def test_bodies_cannot_be_compared(table):
    table.execute("select qctl.attach('public.users', 'orders', p_body => 'to_jsonb(new.id)')")
    with pytest.raises(psycopg.errors.Error, match="cannot be compared"):
        begin(table, missed=True)


def test_a_reader_sees_runs_and_no_key(table):
    role = f"reader_{one(table, 'select pg_backend_pid()')}"
    table.execute(f"create role {role}")
    try:
        table.execute("select qctl.grant_role(%s, 'read')", (role,))
        number = begin(table)
        page(table, number)
        table.execute(f"set role {role}")
        assert table.execute("select relation, scanned from qctl.backfills()").fetchone() == ("public.users", 10)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            table.execute("select after_key from qctl.backfill")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            page(table, number)
    finally:
        table.execute("reset role")
        table.execute(f"drop owned by {role} cascade")
        table.execute(f"drop role {role}")
