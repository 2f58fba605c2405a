"""What stands in the search_path of whoever calls, in schema public or among the temporary things, is never taken for ours."""

from collections.abc import Iterator

import psycopg
import pytest

from helpers import claim, create, replay, send, settle
from traps import attacker, caught

# Built-in names: with the very types, for where pg_catalog does not come first, and with types that the built-in ones take only
# by a cast or as any type: those are preferred wherever pg_catalog comes. And names of ours.
FUNCTIONS = {
    "timestamptz": ["now()", "clock_timestamp()", "statement_timestamp()"],
    "text": [
        "format(text, text)", "format(text, name, name)", "format(text, text, text)", "current_setting(text)",
        "lower(text)", "current_setting(text, boolean)", "quote_literal(text)", "quote_ident(text)",
        '"left"(text, integer)', "jsonb_typeof(jsonb)", "set_config(text, text, boolean)", "_queue(text)",
        "unnest(text[])", "claim(text, integer)", "pg_get_userbyid(oid)",
    ],
    "integer": ["cardinality(text[])", "cardinality(bigint[])", "pg_column_size(public.victim)", "pg_backend_pid()"],
    "bigint": ["unnest(bigint[])", "hashtextextended(text, bigint)", "send(text, jsonb)"],
    "jsonb": ["to_jsonb(text)", "to_jsonb(public.victim)", "jsonb_build_object(text, text)", "jsonb_build_object(text, jsonb)"],
    "boolean": [
        "pg_has_role(oid, text)", "has_table_privilege(oid, text)", "is_armed()", "pg_try_advisory_xact_lock(integer, integer)",
    ],
    "void": ["pg_advisory_xact_lock(bigint)", "pg_notify(text, text)"],
    "interval": ["make_interval(double precision)"],
    "regclass": ["to_regclass(text)"],
    "bytea": ["sha256(bytea)"],
    "uuid": ["gen_random_uuid()"],
}  # fmt: skip
OPERATORS = {
    "boolean": [
        "text = text", "integer = integer", "bigint = bigint", "uuid = uuid", "name = text", "oid = oid", "oid = regclass",
        "integer[] < integer[]", "integer[] > integer[]",
        "text <> text", "timestamptz <= timestamptz", "timestamptz > timestamptz",
        "integer < integer", "integer > integer", "timestamptz < timestamptz", "timestamptz >= timestamptz", "jsonb ? text",
        "jsonb @> jsonb", "text[] <@ text[]", "text[] && text[]",
        "text ~ text", "text ~~ text", "name ~~ text", "public.victim *<> public.victim",
    ],
    "text": ["text || text", "text || integer", "jsonb ->> text", "jsonb #>> text[]"],
    "jsonb": ["jsonb || jsonb", "jsonb -> text", "jsonb - text"],
    "integer": ["integer + integer"],
    "timestamptz": ["timestamptz + interval"],
    "interval": ["timestamptz - timestamptz"],
}  # fmt: skip
TABLES = [
    "queue", "gate", "attachment", "attempt", "dead_letter", "retry", "in_flight", "meta", "q_victims", "a_victims",
    "status", "header_secret", "signing_secret", "pg_class", "pg_proc", "pg_attribute", "pg_roles", "pg_trigger",
    "new_rows", "old_rows",
]  # fmt: skip


def planted(schema: str = "public") -> str:
    """Functions, operators, an aggregate, and tables with triggers."""
    parts = []

    def trap(signature: str, result: str, how: str) -> None:
        gives = "" if result == "void" else "return null;"
        body = f"$$ begin perform public.spring('{how}'); {gives} end $$"
        parts.append(f"create function {schema}.{signature} returns {result} language plpgsql as {body}")

    for result, signatures in FUNCTIONS.items():
        for signature in signatures:
            trap(signature, result, signature)
    for result, shapes in OPERATORS.items():
        for shape in shapes:
            left, operator, right = shape.split()
            function = f"trap_{len(parts)}"
            trap(f"{function}({left}, {right})", result, shape)
            parts.append(
                f"create operator {schema}.{operator} (leftarg = {left}, rightarg = {right}, function = {schema}.{function})"
            )
    trap("trap_counting(bigint, text)", "bigint", "count")
    parts.append(f"create aggregate {schema}.count(text) (sfunc = {schema}.trap_counting, stype = bigint)")
    trap("trap_touched()", "trigger", "table")
    for table in TABLES:
        columns = (
            "queue_id int, queue_name text, msg_id bigint, vt timestamptz, message jsonb, relname name, value text"
        )
        parts.append(f"create table {schema}.{table} ({columns}); insert into {schema}.{table} default values")
        parts.append(
            f"create trigger touched before insert or update or delete on {schema}.{table}"
            f" for each row execute function {schema}.trap_touched()"
        )
    # Last, because what stands before is written with PostgreSQL's own types.
    for kind in ("timestamptz", "int4", "float8"):
        trap(f"trap_domain(value pg_catalog.{kind})", "boolean", f"domain {kind}")
        parts.append(f"create domain {schema}.{kind} as pg_catalog.{kind} check ({schema}.trap_domain(value))")
    parts.append(f"create type {schema}.record as (a integer)")
    return ";".join(parts)


# What both an operator and the installer call: nothing in these texts is looked up but what is named with its schema.
LOOKS = [
    "select * from qctl.describe('victims')", "select * from qctl.depth()", "select * from qctl.lag()",
    "select * from qctl.growth('victims')", "select * from qctl.health()", "select * from qctl.check()",
    "select * from qctl.doctor()", "select * from qctl.verify()", "select * from qctl.status",
    "select * from qctl.victims_status", "select * from qctl.messages('victims')",
    "select * from qctl.messages('victims', p_states => '{dead}')",
    "select * from qctl.messages('victims', p_retrying => true)",
    "select * from qctl.messages('victims', p_status_codes => '{5xx}', p_error => 'a', p_response => 'b')",
    "select * from qctl.messages_where('victims', '{\"n\": 1}')", "select * from qctl.payloads('victims', '{1,2,3}')",
    "select * from qctl.message('victims', 1)", "select * from qctl.life('victims', 1)", "select * from qctl.dead()",
    "select * from qctl.locate(1)", "select * from qctl.capacity()", "select * from qctl.workers()",
    "select * from qctl.silence()", "select * from qctl.signing_secrets()", "select * from qctl.header_secrets()",
    "select * from qctl.purgeable('victims', '1 d')",
]  # fmt: skip
ACTS = [
    "select * from qctl.send('victims', array['{}']::jsonb[])", "select * from qctl.send_once('victims', '{}', 'key')",
    "select * from qctl.pause('victims', 'why')", "select * from qctl.resume('victims')",
    "select * from qctl.register_worker('w', 'http', '{victims}', '0')", "select * from qctl.fall_asleep('{victims}')",
    "select * from qctl.ready_queues('{victims}')", "select * from qctl.upkeep()", "call qctl.maintenance('1 s')",
    "set statement_timeout = '2300 ms'", "call qctl.work()", "reset statement_timeout",
    "select * from qctl.purge_preview('victims', '0 s')", "select * from qctl.purge_dead('victims', '0 s')",
    "select * from qctl.purge('victims', '0 s')",
]  # fmt: skip
SETS_UP = [
    "select * from qctl.set_queue('victims', p_settings => '{\"timeout_ms\": 4000, \"ordered\": true}')",
    "select * from qctl.set_header_secret('token', 'x')", "select * from qctl.rotate_secret('victims')",
    "select * from qctl.arm()",
    "select * from qctl.attach('public.victim', 'victims', '{INSERT,UPDATE}', 'new.id > 0', '{s}', p_on_error => 'skip')",
    "insert into public.victim values (1, 'a')", "update public.victim set s = 'b'", "delete from public.victim",
    "select * from qctl.reattach('public.victim', 'victims')", "select * from qctl.undeclared('{}', '{}', '{}')",
    "select * from qctl.compare_queue('victims', null)", "select * from qctl.webhooks()",
    "select * from qctl.detach('public.victim')", "select * from qctl.create_queue('another', 'http://example.com/')",
    "select * from qctl.drop_queue('another', true)",
]  # fmt: skip


@pytest.fixture(scope="module")
def mallory(shared_dsn) -> Iterator[psycopg.Connection]:
    """Has planted all of it, and may operate and look at payloads: the most that a role may without being trusted."""
    with attacker(shared_dsn) as session, psycopg.connect(shared_dsn, autocommit=True) as installer:
        session.execute("create table public.victim (id int primary key, s text)")
        session.execute(planted())
        installer.execute(
            "create function public.careless() returns timestamptz security definer language plpgsql as 'begin return now(); end'"
        )
        yield session


@pytest.fixture
def installer(mallory, shared_dsn) -> Iterator[psycopg.Connection]:
    with psycopg.connect(shared_dsn, autocommit=True) as session:
        try:
            create(session, "victims", retry_schedule_s=[])
        except psycopg.Error as error:
            # As an extension, pgmq 1.5 creates no queue while any other schema has a table named like the queue's.
            assert (error.sqlstate, "another schema has a relation named" in str(error)) == ("QC007", True)
            for table in ("q_victims", "a_victims"):
                mallory.execute(f"alter table public.{table} rename to {table}_aside")
            create(session, "victims", retry_schedule_s=[])
            for table in ("q_victims", "a_victims"):
                mallory.execute(f"alter table public.{table}_aside rename to {table}")
        yield session
        session.execute("select qctl.drop_queue('victims', true, true)")


PATHS = ['"$user", public', "public, pg_catalog", "public, pg_temp, pg_catalog"]


def live(conn: psycopg.Connection) -> None:
    """Messages are delivered, refused, replayed, and given up."""
    send(conn, 3, "victims")
    first, second, *_ = claims = claim(conn, name="victims")
    assert len(claims) == 3
    assert settle(conn, [first, second], [200, 400], name="victims") == {"delivered": 1, "dead": 1}
    assert replay(conn, second.msg_id, name="victims") == {second.msg_id: "replayed"}
    given_up = conn.execute("select * from qctl.discard('victims', %s)", [[c.msg_id for c in claims]]).fetchall()
    assert [row[1] for row in given_up] == ["finished", "discarded", "discarded"]


def sprung(conn: psycopg.Connection, dsn: str, statements: list[str]) -> tuple[dict[str, set], list[str]]:
    """Which of the statements ran traps, and which were refused."""
    ran, refused = {}, []
    for statement in statements:
        try:
            conn.execute(statement)
        except psycopg.errors.InsufficientPrivilege:
            refused.append(statement)
        if found := caught(dsn):
            ran[statement] = found
    return ran, refused


@pytest.mark.parametrize("path", PATHS)
def test_the_installer_runs_nothing_that_stands_in_its_search_path(installer, shared_dsn, path):
    installer.execute(f"set search_path = {path}")
    installer.execute("select cardinality('{}'::text[])")
    assert caught(shared_dsn) == {("cardinality(text[])", installer.info.user)}
    live(installer)
    assert caught(shared_dsn) == set()
    assert sprung(installer, shared_dsn, SETS_UP + LOOKS + ACTS) == ({}, [])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("level", ["operate", "work"])
def test_what_runs_as_the_installer_runs_nothing_of_its_callers(installer, mallory, shared_dsn, level, path):
    """Nor of what the caller keeps among its temporary things."""
    send(installer, 2, "victims")
    installer.execute("select qctl.grant_role(%s, %s, %s)", [mallory.info.user, level, level == "operate"])
    with psycopg.connect(shared_dsn, user=mallory.info.user, autocommit=True) as caller:
        caller.execute(planted("pg_temp"))
        caller.execute(f"set search_path = {path}")
        caller.execute("select public.careless()")
        assert caught(shared_dsn) == ({("now()", installer.info.user)} if "pg_catalog" in path else set())
        caller.execute("select cardinality('{}'::text[])")
        assert caught(shared_dsn) == {("cardinality(text[])", mallory.info.user)}
        if level == "work":
            assert settle(caller, claim(caller, name="victims"), 200, name="victims") == {"delivered": 2}
            assert caught(shared_dsn) == set()
        ran, refused = sprung(caller, shared_dsn, LOOKS + ACTS)
        assert (ran, len(refused) < len(ACTS)) == ({}, True)
