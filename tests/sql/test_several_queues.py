"""Several queues in one call: the same requests and the same results as one by one, and nothing for queues that ask for more."""

import threading
from collections import Counter

import psycopg
import pytest

from helpers import claim, create, expire_leases, one, send, settle, state

NAMES = ["orders", "stock", "users"]
SETTLE = "select * from qctl.settle_queues(%s::text[], %s::uuid[], %s::bigint[], %s::int[], %s::bytea[], %s::int[])"


@pytest.fixture
def queues(conn):
    for name in NAMES:
        create(conn, name)
        conn.execute("select qctl.rotate_secret(%s)", [name])
    return conn


def claimed(conn, names=NAMES, limit: int = 100, max_bytes: int | None = 1 << 20) -> list[tuple]:
    """Rows of qctl.claim_queues."""
    count = len(names)
    return conn.execute(
        "select * from qctl.claim_queues(%s, %s, %s::bigint[], null)",
        [list(names), [limit] * count, [max_bytes] * count],
    ).fetchall()


def alone(rows: list[tuple]) -> list[str]:
    """The queues that must be claimed from by themselves."""
    return sorted(row[0] for row in rows if row[1] is None)


def settled(conn, rows: list[tuple], status: int = 200) -> Counter:
    """How many of claimed rows settle_queues settles, by queue."""
    count = len(rows)
    found = conn.execute(
        SETTLE,
        [
            [r[0] for r in rows],
            [r[2] for r in rows],
            [r[1] for r in rows],
            [status] * count,
            [b"ok"] * count,
            [5] * count,
        ],
    )
    return Counter(row[0] for row in found)


def archived(conn) -> list[int]:
    return [one(conn, f"select count(*) from pgmq.a_{name}") for name in NAMES]


def test_the_requests_are_those_of_a_single_claim(queues):
    with queues.transaction():
        for number, name in enumerate(NAMES):
            send(queues, number + 1, name=name)
    together = claimed(queues)
    assert Counter(row[0] for row in together) == {"orders": 1, "stock": 2, "users": 3}
    assert len({row[2] for row in together}) == 3
    assert one(queues, "select count(*) from qctl.in_flight where lapsed_at is null") == 6
    # Given back and claimed again, one queue at a time.
    for name in NAMES:
        rows = [row for row in together if row[0] == name]
        queues.execute("select qctl.release(%s, %s::uuid[], %s)", [name, [r[2] for r in rows], [r[1] for r in rows]])
        again = queues.execute("select * from qctl.claim(%s, 100, null::bigint)", [name]).fetchall()
        for before, after in zip(sorted(rows), sorted(again), strict=True):
            assert before[1] == after[0]
            assert before[3:8] == after[2:7]
            assert before[9] == after[8]
            kept = {"webhook-timestamp", "webhook-signature"}
            assert {k: v for k, v in before[8].items() if k not in kept} == {
                k: v for k, v in after[7].items() if k not in kept
            }
            assert before[8]["webhook-signature"].startswith("v1,")


def test_limits_hold_for_each_queue(queues):
    create(queues, "narrow", max_in_flight=2)
    for name in (*NAMES, "narrow"):
        send(queues, 5, name=name)
    rows = claimed(queues, (*NAMES, "narrow"), limit=3)
    assert Counter(row[0] for row in rows) == {"orders": 3, "stock": 3, "users": 3, "narrow": 2}
    assert not claimed(queues, ["narrow"])
    # A name that is given twice, or no limit, takes no more.
    assert Counter(row[0] for row in claimed(queues, ("orders", "orders"), limit=1)) == {"orders": 1}
    assert queues.execute("select * from qctl.claim_queues('{orders}', '{null}', '{null}')").fetchall() == []
    # Always one, whatever its size.
    send(queues, 5, name="orders")
    assert Counter(row[0] for row in claimed(queues, max_bytes=1)) == {"orders": 1, "stock": 1, "users": 1}


GATE = "update qctl.gate g set {} from qctl.queue q where q.queue_id = g.queue_id and q.queue_name = 'stock'"


@pytest.mark.parametrize(
    ("change", "is_alone"),
    [
        ("select qctl.pause('stock')", False),
        ("select qctl.set_queue('stock', p_settings => '{\"rate_per_s\": 5}')", True),
        (GATE.format("opened_at = now()"), True),
        (GATE.format("slow_limit = 10"), True),
        (GATE.format("recall_after = 0"), True),
        ("update qctl.queue set headers = '{\"authorization\": \"secret:gone\"}' where queue_name = 'stock'", True),
        ("do $$ begin perform qctl._drop_queue_functions(queue_uuid) from qctl.queue where queue_name = 'stock'; end $$", True),
    ],
)  # fmt: skip
def test_a_queue_that_asks_for_more_is_named(queues, change, is_alone):
    for name in NAMES:
        send(queues, 2, name=name)
    queues.execute(change)
    rows = claimed(queues)
    assert alone(rows) == (["stock"] if is_alone else [])
    assert Counter(row[0] for row in rows if row[1]) == {"orders": 2, "users": 2}


def test_ordered_queues_and_unknown_ones_are_named(queues):
    create(queues, "ordered", ordered=True)
    send(queues, 1, name="ordered")
    assert alone(claimed(queues, ("ordered", "nowhere", "orders"))) == ["nowhere", "ordered"]


def test_a_gate_that_another_session_holds_is_not_waited_for(queues, other):
    for name in NAMES:
        send(queues, 1, name=name)
    with other.transaction():
        other.execute(
            "select from qctl.gate g join qctl.queue q using (queue_id) where q.queue_name = 'stock' for update of g"
        )
        queues.execute("set lock_timeout = '2s'")
        rows = claimed(queues)
    assert alone(rows) == ["stock"]
    assert Counter(row[0] for row in rows if row[1]) == {"orders": 1, "users": 1}


def test_nothing_leaves_a_database_that_is_not_armed(queues):
    send(queues, 1)
    queues.execute("select qctl.disarm()")
    assert claimed(queues) == []


def test_expired_leases_lapse_first(queues):
    send(queues, 1)
    assert len(claimed(queues)) == 1
    expire_leases(queues)
    claimed(queues)
    assert one(queues, "select count(*) from qctl.in_flight where lapsed_at is not null") == 1


def test_successes_are_settled_and_the_others_left(queues):
    for name in NAMES:
        send(queues, 3, name=name)
    rows = claimed(queues)
    assert settled(queues, [rows[0]], 500) == {}
    assert settled(queues, rows[1:]) == Counter(row[0] for row in rows[1:])
    assert sum(archived(queues)) == 8
    assert one(queues, "select count(*) from qctl.in_flight where lapsed_at is null") == 1
    assert one(queues, "select count(*) from qctl.attempt where outcome = 'delivered' and status_code = 200") == 8
    # Again it does nothing, and a lease of another does nothing.
    assert settled(queues, rows[1:]) == {}
    forged = (rows[0][0], rows[0][1], rows[-1][2])
    assert settled(queues, [forged]) == {}
    shown = one(queues, "select headers -> 'qctl' ->> 'outcome' from pgmq.a_users limit 1")
    assert shown == "delivered"


def test_a_second_attempt_is_left(queues):
    (msg_id,) = send(queues)
    settle(queues, claim(queues), 500)
    queues.execute("update pgmq.q_orders set vt = clock_timestamp()")
    queues.execute("update qctl.retry set next_at = clock_timestamp()")
    send(queues, 1, name="users")
    rows = claimed(queues)
    assert Counter(row[0] for row in rows) == {"orders": 1, "users": 1}
    assert settled(queues, rows) == {"users": 1}
    assert state(queues, msg_id) == "in_flight"


def test_queues_that_judge_answers_are_left(queues):
    create(queues, "judging")
    queues.execute("update qctl.queue set expect_text = 'done' where queue_name = 'judging'")
    create(queues, "kept", archive=False)
    names = ("judging", "kept", "orders", "users")
    for name in names:
        send(queues, 1, name=name)
    rows = claimed(queues, names)
    assert len(rows) == 4
    assert settled(queues, rows) == {"orders": 1, "users": 1}


def test_failures_only_are_logged_where_asked(queues):
    queues.execute("select qctl.set_queue('stock', p_settings => '{\"log\": \"failures\"}')")
    for name in NAMES:
        send(queues, 4, name=name)
    assert sum(settled(queues, claimed(queues)).values()) == 12
    logged = queues.execute(
        "select q.queue_name, count(*), sum(stands_for) from qctl.attempt join qctl.queue q using (queue_id)"
        " group by 1 order by 1"
    ).fetchall()
    assert logged == [("orders", 4, 4), ("stock", 1, 4), ("users", 4, 4)]


def test_what_another_reader_moved_is_an_error_that_settles_nothing(queues, dsn):
    for name in NAMES:
        send(queues, 1, name=name)
    rows = claimed(queues)
    queues.execute(
        "create function pgmq.keep() returns trigger language plpgsql as $$ begin return null; end $$;"
        "create trigger keep before delete on pgmq.q_stock for each row execute function pgmq.keep()"
    )
    with pytest.raises(psycopg.Error, match="only 2 of 3 messages were archived"):
        settled(queues, rows)
    assert archived(queues) == [0, 0, 0]
    queues.execute("drop function pgmq.keep() cascade")
    assert sum(settled(queues, rows).values()) == 3


def test_many_sessions_in_any_order_claim_each_message_once(queues, dsn):
    for name in NAMES:
        send(queues, 300, name=name)
    found: list[tuple] = []
    failed: list[Exception] = []

    def work(names: list[str]) -> None:
        try:
            with psycopg.connect(dsn, autocommit=True) as session:
                for _ in range(60):
                    rows = [row for row in claimed(session, names, limit=5) if row[1]]
                    found.extend(rows)
                    settled(session, rows) if rows else None
        except Exception as error:
            failed.append(error)

    threads = [
        threading.Thread(target=work, args=[order]) for order in (NAMES, NAMES[::-1], [NAMES[1], NAMES[2], NAMES[0]])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert max(Counter((row[0], row[1]) for row in found).values()) == 1
    assert sum(archived(queues)) == len(found) >= 600
