"""Claims while a session holds an old snapshot, so that index entries of finished messages cannot be removed."""

import time

import psycopg
import pytest

from helpers import claim, create, one, send, settle

THROUGH = 10_000
FILL = "insert into pgmq.q_orders (vt, message) select clock_timestamp(), '{}' from generate_series(1, %s::bigint)"
READ = """
select coalesce(sum(pg_stat_get_tuples_returned(i.indexrelid)), 0)::bigint from pg_index i
where i.indrelid in ('pgmq.q_orders'::regclass, 'qctl.in_flight'::regclass)
"""


@pytest.fixture(params=[False, True], ids=["plain", "ordered"])
def behind(request, conn, dsn):
    """A queue through which messages went while a snapshot was held, with few left."""
    create(conn, ordered=request.param)
    with psycopg.connect(dsn) as holder:
        holder.execute("set transaction isolation level repeatable read")
        holder.execute("select count(*) from qctl.queue")
        conn.execute(FILL, (THROUGH,))
        while claimed := claim(conn, 1000):
            settle(conn, claimed, 200)
        yield conn


def entries_read(conn: psycopg.Connection) -> int:
    """Index entries of the queue and of the leases that were read so far, dead ones included."""
    # A session reports what it did at most once a second.
    time.sleep(1.1)
    conn.execute("select 1")
    conn.execute("select pg_stat_clear_snapshot()")
    return one(conn, READ)


def test_a_claim_does_not_read_what_has_ended(behind):
    conn = behind
    conn.execute(FILL, (20,))
    before = entries_read(conn)
    for _ in range(20):
        settle(conn, claim(conn, 1), 200)
    # A full look or two, and for each message its own entries, those of its neighbours and of the last tenth of a second.
    assert entries_read(conn) - before < 20 * THROUGH / 4


def test_the_message_of_a_long_transaction_is_found(behind):
    conn = behind
    conn.execute(FILL, (20,))
    settle(conn, claim(conn, 20), 200)
    assert conn.execute("select current_setting('qctl.front_1', true)").fetchone()[0]
    conn.execute("insert into pgmq.q_orders (vt, message) values (now() - interval '1 h', '{}')")
    until = time.monotonic() + 30
    while not (claimed := claim(conn)):
        assert time.monotonic() < until
        time.sleep(0.05)
    settle(conn, claimed, 200)


def test_whether_anything_is_ready_is_asked_from_the_beginning(behind):
    conn = behind
    conn.execute(FILL, (20,))
    settle(conn, claim(conn, 20), 200)
    # A worker ends or falls asleep by this answer.
    conn.execute("insert into pgmq.q_orders (vt, message) values (now() - interval '1 h', '{}')")
    assert [row[0] for row in conn.execute("select qctl.ready_queues('{orders}')")] == ["orders"]


def test_all_live_leases_are_counted(behind, other):
    conn = behind
    conn.execute("select qctl.set_queue('orders', p_settings => '{\"max_in_flight\": 30}')")
    conn.execute(FILL, (100,))
    old = claim(conn, 5)
    seen = []
    for number in range(12):
        seen += claim(other if number % 2 else conn, 5)
        if number == 3:
            settle(conn, seen[:10], 200)
            seen = seen[10:]
    assert len(old) + len(seen) == 30
    settle(conn, old + seen, 200)
    while claimed := claim(conn):
        settle(conn, claimed, 200)


def test_a_front_in_the_future_is_not_used(conn):
    create(conn)
    now = "clock_timestamp()"
    conn.execute(
        f"select set_config('qctl.front_1', array[1, 1, (extract(epoch from {now}) * 1e6)::bigint + 60000000]::text, false)"
    )
    assert one(conn, f"select qctl._ready_from(1, {now})").year == 1970
    assert one(conn, f"select (qctl._front(1, {now} + interval '61 s')) is null")
    conn.execute(
        f"select set_config('qctl.front_1', array[f, f, f + 60000000]::text, false)"
        f" from (select (extract(epoch from {now}) * 1e6)::bigint + 5000000 as f) f"
    )
    assert one(conn, f"select (qctl._front(1, {now})) is null")
    assert one(conn, "select current_setting('qctl.front_1', true)") == ""
    (msg_id,) = send(conn)
    assert [c.msg_id for c in claim(conn)] == [msg_id]


@pytest.mark.parametrize("style", ["ISO, MDY", "German", "SQL, DMY"])
def test_a_front_does_not_depend_on_the_form_of_dates(conn, style):
    conn.execute(f"set datestyle = '{style}'")
    create(conn)
    conn.execute(
        "select qctl._move_front(q, array[now() - interval '1 h', now(), now() + interval '1 h'], now(), now()) from qctl.queue q"
    )
    assert 3590 < one(conn, "select (qctl._front(1, now()))[3] - now()").total_seconds() < 3610
