"""Drop: triggers first, nothing given up unasked, the archive stays, the application goes on."""

import psycopg
import pytest

from helpers import claim, create, drop_pgmq_queue, one, send, settle


@pytest.fixture
def full(conn):
    """A queue with a table, two unfinished messages, one delivered, one dead."""
    create(conn, retry_schedule_s=[])
    conn.execute("create table public.users (id int primary key)")
    conn.execute("select qctl.attach('public.users', 'orders')")
    send(conn, 2)
    settle(conn, claim(conn), [200, 500])
    conn.execute("insert into users values (1), (2)")
    return conn


def drop(conn, **options):
    named = "".join(f", p_{name} => true" for name in options)
    return conn.execute(f"select discarded, dead, archived, archive from qctl.drop_queue('orders'{named})").fetchone()


def test_it_refuses_while_messages_are_unfinished_and_changes_nothing(full):
    with pytest.raises(psycopg.Error, match="holds 2 unfinished messages") as caught:
        drop(full)
    assert caught.value.sqlstate == "QC007"
    full.execute("insert into users values (3)")
    assert one(full, "select count(*) from pgmq.q_orders") == 3


def test_discard_keeps_everything_in_the_archive(full):
    assert drop(full, discard=True) == (2, 3, 4, "pgmq.a_orders")
    outcomes = full.execute(
        "select headers #>> '{qctl,outcome}', headers #>> '{qctl,reason}' from pgmq.a_orders order by msg_id"
    )
    assert outcomes.fetchall() == [
        ("delivered", None),
        ("dead", "exhausted"),
        ("dead", "discarded"),
        ("dead", "discarded"),
    ]
    full.execute("insert into users values (3)")
    full.execute("update users set id = 4 where id = 3")
    full.execute("delete from users")
    assert one(full, "select to_regclass('pgmq.q_orders') is null and not exists (select from pgmq.meta)")
    for table in ("queue", "gate", "attachment", "in_flight", "retry", "dead_letter"):
        assert one(full, f"select count(*) from qctl.{table}") == 0
    assert one(full, "select count(*) from qctl.verify()") == 0


def test_with_archive_leaves_nothing(full):
    assert drop(full, discard=True, with_archive=True)[3] is None
    assert (
        one(full, "select count(*) from pg_class where relnamespace = 'pgmq'::regnamespace and relname ~ 'orders'") == 0
    )


def test_a_queue_of_the_same_name_numbers_on_behind_the_archive(full):
    drop(full, discard=True)
    create(full)
    [msg_id] = send(full)
    assert msg_id == 5
    settle(full, claim(full), 200)
    assert one(full, "select count(*) from pgmq.a_orders") == 5
    assert one(full, "select retention_s from qctl.queue") is None


def test_a_queue_whose_tables_are_gone(full):
    drop_pgmq_queue(full)
    with pytest.raises(psycopg.Error, match="dead letters but no archive that could keep them"):
        drop(full, discard=True)
    assert drop(full, discard=True, with_archive=True)[3] is None
    full.execute("insert into users values (9)")


def test_a_late_answer_to_a_dropped_queue_is_an_error_and_no_more(full):
    claims = claim(full)
    drop(full, discard=True)
    with pytest.raises(psycopg.Error) as caught:
        settle(full, claims, 200)
    assert caught.value.sqlstate == "QC006"


def test_drop_waits_at_most_two_seconds_for_a_writer_and_then_nothing_has_happened(full, other):
    with other.transaction():
        other.execute("insert into users values (7)")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            drop(full, discard=True)
    assert one(full, "select count(*) from pgmq.q_orders") == 3
    assert one(full, "select count(*) from qctl.verify()") == 0


def test_dead_letters_whose_number_was_handed_out_again_are_all_kept(full):
    full.execute(
        "insert into qctl.dead_letter"
        " (queue_id, msg_id, delivery_no, attempts, lost, reason, enqueued_at, read_ct, message, died_at)"
        " select queue_id, id, 1, 1, 0, 'exhausted', make_timestamptz(year, 1, 1, 0, 0, 0), 1, to_jsonb(id * 10000 + year), now()"
        " from qctl.queue, unnest(array[1, 8]) id, unnest(array[2020, 2021]) year"
    )
    drop(full, discard=True)
    kept = {row[0] for row in full.execute("select message #>> '{}' from pgmq.a_orders")}
    assert kept >= {"12020", "12021", "82020", "82021"}
    assert one(full, "select count(*) from pgmq.a_orders") == 8
    assert one(full, "select count(*) from pgmq.a_orders where headers #> '{qctl,msg_id}' is not null") == 3


def test_the_long_part_of_a_drop_locks_no_table_of_the_application(full, other):
    with full.transaction():
        assert full.execute("select * from qctl._drop_begin('orders', true)").fetchone() == (2, 3)
        other.execute("set lock_timeout = '500ms'")
        other.execute("update users set id = id + 100")


def test_the_attempt_log_of_a_dropped_queue_goes_with_the_maintenance_and_no_other(full):
    create(full, "kept")
    send(full, 1, "kept")
    settle(full, claim(full, name="kept"), 200, name="kept")
    drop(full, discard=True)
    assert one(full, "select count(*) from qctl.attempt") == 3
    full.execute("call qctl.maintenance()")
    assert one(full, "select count(*) from qctl.attempt a join qctl.queue q using (queue_id)") == 1
    assert one(full, "select count(*) from qctl.attempt") == 1
