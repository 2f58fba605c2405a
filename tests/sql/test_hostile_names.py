"""Names as an attacker would choose them, of all that an owner or a caller may name; and code that an owner's table brings."""

import json
import shlex
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from helpers import claim, create, expire_leases, make_due, one, replay, send, settle, state, upkeep
from processes import qctl
from traps import attacker, caught

NAMES = [
    'a"b', "a'b", "a\\", "$$", "$body$", "$qctl_file$",
    "%s%L%%", ":'queue'", "%(x)s", "x; drop table public.ran; --", 'x"; drop table public.ran; --',
    "x'); drop table public.ran; --", "/*", "--", "a\nb", " ", "\x1b[31m", "$(touch x)",
    "public.ran", "n.new", "select", "new",
    "n", "changed", "place", "capture", "new_rows",
    "v_owned", "now", "jsonb_build_object",
    "q_orders", "оrders", "ord\u200bers",
    "ß" * 31, "x" * 63, "🂡",
]  # fmt: skip


@pytest.fixture(scope="module")
def mallory(shared_dsn) -> Iterator[psycopg.Connection]:
    with attacker(shared_dsn) as session:
        yield session


@pytest.fixture(scope="module")
def installer(shared_dsn, mallory) -> Iterator[psycopg.Connection]:
    with psycopg.connect(shared_dsn, autocommit=True) as session:
        create(session)
        create(session, "second")
        yield session


def quoted(*names: str) -> str:
    return sql.Identifier(*names).as_string(None)


def bodies(conn, name: str = "orders") -> list[dict]:
    rows = conn.execute(sql.SQL("delete from {} returning msg_id, message").format(sql.Identifier("pgmq", f"q_{name}")))
    return [row[1] for row in sorted(rows, key=lambda row: row[0])]


@pytest.mark.parametrize("name", NAMES)
def test_schema_table_column_and_type_of_any_name(installer, mallory, shared_dsn, name):
    schema, table, kind = quoted(name), quoted(name, name), quoted(name, "t" + name[:20])
    mallory.execute(
        f"create schema {schema}; create domain {kind} as text check (public.konst('domain') = 1);"
        f"create table {table} ({schema} {kind} primary key, other text, held json)"
    )
    try:
        caught(shared_dsn)
        for queue, by_row in (("orders", False), ("second", True)):
            attached = installer.execute(
                "select * from qctl.attach(%s, %s, p_columns => %s, p_order_by => %s, p_replicated => %s, p_max_bytes => 1024)",
                (table, queue, [name], name, by_row),
            )
            assert {row[-1] for row in attached} == {mallory.info.user}
        with pytest.raises(psycopg.Error) as refused:
            installer.execute("select qctl.attach(%s, 'orders')", [table])
        word = shlex.split(refused.value.diag.message_hint)[6]
        assert one(installer, "select %s::regclass = %s::regclass", word, table), "the hint is safe in a shell"
        assert installer.execute("select * from qctl._verify_attachments()").fetchall() == []
        assert caught(shared_dsn) == set()
        large = "".join(map(chr, range(256, 2256)))
        mallory.execute(f"insert into {table} values ('a', 'b', '{{}}'), ('large', '{large}', null)")
        mallory.execute(
            f"update {table} set {schema} = 'c' where other = 'b'; update {table} set other = 'x' where other = 'b'"
        )
        installer.execute(f"delete from {table} where other = 'x'")
        for queue in ("orders", "second"):
            found = bodies(installer, queue)
            assert [(m["operation"], m["schema"], m["table"]) for m in found] == [
                (operation, name, name) for operation in ("INSERT", "INSERT", "UPDATE", "DELETE")
            ]
            assert [m["record"] and m["record"][name] for m in found] == ["a", "large", "c", None]
            assert [m["old_record"] and m["old_record"][name] for m in found] == [None, None, "a", "c"]
            assert found[1]["truncated"] is True
        listed = installer.execute("select name from qctl.undeclared('{orders}', '{}', '{}') where kind = 'attachment'")
        assert listed.fetchall() == [(one(installer, "select format('%%I.%%I', %s::text, %s::text)", name, name),)]
        assert len(installer.execute("select * from qctl.detach(%s)", [table]).fetchall()) == 6
    finally:
        mallory.execute(f"drop schema {schema} cascade")


@pytest.mark.parametrize("operation", ["insert", "update", "delete"])
@pytest.mark.parametrize("when", [None, "true"])
def test_a_column_named_like_the_captures_variable_does_not_let_a_new_owners_code_run_as_the_old_one(
    installer, mallory, shared_dsn, operation, when
):
    """The capture keeps its owner, the installer here, until the table is attached again."""
    installer.execute("create table public.given (id int primary key)")
    installer.execute("select qctl.attach('public.given', 'orders', p_when => %s)", [when])
    try:
        installer.execute(f"alter table public.given owner to {mallory.info.user}")
        mallory.execute(
            "create type mood as enum ('a');"
            "create function public.mood_json(mood) returns json language plpgsql as"
            " $$ begin perform public.spring('cast'); return '1'; end $$;"
            "create cast (mood as json) with function public.mood_json(mood);"
            "alter table public.given add v_owned boolean default true, add feels mood default 'a', add v int"
        )
        caught(shared_dsn)
        mallory.execute("select to_jsonb('a'::mood)")
        assert caught(shared_dsn) == {("cast", mallory.info.user)}
        mallory.execute("insert into public.given values (1)")
        if operation != "insert":
            mallory.execute(
                {"update": "update public.given set v = 1", "delete": "delete from public.given"}[operation]
            )
        assert caught(shared_dsn) == set()
        assert bodies(installer) == []
        held = one(installer, "select message from qctl.held_event")
        assert (held["record"] or held["old_record"])["feels"] == "a"
        assert caught(shared_dsn) == set()
    finally:
        mallory.execute("drop table public.given; drop type mood cascade")
        installer.execute("select qctl.detach(relation::oid::text) from qctl.attachment")
        bodies(installer)  # what was held is queued then


def plainly(dsn: str, query: str) -> set[tuple[str, str]]:
    """Which traps run if the installer runs this query, in a new session, for an old one remembers what it evaluated."""
    caught(dsn)
    with psycopg.connect(dsn, autocommit=True) as session:
        session.execute(query)
    return caught(dsn)


# What runs while a query over the table is planned: constant expressions of indexes, checks of parts, the condition's own.
PLANNED = {
    "index": "create table public.planned (id int); create index on public.planned ((public.konst('trap')))",
    "predicate": "create table public.planned (id int); create index on public.planned (id) where public.konst('trap') = 1",
    "partition": "create table public.planned (id int) partition by range (id);"
    "create table public.planned_1 partition of public.planned default;"
    "alter table public.planned_1 add check (public.konst('trap') = 1)",
    "child": "create table public.planned (id int); create table public.planned_1 () inherits (public.planned);"
    "alter table public.planned_1 add check (public.konst('trap') = 1)",
    "condition": "create table public.planned (id int)",
}


@pytest.mark.parametrize("which", PLANNED)
def test_a_condition_is_checked_without_running_code_of_the_tables_owner(installer, mallory, shared_dsn, which):
    when = "public.konst('trap') >= new.id" if which == "condition" else "new.id > 0"
    mallory.execute(PLANNED[which])
    try:
        assert plainly(shared_dsn, f"select from public.planned as new where {when}") == {("trap", "postgres")}
        assert (
            plainly(shared_dsn, "select qctl.attach('public.planned', 'orders', p_operations => '{INSERT}')") == set()
        )
        installer.execute("select qctl.detach('public.planned')")
        attach = "select qctl.attach('public.planned', 'orders', '{INSERT}', $$" + when + "$$)"
        assert plainly(shared_dsn, attach) == set()
        assert plainly(shared_dsn, "select qctl.reattach('public.planned', 'orders')") == set()
        assert (
            plainly(shared_dsn, "select from qctl.verify(); select from qctl.doctor(); select from qctl.check()")
            == set()
        )
        assert plainly(shared_dsn, "select qctl.detach('public.planned')") == set()
    finally:
        mallory.execute("drop table public.planned cascade")


FEELING = """
create type public.feeling as enum ('a', 'b');
create function public.feeling_json(public.feeling) returns json language plpgsql as
  $$ begin perform public.spring('cast'); return '1'; end $$;
create cast (public.feeling as json) with function public.feeling_json(public.feeling);
create function public.feeling_text(public.feeling) returns text language plpgsql as
  $$ begin perform public.spring('text'); return 'x'; end $$;
create cast (public.feeling as text) with function public.feeling_text(public.feeling) as assignment;
create function public.same(public.feeling, public.feeling) returns boolean language plpgsql as
  $$ begin perform public.spring('operator'); return true; end $$;
create operator public.=== (leftarg = public.feeling, rightarg = public.feeling, function = public.same);
create table public.sprung (id public.feeling primary key, of public.feeling[], padding text);
"""


@pytest.mark.parametrize("by_row", [False, True], ids=["statement", "row"])
@pytest.mark.parametrize("writer", ["owner", "installer", "stranger"])
def test_what_columns_and_conditions_bring_runs_as_the_owner_whoever_writes(
    installer, mallory, shared_dsn, writer, by_row
):
    stranger = f"stranger_{installer.info.dbname}"
    user = {"owner": mallory.info.user, "installer": installer.info.user, "stranger": stranger}[writer]
    mallory.execute(FEELING)
    installer.execute(f"create role {stranger} login; grant insert, update, select on public.sprung to {stranger}")
    try:
        installer.execute(
            "select qctl.attach('public.sprung', 'orders', '{INSERT,UPDATE}', p_replicated => %s, p_order_by => 'id',"
            " p_max_bytes => 1024, p_when => 'public.konst(''when'') = 1 and new.id operator(public.===) new.id')",
            [by_row],
        )
        caught(shared_dsn)
        large = "".join(map(chr, range(256, 2256)))
        with psycopg.connect(shared_dsn, user=user, autocommit=True) as session:
            session.execute(f"insert into public.sprung values ('a', '{{b}}', ''), ('b', null, '{large}')")
            session.execute("update public.sprung set padding = 'x'")
        ran = caught(shared_dsn)
        assert {who for _, who in ran} == {mallory.info.user}
        assert {how for how, _ in ran} == {"cast", "operator", "when"}
        assert len(bodies(installer)) == 4
    finally:
        installer.execute(f"drop owned by {stranger}; drop role {stranger}; select qctl.detach('public.sprung')")
        mallory.execute("drop table public.sprung; drop type public.feeling cascade")


@pytest.mark.parametrize(
    "name", ['x"; drop table public.ran; --', "x'y", "$$", "%I", "select", "ÜBER", "$(touch x)", "a\nb"]
)
def test_an_owner_of_any_name(installer, name):
    role = f"{name} {installer.info.dbname}"
    may_purge = "select has_function_privilege(%s, 'qctl.purge_dead(text, interval, integer)', 'execute')"
    installer.execute(f"create role {quoted(role)}; grant usage, create on schema public to {quoted(role)}")
    installer.execute(f"create table public.named (id int); alter table public.named owner to {quoted(role)}")
    try:
        attached = installer.execute("select runs_as from qctl.attach('public.named', 'orders', p_on_error => 'skip')")
        assert attached.fetchall() == [(role,)] * 3
        installer.execute("insert into public.named values (1)")
        assert len(bodies(installer)) == 1
        assert installer.execute("select * from qctl.verify()").fetchall() == []
        installer.execute("select qctl.grant_role(%s, 'operate', true)", [role])
        assert one(installer, may_purge, role)
        installer.execute("select qctl.revoke_role(%s)", [role])
        assert not one(installer, may_purge, role)
        installer.execute("select qctl.detach('public.named')")
        assert not one(installer, "select has_any_column_privilege(%s, 'pgmq.q_orders', 'insert')", role)
    finally:
        installer.execute(f"drop table public.named; drop owned by {quoted(role)}; drop role {quoted(role)}")


NO_QUEUES = [
    "", " ", "a b", "Orders", "ORDERS", "1st", "a-b", "a.b", "../orders", "pgmq.q_orders", 'a"b', '"orders"', "a'b",
    "a;b", "a--", "a/*", "a\\", "a$$", "$1", "%I", "a%s", "{}", "orders\n", "\norders", "a\tb", "a\x1b[31m", "оrders",
    "ｏrders", "ord\u200bers", "orders\u0301", "ß", "x" * 48, "x" * 5000, "$(touch x)",
    'x"; drop table public.ran; --', "x'; drop table public.ran; --", "x'); drop table public.ran; --",
    "$qctl_file$; drop table public.ran; --",
]  # fmt: skip


LIKE_OURS = [
    "select", "user", "null", "all", "analyze", "q", "_",
    "_status", "queue", "status", "orders_status", "q_orders", "pg_class", "x" * 46 + "1",
    "x" * 46 + "2",
]  # fmt: skip


def relations(conn) -> list[tuple]:
    return conn.execute(
        "select c.oid::regclass::text, c.relkind from pg_class c where c.relnamespace <> 'pg_toast'::regnamespace order by 1"
    ).fetchall()


@pytest.mark.parametrize("name", NO_QUEUES)
def test_what_is_no_queue_name_makes_nothing(installer, name):
    before = relations(installer)
    with pytest.raises(psycopg.Error) as refused:
        installer.execute("select qctl.create_queue(%s, 'https://example.com/')", [name])
    assert refused.value.sqlstate == "QC002"
    assert relations(installer) == before


@pytest.mark.parametrize(
    "name", ["Orders", "оrders", "orders\n", 'x"; drop table public.ran; --', "x'; drop table public.ran; --", "$q$"]
)
def test_no_function_takes_another_name_for_a_queues(installer, name):
    """Every function with a queue's name that anybody is meant to call; all else is null where it has no default."""
    before = relations(installer)
    functions = installer.execute(
        "select p.oid::regproc::text, p.proargnames[:p.pronargs - p.pronargdefaults], p.proargtypes[0:]::regtype[]::text[]"
        " from pg_proc p where p.pronamespace = 'qctl'::regnamespace and p.proname !~ '^_' and p.prokind = 'f'"
        " and 'p_queue' = any (p.proargnames[:p.pronargs])"
    ).fetchall()
    unmoved = set()
    for function, needed, kinds in functions:
        given = [f"p_queue => {sql.Literal(name).as_string(None)}"]
        given += [f"{n} => null::{kind}" for n, kind in zip(needed or [], kinds, strict=False) if n != "p_queue"]
        try:
            installer.execute(f"select * from {function}({', '.join(given)})")
            unmoved.add(function.removeprefix("qctl."))
        except psycopg.Error as error:
            assert error.sqlstate.startswith("QC"), (function, error)
    assert len(functions) - len(unmoved) > 30
    assert unmoved == {"attachments", "backfills", "compare_attachment", "compare_queue", "dead"}, (
        "these find nothing and say so"
    )
    assert relations(installer) == before


def test_a_name_with_a_nul_byte_never_reaches_the_server(installer):
    with pytest.raises(psycopg.DataError):
        installer.execute("select qctl.create_queue(%s, 'https://example.com/')", ["or\x00ders"])


@pytest.mark.parametrize("name", LIKE_OURS)
def test_a_queue_named_like_a_keyword_or_a_thing_of_ours_lives_its_whole_life(installer, name):
    create(installer, name, retry_schedule_s=[], ordered=True)
    before = one(installer, "select count(*) from pgmq.q_orders"), one(installer, "select count(*) from qctl.queue")
    send(installer, 3, name)
    first, second, _ = claim(installer, name=name)
    assert settle(installer, [first], 200, name=name) == {"delivered": 1}
    assert settle(installer, [second], 400, name=name) == {"dead": 1}
    expire_leases(installer)
    upkeep(installer)
    assert [state(installer, n, name) for n in (1, 2, 3)] == ["delivered", "dead", "ready"]
    view = sql.SQL("select msg_id, state from {}").format(sql.Identifier("qctl", f"{name}_status"))
    assert installer.execute(view).fetchall() == [(3, "ready"), (2, "dead"), (1, "delivered")]
    assert one(installer, "select depth from qctl.status where queue_name = %s", name) == 1
    assert one(installer, "select queue_name from qctl.describe(%s)", name) == name
    assert replay(installer, 2, name=name) == {2: "replayed"}
    make_due(installer, name)
    assert settle(installer, claim(installer, name=name), 200, name=name) == {"delivered": 2}
    assert one(installer, "select messages from qctl.purge(%s, '0 s')", name) == 3
    assert installer.execute("select * from qctl.verify()").fetchall() == []
    installer.execute("select qctl.drop_queue(%s, p_with_archive => true)", [name])
    assert (
        one(installer, "select count(*) from pgmq.q_orders"),
        one(installer, "select count(*) from qctl.queue") + 1,
    ) == before


def test_the_command_refuses_what_is_no_queue_name(installer, shared_dsn):
    name = 'x"; drop table public.ran; -- ../\x1b[31m'
    before = relations(installer)
    made = qctl("create", "--url", "https://example.com/", "--", name, dsn=shared_dsn)
    asked = qctl("purge", "--older-than", "1d", "-q", name, dsn=shared_dsn)
    assert (made.returncode, asked.returncode) == (2, 6)
    assert "\x1b" not in made.stdout + made.stderr + asked.stdout + asked.stderr
    assert relations(installer) == before


def test_the_command_shows_and_takes_a_table_of_any_name(installer, mallory, shared_dsn):
    name = "a'b\" $(touch x) `touch x` \x1b[31m"
    table = f"public.{quoted(name)}"
    mallory.execute(f"create table {table} (id int)")
    try:
        installer.execute("select qctl.attach(%s, 'orders')", [table])
        again = qctl("attach", table, "-q", "orders", dsn=shared_dsn)
        assert again.returncode == 7
        trigger = one(installer, "select tgname from pg_trigger where tgrelid = %s::regclass limit 1", table)
        installer.execute(f"drop trigger {trigger} on {table}")
        broken = qctl("verify", "-o", "json", dsn=shared_dsn)
        assert broken.returncode == 8
        advice = shlex.split(json.loads(broken.stdout)[0]["fix"])
        assert advice == ["qctl", "attach", table, "-q", "orders", "--change"]
        fixed = qctl(*advice[1:], dsn=shared_dsn)
        assert fixed.returncode == 0
        assert "\x1b" not in again.stderr
    finally:
        mallory.execute(f"drop table {table}")
        installer.execute("select qctl.detach(relation::oid::text) from qctl.attachment")
