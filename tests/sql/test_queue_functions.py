"""The functions of a queue: they do what the planned statements do, go with the queue, and nothing depends on them."""

import json

import pytest

from helpers import claim, create, one, send, settle
from processes import ok, qctl

PARTS = ("pick", "lock", "archive")


def functions(conn, queue_id=1) -> list[str]:
    names = [f"_{part}_{queue_id}" for part in PARTS]
    query = (
        "select proname::text from pg_proc where pronamespace = 'qctl'::regnamespace and proname = any (%s) order by 1"
    )
    return [row[0] for row in conn.execute(query, [names])]


def calls(conn) -> dict[str, int]:
    """How often each was called in this transaction."""
    query = "select funcname, calls from pg_stat_xact_user_functions where funcname ~ '^_(pick|lock|archive)_[0-9]+$'"
    return dict(conn.execute(query).fetchall())


def test_they_come_and_go_with_the_queue(conn):
    create(conn)
    create(conn, "users")
    assert functions(conn) == ["_archive_1", "_lock_1", "_pick_1"]
    assert functions(conn, 2) == ["_archive_2", "_lock_2", "_pick_2"]
    to_all = "proacl is null or exists (select from aclexplode(proacl) a where a.grantee = 0)"
    assert (
        one(conn, f"select count(*) from pg_proc where proname ~ '^_(pick|lock|archive)_[0-9]+$' and ({to_all})") == 0
    )
    conn.execute("select qctl.drop_queue('orders')")
    assert functions(conn) == []
    assert len(functions(conn, 2)) == 3


def test_claim_and_settle_use_them(conn):
    create(conn)
    send(conn, 10)
    conn.execute("set track_functions = 'all'")
    with conn.transaction():
        settle(conn, claim(conn, 10), 200)
        assert calls(conn) == {"_pick_1": 1, "_lock_1": 1, "_archive_1": 1}
    create(conn, "ordered", ordered=True)
    send(conn, 3, name="ordered")
    with conn.transaction():
        settle(conn, claim(conn, 3, name="ordered"), 200, name="ordered")
        assert "_pick_2" not in calls(conn)


@pytest.mark.parametrize("kept", [True, False])
def test_with_and_without_them_the_same_comes_out(conn, kept):
    create(conn)
    if not kept:
        conn.execute("select qctl._drop_queue_functions(1)")
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
    assert f"qctl._{part}_1" in row["problem"]
    assert row["fix"] == "qctl upgrade --repair"
    ok("upgrade", "--repair", dsn=dsn)
    assert ok("verify", "-o", "json", dsn=dsn).stdout.strip() == "[]"
    assert len(functions(conn)) == 3


def break_function(conn, part: str, fault: str) -> None:
    name = one(conn, "select oid::regprocedure::text from pg_proc where proname = %s", f"_{part}_1")
    if fault.startswith("drop"):
        conn.execute(f"drop function {name}")
        return
    definition = one(conn, "select pg_get_functiondef(%s::regprocedure)", name)
    head, _, rest = definition.partition("AS $function$")
    tail = rest.rpartition("$function$")[2]
    what = {
        "raise data": "raise data_exception;",
        "raise unique": "raise unique_violation;",
        "nothing": "return 0;",
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
        owners = (
            "select distinct pg_get_userbyid(proowner) from pg_proc where proname ~ '^_(pick|lock|archive)_[0-9]+$'"
        )
        assert [row[0] for row in conn.execute(owners)] == [role]
    finally:
        conn.execute("alter table qctl.queue owner to current_user")
        conn.execute(f"drop owned by {role} cascade")
        conn.execute(f"drop role {role}")
