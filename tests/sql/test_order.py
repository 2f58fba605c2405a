"""Order per key: one at a time, by msg_id; other keys are not held up; nobody waits for ever."""

import random
import threading
from collections import defaultdict

import psycopg
import pytest
from psycopg.types.json import Jsonb

from helpers import claim, create, expire_leases, make_due, one, send, settle, state, upkeep


@pytest.fixture
def queue(conn):
    create(conn, ordered=True, max_in_flight=1000, breaker_after=0)
    return conn


def send_keys(conn, *keys: str | None) -> list[int]:
    return [one(conn, "select qctl.send('orders', array['{}']::jsonb[], p_order_key => %s)", key) for key in keys]


def claimed_ids(conn, limit: int = 100) -> list[int]:
    return [message.msg_id for message in claim(conn, limit)]


def test_one_at_a_time_per_key_and_other_keys_go_on(queue):
    a1, a2, b1, free, a3, b2 = send_keys(queue, "a", "a", "b", None, "a", "b")
    first = claim(queue)
    assert [m.msg_id for m in first] == [a1, b1, free]
    assert claim(queue) == []
    settle(queue, first[:1], 200)
    assert claimed_ids(queue) == [a2]
    settle(queue, first[1:2], 200)
    assert claimed_ids(queue) == [b2]
    assert state(queue, a3) == "delayed"


def test_a_failure_holds_up_its_key_alone_and_by_a_shorter_schedule(queue):
    a1, a2, b1 = send_keys(queue, "a", "a", "b")
    first = claim(queue)
    settle(queue, first, 500)
    waits = queue.execute(
        "select msg_id, extract(epoch from next_at - clock_timestamp())::float from qctl.retry order by 1"
    )
    assert all(0.5 < wait < 1.3 for _, wait in waits)
    make_due_one(queue, a1)
    assert claimed_ids(queue) == [a1]
    assert state(queue, a2) == "delayed"
    make_due_one(queue, b1)
    assert claimed_ids(queue) == [b1]


def make_due_one(conn, msg_id: int) -> None:
    conn.execute("update pgmq.q_orders set vt = clock_timestamp() where msg_id = %s", [msg_id])


def die(conn, message) -> None:
    conn.execute("select qctl.set_queue('orders', p_settings => '{\"order_schedule_s\": []}')")
    assert settle(conn, [message], 500) == {"dead": 1}


def test_on_dead_skip_lets_the_next_go(queue):
    _, a2 = send_keys(queue, "a", "a")
    die(queue, claim(queue)[0])
    assert claimed_ids(queue) == [a2]


def test_on_dead_block_holds_the_key_until_the_dead_letter_is_replayed_and_delivered(queue):
    queue.execute("select qctl.set_queue('orders', p_settings => '{\"on_dead\": \"block\"}')")
    a1, a2, b1 = send_keys(queue, "a", "a", "b")
    [head, other] = claim(queue)
    die(queue, head)
    settle(queue, [other], 200)
    assert claim(queue) == []
    [more] = send_keys(queue, "a")
    assert claim(queue) == []
    queue.execute("select qctl.replay('orders', %s)", [[a1]])
    [again] = claim(queue)
    assert again.msg_id == a1
    settle(queue, [again], 200)
    [second] = claim(queue)
    assert second.msg_id == a2
    settle(queue, [second], 200)
    assert claimed_ids(queue) == [more]
    assert state(queue, b1) == "delivered"


def test_discarding_the_dead_letter_that_blocks_frees_its_key(queue):
    queue.execute("select qctl.set_queue('orders', p_settings => '{\"on_dead\": \"block\"}')")
    a1, a2 = send_keys(queue, "a", "a")
    die(queue, claim(queue)[0])
    assert queue.execute("select outcome from qctl.discard('orders', %s, 'not wanted')", [[a1]]).fetchall() == [
        ("unblocked",)
    ]
    assert claimed_ids(queue) == [a2]


def test_discarding_a_head_lets_the_next_go(queue):
    a1, a2 = send_keys(queue, "a", "a")
    claim(queue)
    queue.execute("select qctl.discard('orders', %s)", [[a1]])
    queue.execute("update qctl.in_flight set lapsed_at = clock_timestamp() where msg_id = %s", [a1])
    make_due(queue)
    assert claimed_ids(queue) == [a2]


def test_a_replay_of_an_earlier_one_waits_for_what_is_under_way(queue):
    a1, a2 = send_keys(queue, "a", "a")
    settle(queue, claim(queue), 200)
    [second] = claim(queue)
    queue.execute("select qctl.replay('orders', %s)", [[a1]])
    assert claim(queue) == []
    settle(queue, [second], 200)
    assert claimed_ids(queue) == [a1]
    assert state(queue, a2) == "delivered"


def test_a_lapsed_lease_keeps_its_place(queue):
    a1, a2 = send_keys(queue, "a", "a")
    claim(queue)
    expire_leases(queue)
    upkeep(queue)
    assert claimed_ids(queue) == [a1]
    assert state(queue, a2) == "delayed"


def test_maintenance_finds_followers_whose_head_others_took(queue):
    a1, a2, b1, b2 = send_keys(queue, "a", "a", "b", "b")
    settle(queue, claim(queue)[1:], 200)
    queue.execute("select pgmq.delete('orders', %s::bigint)", [a1])
    queue.execute("delete from qctl.in_flight")
    assert claimed_ids(queue) == [b2]
    queue.execute("call qctl.maintenance()")
    assert claimed_ids(queue) == [a2]
    assert state(queue, b1) == "delivered"


def test_an_order_key_wants_an_ordered_queue(conn):
    create(conn)
    with pytest.raises(psycopg.Error, match="queue 'orders' is not ordered"):
        send_keys(conn, "a")


def test_without_order_its_followers_go_at_once(queue):
    ids = send_keys(queue, *"aaaa")
    assert claimed_ids(queue) == ids[:1]
    queue.execute("select qctl.set_queue('orders', p_settings => '{\"ordered\": false}')")
    assert claimed_ids(queue) == ids[1:]


def test_attach_order_by_captures_the_key_for_every_operation(conn):
    create(conn)
    conn.execute("create table public.carts (id int primary key, user_id int, note text)")
    conn.execute("select qctl.attach('public.carts', 'orders', p_order_by => 'record.user_id', p_max_bytes => 1024)")
    conn.execute("insert into carts values (1, 7, ''), (2, null, '')")
    conn.execute("update carts set user_id = 8 where id = 1")
    conn.execute(
        "update carts set note = (select string_agg(md5(n::text), '') from generate_series(1, 200) n) where id = 1"
    )
    conn.execute("delete from carts where id = 1")
    keys = [row[0] for row in conn.execute("select headers ->> 'x-pgmq-group' from pgmq.q_orders order by msg_id")]
    assert keys == ["7", None, "8", "8", "8"]
    assert one(conn, "select count(*) from qctl.verify()") == 0
    conn.execute("alter table carts rename column user_id to owner_id")
    conn.execute("insert into carts values (3, 9, '')")
    assert one(conn, "select order_key from qctl.held_event") == "9"
    conn.execute("select qctl.detach('public.carts')")
    assert one(conn, "select headers ->> 'x-pgmq-group' from pgmq.q_orders order by msg_id desc limit 1") == "9"
    assert one(conn, "select count(*) from pg_proc where proname ~ '^capture_orders'") == 0


def test_doctor_tells_of_a_missing_order_index(queue):
    assert "index by order key" not in str(queue.execute("select problem from qctl.doctor()").fetchall())
    queue.execute("drop index pgmq.qctl_order_orders")
    assert "index by order key" in str(queue.execute("select problem from qctl.doctor()").fetchall())


def test_who_may_read_sees_no_order_key(queue):
    name = f"looker_{queue.info.backend_pid}"
    queue.execute(f"create role {name}")
    queue.execute("select qctl.grant_role(%s)", [name])
    for column in ("in_flight.order_key", "dead_letter.blocks_key", "dedup.dedup_key", "gate.swept_key"):
        table, field = column.split(".")
        assert not one(queue, "select has_column_privilege(%s, %s, %s, 'select')", name, f"qctl.{table}", field)
    queue.execute(f"drop owned by {name}; drop role {name}")


def test_order_by_what_the_table_lacks_is_refused(conn):
    create(conn)
    conn.execute("create table public.carts (id int)")
    with pytest.raises(psycopg.Error, match="has no column 'user_id' to order by"):
        conn.execute("select qctl.attach('public.carts', 'orders', p_order_by => 'record.user_id')")


@pytest.mark.parametrize("seed", range(3))
def test_order_holds_with_failures_and_several_claimers(queue, other, seed):
    """A model of what the endpoint sees: per key the ids that were answered 2xx rise, and never two are under way at once."""
    queue.execute(
        "select qctl.set_queue('orders', p_settings => '{\"order_schedule_s\": [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}')"
    )
    choose = random.Random(seed)
    names = [f"k{n % 20}" for n in range(400)]
    ids = send_many(queue, names)
    keys = dict(zip(ids, names, strict=True))
    under_way, delivered = [], defaultdict(list)
    while sum(map(len, delivered.values())) < len(ids):
        under_way += claim(choose.choice([queue, other]), choose.randrange(1, 30))
        held = [keys[m.msg_id] for m in under_way]
        assert len(held) == len(set(held))
        choose.shuffle(under_way)
        batch, under_way = under_way[: len(under_way) // 2 + 1], under_way[len(under_way) // 2 + 1 :]
        answers = [choose.choice([200, 200, 500]) for _ in batch]
        settle(choose.choice([queue, other]), batch, answers)
        for message, status in zip(batch, answers, strict=True):
            if status == 200:
                delivered[keys[message.msg_id]].append(message.msg_id)
        # Retries are due; what is hidden stays so.
        queue.execute(
            """update pgmq.q_orders q set vt = clock_timestamp() where isfinite(vt) and vt > clock_timestamp()
               and not exists (select from qctl.in_flight f where f.msg_id = q.msg_id and f.lapsed_at is null)"""
        )
    assert all(seen == sorted(seen) for seen in delivered.values())
    assert one(queue, "select count(*) from pgmq.q_orders") == 0


def send_many(conn, keys: list[str]) -> list[int]:
    rows = conn.execute(
        "insert into pgmq.q_orders (vt, message, headers) select clock_timestamp(), '{}', jsonb_build_object('x-pgmq-group', k)"
        " from unnest(%s::text[]) with ordinality as u (k, n) order by n returning msg_id", [keys])  # fmt: skip
    return [row[0] for row in rows]


def test_a_probe_of_an_ordered_queue_is_a_head(conn):
    create(conn, ordered=True)
    ids = send_many(conn, ["a"] * 5 + [f"k{n}" for n in range(12)])
    settle(conn, claim(conn, 10), 503)
    assert one(conn, "select opened_at is not null from qctl.gate")
    for _ in range(6):
        conn.execute("update qctl.gate set probe_at = clock_timestamp()")
        [probe] = claim(conn)
        assert probe.msg_id == ids[0] or probe.msg_id >= ids[5]
        settle(conn, [probe], 503)


def test_claims_stay_flat_behind_many_followers(queue):
    """Not a time: what a claim reads. After they were met once, followers are never read again."""
    queue.execute(
        "insert into pgmq.q_orders (vt, message, headers)"
        " select clock_timestamp(), '{}', '{\"x-pgmq-group\": \"hot\"}' from generate_series(1, 5000)"
    )
    send(queue, 50)
    head, *rest = claim(queue, 20)
    for _ in range(10):
        rest += claim(queue, 20)
    assert {m.msg_id for m in rest} == set(range(5001, 5051))
    assert one(queue, "select count(*) from pgmq.q_orders where vt = 'infinity'") == 4999
    settle(queue, [head], 200)
    assert claimed_ids(queue) == [2]


def test_headers_of_producers_that_are_no_key(queue):
    queue.execute("insert into pgmq.q_orders (vt, message, headers) values"
                  " (now(), '1', '[]'), (now(), '2', '\"x-pgmq-group\"'), (now(), '3', '{\"x-pgmq-group\": null}'),"
                  " (now(), '4', '{\"x-pgmq-group\": {\"a\": 1}}'), (now(), '5', null)")  # fmt: skip
    queue.execute(
        "insert into pgmq.q_orders (vt, message, headers) values (now(), '6', %s)",
        [Jsonb({"x-pgmq-group": "x" * 5000})],
    )
    assert len(claim(queue)) == 6


def test_no_message_stays_hidden_when_order_is_switched_while_it_is_claimed(conn, dsn):
    create(conn, ordered=True)
    for n in range(50):
        conn.execute("select qctl.send('orders', array['{}']::jsonb[], p_order_key => %s)", [f"k{n % 5}"])
    stop = threading.Event()

    def claims() -> None:
        with psycopg.connect(dsn, autocommit=True) as session:
            while not stop.is_set():
                claimed = claim(session, 3)
                session.execute(
                    "select qctl.release('orders', %s, %s)", ([c.lease for c in claimed], [c.msg_id for c in claimed])
                )

    threads = [threading.Thread(target=claims) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for ordered in ("true", "false") * 15:
            conn.execute(f"select qctl.set_queue('orders', p_settings => '{{\"ordered\": {ordered}}}')")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    conn.execute("select qctl._sweep_order()")
    assert one(conn, "select count(*) from pgmq.q_orders where vt = 'infinity'") == 0


def test_what_a_claim_hid_by_settings_of_before_is_shown_by_the_sweep(conn):
    create(conn, ordered=True)
    send(conn, 3)
    conn.execute("""select qctl.set_queue('orders', p_settings => '{"ordered": false}')""")
    conn.execute("update pgmq.q_orders set vt = 'infinity' where msg_id = 2")
    conn.execute("select qctl._sweep_order()")
    assert one(conn, "select count(*) from pgmq.q_orders where vt = 'infinity'") == 0


def test_an_empty_key_is_a_key(conn):
    create(conn, ordered=True)
    first, second = send_keys(conn, "a", "a")
    conn.execute("update pgmq.q_orders set headers = jsonb_set(headers, '{x-pgmq-group}', '\"\"')")
    assert claimed_ids(conn) == [first]
    conn.execute("delete from qctl.in_flight")
    conn.execute("select pgmq.delete('orders', %s::bigint)", [first])
    conn.execute("select qctl._sweep_order()")
    assert claimed_ids(conn) == [second]
