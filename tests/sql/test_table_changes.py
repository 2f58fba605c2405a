"""Capture stays true whatever happens to the table: the application's write succeeds, the event is right, held or found."""

import threading
import time

import psycopg
import pytest

from helpers import create, one
from qctl.db import files

QUEUED = "select message from pgmq.q_orders order by msg_id"
FINDINGS = "select problem, fix from qctl._verify_attachments()"


@pytest.fixture
def queue(conn):
    create(conn)
    return conn


def queued(conn) -> list[dict]:
    """What is in the queue, which is emptied."""
    messages = [row[0] for row in conn.execute(QUEUED)]
    conn.execute("delete from pgmq.q_orders")
    return messages


def records(conn) -> list[dict]:
    return [message["record"] for message in queued(conn)]


def held(conn) -> int:
    return one(conn, "select count(*) from qctl.held_event")


def finding(conn) -> tuple[str, str]:
    """The only finding."""
    (row,) = conn.execute(FINDINGS).fetchall()
    return row


def follow(conn, table: str, options: str = "{}") -> None:
    """What the printed fix does; nothing is wrong afterwards."""
    conn.execute("select qctl.change_attachment(%s, 'orders', %s)", (table, options))
    conn.execute("select qctl.release_held(%s, 'orders')", (table,))
    assert conn.execute(FINDINGS).fetchall() == []
    assert held(conn) == 0


@pytest.fixture
def role_names(conn):
    """Makes roles of this test; gives what they own back."""
    made = []

    def make(label: str) -> str:
        name = f"{label}_{one(conn, 'select current_database()')}"
        conn.execute(f"create role {name}")
        made.append(name)
        return name

    yield make
    conn.execute("reset role")
    for name in made:
        conn.execute(f"reassign owned by {name} to current_user; drop owned by {name}; drop role {name}")


@pytest.mark.parametrize("dropped", ["before", "after"])
@pytest.mark.parametrize("when", ["new.kind = 7", "kind = 7"])
def test_a_condition_sees_the_row_of_a_table_that_lost_a_column(queue, dropped, when):
    queue.execute("create table t (id int primary key, junk int, total int, active int, kind int)")
    if dropped == "before":
        queue.execute("alter table t drop column junk")
    operations = "{UPDATE}" if when.startswith("new") else "{INSERT}"
    queue.execute("select qctl.attach('public.t', 'orders', %s, %s)", (operations, when))
    if dropped == "after":
        queue.execute("alter table t drop column junk")
    queue.execute("insert into t (id, total, active, kind) values (1, 5, 0, 7), (2, 5, 7, 0)")
    queue.execute("update t set total = total + 1")
    total = 6 if operations == "{UPDATE}" else 5
    assert records(queue) == [{"id": 1, "total": total, "active": 0, "kind": 7}]
    assert queue.execute(FINDINGS).fetchall() == []


@pytest.mark.parametrize("replicated", [False, True])
def test_a_renamed_column_of_a_condition_is_followed(queue, replicated):
    queue.execute("create table t (id int primary key, vip boolean)")
    queue.execute("select qctl.attach('public.t', 'orders', '{INSERT}', 'new.vip', p_replicated => %s)", (replicated,))
    queue.execute("alter table t rename vip to gold")
    queue.execute("insert into t values (1, true), (2, false)")
    assert queued(queue) == []
    assert held(queue) == 2
    problem, fix = finding(queue)
    assert "column vip, which its options name, is called gold now" in problem
    assert fix == "qctl attach public.t -q orders --change"
    follow(queue, "public.t")
    assert records(queue) == [{"id": 1, "gold": True}]
    assert one(queue, "select when_sql from qctl.attachment") == "new.gold"


def test_a_dropped_column_of_a_condition_is_named_with_the_command_that_goes_on_without_it(queue):
    queue.execute("create table t (id int primary key, vip boolean)")
    queue.execute("select qctl.attach('public.t', 'orders', '{INSERT}', 'new.vip')")
    queue.execute("alter table t drop column vip")
    queue.execute("insert into t values (1)")
    problem, fix = finding(queue)
    assert "column vip, which its options name, is gone" in problem
    assert fix == "qctl attach public.t -q orders --change --when ''"
    follow(queue, "public.t", '{"when_sql": ""}')
    assert records(queue) == [{"id": 1}]


def test_nothing_goes_out_of_order_while_the_key_cannot_be_computed(queue):
    queue.execute("create table t (id int primary key, k text)")
    queue.execute("select qctl.attach('public.t', 'orders', p_order_by => 'record.k')")
    queue.execute("alter table t rename k to key")
    queue.execute("insert into t values (1, 'a')")
    queue.execute("delete from t")
    queue.execute("alter table t rename key to k")
    queue.execute("insert into t values (2, 'a')")
    assert queued(queue) == []
    assert held(queue) == 3
    follow(queue, "public.t")
    sent = queue.execute(
        "select headers ->> 'x-pgmq-group', message ->> 'operation' from pgmq.q_orders order by msg_id"
    )
    assert sent.fetchall() == [("a", "INSERT"), ("a", "DELETE"), ("a", "INSERT")]


def test_held_events_go_out_by_themselves_once_what_held_them_has_passed(queue):
    queue.execute("create table t (id int)")
    queue.execute("select qctl.attach('public.t', 'orders')")
    queue.execute("alter table pgmq.q_orders rename to q_gone")
    queue.execute("insert into t values (1), (2)")
    queue.execute("alter table pgmq.q_gone rename to q_orders")
    assert held(queue) == 2
    queue.execute("call qctl.maintenance('1 s')")
    assert records(queue) == [{"id": 1}, {"id": 2}]
    assert queue.execute(FINDINGS).fetchall() == []


def test_reassign_owned_and_a_new_owner(queue, role_names):
    first, second = role_names("first"), role_names("second")
    queue.execute(f"grant all on schema public to {first}, {second}")
    queue.execute(f"create type mood as enum ('a'); create table t (id int, m mood); alter table t owner to {first}")
    queue.execute("select qctl.attach('public.t', 'orders', '{INSERT}', 'new.id > 0')")
    queue.execute(f"reassign owned by {first} to {second}")
    queue.execute(f"set role {second}; insert into t values (1, 'a'); reset role")
    assert records(queue) == [{"id": 1, "m": "a"}]
    assert queue.execute(FINDINGS).fetchall() == []
    queue.execute(f"alter table t owner to {first}")
    queue.execute(f"set role {first}; insert into t values (2, 'a'); reset role")
    assert queued(queue) == []
    problem, fix = finding(queue)
    assert f"it belongs to {first} now, but its capture runs as {second}" in problem
    assert fix == "qctl attach public.t -q orders --change"
    follow(queue, "public.t")
    assert records(queue) == [{"id": 2, "m": "a"}]


def test_a_virtual_column_is_left_out_and_cannot_be_named(queue):
    if queue.info.server_version < 180000:
        pytest.skip("virtual generated columns came with PostgreSQL 18")
    queue.execute(
        "create table t (id int primary key, qty int, price int, total int generated always as (qty * price) virtual)"
    )
    for options in ("p_when => 'new.total >= 100'", "p_columns => '{total}'", "p_order_by => 'record.total'"):
        with pytest.raises(psycopg.Error, match=r"'total' of public\.t is a virtual generated column"):
            queue.execute(f"select qctl.attach('public.t', 'orders', '{{INSERT}}', {options})")
    queue.execute("select qctl.attach('public.t', 'orders')")
    queue.execute("insert into t values (1, 2, 3)")
    queue.execute("update t set qty = 4")
    assert records(queue) == [{"id": 1, "qty": 2, "price": 3}, {"id": 1, "qty": 4, "price": 3}]


def test_a_row_that_moves_between_partitions_is_an_update(queue):
    queue.execute("create table shop (id int, status text) partition by list (status)")
    queue.execute("create table shop_new partition of shop for values in ('new')")
    queue.execute("create table shop_done partition of shop for values in ('done')")
    queue.execute("select qctl.attach('public.shop', 'orders', '{UPDATE}')")
    queue.execute("insert into shop values (1, 'new')")
    queue.execute("update shop set status = 'done' where id = 1")
    (message,) = queued(queue)
    assert (message["operation"], message["table"]) == ("UPDATE", "shop")
    assert (message["old_record"]["status"], message["record"]["status"]) == ("new", "done")


def test_a_change_comes_before_the_one_that_a_trigger_makes_of_it(queue):
    notices: list[str] = []
    queue.add_notice_handler(lambda diagnostic: notices.append(diagnostic.message_primary))
    queue.execute("create table t (id int primary key, balance int, status text)")
    queue.execute("create function block() returns trigger language plpgsql as"
                  " $$ begin update t set status = 'blocked' where id = new.id and balance < 0; return null; end $$")  # fmt: skip
    queue.execute("create trigger block after insert on t for each row execute function block()")
    queue.execute("select qctl.attach('public.t', 'orders', p_order_by => 'record.id')")
    assert any("trigger block of public.t may change rows again" in notice for notice in notices)
    queue.execute("insert into t values (1, -5, 'ok')")
    assert [record["status"] for record in records(queue)] == ["ok", "blocked"]


@pytest.mark.parametrize("added", [False, True])
def test_a_value_has_one_form_whoever_writes_it(queue, added):
    """The column may also come after the attachment was made."""
    columns = "a float8, b timestamptz, c interval, d bytea, e date, f tstzrange, g timestamptz[]"
    queue.execute(f"create table t (id int{'' if added else ', ' + columns})")
    queue.execute("select qctl.attach('public.t', 'orders')")
    if added:
        queue.execute("insert into t values (0)")
        queue.execute(f"alter table t {', '.join('add ' + column for column in columns.split(', '))}")
        queued(queue)
    write = (
        "insert into t values (1, 0.1::float8 * 3, timestamptz 'epoch' + interval '1 h', make_interval(days => 1, hours => 2),"
        " decode('01', 'hex'), make_date(2026, 2, 1), tstzrange(timestamptz 'epoch', null), array[timestamptz 'epoch'])"
    )
    queue.execute(write)
    queue.execute("set extra_float_digits = 0; set timezone = 'Asia/Tokyo'; set intervalstyle = 'iso_8601'")
    queue.execute("set datestyle = 'German'; set bytea_output = 'escape'")
    queue.execute(write)
    assert one(queue, "select current_setting('TimeZone') || current_setting('extra_float_digits')") == "Asia/Tokyo0"
    first, second = records(queue)
    assert first == second
    assert (first["a"], first["b"], first["d"]) == (0.30000000000000004, "1970-01-01T01:00:00+00:00", "\\x01")


def test_a_row_whose_conversion_fails_is_captured_by_its_key(queue):
    queue.execute("create type mood as enum ('a')")
    queue.execute("create function mood_json(mood) returns json language plpgsql as $$ begin raise 'no'; end $$")
    queue.execute("create cast (mood as json) with function mood_json(mood)")
    queue.execute("create table t (id int primary key, m mood)")
    queue.execute("select qctl.attach('public.t', 'orders')")
    queue.execute("insert into t values (1, 'a')")
    (message,) = queued(queue)
    assert (message["record"], message["truncated"]) == ({"id": 1}, True)
    assert held(queue) == 0


def test_a_table_that_was_created_again_is_found_by_its_name(queue):
    queue.execute("create table t (id int)")
    queue.execute("select qctl.attach('public.t', 'orders', '{INSERT}', 'new.id > 0')")
    queue.execute("drop table t")
    assert finding(queue) == ("the table is gone", "qctl detach public.t -q orders")
    queue.execute("create table t (id int)")
    assert finding(queue) == (
        "the table was dropped and created again",
        "qctl attach public.t -q orders --change",
    )
    follow(queue, "public.t")
    queue.execute("insert into t values (1), (-1)")
    assert records(queue) == [{"id": 1}]


def test_disabled_triggers_are_one_finding_with_one_command(queue):
    queue.execute("create table t (id int)")
    queue.execute("select qctl.attach('public.t', 'orders')")
    queue.execute("alter table t disable trigger all")
    assert finding(queue) == (
        "trigger for DELETE, INSERT, UPDATE is disabled",
        "qctl attach public.t -q orders --change",
    )
    follow(queue, "public.t")
    queue.execute("insert into t values (1)")
    assert len(queued(queue)) == 1


@pytest.mark.parametrize(("mode", "wrong"), [("replica", True), ("always", False)])
def test_a_trigger_that_fires_only_for_replicas_is_found(queue, mode, wrong):
    queue.execute("create table t (id int)")
    queue.execute("select qctl.attach('public.t', 'orders', '{INSERT}')")
    trigger = one(queue, "select tgname from pg_trigger where tgrelid = 't'::regclass")
    queue.execute(f"alter table t enable {mode} trigger {trigger}")
    queue.execute("insert into t values (1)")
    assert len(queued(queue)) == (0 if wrong else 1)
    assert len(queue.execute(FINDINGS).fetchall()) == (1 if wrong else 0)
    follow(queue, "public.t")
    queue.execute("insert into t values (2)")
    assert len(queued(queue)) == 1


def test_who_attached_a_table_of_another_role_can_detach_it(queue, role_names):
    owner, attacher = role_names("owner"), role_names("attacher")
    queue.execute(f"create table t (id int); alter table t owner to {owner}; grant trigger, select on t to {attacher}")
    queue.execute(f"grant all on schema qctl to {attacher}; grant usage on schema pgmq to {attacher}")
    queue.execute(f"grant all on all tables in schema qctl, pgmq to {attacher}")
    queue.execute(
        f"grant all on all routines in schema qctl to {attacher}; grant all on all sequences in schema qctl, pgmq to {attacher}"
    )
    queue.execute(f"set role {attacher}")
    queue.execute("select qctl.attach('public.t', 'orders', p_as_me => true)")
    queue.execute("reset role; insert into t values (1)")
    assert len(queued(queue)) == 1
    queue.execute(f"set role {attacher}")
    queue.execute("select qctl.detach('public.t', 'orders')")
    queue.execute("reset role")
    assert one(queue, "select count(*) from pg_trigger where tgrelid = 't'::regclass") == 0


def test_equal_attachments_have_equal_names_and_bodies_whatever_their_order(queue):
    queue.execute("create table a (id int); create table b (id int)")
    bodies = []
    for order in ("ab", "ba"):
        for table in order:
            queue.execute("select qctl.attach(%s, 'orders')", (f"public.{table}",))
        bodies.append(queue.execute(
            "select tgrelid::regclass::text, tgname, proname, prosrc from pg_trigger t join pg_proc p on p.oid = tgfoid"
            " where tgname ~ '^qctl' order by 1, 2").fetchall())  # fmt: skip
        for table in order:
            queue.execute("select qctl.detach(%s)", (f"public.{table}",))
    assert bodies[0] == bodies[1]


def test_a_stray_trigger_captures_nothing_and_is_dropped_by_the_printed_command(queue):
    queue.execute("create table t (id int); create table stray (id int)")
    queue.execute("select qctl.attach('public.t', 'orders', '{INSERT}')")
    function = one(queue, "select tgfoid::regproc::text from pg_trigger where tgrelid = 't'::regclass")
    queue.execute(f"create trigger copied after insert on stray referencing new table as new_rows"
                  f" for each statement execute function {function}()")  # fmt: skip
    queue.execute("insert into stray values (1)")
    assert queued(queue) == []
    assert finding(queue) == (
        "trigger copied on public.stray is a copy that captures nothing",
        "qctl attach public.t -q orders --change",
    )
    follow(queue, "public.t")
    assert one(queue, "select count(*) from pg_trigger where tgrelid = 'stray'::regclass") == 0


def test_no_right_of_the_owner_is_left(queue, role_names):
    owner = role_names("leaver")
    queue.execute(f"create table t (id int); alter table t owner to {owner}")
    queue.execute("select qctl.attach('public.t', 'orders', p_replicated => true)")
    queue.execute("select qctl.detach('public.t')")
    queue.execute("alter table t owner to current_user")
    queue.execute(f"drop role {owner}")
    queue.execute(f"create role {owner}")


@pytest.mark.parametrize("change", ["alter table t rename to u", "alter table t set schema other"])
def test_a_table_that_has_another_name_is_one_finding(queue, change):
    queue.execute("create table t (id int); create schema other")
    queue.execute("select qctl.attach('public.t', 'orders')")
    queue.execute(change)
    name = one(queue, "select qctl._table_name(relation) from qctl.attachment")
    queue.execute(f"insert into {name} values (1)")
    (message,) = queued(queue)
    assert f"{message['schema']}.{message['table']}" == name
    problem, fix = finding(queue)
    assert problem == "it was public.t when it was attached"
    assert fix == f"qctl attach {name} -q orders --change"
    follow(queue, name)


def test_two_tables_that_swapped_their_names_keep_their_captures(queue):
    queue.execute("create table a (id int); create table b (id int)")
    queue.execute("select qctl.attach('public.a', 'orders')")
    queue.execute("alter table a rename to c; alter table b rename to a; alter table c rename to b")
    queue.execute("insert into a values (1); insert into b values (2)")
    assert records(queue) == [{"id": 2}]
    assert finding(queue)[1] == "qctl attach public.b -q orders --change"


@pytest.mark.parametrize(
    "damage",
    [
        "alter table pgmq.q_orders rename to q_gone",
        "drop function qctl.{row}",
        "alter function qctl.{row} rename to gone",
        "alter table t alter v type int using 1",
        "alter table t drop constraint t_pkey, drop column id",
        "alter table t add w int generated always as identity",
        "alter table t rename v to w",
    ],
)
@pytest.mark.parametrize("options", ["p_when => 'new.v is not null'", "p_order_by => 'v'", "p_columns => '{v}'", ""])
@pytest.mark.parametrize("operation", ["insert into t (n) values (1)", "update t set n = n + 1", "delete from t"])
def test_no_change_breaks_a_write_of_a_session_that_wrote_before(queue, damage, options, operation):
    """What its plans were made for is no more."""
    queue.execute("create table t (id int primary key generated by default as identity, v text, n int default 0)")
    operations = "'{UPDATE}'" if "when" in options else "'{INSERT,UPDATE,DELETE}'"
    queue.execute(f"select qctl.attach('public.t', 'orders', {operations}{', ' + options if options else ''})")
    for _ in range(2):
        queue.execute("insert into t (v) values ('1'), ('2')")
        queue.execute("update t set v = (v::int + 1)::text")
    queue.execute("delete from t where id = 1")
    before = len(queued(queue))
    assert before > 0
    row = one(queue, "select substring(qctl._row_function(name)::text from 'qctl.(.*)') from qctl.attachment")
    queue.execute(damage.format(row=row))
    changed = queue.execute(operation).rowcount
    update = operation.startswith("update")
    gone = one(queue, "select to_regclass('pgmq.q_orders') is null")
    kept = (0 if gone else len(queued(queue))) + held(queue)
    if update and "columns" in options:
        assert kept in (0, changed)  # none of its columns changed, unless that cannot be told
    else:
        assert kept == (changed if update or "when" not in options else 0)


def test_a_lock_timeout_of_the_session_holds_the_event(queue, other):
    queue.execute("create table t (id int)")
    queue.execute("select qctl.attach('public.t', 'orders')")
    with other.transaction():
        other.execute("lock table pgmq.q_orders in access exclusive mode")
        queue.execute("set lock_timeout = '100ms'; insert into t values (1)")
    assert "was locked for longer than the lock_timeout" in one(queue, "select reason from qctl.held_event")


def test_where_nothing_can_be_written_the_write_succeeds_with_a_warning(queue):
    notices: list[str] = []
    queue.add_notice_handler(lambda diagnostic: notices.append(diagnostic.message_primary))
    queue.execute("create table t (id int)")
    queue.execute("select qctl.attach('public.t', 'orders')")
    queue.execute("alter table pgmq.q_orders rename to q_gone; alter table qctl.held_event rename to held_gone")
    queue.execute("insert into t values (1)")
    assert one(queue, "select count(*) from t") == 1
    assert any(
        "qctl: changes of public.t were not captured" in notice or "changes of t were" in notice for notice in notices
    )


def test_set_qctl_capture_leaves_a_session_out(queue):
    queue.execute("create table t (id int)")
    queue.execute("select qctl.attach('public.t', 'orders')")
    queue.execute("set qctl.capture = off; insert into t values (1); reset qctl.capture; insert into t values (2)")
    assert records(queue) == [{"id": 2}]


UNINSTALL = files.read("uninstall").decode()
LOCKING = {
    "detach": "select qctl.detach(relation::oid::text, 'orders') from qctl.attachment where relation = 'whole'::regclass",
    "change": "select qctl.change_attachment('public.whole', 'orders', '{\"replicated\": true}')",
    "drop": "select qctl.drop_queue('orders', p_discard => true)",
    "drop with archive": "select qctl.drop_queue('orders', true, true)",
    "uninstall": UNINSTALL,
}


@pytest.mark.parametrize("verb", LOCKING)
@pytest.mark.slow
def test_no_writer_waits_longer_than_two_and_a_half_seconds_however_many_tables_are_locked(queue, dsn, verb):
    """Three tables are in use, one after the other: whoever held the first while it waited for each would hold it for long."""
    queue.execute("create table whole (id int) partition by list (id)")
    for part in (1, 2, 3):
        queue.execute(f"create table part{part} partition of whole for values in ({part})")
    queue.execute("select qctl.attach('public.whole', 'orders')")
    longest = 0.0
    begun, done = threading.Event(), threading.Event()

    def write() -> None:
        nonlocal longest
        with psycopg.connect(dsn, autocommit=True) as writer:
            while not done.wait(0.02):
                started = time.monotonic()
                writer.execute("insert into part1 values (1)")
                longest = max(longest, time.monotonic() - started)

    def hold(part: int, seconds: float) -> None:
        with psycopg.connect(dsn) as holder:
            holder.execute(f"insert into part{part} values ({part})")
            begun.wait()
            time.sleep(seconds)

    threads = [threading.Thread(target=hold, args=pair) for pair in ((2, 1.5), (3, 3.5))]
    threads.append(threading.Thread(target=write))
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    begun.set()
    with pytest.raises(psycopg.errors.LockNotAvailable):
        queue.execute(LOCKING[verb])
    queue.execute("rollback")
    for thread in threads[:2]:
        thread.join()
    queue.execute(LOCKING[verb])
    done.set()
    threads[2].join()
    assert longest < 2.5


@pytest.mark.parametrize("retyped", [False, True])
def test_columns_count_also_where_a_row_is_converted_piece_by_piece(queue, retyped):
    queue.execute("create table t (id int primary key, a int, b int, j json)")
    queue.execute("select qctl.attach('public.t', 'orders', '{UPDATE}', p_columns => '{a}')")
    queue.execute(r"""insert into t values (1, 1, 1, '{"x": "\u0000"}')""")
    queue.execute("update t set b = b + 1")
    if retyped:
        queue.execute("alter table t alter a type bigint")
    queue.execute("update t set b = b + 1")
    assert queued(queue) == []
    queue.execute("update t set a = a + 1")
    assert records(queue) == [{"id": 1, "a": 2, "b": 3, "j": {"x": ""}}]
    assert held(queue) == 0


@pytest.mark.parametrize("replicated", [False, True])
@pytest.mark.parametrize("local", [True, False])
def test_an_owner_cannot_leave_a_search_path_to_who_attached(queue, role_names, replicated, local):
    owner = role_names("thief")
    queue.execute(f"create schema evil authorization {owner}; create table t (id int); alter table t owner to {owner}")
    queue.execute(
        "create function evil.yes(int) returns boolean language plpgsql as"
        f" $$ begin perform set_config('search_path', 'evil, pg_catalog', {str(local).lower()}); return true; end $$"
    )
    queue.execute(
        f"alter function evil.yes(int) owner to {owner}; create table evil.ran (who text); grant all on evil.ran to public"
    )
    queue.execute(
        "create function evil.current_setting(text, boolean) returns text language plpgsql as"
        " $$ begin insert into evil.ran values (current_user); return pg_catalog.current_setting($1, $2); end $$"
    )
    queue.execute(
        "create function evil.current_setting(text) returns text language plpgsql as"
        " $$ begin insert into evil.ran values (current_user); return pg_catalog.current_setting($1); end $$"
    )
    queue.execute(
        "select qctl.attach('public.t', 'orders', '{INSERT}', 'evil.yes(new.id)', p_replicated => %s)", (replicated,)
    )
    for number in range(3):
        queue.execute(f"set role {owner}; insert into public.t values ({number}); reset role")
    queue.execute("reset search_path")
    assert one(queue, "select count(*) from evil.ran") == 0


def test_a_row_function_that_lost_its_owners_rights_is_not_called(queue, role_names):
    owner = role_names("invoker")
    queue.execute(f"create table t (id int); alter table t owner to {owner}")
    queue.execute("select qctl.attach('public.t', 'orders', '{INSERT}', 'new.id > 0')")
    queue.execute(
        f"alter function {one(queue, 'select qctl._row_function(name)::text from qctl.attachment')} security invoker"
    )
    queue.execute("insert into t values (1)")
    assert queued(queue) == []
    assert held(queue) == 1
    follow(queue, "public.t")


@pytest.mark.parametrize("options", ["p_when => 'new.v = 5'", "p_columns => '{v}'"])
def test_what_is_held_is_not_lost_when_its_column_is_renamed_once_more(queue, options):
    queue.execute("create table t (id int primary key, v int)")
    queue.execute("insert into t values (1, 4), (2, 4)")
    queue.execute(f"select qctl.attach('public.t', 'orders', '{{UPDATE}}', {options})")
    queue.execute("alter table t rename v to v1")
    queue.execute("update t set v1 = 5 where id = 1")
    queue.execute("alter table t rename v1 to v2")
    queue.execute("update t set v2 = 5 where id = 2")
    follow(queue, "public.t")
    assert [record["id"] for record in records(queue)] == [1, 2]


def test_what_is_held_goes_out_when_a_column_no_longer_takes_its_value(queue):
    queue.execute("create table t (id int primary key, v int, x text)")
    queue.execute("select qctl.attach('public.t', 'orders', '{INSERT}', 'new.v = 5')")
    queue.execute("alter table t rename v to w")
    queue.execute("insert into t values (1, 5, 'abc')")
    queue.execute("alter table t alter x type int using length(x)")
    follow(queue, "public.t")
    assert records(queue) == [{"id": 1, "w": 5, "x": "abc"}]


@pytest.mark.parametrize(
    ("when", "renames", "followed"),
    [
        ("kind = 'status' and status is not null", ["status to state"], "kind = 'status' and state is not null"),
        ("new.a > 0 and new.b > 0", ["b to c", "a to b"], "new.b > 0 and new.c > 0"),
        ("new.b > 0", ["b to c", "a to b"], "new.c > 0"),
        ("(new).a > 0", ["a to x"], "(new).x > 0"),
        ('"new".a > 0', ["a to x"], '"new".x > 0'),
        ("NEW.A > 0", ["a to x"], "NEW.x > 0"),
        ('new."A" > new.a', ["a to x"], 'new."A" > new.x'),
        ('new."€" > 0', ['"€" to "x y"'], 'new."x y" > 0'),
        ("new.kind = 'new.a' and new.a > 0", ["a to x"], "new.kind = 'new.a' and new.x > 0"),
    ],
)
def test_a_condition_follows_its_columns_and_nothing_else(queue, when, renames, followed):
    queue.execute('create table t (id int primary key, kind text, status text, a int, b int, "A" int, "€" int)')
    queue.execute("select qctl.attach('public.t', 'orders', '{INSERT}', %s)", (when,))
    for rename in renames:
        queue.execute(f"alter table t rename {rename}")
    problem, fix = finding(queue)
    assert "is called" in problem
    assert fix == "qctl attach public.t -q orders --change"
    follow(queue, "public.t")
    assert one(queue, "select when_sql from qctl.attachment") == followed


def test_a_dropped_column_of_any_name_is_named(queue):
    queue.execute('create table t (id int primary key, "€" int)')
    queue.execute("""select qctl.attach('public.t', 'orders', '{INSERT}', 'new."€" > 1')""")
    queue.execute('alter table t drop "€"')
    assert finding(queue)[1] == "qctl attach public.t -q orders --change --when ''"
    follow(queue, "public.t", '{"when_sql": ""}')


def test_columns_of_a_table_that_was_created_again_are_found_by_name(queue):
    queue.execute("create table t (id int primary key, junk int, a int, b int)")
    queue.execute("select qctl.attach('public.t', 'orders', '{INSERT}', 'new.a > 0')")
    queue.execute("drop table t; create table t (id int primary key, a int, b int)")
    follow(queue, "public.t")
    assert one(queue, "select when_sql from qctl.attachment") == "new.a > 0"


def test_a_view_with_the_name_of_a_dropped_table_is_not_it(queue):
    queue.execute("create table t (id int)")
    queue.execute("select qctl.attach('public.t', 'orders')")
    queue.execute("drop table t; create view t as select 1 as id")
    assert finding(queue) == ("the table is gone", "qctl detach public.t -q orders")
    queue.execute("select qctl.detach('public.t', 'orders')")


@pytest.mark.parametrize("order", ["", ", p_order_by => 'id'"])
def test_a_row_that_no_condition_can_judge_has_a_command_that_ends_it(queue, order):
    queue.execute("create table t (id int primary key, qty int)")
    queue.execute(f"select qctl.attach('public.t', 'orders', '{{INSERT}}', '100 / new.qty > 5'{order})")
    queue.execute("insert into t values (1, 0)")
    queue.execute("insert into t values (2, 1)")
    problem, fix = finding(queue)
    assert "SQLSTATE 22012" in problem
    assert fix == "qctl attach public.t -q orders --change --release"
    queue.execute("select qctl.release_held('public.t', 'orders', p_as_is => true)")
    assert sorted(record["id"] for record in records(queue)) == [1, 2]
    assert queue.execute(FINDINGS).fetchall() == []


def test_a_table_that_became_a_partition_is_followed_to_its_parent_with_its_options(queue):
    queue.execute("create table t (id int not null, v int)")
    queue.execute("select qctl.attach('public.t', 'orders', '{INSERT}', 'new.v > 0')")
    queue.execute("create table whole (id int not null, v int) partition by range (id)")
    queue.execute("alter table whole attach partition t for values from (0) to (10)")
    problem, fix = finding(queue)
    assert "partition or child of another table" in problem
    assert fix == "qctl attach public.t -q orders --change"
    queue.execute("select qctl.change_attachment('public.t', 'orders')")
    assert queue.execute(FINDINGS).fetchall() == []
    queue.execute("insert into whole values (1, 1), (2, -1)")
    queue.execute("insert into t values (3, 1)")
    assert [(m["table"], m["record"]["id"]) for m in queued(queue)] == [("whole", 1), ("whole", 3)]


def test_a_partition_of_a_table_that_is_attached_already_is_detached(queue):
    queue.execute("create table t (id int not null); create table whole (id int not null) partition by range (id)")
    queue.execute("select qctl.attach('public.t', 'orders'), qctl.attach('public.whole', 'orders')")
    queue.execute("alter table whole attach partition t for values from (0) to (10)")
    fixes = [fix for _, fix in queue.execute(FINDINGS)]
    assert sorted(fixes) == ["qctl attach public.whole -q orders --change", "qctl detach public.t -q orders"]
    queue.execute("select qctl.detach('public.t', 'orders'), qctl.change_attachment('public.whole', 'orders')")
    assert queue.execute(FINDINGS).fetchall() == []
    queue.execute("insert into t values (1)")
    assert len(queued(queue)) == 1


# What a trigger function calls things, and what PL/pgSQL and SQL do.
NAMED_LIKE_OURS = (
    "qctl new row", "qctl old row", "new", "old", "n", "o", "r", "e", "c", "i", "h", "place", "v_flag", "v_settings", "v_queued",
    "v_obstacle", "v_waits", "v_try", "v_row", "v_message", "v_root", "tg_relid", "tg_op", "found", "sqlstate", "sqlerrm",
    "operation", "relation", "hidden", "v_record", "v_old_record", "v_rows", "v_matches", "v_problem", "capture", "problem",
    "order_key", "truncated", "new_rows", "old_rows", "value", "vt", "message", "headers", "held_id", "reason", "pg_catalog",
)  # fmt: skip


@pytest.mark.parametrize(
    "options",
    ["", ", p_when => 'new.id > 0', p_operations => '{INSERT,UPDATE}'", ", p_columns => '{id,v_flag}'",
     ", p_order_by => 'id'", ", p_replicated => true"],
)  # fmt: skip
def test_a_column_may_be_called_like_anything_in_a_trigger_function(queue, options):
    columns = ", ".join(f'"{name}" text' for name in NAMED_LIKE_OURS)
    queue.execute(f"create table t (id int primary key, {columns})")
    queue.execute(f"select qctl.attach('public.t', 'orders'{options})")
    queue.execute("""insert into t (id, "qctl new row", v_flag) values (1, 'x', 'y'), (2, 'x', 'y')""")
    queue.execute("update t set v_flag = id::text")
    assert [(m["record"]["v_flag"], m["old_record"]["v_flag"], m["record"]["qctl new row"])
            for m in queued(queue) if m["operation"] == "UPDATE"] == [("1", "y", "x"), ("2", "y", "x")]  # fmt: skip
    queue.execute("drop table pgmq.q_orders")
    queue.execute("delete from t where id = 2; update t set v_flag = 'held'")
    assert held(queue) == (1 if "when" in options else 2)
    assert queue.execute("select message -> 'record' ->> 'v_flag' from qctl.held_event").fetchall()[-1] == ("held",)


def test_rows_that_a_trigger_takes_away_on_their_way_to_another_partition_are_paired_with_no_other_row(queue):
    queue.execute("create table t (id int, v int) partition by list (v)")
    queue.execute("create table t1 partition of t for values in (1); create table t2 partition of t for values in (2)")
    queue.execute(
        "create function skip() returns trigger language plpgsql as"
        " 'begin if new.id = 2 then return null; end if; return new; end';"
        "create trigger skip before insert on t2 for each row execute function skip()"
    )
    queue.execute("insert into t values (1, 1), (2, 1), (3, 1)")
    queue.execute("select qctl.attach('public.t', 'orders')")
    queue.execute("update t set v = 2")
    assert queued(queue) == []
    problem, fix = finding(queue)
    assert "cannot be paired" in problem
    assert fix == "qctl attach public.t -q orders --change"
    follow(queue, "public.t")
    sides = sorted((m["old_record"].get("id", 0), m["record"].get("id", 0)) for m in queued(queue))
    assert sides == [(0, 1), (0, 3), (1, 0), (2, 0), (3, 0)]


EVERY_KIND = """
    create type mood as enum ('so, so', 'a "b" \\ c', 'null');
    create domain positive as int check (value > 0);
    create domain many as positive[];
    create type pair as (a int, b text);
    create table t (
        id int primary key, gone int, n numeric, f float8, b bool, s text, at timestamptz, day date, span interval, raw bytea,
        j json, jb jsonb, many int[], u uuid, r int4range, ip inet, m mood, mm mood[], p positive, empty text, nothing text,
        ch char(5), chs char(3)[], bits bit(3), vc varchar(9), twice int generated always as (id * 2) stored);
    alter table t drop column gone"""
ROW = """
    insert into t values (
        1, 1.50, 0.1::float8 * 3, true, E'a,b "c" \\\\ (d)\n{é}', '2026-01-02 03:04:05+02', '2026-01-02', '1 day', '\\xbeef',
        '{"a": 1.10}', '{"a": null}', '{1,null,3}', '7f0c5cb0-0000-4000-8000-000000000000', '[1,3)', '::1', 'a "b" \\ c',
        '{"so, so",null}', 5, '', null, 'ab', '{abc,d}', '101', 'vc')"""


@pytest.mark.parametrize("replicated", [False, True])
def test_what_is_held_without_running_the_owners_code_has_the_values_of_what_is_queued(queue, replicated):
    queue.execute(EVERY_KIND)
    queue.execute("select qctl.attach('public.t', 'orders', p_replicated => %s)", (replicated,))
    queue.execute(ROW)
    (message,) = queued(queue)
    assert message["record"]["many"] == [1, None, 3]
    queue.execute("set qctl.capture = off; delete from t; set qctl.capture = on")
    queue.execute(f"drop function {one(queue, 'select qctl._row_function(name)::text from qctl.attachment')}")
    queue.execute(
        "set datestyle = 'German'; set bytea_output = 'escape'; set intervalstyle = 'iso_8601'; set timezone = 'Asia/Kabul'"
    )
    queue.execute(ROW.replace("'2026-01-02'", "date '2026-01-02'"))
    queue.execute("update t set n = 2")
    queue.execute("reset all")
    follow(queue, "public.t")
    first, second = queued(queue)
    assert first == message
    assert second["old_record"] == message["record"]
    assert second["record"] == {**message["record"], "n": 2}


def test_a_large_row_is_held_without_running_the_owners_code_by_its_key(queue):
    queue.execute("create table t (id int primary key, j json, s text)")
    queue.execute("select qctl.attach('public.t', 'orders', p_max_bytes => 2000)")
    queue.execute(f"drop function {one(queue, 'select qctl._row_function(name)::text from qctl.attachment')}")
    queue.execute("set standard_conforming_strings = off")
    queue.execute(
        "insert into t values (7, '{}', (select string_agg(md5(n::text), '') from generate_series(1, 200) n))"
    )
    follow(queue, "public.t")
    (message,) = queued(queue)
    assert (message["record"], message["truncated"]) == ({"id": 7}, True)


def test_a_row_that_no_text_can_hold_is_held_empty_and_the_write_succeeds(queue):
    queue.execute("create table t (id int primary key, j json, raw bytea)")
    queue.execute("select qctl.attach('public.t', 'orders')")
    queue.execute(f"drop function {one(queue, 'select qctl._row_function(name)::text from qctl.attachment')}")
    queue.execute("insert into t values (7, '{}', decode(repeat('00', 150000000), 'hex'))")
    assert one(queue, "select message -> 'truncated' from qctl.held_event") is True
