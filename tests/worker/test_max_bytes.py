"""How much payload a worker holds at once, whatever its messages' size."""

from pathlib import Path

import pytest

from helpers import claim, create, one
from processes import wait_until

ONE_MB = """insert into pgmq.q_{name} (vt, message)
select clock_timestamp(),
       jsonb_build_object('n', n, 'text', (select string_agg(md5(n::text || i), '') from generate_series(1, 32768) i))
from generate_series(1, {count}) n"""


def test_a_claim_ends_where_the_bytes_end_but_has_one_message(conn):
    create(conn)
    conn.execute("select qctl.send('orders', array_fill('{\"a\": 1}'::jsonb, array[10]))")
    query = "select count(*), sum(octet_length(body)) from qctl.claim('orders', 10, null, %s)"
    assert conn.execute(query, (26,)).fetchone() == (3, 24)
    assert conn.execute(query, (1,)).fetchone() == (1, 8)
    assert conn.execute(query, (0,)).fetchone() == (1, 8)
    assert len(claim(conn, 10)) == 5
    assert one(conn, "select count(*) from qctl.in_flight") == 10


def test_what_compresses_well_is_counted_as_it_is_sent(conn):
    create(conn)
    conn.execute("select qctl.send('orders', array_fill(jsonb_build_object('a', repeat('x', 100000)), array[10]))")
    assert one(conn, "select count(*) from qctl.claim('orders', 10, null, 350000)") == 3


@pytest.mark.parametrize("processes", [1, 2])
def test_a_worker_holds_no_more_than_it_may(conn, endpoint, worker, processes):
    receiver = endpoint("--delay", "0.2")
    create(conn, url=receiver.url, concurrency=100, max_in_flight=1000)
    conn.execute(ONE_MB.format(name="orders", count=40))
    process = worker("-q", "orders", "--drain", "--max-bytes", "8m", "--processes", str(processes))
    most = 0

    def over() -> bool:
        nonlocal most
        most = max(most, one(conn, "select count(*) from qctl.in_flight"))
        return not process.running()

    wait_until(over, 60, "everything is delivered")
    assert process.end()[0] == 0
    assert len(receiver.accepted()) == 40
    assert 0 < most <= 16 * processes, "40 are waiting; a lease outlives its payload until the answer is settled"


def test_a_queue_of_large_messages_leaves_room_for_others(conn, endpoint, worker):
    slow, quick = endpoint("--delay", "3"), endpoint()
    create(conn, "large", url=slow.url, concurrency=100)
    create(conn, "small", url=quick.url)
    conn.execute(ONE_MB.format(name="large", count=20))
    process = worker("--all", "--max-bytes", "4m")
    wait_until(lambda: one(conn, "select count(*) from qctl.in_flight") > 0, 20, "large ones are under way")
    conn.execute("select qctl.send('small', array_fill('{}'::jsonb, array[50]))")
    wait_until(lambda: len(quick.accepted()) == 50, 2.5, "small ones pass")
    assert process.running()


def test_memory_follows_the_bytes_not_the_depth(conn, endpoint, worker):
    receiver = endpoint("--delay", "0.1")
    create(conn, url=receiver.url, concurrency=200, max_in_flight=1000)
    conn.execute(ONE_MB.format(name="orders", count=150))
    process = worker("-q", "orders", "--max-bytes", "8m")
    wait_until(lambda: len(receiver.accepted()) == 150, 60, "all arrive")
    peak = [line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    assert int(peak[0].split()[1]) < 150 * 1024, f"{peak}: 150 MB are waiting"
