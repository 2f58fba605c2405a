"""Backfill on tables that are odd, that change in the middle, and whose owner plants code."""

import threading
import time

import psycopg
import pytest

from helpers import create, one


@pytest.fixture
def base(conn):
    create(conn)
    return conn


@pytest.fixture
def owned(base):
    """A role that owns a schema ``planted``, with a function that notes who runs it and what types of that role run."""
    role = f"owner_{one(base, 'select pg_backend_pid()')}"
    base.execute(f"create role {role}")
    base.execute(f"create schema planted authorization {role}")
    base.execute(f"set role {role}")
    for statement in (
        "create table planted.said (who text)",
        "grant all on planted.said to public",
        "grant usage on schema planted to public",
        "create type planted.ev as enum ('x')",
        "create function planted.says() returns boolean language plpgsql as"
        " $$ begin insert into planted.said values (current_user); return true; end $$",
        "create function planted.evj(planted.ev) returns json language plpgsql as"
        " $$ begin insert into planted.said values (current_user); return '1'; end $$",
        "create cast (planted.ev as json) with function planted.evj(planted.ev)",
        "create domain planted.tag as text check (planted.says())",
    ):
        base.execute(statement)
    base.execute("reset role")
    yield base, role
    base.execute("reset role")
    base.execute(f"drop owned by {role} cascade")
    base.execute(f"drop role {role}")


def begin(conn: psycopg.Connection, table: str = "public.users", **options) -> int:
    named = "".join(f", p_{name} => %({name})s" for name in options)
    begun = f"select backfill_id from qctl.begin_backfill(%(table)s, 'orders'{named})"
    return conn.execute(begun, {"table": table, **options}).fetchone()[0]


def page(conn: psycopg.Connection, number: int, limit: int = 4) -> tuple[str, int, int, str | None]:
    return conn.execute("select state, rows, queued, error from qctl.backfill_page(%s, %s)", (number, limit)).fetchone()


def run(conn: psycopg.Connection, number: int, limit: int = 4) -> None:
    while (done := page(conn, number, limit))[0] == "running":
        pass
    assert done[0] == "done", done


def sent(conn: psycopg.Connection) -> list[dict]:
    return [row[0] for row in conn.execute("select message from pgmq.q_orders order by msg_id")]


def reads(conn: psycopg.Connection) -> int:
    return sum(message["operation"] == "READ" for message in sent(conn))


def said(conn: psycopg.Connection) -> set[str]:
    return {row[0] for row in conn.execute("select distinct who from planted.said")}


# Rights.


def test_held_events_of_a_table_that_was_given_away_run_nothing_of_its_new_owner(owned):
    conn, role = owned
    conn.execute("create table public.users (id int primary key, n text)")
    conn.execute("select qctl.attach('public.users', 'orders')")
    conn.execute(f"alter table public.users owner to {role}; set role {role}")
    conn.execute("alter table public.users add v planted.ev default 'x'; insert into public.users values (1, 'a')")
    conn.execute("reset role")
    assert one(conn, "select count(*) from qctl.held_event") == 1
    conn.execute("select qctl._release_all_held()")
    assert said(conn) <= {role}
    assert one(conn, "select count(*) from qctl.held_event") == 1
    conn.execute("drop table public.users")


@pytest.mark.parametrize("how", ["given away", "security invoker", "a setting"])
def test_a_run_ends_where_its_functions_would_run_code_of_another(owned, how):
    conn, role = owned
    conn.execute("create table public.users (id int primary key)")
    conn.execute("insert into public.users select generate_series(1, 9)")
    if how != "given away":
        conn.execute(f"alter table public.users owner to {role}")
    number = begin(conn)
    page(conn, number)
    conn.execute(f"grant usage on schema qctl to {role}")
    conn.execute(f"alter table public.users owner to {role}; set role {role}")
    conn.execute("alter table public.users add v planted.ev default 'x'")
    if how != "given away":
        change = "security invoker" if how == "security invoker" else "set search_path = planted"
        conn.execute(
            f"alter function qctl.capture_backfill_{number}_row(text, regclass, anyelement, anyelement, text[]) {change}"
        )
    conn.execute("reset role")
    assert page(conn, number)[:2] == ("failed", 0)
    assert "postgres" not in said(conn)
    run(conn, begin(conn))
    assert said(conn) == {role}
    assert reads(conn) == 9
    conn.execute(f"revoke usage on schema qctl from {role}; drop table public.users")


@pytest.mark.parametrize("option", ["when", "body", "where"])
def test_literals_of_planted_types_are_read_as_the_owner(owned, option):
    conn, role = owned
    conn.execute(
        f"create table public.users (id int primary key, tags planted.tag[]); alter table public.users owner to {role}"
    )
    if option == "when":
        conn.execute("select qctl.attach('public.users', 'orders', '{INSERT}', p_when => 'new.tags = ''{a}''')")
    elif option == "body":
        conn.execute("select qctl.attach('public.users', 'orders', p_body => '(new.tags || ''{a}'')[1]')")
    else:
        begin(conn, where="tags = '{a}'")
    assert said(conn) <= {role}
    conn.execute("drop table public.users")


def test_partitions_of_another_owner_are_refused(owned):
    conn, role = owned
    conn.execute("create table public.users (id int primary key) partition by list (id)")
    conn.execute("create table public.part partition of public.users for values in (1)")
    conn.execute(f"alter table public.part owner to {role}")
    with pytest.raises(psycopg.errors.Error, match=r"belong to other roles: public\.part"):
        begin(conn)
    conn.execute("drop table public.users")


def test_code_that_changes_the_session_ends_the_run_and_the_session_is_as_before(owned):
    conn, role = owned
    conn.execute(f"set role {role}")
    conn.execute(
        "create function planted.sets() returns boolean language plpgsql as"
        " $$ begin perform set_config('search_path', 'planted, pg_catalog', false); return true; end $$"
    )
    conn.execute("reset role")
    conn.execute("create table public.users (id int primary key); insert into public.users values (1)")
    conn.execute(f"alter table public.users owner to {role}")
    before = one(conn, "show search_path")
    assert page(conn, begin(conn, where="planted.sets()"))[0] == "failed"
    assert one(conn, "show search_path") == before
    conn.execute("drop table public.users")


def test_forced_row_level_security_is_named(owned):
    conn, role = owned
    conn.execute("create table public.users (id int primary key); insert into public.users values (1)")
    conn.execute(
        "alter table public.users enable row level security; alter table public.users force row level security"
    )
    conn.execute(f"alter table public.users owner to {role}")
    with pytest.raises(psycopg.errors.Error, match="hides rows from its owner too"):
        begin(conn)
    run(conn, begin(conn, as_me=True))
    assert reads(conn) == 1
    conn.execute("drop table public.users")


# Keys.


@pytest.mark.parametrize(
    ("table", "rows", "count"),
    [
        ("id int primary key, t text", "select n, 'x' from generate_series(1, 9) n", 9),
        ('"a%" int primary key', "select generate_series(1, 9)", 9),
        ("a int, b int, c text, primary key (a) include (c)", "select n, 1, null from generate_series(1, 9) n", 9),
        ("a name primary key", "select 'n' || n from generate_series(1, 9) n", 9),
        ("a int, b numeric, primary key (a, b)", "select n % 2, n from generate_series(1, 9) n", 9),
    ],
)
def test_odd_tables(base, table, rows, count):
    base.execute(f"create table public.users ({table})")
    base.execute(f"insert into public.users {rows}")
    run(base, begin(base))
    assert reads(base) == count


@pytest.mark.parametrize("key", ["email", "n, email"])
def test_keys_of_a_type_with_operators_of_its_own(base, key):
    """Its order is that of its operator class, not that of text: here by length, then as text."""
    base.execute("create schema ext")
    base.execute("create type ext.word as (w text)")
    for name, sign in (("lt", "<"), ("le", "<="), ("eq", "="), ("ge", ">="), ("gt", ">")):
        base.execute(
            f"create function ext.{name}(a ext.word, b ext.word) returns boolean language sql immutable as"
            f" $$ select (length((a).w), (a).w) {sign} (length((b).w), (b).w) $$"
        )
        base.execute(f"create operator ext.{sign} (leftarg = ext.word, rightarg = ext.word, function = ext.{name})")
    base.execute(
        "create function ext.cmp(a ext.word, b ext.word) returns int language sql immutable as"
        " $$ select case when (length((a).w), (a).w) < (length((b).w), (b).w) then -1"
        " when (length((a).w), (a).w) = (length((b).w), (b).w) then 0 else 1 end $$"
    )
    base.execute(
        "create operator class ext.word_ops default for type ext.word using btree as"
        " operator 1 ext.<, operator 2 ext.<=, operator 3 ext.=, operator 4 ext.>=, operator 5 ext.>,"
        " function 1 ext.cmp(ext.word, ext.word)"
    )
    base.execute(f"create table public.users (n int, email ext.word, primary key ({key}))")
    base.execute("insert into public.users select n % 3, row(n::text)::ext.word from generate_series(1, 130) n")
    run(base, begin(base), 7)
    assert len({str(message["record"]) for message in sent(base)}) == reads(base) == 130


def test_a_key_that_changes_while_the_page_waits_loses_no_row(base, dsn):
    base.execute("create table public.users (id int primary key)")
    base.execute("insert into public.users select generate_series(1, 20)")
    number = begin(base)
    with psycopg.connect(dsn) as writer:
        writer.execute("update public.users set id = 1000 where id = 1")
        waits = threading.Thread(target=page, args=(base, number))
        waits.start()
        time.sleep(0.3)
        writer.commit()
        waits.join()
    run(base, number)
    assert sorted(message["record"]["id"] for message in sent(base)) == [*range(2, 21), 1000]


def test_inherited_tables_with_the_same_keys(base):
    base.execute("create table public.users (id int primary key); create table public.kid () inherits (public.users)")
    base.execute(
        "insert into public.users select generate_series(1, 9); insert into public.kid select generate_series(1, 9)"
    )
    run(base, begin(base))
    assert reads(base) == 18


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("alter table public.users rename a to c", "the key of the table is another one now"),
        ("alter table public.users alter a type text", "the key of the table is another one now"),
        ("drop table public.users", "the table is gone"),
        ("alter table public.users rename n to name", "a column that --columns names is gone"),
        ("select qctl.attach('public.users', 'orders')", "the attachment of the table has changed"),
    ],
)
def test_a_table_that_changes_ends_the_run_and_says_what_to_type(base, change, why):
    base.execute("create table public.users (a int, b int, n text, primary key (a, b))")
    base.execute("insert into public.users select n % 3, n, 'x' from generate_series(1, 30) n")
    number = begin(base, columns=["n"])
    page(base, number)
    base.execute(change)
    assert page(base, number) == ("failed", 0, 0, why)
    fix = one(base, "select fix from qctl.backfills()")
    if "attachment" in why:
        assert fix == "qctl backfill public.users -q orders"
        run(base, begin(base))
        assert reads(base) == 30
        return
    assert fix.endswith(" -q orders --cancel")
    if "gone" not in why or "column" in why:
        with pytest.raises(psycopg.errors.Error, match="was of another table or key"):
            begin(base)
    base.execute("select qctl.set_backfill('public.users', 'orders', 'cancelled')")


def test_a_table_that_was_swapped_is_not_gone_on_with(base):
    base.execute(
        "create table public.users (id int primary key); insert into public.users select generate_series(1, 20)"
    )
    page(base, begin(base))
    base.execute("alter table public.users rename to users_old; create table public.users (id int primary key)")
    with pytest.raises(psycopg.errors.Error, match="was of another table or key"):
        begin(base)


def test_the_same_question_goes_on(base):
    base.execute("create table public.users (id int primary key, n text, at timestamptz default now())")
    base.execute("insert into public.users select n, 'x' from generate_series(1, 20) n")
    asked = {"columns": ["n"], "since": "2020-01-01", "by": "at"}
    number = begin(base, **asked)
    page(base, number)
    assert begin(base, **{**asked, "since": "2020-01-02"}) == number
    run(base, number)
    assert reads(base) == 20


def test_a_preview_holds_up_nobody(base, dsn):
    base.execute("create table public.users (id int primary key); insert into public.users values (1)")
    with psycopg.connect(dsn) as preview:
        number = preview.execute(
            "select backfill_id from qctl.begin_backfill('public.users', 'orders', p_preview => true)"
        ).fetchone()[0]
        assert preview.execute("select qctl.count_backfill(%s)", [number]).fetchone() == (1,)
        run(base, begin(base))
        preview.rollback()
    assert reads(base) == 1


# What the attachment says.


def test_held_events_stop_the_run(base):
    base.execute(
        "create table public.users (id int primary key, v int); insert into public.users values (1, 1), (2, 1)"
    )
    base.execute(
        "select qctl.attach('public.users', 'orders', '{INSERT,UPDATE}', '10 / new.v > 0', p_order_by => 'id')"
    )
    number = begin(base)
    base.execute("update public.users set v = 0 where id = 2")
    assert page(base, number)[3] == "events of the table are held, and would follow newer rows"


def test_a_body_that_fails_is_told_and_columns_do_not_go_with_it(base):
    base.execute("create table public.users (id int primary key); insert into public.users values (1), (2)")
    base.execute(
        "select qctl.attach('public.users', 'orders', p_body => 'jsonb_build_object(''n'', 1 / (new.id - 2))')"
    )
    with pytest.raises(psycopg.errors.Error, match="columns cannot be chosen"):
        begin(base, columns=["id"])
    run(base, begin(base))
    assert [message.get("body_failed", "")[:27] for message in sent(base)] == ["", "the body cannot be computed"]
    assert one(base, "select problem from qctl._verify_attachments()").startswith("in 1 statement since")


# What was missed.


@pytest.fixture
def captured(base):
    base.execute("create table public.users (id numeric primary key, v int, at timestamptz default now())")
    base.execute("select qctl.attach('public.users', 'orders', '{INSERT,UPDATE,DELETE,TRUNCATE}')")
    return base


def missed(conn: psycopg.Connection) -> list[tuple[str, object]]:
    before = one(conn, "select coalesce(max(msg_id), 0) from pgmq.q_orders")
    run(conn, begin(conn, missed=True))
    rows = conn.execute("select message from pgmq.q_orders where msg_id > %s order by msg_id", [before])
    return [(message["operation"], (message["record"] or message["old_record"])["id"]) for (message,) in rows]


@pytest.mark.parametrize(
    ("captured_sql", "uncaptured_sql", "expected"),
    [
        ("insert into public.users values (1, 1); update public.users set id = 10", "", []),
        ("insert into public.users values (1.0, 1); update public.users set id = 1.00", "", []),
        ("insert into public.users values (1, 1), (2, 1); truncate public.users", "", []),
        (
            "insert into public.users values (1, 1, '2026-01-01'); truncate public.users",
            "insert into public.users values (1, 1, '2026-01-01')",
            [("READ", 1)],
        ),
        ("insert into public.users values (1, 1), (2, 2)", "delete from public.users where id = 2", [("DELETE", 2)]),
        ("insert into public.users values (1, 1), (2, 2)", "update public.users set v = 3 where id = 2", [("READ", 2)]),
        ("insert into public.users values (1, 1); delete from public.users", "", []),
    ],
)
def test_what_was_missed(captured, captured_sql, uncaptured_sql, expected):
    captured.execute("set timezone = 'Asia/Tokyo'; set extra_float_digits = -3")
    for statement in captured_sql.split(";"):
        captured.execute(statement)
    captured.execute("set qctl.capture = off")
    if uncaptured_sql:
        captured.execute(uncaptured_sql)
    captured.execute("reset qctl.capture")
    assert missed(captured) == expected
    assert missed(captured) == []


def test_a_backfill_of_some_columns_makes_no_row_a_missed_one(captured):
    captured.execute("insert into public.users values (1, 1), (2, 2)")
    run(captured, begin(captured, columns=["v"]))
    assert missed(captured) == []


def test_without_delete_no_deletion_is_told(captured):
    captured.execute("select qctl.change_attachment('public.users', 'orders', '{\"operations\": [\"INSERT\"]}')")
    captured.execute("insert into public.users values (1, 1); delete from public.users")
    assert missed(captured) == []


# Bodies.


def test_a_retyped_column_is_followed_by_sessions_that_are_open(base):
    base.execute("create table public.users (id int primary key, v int)")
    base.execute(
        "select qctl.attach('public.users', 'orders', p_body => 'jsonb_build_object(''v'', new.v, ''op'', operation)')"
    )
    base.execute("insert into public.users values (1, 1)")
    base.execute("alter table public.users alter v type bigint")
    base.execute("insert into public.users values (2, 2)")
    base.execute("update public.users set v = 3 where id = 2")
    assert sent(base) == [{"v": 1, "op": "INSERT"}, {"v": 2, "op": "INSERT"}, {"v": 3, "op": "UPDATE"}]


def test_a_null_of_json_is_a_failure(base):
    base.execute("create table public.users (id int primary key, j jsonb)")
    base.execute("select qctl.attach('public.users', 'orders', p_body => 'new.j -> ''a''')")
    base.execute("""insert into public.users values (1, '{"a": null}'), (2, '{"a": 5}')""")
    first, second = sent(base)
    assert first["body_failed"] == "the body is null"
    assert second == 5


@pytest.mark.parametrize(
    "body",
    ["count(*)", "generate_series(1, 3)", "new.id, new.id", "$2", "sum(new.id)", "'text'", "row_number() over ()"],
)
def test_what_is_no_value_is_refused(base, body):
    base.execute("create table public.users (id int primary key)")
    with pytest.raises(psycopg.errors.Error) as refused:
        base.execute("select qctl.attach('public.users', 'orders', p_body => %s)", [body])
    assert refused.value.sqlstate == "QC002"
