"""The functions of a queue: they do what the planned statements do, go with the queue, and nothing depends on them."""

import json

import pytest

from helpers import claim, create, one, send, settle
from processes import ok, qctl

PARTS = ("pick", "lock", "archive")


PATTERN = "^_(pick|lock|archive)_[0-9a-f]{32}$"


def suffix(conn, queue: str = "orders") -> str:
    return one(conn, "select replace(queue_uuid::text, '-', '') from qctl.queue where queue_name = %s", queue)


def functions(conn, of: str) -> list[str]:
    query = "select split_part(proname, '_', 2) from pg_proc where proname ~ %s and right(proname, 32) = %s order by 1"
    return [row[0] for row in conn.execute(query, [PATTERN, of])]


def calls(conn, of: str) -> dict[str, int]:
    """How often each was called in this transaction."""
    query = (
        "select split_part(funcname, '_', 2), calls from pg_stat_xact_user_functions"
        " where funcname ~ %s and right(funcname, 32) = %s"
    )
    return dict(conn.execute(query, [PATTERN, of]).fetchall())


def test_they_come_and_go_with_the_queue(conn):
    create(conn)
    create(conn, "users")
    of, others = suffix(conn), suffix(conn, "users")
    assert functions(conn, of) == functions(conn, others) == ["archive", "lock", "pick"]
    to_all = "proacl is null or exists (select from aclexplode(proacl) a where a.grantee = 0)"
    assert one(conn, f"select count(*) from pg_proc where proname ~ '{PATTERN}' and ({to_all})") == 0
    conn.execute("select qctl.drop_queue('orders')")
    assert functions(conn, of) == []
    assert len(functions(conn, others)) == 3


def test_claim_and_settle_use_them(conn):
    create(conn)
    send(conn, 10)
    conn.execute("set track_functions = 'all'")
    with conn.transaction():
        settle(conn, claim(conn, 10), 200)
        assert calls(conn, suffix(conn)) == {"pick": 1, "lock": 1, "archive": 1}
    create(conn, "ordered", ordered=True)
    send(conn, 3, name="ordered")
    with conn.transaction():
        settle(conn, claim(conn, 3, name="ordered"), 200, name="ordered")
        assert "pick" not in calls(conn, suffix(conn, "ordered"))


@pytest.mark.parametrize("kept", [True, False])
def test_with_and_without_them_the_same_comes_out(conn, kept):
    create(conn)
    if not kept:
        conn.execute("select qctl._drop_queue_functions(queue_uuid) from qctl.queue")
    conn.execute(
        "select qctl.send('orders', array(select jsonb_build_object('n', n) from generate_series(1, 8) n), '{\"x-a\": \"b\"}')"
    )
    taken = claim(conn, 6)
    assert [one_.msg_id for one_ in taken] == [1, 2, 3, 4, 5, 6]
    # One answer twice, statuses that differ, one failure, one that nobody claimed.
    answers = [*taken[:4], taken[0]]
    settled = settle(conn, answers, [200, 204, 200, 202, 200])
    assert settled["delivered"] in (4, 5)
    assert settle(conn, taken[4:], [500, 201]) == {"delivered": 1, "retrying": 1}
    archived = conn.execute(
        "select msg_id, headers #>> '{qctl,status}', headers #>> '{qctl,outcome}', message ->> 'n', headers ->> 'x-a'"
        " from pgmq.a_orders order by 1"
    ).fetchall()
    assert archived == [
        (1, "200", "delivered", "1", "b"), (2, "204", "delivered", "2", "b"), (3, "200", "delivered", "3", "b"),
        (4, "202", "delivered", "4", "b"), (6, "201", "delivered", "6", "b"),
    ]  # fmt: skip
    assert [row[0] for row in conn.execute("select msg_id from pgmq.q_orders order by 1")] == [5, 7, 8]
    assert one(conn, "select count(*) from qctl.attempt where outcome = 'delivered'") == 5
    assert one(conn, "select count(*) from qctl.in_flight") == 0
    conn.execute("""select qctl.set_queue('orders', p_settings => '{"archive": false, "log": "failures"}')""")
    assert settle(conn, claim(conn, 2), 200) == {"delivered": 2}
    assert one(conn, "select count(*) from pgmq.a_orders") == 5


FAULTS = {
    "dropped": "drop function qctl.{name}",
    "of a table that is gone": "body select 1 from pgmq.q_elsewhere",
    "of other columns": "body select 1 where q.nothing = 1",
    "raises data": "raise data",
    "raises unique": "raise unique",
    "raises an internal error": "raise internal",
    "does nothing": "nothing",
}


@pytest.mark.parametrize(
    ("part", "fault"),
    [(part, fault) for part in PARTS for fault in FAULTS if part == "archive" or fault != "does nothing"],
)
def test_whatever_is_wrong_with_them_everything_is_delivered_and_verify_says_so(conn, dsn, part, fault):
    create(conn)
    send(conn, 20)
    settle(conn, claim(conn, 5), 200)
    break_function(conn, part, FAULTS[fault])
    assert settle(conn, claim(conn, 10), 200) == {"delivered": 10}
    assert settle(conn, claim(conn, 10), [200] * 3 + [500] * 2) == {"delivered": 3, "retrying": 2}
    assert one(conn, "select count(*) from pgmq.a_orders") == 18
    assert one(conn, "select count(*) from pgmq.q_orders") == 2
    found = qctl("verify", "-o", "json", dsn=dsn)
    assert found.returncode == 8
    (row,) = json.loads(found.stdout)
    assert f"qctl._{part}_{suffix(conn)}" in row["problem"]
    assert row["fix"] == "qctl upgrade --repair"
    ok("upgrade", "--repair", dsn=dsn)
    assert ok("verify", "-o", "json", dsn=dsn).stdout.strip() == "[]"
    assert len(functions(conn, suffix(conn))) == 3


def break_function(conn, part: str, fault: str) -> None:
    name = one(conn, "select oid::regprocedure::text from pg_proc where proname = %s", f"_{part}_{suffix(conn)}")
    if fault.startswith("drop"):
        conn.execute(f"drop function {name}")
        return
    definition = one(conn, "select pg_get_functiondef(%s::regprocedure)", name)
    head, _, rest = definition.partition("AS $function$")
    tail = rest.rpartition("$function$")[2]
    what = {
        "raise data": "raise data_exception;",
        "raise unique": "raise unique_violation;",
        "raise internal": "raise internal_error;",
        "nothing": "archived := 0;",
    }.get(fault, f"perform {fault.removeprefix('body select ')};")
    conn.execute(f"{head}AS $function$ begin {what} end $function${tail}")


def test_they_belong_to_whom_the_rest_belongs(conn):
    create(conn)
    role = f"keeper_{one(conn, 'select pg_backend_pid()')}"
    conn.execute(f"create role {role}")
    try:
        conn.execute(f"grant create on schema qctl to {role}")
        conn.execute(f"alter table qctl.queue owner to {role}")
        conn.execute("select qctl._make_queue_functions(q) from qctl.queue q")
        owners = "select distinct pg_get_userbyid(proowner) from pg_proc where proname ~ '^_(pick|lock|archive)_[0-9a-f]{32}$'"
        assert [row[0] for row in conn.execute(owners)] == [role]
    finally:
        conn.execute("alter table qctl.queue owner to current_user")
        conn.execute(f"drop owned by {role} cascade")
        conn.execute(f"drop role {role}")


def test_a_queue_of_restored_data_never_uses_those_of_another(conn, dsn):
    create(conn)
    create(conn, "users")
    send(conn, 3)
    send(conn, 2, name="users")
    # As data of another database, which made its queues in another order, restored over this one.
    conn.execute("create temporary table saved as select q as row from qctl.queue q")
    conn.execute("delete from qctl.gate")
    conn.execute("delete from qctl.queue")
    changed = "jsonb_build_object('queue_id', 3 - (s.row).queue_id, 'queue_uuid', gen_random_uuid())"
    conn.execute(
        "insert into qctl.queue overriding system value"
        f" select r.* from saved s cross join lateral jsonb_populate_record(s.row, {changed}) r"
    )
    conn.execute("insert into qctl.gate (queue_id) select queue_id from qctl.queue")
    assert len(claim(conn, 10)) == 3
    assert len(claim(conn, 10, name="users")) == 2
    assert json.loads(qctl("verify", "-o", "json", dsn=dsn).stdout)[0]["fix"] == "qctl upgrade --repair"
    ok("upgrade", "--repair", dsn=dsn)
    assert one(conn, "select count(*) from pg_proc where proname ~ %s", PATTERN) == 6
    assert ok("verify", "-o", "json", dsn=dsn).stdout.strip() == "[]"


def test_a_row_of_a_table_that_inherits_is_left_alone(conn):
    create(conn)
    conn.execute("create table pgmq.q_child () inherits (pgmq.q_orders)")
    conn.execute("insert into pgmq.q_child (msg_id, vt, message) values (901, now() + interval '1 h', '{}')")
    send(conn, 1)
    assert settle(conn, claim(conn, 1), 200) == {"delivered": 1}
    assert [row[0] for row in conn.execute("select msg_id from pgmq.q_orders")] == [901]
    assert one(conn, "select count(*) from pgmq.a_orders") == 1


def test_those_that_are_right_stay(conn):
    create(conn)
    before = conn.execute("select oid from pg_proc where proname ~ %s order by 1", [PATTERN]).fetchall()
    conn.execute("select qctl._make_queue_functions(q) from qctl.queue q")
    assert conn.execute("select oid from pg_proc where proname ~ %s order by 1", [PATTERN]).fetchall() == before
