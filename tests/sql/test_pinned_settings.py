"""A value has one form whatever a session has set, for every type, and at no more cost than its table needs."""

import pytest

from helpers import create, one

# Values whose text a setting may change, by type; the others of PostgreSQL have one form only.
VALUES = {
    "float4": "0.1::float4 * 3",
    "float8": "0.1::float8 * 3",
    "timestamp": "timestamp '2026-02-01 03:04:05.678'",
    "timestamptz": "timestamptz '2026-02-01 03:04:05.678+05'",
    "date": "date '2026-02-01'",
    "time": "time '03:04:05'",
    "timetz": "timetz '03:04:05+05'",
    "interval": "interval '1 year 2 days 03:04:05'",
    "bytea": r"'\x0001ff'::bytea",
    "money": "1234.5::numeric::money",
    "point": "point(0.1::float8 * 3, 1)",
    "line": "line(point(0, 0), point(0.1::float8 * 3, 1))",
    "lseg": "lseg(point(0, 0), point(0.1::float8 * 3, 1))",
    "box": "box(point(0, 0), point(0.1::float8 * 3, 1))",
    "path": "path(polygon(box(point(0, 0), point(0.1::float8 * 3, 1))))",
    "polygon": "polygon(box(point(0, 0), point(0.1::float8 * 3, 1)))",
    "circle": "circle(point(0, 0), 0.1::float8 * 3)",
    "tsrange": "tsrange(timestamp '2026-02-01', null)",
    "tstzrange": "tstzrange(timestamptz '2026-02-01 00:00+05', null)",
    "daterange": "daterange(date '2026-02-01', null)",
    "tstzmultirange": "tstzmultirange(tstzrange(timestamptz '2026-02-01 00:00+05', null))",
    "numeric": "1234.5",
}
OTHERS = (
    "set timezone = 'Asia/Kabul'; set datestyle = 'German'; set intervalstyle = 'iso_8601'; set extra_float_digits = -5;"
    "set bytea_output = 'escape'; set lc_monetary = 'C'"
)
# As a whole row, as it is; as a row that the row function converts; as text that a condition makes of it.
WAYS = {
    "plain": {},
    "ordered": {"p_order_by": "record.id"},
    "condition": {"p_operations": ["INSERT"], "p_when": "new.v::text <> ''"},
}


def attach(conn, **options) -> None:
    given = "".join(f", {name} => %({name})s" for name in options)
    conn.execute(f"select qctl.attach('public.t', 'orders'{given})", options)


def taken(conn) -> list[dict]:
    found = [row[0]["record"] for row in conn.execute("select message from pgmq.q_orders order by msg_id")]
    conn.execute("delete from pgmq.q_orders")
    return found


def triggers(conn) -> set[str]:
    """The settings that the functions of the triggers of the table have, besides their search path."""
    found = conn.execute(
        "select lower(split_part(s, '=', 1)) from pg_trigger t join pg_proc p on p.oid = t.tgfoid"
        " cross join unnest(p.proconfig) s where t.tgrelid = 'public.t'::regclass"
    )
    return {row[0] for row in found} - {"search_path", "enable_nestloop", "plan_cache_mode"}


@pytest.mark.parametrize("way", WAYS)
def test_every_type_has_one_form(conn, way):
    create(conn)
    for number, (name, value) in enumerate(VALUES.items()):
        for type_, written in ((name, value), (f"{name}[]", f"array[{value}]")):
            if way != "plain" and number % 3:
                continue
            conn.execute(f"create table t (id int, v {type_})")
            attach(conn, **WAYS[way])
            conn.execute(f"insert into t values (1, {written})")
            conn.execute(OTHERS)
            conn.execute(f"insert into t values (1, {written})")
            conn.execute("reset all")
            first, second = taken(conn)
            assert first == second, type_
            conn.execute("select qctl.detach('public.t', 'orders')")
            conn.execute("drop table t")


def test_only_what_the_table_needs_is_pinned(conn):
    create(conn)
    for columns, pinned in (
        ("a int, b text, c jsonb, d uuid, e numeric(10, 2), f boolean, g date, h timestamp", set()),
        ("a timestamptz", {"timezone"}),
        ("a circle, b timestamptz[]", {"extra_float_digits", "timezone"}),
        ("a int4range", {"timezone", "datestyle"}),
    ):
        conn.execute(f"create table t (id int, {columns})")
        attach(conn)
        assert triggers(conn) == pinned
        conn.execute("select qctl.detach('public.t', 'orders')")
        conn.execute("drop table t")
    conn.execute("create table t (id int, a date)")
    attach(conn, p_operations=["INSERT"], p_when="new.a::text like '2026%'")
    assert len(triggers(conn)) == 6


@pytest.mark.parametrize("way", WAYS)
def test_a_type_that_comes_later_is_pinned_when_it_is_written(conn, way):
    create(conn)
    conn.execute("create table t (id int, v text)")
    attach(conn, **WAYS[way])
    conn.execute("insert into t values (1, 'a')")
    conn.execute("alter table t add at timestamptz, add round circle")
    write = "insert into t values (2, 'b', timestamptz '2026-02-01 03:04:05+05', circle(point(0, 0), 0.1::float8 * 3))"
    conn.execute(write)
    conn.execute(OTHERS)
    with conn.transaction():
        conn.execute(write)
        conn.execute(write)
        assert one(conn, "select current_setting('timezone')") == "Asia/Kabul"
    _, *later = taken(conn)
    assert later[0] == later[1] == later[2]
    assert later[0]["at"] == "2026-01-31T22:04:05+00:00"
    assert one(conn, "select count(*) from qctl._verify_attachments()") == 0
    # The next change of the attachment pins them once for all.
    conn.execute("select qctl.change_attachment('public.t', 'orders')")
    assert {"timezone", "extra_float_digits"} <= triggers(conn)


@pytest.mark.parametrize("way", WAYS)
def test_a_session_plans_its_capture_once(conn, way):
    """PL/pgSQL plans a statement with variables at each of its first five runs, and sessions are often short."""
    create(conn)
    conn.execute("create table t (id int, v text)")
    attach(conn, **WAYS[way])
    planned: list[str] = []
    conn.add_notice_handler(lambda notice: planned.append(notice.message_primary))
    conn.execute("set client_min_messages = log; set log_planner_stats = on")
    counts = []
    for number in range(4):
        planned.clear()
        conn.execute(f"insert into t values ({number}, 'a')")
        counts.append(planned.count("PLANNER STATISTICS"))
    # The application's own statement.
    assert counts[0] > 5
    assert counts[1:] == [1, 1, 1]
