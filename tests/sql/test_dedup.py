"""Deduplication: one message for a key within its window."""

import threading

import psycopg
import pytest

from helpers import claim, create, one, settle


@pytest.fixture
def queue(conn):
    create(conn)
    return conn


def once(conn, key: str, window: str = "1 h") -> tuple[int, bool]:
    return conn.execute("select * from qctl.send_once('orders', '{}', %s, %s)", (key, window)).fetchone()


def count(conn) -> int:
    return one(conn, "select count(*) from pgmq.q_orders")


def test_the_same_id_comes_back_within_the_window(queue):
    msg_id, duplicate = once(queue, "k")
    assert duplicate is False
    assert once(queue, "k") == (msg_id, True)
    assert once(queue, "other") == (msg_id + 1, False)
    settle(queue, claim(queue), 200)
    assert once(queue, "k") == (msg_id, True)


def test_after_the_window_it_is_sent_again(queue):
    msg_id, _ = once(queue, "k")
    queue.execute("update qctl.dedup set expires_at = clock_timestamp()")
    assert once(queue, "k") == (msg_id + 1, False)
    assert once(queue, "k") == (msg_id + 1, True)


def test_of_two_at_once_one_wins_and_the_other_waits_for_its_answer(queue, other):
    answers = []
    with queue.transaction():
        msg_id, _ = once(queue, "k")
        waiting = threading.Thread(target=lambda: answers.append(once(other, "k")))
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
    waiting.join(10)
    assert answers == [(msg_id, True)]
    assert count(queue) == 1


def test_when_the_first_rolls_back_the_other_sends(queue, other):
    answers = []
    with queue.transaction(force_rollback=True):
        once(queue, "k")
        waiting = threading.Thread(target=lambda: answers.append(once(other, "k")))
        waiting.start()
        waiting.join(0.3)
    waiting.join(10)
    assert answers[0][1] is False
    assert count(queue) == 1


def test_many_at_once_send_one(queue, dsn):
    answers = []

    def run() -> None:
        with psycopg.connect(dsn, autocommit=True) as session:
            answers.extend(once(session, f"k{n}") for n in range(50))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 400
    assert sum(not duplicate for _, duplicate in answers) == 50
    assert count(queue) == len({msg_id for msg_id, _ in answers}) == 50


def test_keys_of_two_queues_are_two(queue):
    create(queue, "second")
    once(queue, "k")
    assert queue.execute("select duplicate from qctl.send_once('second', '{}', 'k')").fetchone() == (False,)


def test_maintenance_forgets_what_has_expired(queue):
    for n in range(5):
        once(queue, f"k{n}")
    queue.execute("update qctl.dedup set expires_at = clock_timestamp() where dedup_key <> 'k0'")
    queue.execute("call qctl.maintenance()")
    assert [row[0] for row in queue.execute("select dedup_key from qctl.dedup")] == ["k0"]


def test_a_dropped_queue_takes_its_keys_along(queue):
    once(queue, "k")
    queue.execute("select qctl.drop_queue('orders', true)")
    assert one(queue, "select count(*) from qctl.dedup") == 0


@pytest.mark.parametrize(
    ("key", "window"), [("", "1 h"), ("x" * 201, "1 h"), ("k", "0 s"), ("k", "-1 h"), ("k", "1 year")]
)
def test_bad_keys_and_windows(queue, key, window):
    with pytest.raises(psycopg.Error) as refused:
        once(queue, key, window)
    assert refused.value.sqlstate == "QC002"
