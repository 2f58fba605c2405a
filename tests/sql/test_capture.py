"""Capture: which changes become messages, and that it never stands in the application's way."""

import threading
import time

import psycopg
import pytest

from helpers import create, one


@pytest.fixture
def table(conn):
    create(conn)
    conn.execute("create table public.users (id int primary key, name text, paid boolean default false, note json)")
    return conn


def attach(conn, **arguments) -> list[tuple]:
    named = "".join(f", p_{name} => %({name})s" for name in arguments)
    return conn.execute(f"select * from qctl.attach('public.users', 'orders'{named})", arguments).fetchall()


def captured(conn) -> list[dict]:
    rows = conn.execute("select message from pgmq.q_orders order by msg_id").fetchall()
    conn.execute("truncate pgmq.q_orders")
    return [row[0] for row in rows]


def test_insert_update_delete_in_the_seeds_shape_and_two_keys_more(table):
    attach(table)
    table.execute("insert into users (id, name) values (1, 'a')")
    table.execute("update users set name = 'b'")
    table.execute("delete from users")
    old = {"id": 1, "name": "a", "paid": False, "note": None}
    new = {**old, "name": "b"}
    place = {"table": "users", "schema": "public"}
    assert captured(table) == [
        {"operation": "INSERT", "record": old, "old_record": None, **place},
        {"operation": "UPDATE", "record": new, "old_record": old, **place},
        {"operation": "DELETE", "record": None, "old_record": new, **place},
    ]


def test_supabases_shape(table):
    attach(table, payload="supabase")
    table.execute("insert into users (id) values (1)")
    (message,) = captured(table)
    assert set(message) == {"type", "table", "schema", "record", "old_record"}
    assert message["type"] == "INSERT"


def test_a_statement_over_many_rows_is_captured_whole_and_in_pairs(table):
    attach(table)
    table.execute("insert into users select n, 'n' || n from generate_series(1, 1000) n")
    assert [m["record"]["id"] for m in captured(table)] == list(range(1, 1001))
    table.execute("update users set id = id + 5000, name = 'x' || (id + 5000)")
    pairs = captured(table)
    assert len(pairs) == 1000
    assert all(m["record"]["id"] == m["old_record"]["id"] + 5000 for m in pairs)


def test_only_the_chosen_operations(table):
    attach(table, operations=["DELETE"])
    table.execute("insert into users (id) values (1); update users set name = 'x'; delete from users")
    assert [m["operation"] for m in captured(table)] == ["DELETE"]


def test_updates_that_change_nothing_are_left_out_unless_asked(table):
    attach(table)
    table.execute("insert into users (id, note) values (1, '{\"a\": 1}'), (2, null)")
    captured(table)
    table.execute("update users set name = name, note = note")
    assert captured(table) == []
    table.execute("update users set name = 'x' where id = 1")
    assert len(captured(table)) == 1
    table.execute("select qctl.detach('public.users')")
    attach(table, unchanged=True)
    table.execute("update users set name = name")
    assert len(captured(table)) == 2


def test_when_filters_rows(table):
    attach(table, when="new.paid and old.paid is distinct from new.paid", operations=["UPDATE"])
    table.execute("insert into users (id) values (1), (2), (3)")
    table.execute("update users set paid = true where id < 3")
    table.execute("update users set name = 'later'")
    assert [m["record"]["id"] for m in captured(table)] == [1, 2]


def test_columns_filter_updates_but_keep_the_whole_row(table):
    attach(table, columns=["paid", "name"])
    table.execute("insert into users (id) values (1)")
    assert len(captured(table)) == 1
    table.execute("update users set note = '{}'")
    assert captured(table) == []
    table.execute("update users set paid = true")
    (message,) = captured(table)
    assert message["record"]["note"] == {}


def test_one_column(table):
    attach(table, columns=["paid"])
    table.execute("insert into users (id) values (1); update users set name = 'x'; update users set paid = true")
    assert [m["operation"] for m in captured(table)] == ["INSERT", "UPDATE"]


@pytest.mark.parametrize(
    "when",
    [
        "true); delete from public.users; select (true",
        "true; drop table public.users",
        "nosuch.column = 1",
        "new.nosuch = 1",
        "1",
        "count(*) > 0",
        "new.id = ",
    ],
)
def test_a_when_that_is_no_condition_is_refused(table, when):
    table.execute("insert into users (id) values (1)")
    with pytest.raises(psycopg.Error, match="not a condition") as caught:
        attach(table, when=when)
    assert caught.value.sqlstate == "QC002"
    assert one(table, "select count(*) from public.users") == 1
    assert one(table, "select count(*) from qctl.attachment") == 0


def test_a_comment_in_a_when_ends_with_its_line(table):
    attach(table, when="new.id > 1 -- only some", operations=["INSERT"])
    table.execute("insert into users (id) values (1), (2)")
    assert [m["record"]["id"] for m in captured(table)] == [2]


def test_one_transaction_can_be_left_out(table):
    attach(table)
    with table.transaction():
        table.execute("set local qctl.capture = off")
        table.execute("insert into users (id) values (1)")
    table.execute("insert into users (id) values (2)")
    assert [m["record"]["id"] for m in captured(table)] == [2]


def test_a_rolled_back_change_is_no_event(table):
    attach(table)
    with table.transaction(force_rollback=True):
        table.execute("insert into users (id) values (1)")
    assert captured(table) == []


def test_hostile_names_of_table_and_columns(conn):
    create(conn)
    conn.execute("""create schema "we;ird'" """)
    conn.execute("""create table "we;ird'"."ta""ble" ("new" int, "o'ld" text, "$q$" text, "place" int)""")
    relation = one(conn, """select format('%%I.%%I', 'we;ird''', 'ta"ble')""")
    conn.execute("select qctl.attach(%s, 'orders', p_columns => %s)", (relation, ["o'ld", "$q$"]))
    conn.execute("""insert into "we;ird'"."ta""ble" values (1, 'a', 'b', 2)""")
    conn.execute("""update "we;ird'"."ta""ble" set "o'ld" = 'c'""")
    messages = captured(conn)
    assert [m["operation"] for m in messages] == ["INSERT", "UPDATE"]
    assert messages[1]["table"] == 'ta"ble'
    assert messages[1]["record"] == {"new": 1, "o'ld": "c", "$q$": "b", "place": 2}


def test_a_writer_without_any_right_on_the_pipeline_is_captured(table, server, dsn):
    name = f"writer_{one(table, 'select current_database()')}"
    table.execute(f"create role {name} login")
    try:
        attach(table)
        table.execute(f"grant insert, update, delete, select on public.users to {name}")
        table.execute(f"set role {name}")
        table.execute("insert into users (id) values (1); update users set name = 'x'; delete from users")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            table.execute("select * from pgmq.q_orders")
        table.execute("reset role")
        assert len(captured(table)) == 3
    finally:
        table.execute("reset role")
        table.execute(f"drop owned by {name}; drop role {name}")


def test_the_capture_runs_as_the_tables_owner_who_gets_only_what_it_needs(table):
    name = f"owner_{one(table, 'select current_database()')}"
    table.execute(f"create role {name}")
    try:
        table.execute(f"alter table public.users owner to {name}")
        assert {row[4] for row in attach(table)} == {name}
        table.execute("insert into users (id) values (1)")
        assert len(captured(table)) == 1
        rights = table.execute(
            "select has_column_privilege(%(r)s, 'pgmq.q_orders', 'message', 'insert'),"
            " has_column_privilege(%(r)s, 'pgmq.q_orders', 'msg_id', 'insert'),"
            " has_table_privilege(%(r)s, 'pgmq.q_orders', 'select'),"
            " has_column_privilege(%(r)s, 'pgmq.q_orders', 'msg_id', 'select'), has_schema_privilege(%(r)s, 'qctl', 'create'),"
            " has_schema_privilege(%(r)s, 'qctl', 'usage')",
            {"r": name},
        ).fetchone()
        assert rights == (True, False, False, True, False, False)
        table.execute("select qctl.detach('public.users')")
        assert one(table, "select has_column_privilege(%s, 'pgmq.q_orders', 'message', 'insert')", name) is False
    finally:
        table.execute(f"reassign owned by {name} to current_user; drop owned by {name}; drop role {name}")


def test_a_table_owners_cast_does_not_run_as_the_installer(table):
    """to_jsonb calls casts to json; one of the owner's must find itself to be the owner."""
    name = f"attacker_{one(table, 'select current_database()')}"
    table.execute(f"create role {name}; grant create on schema public to {name}")
    try:
        table.execute("create table public.caught (who text); grant insert on public.caught to public")
        table.execute(f"set role {name}")
        table.execute("create type public.trap as (x int)")
        table.execute(
            "create function public.spring(public.trap) returns json language plpgsql as"
            " $$ begin insert into public.caught values (current_user); return '{}'; end $$"
        )
        table.execute("create cast (public.trap as json) with function public.spring(public.trap)")
        table.execute("create table public.mine (t public.trap)")
        table.execute("reset role")
        table.execute("select qctl.attach('public.mine', 'orders')")
        table.execute("insert into public.mine values (row(1))")
        assert {row[0] for row in table.execute("select who from public.caught")} <= {name}
    finally:
        table.execute("reset role")
        table.execute(f"reassign owned by {name} to current_user; drop owned by {name}; drop role {name}")


def test_detach_leaves_the_table_free_and_the_queue_as_it_was(table):
    attach(table)
    table.execute("insert into users (id) values (1)")
    table.execute("select qctl.detach('public.users', 'orders')")
    table.execute("insert into users (id) values (2)")
    assert len(captured(table)) == 1
    assert (
        one(table, "select count(*) from pg_trigger where tgrelid = 'public.users'::regclass and not tgisinternal") == 0
    )
    assert one(table, "select count(*) from pg_proc where proname like 'capture\\_1%%'") == 0


@pytest.mark.parametrize(
    ("relation", "state"),
    [
        ("public.nosuch", "QC006"),
        ("no such; table", "QC006"),
        ("public.a_view", "QC007"),
        ("public.parted", "QC007"),
        ("pgmq.q_orders", "QC007"),
        ("qctl.queue", "QC007"),
    ],
)
def test_what_is_no_table_of_the_users_is_refused(table, relation, state):
    table.execute("create view public.a_view as select 1 as x")
    table.execute("create table public.parted (id int) partition by range (id)")
    with pytest.raises(psycopg.Error) as caught:
        table.execute("select qctl.attach(%s, 'orders')", (relation,))
    assert caught.value.sqlstate == state
    assert caught.value.diag.message_hint


def test_attach_waits_at_most_two_seconds_for_the_tables_lock(table, other):
    with other.transaction():
        other.execute("insert into users (id) values (1)")
        started = time.monotonic()
        with pytest.raises(psycopg.errors.LockNotAvailable):
            attach(table)
        assert time.monotonic() - started < 4
    assert len(attach(table)) == 3


def test_two_queues_take_one_table(table):
    create(table, "second")
    attach(table)
    table.execute("select qctl.attach('public.users', 'second')")
    table.execute("insert into users (id) values (1)")
    assert one(table, "select count(*) from pgmq.q_orders") == one(table, "select count(*) from pgmq.q_second") == 1


def test_a_sleeping_worker_is_notified_and_a_busy_one_is_not(table, dsn):
    attach(table)
    with psycopg.connect(dsn, autocommit=True) as worker:
        worker.execute("listen qctl")
        table.execute("insert into users (id) values (1)")
        assert list(worker.notifies(timeout=0.3)) == []
        assert worker.execute("select asleep from qctl.fall_asleep('{orders}')").fetchone() == (True,)
        table.execute("insert into users (id) values (2)")
        assert [n.payload for n in worker.notifies(timeout=3, stop_after=1)] == ["1"]


def test_a_worker_does_not_fall_asleep_while_a_writer_is_under_way(table, other):
    attach(table)
    with other.transaction():
        other.execute("insert into users (id) values (1)")
        assert one(table, "select asleep from qctl.fall_asleep('{orders}')") is False
    assert one(table, "select asleep from qctl.fall_asleep('{orders}')") is True


def test_writers_do_not_wait_for_one_another(table, dsn):
    attach(table)
    done: list[int] = []

    def write(n: int) -> None:
        with psycopg.connect(dsn) as mine:
            mine.execute("insert into users (id) values (%s)", (n,))
            time.sleep(0.5)
            done.append(n)

    started = time.monotonic()
    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == list(range(8))
    assert time.monotonic() - started < 3
