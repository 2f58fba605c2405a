"""Capture: which changes become messages, and that it never stands in the application's way."""

import random
import string
import threading
import time

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from helpers import create, one
from qctl import db
from qctl.config import Database
from qctl.db import files
from qctl.db.files import SqlFile
from qctl.operations import migrate


@pytest.fixture
def json_table(conn):
    create(conn)
    conn.execute("create table public.users (id int primary key, name text, paid boolean default false, note json)")
    return conn


@pytest.fixture(params=["json", "jsonb"])
def table(request, json_table):
    """With json in it, which is made to jsonb beside the rows, and without."""
    json_table.execute(f"alter table public.users alter note type {request.param}")
    return json_table


@pytest.fixture
def roles(conn):
    """Makes roles that may own tables in public."""
    made: list[str] = []

    def make(name: str) -> str:
        made.append(f"{name}_{conn.info.backend_pid}")
        conn.execute(f"create role {made[-1]}; grant usage, create on schema public to {made[-1]}")
        return made[-1]

    yield make
    for name in made:
        conn.execute(f"drop owned by {name} cascade; drop role {name}")


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
    with pytest.raises(psycopg.Error, match="--when is not a valid condition") as caught:
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


def test_the_capture_runs_as_the_tables_owner_who_gets_no_rights(table):
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
        assert rights == (False,) * 6
        assert one(table, "select has_function_privilege(%s, 'qctl.pause(text, text)', 'execute')", name) is False
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
        ("public.a_part", "QC007"),
        ("pgmq.q_orders", "QC007"),
        ("qctl.queue", "QC007"),
    ],
)
def test_what_is_no_table_of_the_users_is_refused(table, relation, state):
    table.execute("create view public.a_view as select 1 as x")
    table.execute("create table public.parted (id int) partition by range (id)")
    table.execute("create table public.a_part partition of public.parted default")
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


def bodies(conn) -> list[dict]:
    return [row[0] for row in conn.execute("select message from pgmq.q_orders order by msg_id")]


@pytest.fixture
def queue(conn):
    create(conn)
    return conn


def test_a_partitioned_table_and_its_partitions(queue):
    queue.execute("create table p (id int primary key, v text) partition by range (id)")
    queue.execute("create table p_low partition of p for values from (0) to (100)")
    queue.execute("select qctl.attach('public.p', 'orders')")
    queue.execute("create table p_high partition of p for values from (100) to (200)")
    queue.execute("insert into p values (1, 'a'), (150, 'b')")
    queue.execute("insert into p_low values (2, 'direct')")
    queue.execute("update p set v = v || '!' where id = 1")
    queue.execute("update p set v = v")
    queue.execute("update p set id = 160 where id = 1")
    queue.execute("delete from p where id = 2")
    found = [(b["operation"], b["table"], (b["record"] or b["old_record"])["id"]) for b in bodies(queue)]
    assert found == [
        ("INSERT", "p", 1), ("INSERT", "p", 150), ("INSERT", "p", 2), ("UPDATE", "p", 1),
        ("UPDATE", "p", 160), ("DELETE", "p", 2),
    ]  # fmt: skip
    problem, fix = queue.execute("select problem, fix from qctl.verify()").fetchone()
    assert problem == "trigger for DELETE, INSERT, UPDATE is missing on public.p_high"
    assert fix == "qctl attach public.p -q orders --change"
    queue.execute("select qctl.change_attachment('public.p', 'orders')")
    assert one(queue, "select count(*) from qctl.verify()") == 0
    queue.execute("insert into p_high values (170, 'direct')")
    assert bodies(queue)[-1]["record"]["id"] == 170
    queue.execute("select qctl.detach('public.p')")
    queue.execute("insert into p values (5, 'x')")
    assert len(bodies(queue)) == 7


def test_inheritance(queue):
    queue.execute("create table parent (id int, v text)")
    queue.execute("create table child (extra int) inherits (parent)")
    queue.execute("select qctl.attach('public.parent', 'orders')")
    queue.execute("insert into parent values (1, 'a')")
    queue.execute("insert into child values (2, 'b', 3)")
    queue.execute("update parent set v = v || '!'")
    assert [(b["operation"], b["record"]) for b in bodies(queue)] == [
        ("INSERT", {"id": 1, "v": "a"}),
        ("INSERT", {"id": 2, "v": "b", "extra": 3}),
        ("UPDATE", {"id": 1, "v": "a!"}),
        ("UPDATE", {"id": 2, "v": "b!", "extra": 3}),
    ]
    queue.execute("create table later () inherits (parent)")
    problem, fix = queue.execute("select problem, fix from qctl.verify()").fetchone()
    assert "missing on public.later" in problem
    assert fix == "qctl attach public.parent -q orders --change"
    queue.execute("select qctl.reattach('public.parent', 'orders')")
    queue.execute("insert into later values (9, 'z')")
    assert bodies(queue)[-1]["record"] == {"id": 9, "v": "z"}
    assert one(queue, "select count(*) from qctl.verify()") == 0
    queue.execute("alter table later no inherit parent")
    queue.execute("select qctl.detach('public.parent')")
    assert one(queue, "select count(*) from pg_trigger where tgname ~ '^qctl'") == 0


def test_a_child_of_another_owner(queue, roles):
    parent_owner, child_owner = roles("parent_owner"), roles("child_owner")
    queue.execute("create table parent (id int, v text)")
    queue.execute("create table child (extra int) inherits (parent)")
    queue.execute(f"alter table parent owner to {parent_owner}")
    queue.execute(f"alter table child owner to {child_owner}")
    with pytest.raises(
        psycopg.Error, match=f"inherit from public.parent belong to other roles: public.child of {child_owner}"
    ) as refused:
        queue.execute("select qctl.attach('public.parent', 'orders')")
    assert refused.value.sqlstate == "QC007"
    queue.execute("select qctl.attach('public.parent', 'orders', p_as_me => true)")
    queue.execute("insert into child values (2, 'b', 3)")
    assert [b["record"] for b in bodies(queue)] == [{"id": 2, "v": "b", "extra": 3}]
    assert one(queue, "select count(*) from qctl.verify()") == 0


def test_verify_tells_of_a_child_that_changed_hands(queue, roles):
    child_owner = roles("child_owner")
    queue.execute("create table parent (id int, v text)")
    queue.execute("create table child (extra int) inherits (parent)")
    queue.execute("select qctl.attach('public.parent', 'orders')")
    queue.execute(f"alter table child owner to {child_owner}")
    problem, fix = queue.execute("select problem, fix from qctl.verify()").fetchone()
    assert f"belong to other roles, so their rows cannot be converted: public.child of {child_owner}" in problem
    assert "--as-me" in fix


def test_replicated_writes(queue):
    queue.execute("create table t (id int primary key)")
    queue.execute("select qctl.attach('public.t', 'orders', p_replicated => true)")
    queue.execute("set session_replication_role = replica")
    queue.execute("insert into t values (1), (2)")
    queue.execute("reset session_replication_role")
    queue.execute("insert into t values (3)")
    assert [b["record"]["id"] for b in bodies(queue)] == [1, 2, 3]
    assert one(queue, "select count(*) from qctl.verify()") == 0


def test_copy_merge_and_upsert(table):
    attach(table)
    with table.cursor().copy("copy users (id, name) from stdin") as copy:
        copy.write("1\ta\n2\tb\n")
    table.execute(
        "insert into users (id, name) values (2, 'c'), (3, 'd') on conflict (id) do update set name = excluded.name"
    )
    operations = [b["operation"] for b in bodies(table)]
    assert sorted(operations) == ["INSERT", "INSERT", "INSERT", "UPDATE"]
    if table.info.server_version >= 150000:
        table.execute(
            "merge into users u using (values (3, 'e'), (4, 'f'), (1, null)) as s (id, name) on u.id = s.id"
            " when matched and s.name is null then delete when matched then update set name = s.name"
            " when not matched then insert (id, name) values (s.id, s.name)"
        )
        assert sorted(b["operation"] for b in bodies(table)[4:]) == ["DELETE", "INSERT", "UPDATE"]
    update = next(b for b in bodies(table) if b["operation"] == "UPDATE")
    assert (update["old_record"]["name"], update["record"]["name"]) == ("b", "c")


def test_a_changed_primary_key_and_no_primary_key_at_all(table):
    attach(table)
    table.execute("insert into users (id) values (1), (2)")
    table.execute("update users set id = id + 10")
    pairs = [(b["old_record"]["id"], b["record"]["id"]) for b in bodies(table) if b["operation"] == "UPDATE"]
    assert pairs == [(1, 11), (2, 12)]
    table.execute("create table keyless (v text)")
    table.execute("select qctl.attach('public.keyless', 'orders')")
    table.execute("insert into keyless values (%s)", (random_text(3_000_000),))
    assert bodies(table)[-1]["record"] == {}
    assert bodies(table)[-1]["truncated"] is True


def random_text(size: int) -> str:
    """Text that does not compress."""
    return "".join(random.Random(1).choices(string.ascii_letters + string.digits, k=size))


def test_statements_of_no_row(table):
    attach(table)
    table.execute("update users set name = 'x' where false")
    table.execute("delete from users where false")
    table.execute("insert into users (id) select 1 where false")
    assert bodies(table) == []


@pytest.mark.slow
def test_half_a_million_rows_of_2_kb(json_table):
    json_table.execute("alter table users drop note")
    attach(json_table)
    json_table.execute("insert into users (id, name) select n, repeat('x', 2000) from generate_series(1, 500000) n")
    assert one(json_table, "select count(*) from pgmq.q_orders") == 500_000


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (r'{"a": "x\u0000y"}', {"a": "xy"}),
        (r'{"a": "x\\u0000y"}', {"a": r"x\u0000y"}),
        (r'{"a": "x\\\u0000"}', {"a": "x\\"}),
    ],
)
def test_a_zero_character_in_json_is_left_out_and_stops_nobody(json_table, value, kept):
    attach(json_table)
    json_table.execute("insert into users (id, note) values (1, %s::json)", (value,))
    assert bodies(json_table)[0]["record"]["note"] == kept


@pytest.mark.parametrize("column", ["json[]", "nested", "over", "inside[]"])
def test_types_with_code_or_json_are_found_however_deep(queue, column):
    queue.execute("create type inside as (j json)")
    queue.execute("create type nested as (i inside)")
    queue.execute("create domain over as json")
    queue.execute(f"create table t (id int, v {column})")
    queue.execute("create table plain (id int, v jsonb, w text[], x int4range)")
    assert one(queue, "select qctl._has_only_builtin_types('t'::regclass)") is False
    assert one(queue, "select qctl._has_only_builtin_types('plain'::regclass)") is True


@pytest.mark.parametrize("level", ["statement", "row"])
def test_rows_too_large_are_captured_by_their_key(queue, level):
    queue.execute("create table big (a int, b text, c text, primary key (a, b))")
    queue.execute("select qctl.attach('public.big', 'orders', p_replicated => %s)", (level == "row",))
    queue.execute("insert into big values (1, 'k', %s), (2, 'l', 'small')", (random_text(2_000_000),))
    queue.execute("update big set a = 3 where a = 1")
    found = sorted(bodies(queue), key=lambda body: (body["operation"], body["record"]["a"]))
    assert found[0]["record"] == {"a": 1, "b": "k"}
    assert found[0]["truncated"] is True
    assert found[1]["record"] == {"a": 2, "b": "l", "c": "small"}
    assert "truncated" not in found[1]
    assert (found[2]["old_record"], found[2]["record"]) == ({"a": 1, "b": "k"}, {"a": 3, "b": "k"})
    queue.execute("update big set c = 's' where a = 3")
    queue.execute("update big set c = %s where a = 2", (random_text(2_000_000),))
    shrunk, grown = bodies(queue)[3:]
    assert (shrunk["old_record"], shrunk["record"]) == ({"a": 3, "b": "k"}, {"a": 3, "b": "k", "c": "s"})
    assert (grown["old_record"], grown["record"]) == ({"a": 2, "b": "l", "c": "small"}, {"a": 2, "b": "l"})
    assert shrunk["truncated"] is grown["truncated"] is True


def test_names_with_quotes_and_backslashes_mean_the_same_in_every_session(queue):
    queue.execute(r"""create schema "s'\t"; create table "s'\t"."a""b\n'c" ("i'd\" int primary key)""")
    queue.execute(r"""select qctl.attach('"s''\t"."a""b\n''c"', 'orders')""")
    queue.execute("set standard_conforming_strings = off")
    queue.execute(r"""insert into "s'\t"."a""b\n'c" values (1)""")
    queue.execute("reset standard_conforming_strings")
    body = bodies(queue)[0]
    assert (body["schema"], body["table"], body["record"]) == (r"s'\t", r"""a"b\n'c""", {"i'd\\": 1})


@pytest.mark.slow
def test_a_value_of_300_mb_does_not_fail_the_statement(queue):
    """More than jsonb takes; it compresses to 3 MB."""
    queue.execute("create table big (a int primary key, c text)")
    queue.execute("select qctl.attach('public.big', 'orders')")
    queue.execute("insert into big select 1, repeat('x', 300000000)")
    assert bodies(queue)[0]["record"] == {"a": 1}


def test_a_renamed_column_or_table_stops_nobody(table):
    attach(table, columns=["name"])
    table.execute("insert into users (id, name) values (1, 'a')")
    table.execute("alter table users rename column name to title")
    table.execute("update users set title = 'b'")
    table.execute("update users set paid = true")
    assert len(bodies(table)) == 1
    assert one(table, "select count(*) from qctl.held_event") == 2
    problem, fix = table.execute("select problem, fix from qctl.verify()").fetchone()
    assert "column name, which its options name, is called title now; 2 events are held since" in problem
    assert fix == "qctl attach public.users -q orders --change"
    table.execute("alter table users rename to people")
    table.execute("insert into people (id) values (2)")
    assert bodies(table)[-1]["table"] == "people"
    problem, fix = table.execute("select problem, fix from qctl.verify()").fetchone()
    assert "it was public.users when it was attached" in problem
    assert fix == "qctl attach public.people -q orders --change"
    table.execute("select qctl.change_attachment('public.people', 'orders')")
    # Of the two that were held, one changed the column.
    assert one(table, "select queued from qctl.release_held('public.people', 'orders')") == 1
    assert bodies(table)[-1]["record"]["title"] == "b"
    assert one(table, "select columns from qctl.attachment") == ["title"]
    assert one(table, "select count(*) from qctl.verify()") == 0


def test_truncate(table):
    table.execute("select qctl.attach('public.users', 'orders', '{INSERT,TRUNCATE}')")
    table.execute("insert into users (id) values (1)")
    table.execute("truncate users")
    assert bodies(table)[-1] == {
        "record": None,
        "old_record": None,
        "operation": "TRUNCATE",
        "table": "users",
        "schema": "public",
    }


def test_row_level_security_hides_nothing_from_the_capture(table, server, dsn):
    name = f"rls_{one(table, 'select current_database()')}"
    attach(table)
    table.execute(f"create role {name} login; grant select, insert, update on users to {name}")
    table.execute("alter table users enable row level security; alter table users force row level security")
    table.execute(f"create policy own on users for all to {name} using (name = 'mine') with check (true)")
    try:
        with psycopg.connect(dsn, user=name, autocommit=True) as writer:
            writer.execute("insert into users (id, name) values (1, 'mine'), (2, 'theirs')")
            writer.execute("update users set paid = true")
        assert [(b["operation"], b["record"]["id"]) for b in bodies(table)] == [
            ("INSERT", 1),
            ("INSERT", 2),
            ("UPDATE", 1),
        ]
    finally:
        table.execute(f"drop owned by {name}; drop role {name}")


def test_on_error_fail_keeps_the_event_by_failing_and_skip_records_it(table):
    table.execute("select qctl.attach('public.users', 'orders', p_on_error => 'fail')")
    table.execute("alter table pgmq.q_orders rename to q_gone")
    with pytest.raises(psycopg.errors.RaiseException, match="pgmq's table q_orders is gone"):
        table.execute("insert into users (id) values (1)")
    assert one(table, "select count(*) from users") == 0
    table.execute("alter table pgmq.q_gone rename to q_orders")
    table.execute("""select qctl.change_attachment('public.users', 'orders', '{"on_error": "skip"}')""")
    table.execute("alter table pgmq.q_orders rename to q_gone")
    table.execute("insert into users (id) values (1), (2)")
    table.execute("insert into users (id) values (3)")
    table.execute("alter table pgmq.q_gone rename to q_orders")
    assert one(table, "select count(*) from users") == 3
    assert table.execute("select error, statements from qctl.capture_error").fetchall() == [
        ("pgmq's table q_orders is gone", 2)
    ]
    assert "2 statements were not captured" in one(table, "select problem from qctl.verify()")
    table.execute("insert into users (id) values (4)")
    assert [b["record"]["id"] for b in bodies(table)] == [4]


def test_while_a_writer_holds_the_table_attach_delays_another_by_less_than_two_and_a_half_seconds(table, other, dsn):
    delays: list[float] = []

    def write() -> None:
        with psycopg.connect(dsn, autocommit=True) as third:
            time.sleep(0.5)
            started = time.monotonic()
            third.execute("insert into users (id) values (2)")
            delays.append(time.monotonic() - started)

    thread = threading.Thread(target=write)
    with other.transaction():
        other.execute("insert into users (id) values (1)")
        thread.start()
        with pytest.raises(psycopg.errors.LockNotAvailable):
            table.execute("select qctl.attach('public.users', 'orders')")
        thread.join(10)
    assert delays[0] < 2.5


def test_a_capture_made_by_an_older_version_is_refreshed_by_the_upgrade(table, dsn):
    attach(table)
    function = one(table, "select qctl._capture_function(name, 'insert') from qctl.attachment")
    table.execute(
        f"create or replace function qctl.{function}() returns trigger language plpgsql as $$ begin return null; end $$"
    )
    assert one(table, "select count(*) from qctl.verify()") == 1
    changed = [
        SqlFile(f.name, f.text + b"-- changed\n") if f.name == "trigger_function" else f for f in files.routines()
    ]
    with db.connect(Database(dsn, "test"), application="test") as connection:
        migrate.apply(connection, files.migrations(), changed)
    table.execute("insert into users (id) values (1)")
    assert len(bodies(table)) == 1
    assert one(table, "select count(*) from qctl.verify()") == 0


@pytest.fixture
def role(conn):
    name = f"role_{one(conn, 'select current_database()')}"
    conn.execute(f"create role {name} login; grant all on schema public to {name}")
    yield name
    conn.execute(f"reassign owned by {name} to current_user; drop owned by {name}; drop role {name}")


def test_a_new_owners_cast_does_not_run_as_the_old_one(table, dsn, role):
    attach(table, when="new.id > 0", operations=["INSERT"])
    table.execute(f"alter table users owner to {role}")
    with psycopg.connect(dsn, user=role, autocommit=True) as owner:
        owner.execute("create table ran (as_whom text)")
        owner.execute("create type mood as enum ('a')")
        owner.execute("create function mood_json(mood) returns json language plpgsql as"
                      " $$ begin insert into public.ran values (current_user); return '1'; end $$")  # fmt: skip
        owner.execute("create cast (mood as json) with function mood_json(mood)")
        owner.execute("alter table users add feels mood")
        owner.execute("grant insert on ran to public")
        owner.execute("insert into users (id, feels) values (1, 'a')")
    assert one(table, "select count(*) from public.ran") == 0
    assert bodies(table) == []
    held = one(table, "select message from qctl.held_event")
    assert (held["record"]["id"], held["record"]["feels"]) == (1, "a")
    assert f"it belongs to {role} now, but its capture runs as" in one(table, "select problem from qctl.verify()")
    table.execute("select qctl.reattach('public.users', 'orders')")
    assert one(table, "select queued from qctl.release_held('public.users', 'orders')") == 1
    assert [body["record"]["id"] for body in bodies(table)] == [1]
    assert one(table, "select count(*) from qctl.verify()") == 0
    table.execute("insert into users (id) values (2)")
    assert bodies(table)[-1]["record"]["id"] == 2
    table.execute("insert into users (id, feels) values (3, 'a')")
    assert {row[0] for row in table.execute("select as_whom from public.ran")} == {role}


def test_detaching_one_table_leaves_the_rights_that_another_needs(queue, role):
    queue.execute("create table a1 (id int); create table b1 (id int)")
    queue.execute(f"alter table a1 owner to {role}; alter table b1 owner to {role}")
    queue.execute("select qctl.attach('public.a1', 'orders'), qctl.attach('public.b1', 'orders')")
    queue.execute("alter table b1 owner to current_user")
    queue.execute("select qctl.detach('public.a1')")
    queue.execute("insert into b1 values (1)")
    assert len(bodies(queue)) == 1


@pytest.mark.parametrize(
    "when",
    [
        "true)); select 1 where exists (select from users as new where (true",
        "true))); select 1 where exists (select from users as new where ((true",
        "true) limit (1",
        "true; select 1",
        "true /*",
    ],
)
def test_a_condition_is_one_expression_and_ends_within_its_parenthesis(json_table, when):
    with pytest.raises(psycopg.Error, match="--when is not a valid condition") as caught:
        attach(json_table, operations=["INSERT"], when=when)
    assert caught.value.sqlstate == "QC002"


@pytest.mark.parametrize("level", ["statement", "row"])
def test_a_condition_may_name_columns_without_new(queue, level):
    queue.execute("create table p (id int, status text)")
    queue.execute(
        "select qctl.attach('public.p', 'orders', '{INSERT}', 'status is not null', p_replicated => %s)",
        (level == "row",),
    )
    queue.execute("insert into p values (1, 'paid'), (2, null)")
    assert [b["record"]["id"] for b in bodies(queue)] == [1]


@pytest.mark.parametrize("value", [r'{"a": "\ud83d"}', '{"a": 1e999999}'])
@pytest.mark.parametrize("level", ["statement", "row"])
def test_json_that_jsonb_refuses_is_captured_by_its_key(json_table, value, level):
    json_table.execute("select qctl.attach('public.users', 'orders', p_replicated => %s)", (level == "row",))
    json_table.execute("insert into users (id, note) values (1, %s::json), (2, '{}')", (value,))
    assert [b["record"]["id"] for b in bodies(json_table)] == [1, 2]
    assert bodies(json_table)[0]["record"] == {"id": 1}
    assert bodies(json_table)[0]["truncated"] is True
    assert "truncated" not in bodies(json_table)[1]


def test_a_backslash_in_a_condition_means_the_same_in_every_session(table):
    attach(table, operations=["INSERT"], when=r"new.name ~ '^\d+$'")
    table.execute("set standard_conforming_strings = off")
    table.execute("insert into users (id, name) values (1, '12'), (2, 'x')")
    assert [b["record"]["id"] for b in bodies(table)] == [1]


def test_verify_sees_a_table_that_became_a_part_and_a_trigger_disabled_on_a_part(queue):
    queue.execute("create table s (id int not null)")
    queue.execute("select qctl.attach('public.s', 'orders', '{TRUNCATE}')")
    queue.execute("create table par (id int not null) partition by range (id)")
    queue.execute("alter table par attach partition s for values from (0) to (10)")
    assert one(queue, "select count(*) from qctl.verify() where problem ~ 'partition or child of another table'") == 1
    queue.execute("alter table par detach partition s")
    queue.execute("create table par1 partition of par default")
    queue.execute("select qctl.attach('public.par', 'orders')")
    assert one(queue, "select count(*) from qctl.verify()") == 0
    queue.execute("alter table par1 disable trigger user")
    assert (
        one(queue, "select problem from qctl.verify()")
        == "trigger for DELETE, INSERT, UPDATE is disabled on public.par1"
    )


@pytest.mark.parametrize(
    "setting",
    ["timezone = 'Asia/Kolkata'", "datestyle = 'German'", "intervalstyle = 'iso_8601'", "quote_all_identifiers = on"],
)
def test_verify_does_not_depend_on_the_sessions_settings(table, setting):
    attach(table)
    table.execute(f"set {setting}")
    assert table.execute("select * from qctl.verify()").fetchall() == []


def test_skipping_writers_do_not_wait_for_one_another(table, other):
    table.execute("select qctl.attach('public.users', 'orders', p_on_error => 'skip')")
    table.execute("alter table pgmq.q_orders rename to q_gone")
    with table.transaction():
        table.execute("insert into users (id) values (1)")
        other.execute("set lock_timeout = '500ms'")
        other.execute("insert into users (id) values (2)")
    assert one(table, "select sum(statements) from qctl.capture_error") == 1
    table.execute("select qctl._capture_failed('nothing', 'SQLSTATE 42P01 forged')")
    assert one(table, "select count(*) from qctl.capture_error") == 1


@pytest.fixture
def role_of():
    made = []

    def make(dsn: str) -> str:
        with psycopg.connect(dsn, autocommit=True) as admin:
            name = f"inst_{admin.info.dbname}"
            admin.execute(f"create role {name} login")
        made.append((dsn, name))
        return name

    yield make
    for dsn, name in made:
        with psycopg.connect(dsn, autocommit=True) as admin:
            admin.execute(f"reassign owned by {name} to current_user; drop owned by {name}; drop role {name}")


def test_a_non_superuser_can_upgrade_what_another_role_attached(server, empty_dsn, role_of):
    """pgmq's own SQL needs the owner of its schema, so that role installs everything."""
    name = role_of(empty_dsn)
    with psycopg.connect(empty_dsn, autocommit=True) as admin:
        admin.execute(f"grant all on schema public to {name}; grant create on database {admin.info.dbname} to {name}")
        admin.execute(f"grant pg_monitor to {name} with admin option")
        with db.connect(Database(make_conninfo(empty_dsn, user=name), "t"), application="t") as c:
            migrate.apply(c)
            c.execute("select qctl.create_queue('orders', 'http://127.0.0.1:9/x')")
            admin.execute("create table theirs (id int)")
            admin.execute("select qctl.attach('public.theirs', 'orders')")
            changed = [SqlFile(f.name, f.text + b"-- changed\n") for f in files.routines()]
            migrate.apply(c, files.migrations(), changed)
        admin.execute("insert into theirs values (1)")
        assert one(admin, "select count(*) from pgmq.q_orders") == 1


def test_a_capture_that_may_not_execute_its_row_function_holds_what_it_can(server, empty_dsn, role_of):
    name = role_of(empty_dsn)
    with psycopg.connect(empty_dsn, autocommit=True) as admin:
        admin.execute(f"grant all on schema public to {name}; grant create on database {admin.info.dbname} to {name}")
        admin.execute(f"grant pg_monitor to {name} with admin option")
        with db.connect(Database(make_conninfo(empty_dsn, user=name), "t"), application="t") as c:
            migrate.apply(c)
            c.execute("select qctl.create_queue('orders', 'http://127.0.0.1:9/x')")
            c.execute("create table public.mine (id int)")
            c.execute("select qctl.attach('public.mine', 'orders', p_when => 'new.id > 1', p_operations => '{INSERT}')")
            function = one(c, "select qctl._row_function(name)::text from qctl.attachment")
            c.execute(f"revoke execute on function {function} from {name}")
            c.execute("insert into public.mine values (1), (2)")
            assert one(c, "select problem from qctl._verify_attachments()").startswith(
                "its capture may not execute the function that converts its rows; 2 events are held"
            )
            c.execute("select qctl.change_attachment('public.mine', 'orders')")
            c.execute("select qctl.release_held('public.mine', 'orders')")
            assert one(c, "select message -> 'record' from pgmq.q_orders") == {"id": 2}
            assert c.execute("select problem from qctl._verify_attachments()").fetchall() == []
