"""Numbers handed out again, forged rows, queues that vanish, and other things that must harm only themselves."""

import threading

import psycopg
import pytest
from psycopg.types.json import Jsonb

from helpers import claim, create, expire_leases, one, outcomes, replay, send, settle, state, upkeep


def test_an_old_lease_does_not_finish_a_new_message_of_the_same_number(conn):
    """After a re-create, a failover or a setval, msg_id 1 is another event: it must be posted itself."""
    create(conn)
    send(conn)
    old = claim(conn)
    expire_leases(conn)
    upkeep(conn)
    conn.execute("truncate pgmq.q_orders restart identity")
    assert send(conn) == [1]
    assert settle(conn, old, 200) == {"late": 1}
    assert state(conn, 1) == "ready"
    assert claim(conn)[0].attempt_no == 1, "the old event's attempts are not the new one's"


def test_a_new_message_does_not_inherit_attempts_or_bury_an_older_dead_letter(conn):
    create(conn, retry_schedule_s=[1])
    send(conn)
    settle(conn, claim(conn), 500)
    conn.execute("truncate pgmq.q_orders restart identity")
    send(conn)
    assert settle(conn, claim(conn), 500) == {"retrying": 1}
    conn.execute("update pgmq.q_orders set vt = now()")
    assert settle(conn, claim(conn), 500) == {"dead": 1}
    conn.execute("select setval(pg_get_serial_sequence('pgmq.q_orders', 'msg_id'), 1, false)")
    conn.execute("select qctl.send('orders', array['{\"second\": true}']::jsonb[])")
    settle(conn, claim(conn), 500)
    conn.execute("update pgmq.q_orders set vt = now()")
    assert settle(conn, claim(conn), 500) == {"dead": 1}
    assert one(conn, "select count(*) from qctl.dead_letter where msg_id = 1") == 2
    assert replay(conn, 1) == {1: "replayed"}
    assert one(conn, "select message from pgmq.q_orders") == {"second": True}


def test_replay_leaves_alone_what_it_cannot_move(conn):
    create(conn, retry_schedule_s=[])
    send(conn, 2)
    first, second = claim(conn)
    settle(conn, [first], 500)
    settle(conn, [second], 200)
    conn.execute("insert into pgmq.a_orders (msg_id, vt, message) values (1, now(), '\"archived, too\"')")
    assert replay(conn, 1, 2) == {1: "replayed", 2: "replayed"}
    assert one(conn, "select count(*) from pgmq.a_orders where msg_id = 1") == 1
    assert conn.execute("select * from qctl.replay('orders', '{1, null}')").fetchall() == [(1, "ready")]


@pytest.mark.parametrize(
    "mark",
    [
        {"delivery_no": "abc"},
        {"delivery_no": 2147483647},
        {"delivery_no": -5},
        {"webhook_id": "x\r\nEvil: 1"},
        {"webhook_id": "msg_forged"},
        {"status": []},
        "text",
        [1],
    ],
)
def test_forged_marks_in_headers_are_not_believed(conn, mark):
    create(conn)
    conn.execute(
        "insert into pgmq.q_orders (vt, message, headers) values (now(), '{}', %s)",
        (Jsonb({"qctl": mark, "X-A": "1"}),),
    )
    genuine = one(conn, "select qctl.webhook_id(queue_uuid, msg_id, enqueued_at) from pgmq.q_orders, qctl.queue")
    conn.execute("select pgmq.archive('orders', 1)")
    assert state(conn, 1) == "archived"
    assert replay(conn, 1) == {1: "replayed"}
    (only,) = claim(conn)
    assert only.headers["webhook-id"] == genuine
    assert only.headers["x-a"] == "1"
    assert settle(conn, [only], 200) == {"delivered": 1}


def test_a_mark_does_not_survive_a_claim(conn):
    create(conn)
    conn.execute(
        'insert into pgmq.q_orders (vt, message, headers) values (now(), \'{}\', \'{"qctl": {"outcome": "delivered"}}\')'
    )
    claim(conn)
    conn.execute("select pgmq.archive('orders', 1)")
    assert state(conn, 1) == "archived"


@pytest.mark.parametrize("enqueued_at", ["infinity", "-infinity", "294000-01-01", "4000-01-01 BC"])
def test_a_row_with_an_impossible_time_harms_only_itself(conn, enqueued_at):
    create(conn)
    conn.execute("insert into pgmq.q_orders (vt, enqueued_at, message) values ('-infinity', %s, '{}')", (enqueued_at,))
    send(conn)
    assert len(conn.execute("select lag_s, age_s::text from qctl.lag()").fetchall()) == 1
    assert one(conn, "select depth from qctl.status") == 2
    claims = claim(conn)
    assert settle(conn, claims, 200) == {"delivered": 2}


def test_an_empty_schedule_does_not_stop_the_queue(conn):
    create(conn, retry_schedule_s=[])
    send(conn)
    for _ in range(3):
        assert len(claim(conn)) == 1
        expire_leases(conn)
        upkeep(conn)
    assert state(conn, 1) == "ready"


def test_one_queue_that_cannot_lapse_does_not_hold_up_upkeep(conn):
    create(conn, "alpha")
    create(conn, "beta")
    for name in ("alpha", "beta"):
        send(conn, name=name)
        claim(conn, name=name)
    conn.execute(
        "create function public.refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;"
        "create trigger refuse before update on pgmq.q_alpha for each row execute function public.refuse()"
    )
    expire_leases(conn)
    upkeep(conn)
    assert state(conn, 1, "beta") == "ready"
    assert one(conn, "select queue_name from qctl.audit where verb = 'lapse_failed'") == "alpha"


def test_an_upgrade_does_not_wait_for_sleeping_workers_or_writers(dsn, conn, other):
    from qctl import db
    from qctl.config import Database
    from qctl.operations import migrate

    create(conn)
    conn.execute("create table public.users (id int); select qctl.attach('public.users', 'orders')")
    assert one(other, "select asleep from qctl.fall_asleep('{orders}')") is True
    with db.connect(Database(dsn, "test"), application="test", options="-c statement_timeout=10s") as connection:
        migrate.apply(connection)


def test_columns_named_like_the_generated_code(conn):
    create(conn)
    conn.execute(
        "create table public.odd (id int primary key, n int, o int, new text, old text, place int, new_rows int)"
    )
    conn.execute("select qctl.attach('public.odd', 'orders')")
    conn.execute("insert into odd values (1, 2, 3, 'x', 'y', 4, 5); update odd set n = 9; delete from odd")
    records = [row[0] for row in conn.execute("select message from pgmq.q_orders order by msg_id")]
    row = {"id": 1, "n": 2, "o": 3, "new": "x", "old": "y", "place": 4, "new_rows": 5}
    assert [(m["record"], m["old_record"]) for m in records] == [
        (row, None),
        ({**row, "n": 9}, row),
        (None, {**row, "n": 9}),
    ]


def test_a_bulk_update_after_a_small_one_pairs_by_no_loop(conn):
    """plpgsql keeps the plan that it made for one row; a nested loop would need 400 million steps here."""
    create(conn)
    conn.execute("create table public.users (id int primary key, s text)")
    conn.execute("insert into users select n, 'a' from generate_series(1, 20000) n")
    conn.execute("select qctl.attach('public.users', 'orders', '{UPDATE}')")
    for n in range(1, 8):
        conn.execute("update users set s = 'b' where id = %s", (n,))
    conn.execute("set statement_timeout = '20s'")
    conn.execute("update users set s = 'c'")
    assert one(conn, "select count(*) from pgmq.q_orders") == 20007


def test_an_owner_cannot_choose_ids_or_times(conn):
    create(conn)
    name = f"owner_{one(conn, 'select current_database()')}"
    conn.execute(f"create role {name}; create table public.theirs (id int); alter table public.theirs owner to {name}")
    try:
        conn.execute("select qctl.attach('public.theirs', 'orders')")
        conn.execute(f"set role {name}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(
                "insert into pgmq.q_orders (msg_id, vt, message) overriding system value values (9, now(), '1')"
            )
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("insert into pgmq.q_orders (vt, enqueued_at, message) values (now(), 'infinity', '1')")
        conn.execute("insert into theirs values (1)")
    finally:
        conn.execute("reset role")
        conn.execute(f"drop table public.theirs; drop owned by {name}; drop role {name}")
    assert one(conn, "select count(*) from pgmq.q_orders") == 1


def test_a_dropped_table_can_be_detached_by_its_number(conn):
    create(conn)
    conn.execute("create table public.users (id int); select qctl.attach('public.users', 'orders')")
    number = one(conn, "select relation::oid::text from qctl.attachment")
    conn.execute("drop table public.users")
    conn.execute("select qctl.detach(%s)", (number,))
    assert one(conn, "select count(*) from qctl.attachment") == 0
    assert one(conn, "select count(*) from pg_proc where proname like 'capture\\_%%'") == 0


def test_upkeep_and_settle_do_not_deadlock(conn, dsn):
    create(conn, max_in_flight=5000)
    send(conn, 2000)
    worker = one(conn, "select qctl.register_worker('w', 'http', '{orders}', '0')")
    claims = claim(conn, 2000, worker=worker)
    conn.execute("update qctl.worker set last_seen_at = now() - interval '1 h'")
    errors: list[Exception] = []

    def run(step) -> None:
        try:
            with psycopg.connect(dsn, autocommit=True) as mine:
                step(mine)
        except Exception as error:
            errors.append(error)

    steps = [lambda c, part=part: settle(c, claims[part::4][::-1], 200) for part in range(4)] + [upkeep, upkeep]
    threads = [threading.Thread(target=run, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert one(conn, "select count(*) from pgmq.a_orders") == 2000


def test_a_late_success_of_a_dead_message_counts_all_its_attempts(conn):
    create(conn, retry_schedule_s=[])
    send(conn)
    old = claim(conn)
    expire_leases(conn)
    upkeep(conn)
    settle(conn, claim(conn), 500)
    settle(conn, old, 200)
    assert one(conn, "select headers #>> '{qctl,attempts}' from pgmq.a_orders") == "2"
    assert outcomes(conn, 1) == ["delivered", "dead"]
