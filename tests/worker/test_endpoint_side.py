"""qctl worker and what it does for the endpoint: signed requests, an outage, a pace, its own concurrency, expected answers."""

import random
import string

import pytest
from psycopg.types.json import Jsonb

from helpers import SECRET, create, one, send, states
from processes import wait_until
from verifier import verifying


def odd_messages(count: int) -> list[Jsonb]:
    choose = random.Random(count)
    letters = string.printable + 'äß漢字😀"\\\u2028'
    texts = ["".join(choose.choices(letters, k=choose.randrange(400))) for _ in range(count)]
    return [Jsonb({text[:20]: [text, n, n / 7, None, True]}) for n, text in enumerate(texts)]


def test_a_thousand_random_messages_verify_at_the_endpoint(conn, worker):
    with verifying(SECRET) as verifier:
        create(conn, url=verifier.url)
        conn.execute("select qctl.rotate_secret('orders', %s)", [SECRET])
        conn.execute("select qctl.send('orders', %s)", [odd_messages(1000)])
        assert worker("-q", "orders", "--drain").end()[0] == 0
    assert len(set(verifier.taken)) == 1000
    assert verifier.refused == []


def test_a_rotation_loses_nothing(conn, worker):
    """The receiver knows the old secret, then both, then the new one; each overlaps with what is sent."""
    with verifying(SECRET) as verifier:
        create(conn, url=verifier.url)
        conn.execute("select qctl.rotate_secret('orders', %s)", [SECRET])
        worker("-q", "orders")
        send(conn, 50)
        wait_until(lambda: len(verifier.taken) == 50)
        new = one(conn, "select secret from qctl.rotate_secret('orders')")
        send(conn, 50)
        wait_until(lambda: len(verifier.taken) == 100)
        verifier.hooks = verifying_with(new)
        send(conn, 50)
        wait_until(lambda: len(verifier.taken) == 150)
        conn.execute("select qctl.revoke_secret('orders')")
        send(conn, 50)
        wait_until(lambda: len(verifier.taken) == 200)
        assert verifier.refused == []


def verifying_with(secret: str):
    with verifying(secret) as other:
        return other.hooks


def test_a_missing_header_secret_sends_nothing_and_holds_up_nobody_else(conn, endpoint, worker):
    receiver = endpoint()
    create(conn, url=receiver.url)
    create(conn, "second", url=receiver.url)
    conn.execute("""select qctl.set_queue('orders', p_headers => '{"authorization": "secret:token"}')""")
    ids = send(conn, 5)
    send(conn, 5, "second")
    process = worker("--all")
    wait_until(lambda: len(receiver.accepted()) == 5)
    assert states(conn, ids) == {"ready": 5}
    health, reason, fix = conn.execute(
        "select health, reason, fix from qctl.status where queue_name = 'orders'"
    ).fetchone()
    assert (health, fix) == ("secret_missing", "qctl secret set token")
    assert "secret:token" in reason
    process.close()
    conn.execute("select qctl.set_header_secret('token', 'x')")
    worker("-q", "orders")
    wait_until(lambda: len(receiver.accepted()) == 10)


def test_an_outage_burns_hardly_an_attempt_and_ends_by_itself(conn, endpoint, worker):
    receiver = endpoint()
    create(conn, url=receiver.url, breaker_pause_max_s=2, concurrency=20)
    receiver.kill()
    ids = send(conn, 2000)
    worker("-q", "orders")
    wait_until(lambda: one(conn, "select pauses >= 2 from qctl.gate"), what="the breaker to be open")
    assert one(conn, "select health from qctl.status") == "circuit_open"
    assert one(conn, "select count(*) from qctl.attempt") < 200
    receiver.start_again()
    wait_until(lambda: one(conn, "select count(*) from pgmq.q_orders") == 0, what="the queue to be empty")
    assert states(conn, ids) == {"delivered": 2000}
    assert set(receiver.accepted().values()) == {1}


def test_drain_ends_while_the_breaker_is_open(conn, endpoint, worker):
    create(conn, url=endpoint("--fail-rate", "1", "--failures", "503").url)
    ids = send(conn, 200)
    assert worker("-q", "orders", "--drain").end()[0] == 0
    assert one(conn, "select opened_at is not null from qctl.gate")
    assert states(conn, ids)["delivered"] == 0


def test_concurrency_auto_delivers_and_finds_more_than_one(conn, endpoint, worker):
    receiver = endpoint("--delay-s", "0.02")
    create(conn, url=receiver.url, concurrency_auto=True)
    send(conn, 1500)
    worker("-q", "orders")
    wait_until(lambda: len(receiver.accepted()) == 1500, timeout_s=60)
    assert max(times(receiver)) > 60


def test_a_pace_is_kept(conn, endpoint, worker):
    receiver = endpoint()
    create(conn, url=receiver.url, rate_per_s=50)
    send(conn, 200)
    worker("-q", "orders")
    wait_until(lambda: one(conn, "select count(*) from qctl.attempt") == 200, timeout_s=30)
    rows = conn.execute("select extract(epoch from claimed_at)::float8 from qctl.attempt order by claimed_at")
    claimed = [row[0] for row in rows]
    # A burst of one second may come first.
    assert all(claimed[n + 110] - claimed[n] > 1 for n in range(90)), claimed
    assert len(receiver.accepted()) == 200


def times(receiver) -> list[int]:
    """Requests in each second."""
    seconds = [int(entry.at) for entry in receiver.entries()]
    return [seconds.count(second) for second in set(seconds)]


@pytest.mark.parametrize(("place", "state"), [(3000, "delivered"), (60_000, "delivered"), (70_000, "retrying")])
def test_what_is_expected_is_looked_for_in_the_first_64_kib(conn, worker, place, state):
    with verifying(SECRET, answer=b"." * place + b"accepted" + b"." * 1000) as verifier:
        create(conn, url=verifier.url, expect_text="accepted")
        conn.execute("select qctl.rotate_secret('orders', %s)", [SECRET])
        ids = send(conn, 1)
        assert worker("-q", "orders", "--once").end()[0] == 0
    assert states(conn, ids) == {state: 1}
    assert one(conn, "select length(response) from qctl.attempt") == min(4096, place + 1008)


def test_events_reach_their_endpoint_signed(conn, endpoint, worker):
    with verifying(SECRET) as verifier:
        create(conn, url=endpoint().url)
        create(conn, "ops", url=verifier.url)
        conn.execute("select qctl.rotate_secret('ops', %s); ".replace("%s", f"'{SECRET}'"))
        conn.execute("select qctl.set_event_route('ops')")
        conn.execute("select qctl.pause('orders', 'a test')")
        worker("--all")
        wait_until(lambda: len(verifier.taken) == 1)
        assert verifier.refused == []


def test_order_holds_at_the_endpoint(conn, endpoint, worker):
    receiver = endpoint("--fail-rate", "0.1", "--failures", "500")
    create(conn, url=receiver.url, ordered=True, order_schedule_s=[1] * 20, breaker_after=0)
    conn.execute(
        "insert into pgmq.q_orders (vt, message, headers) select clock_timestamp(), to_jsonb(n),"
        " jsonb_build_object('x-pgmq-group', (n % 40)::text) from generate_series(1, 400) n"
    )
    worker("-q", "orders"), worker("-q", "orders")
    # Answered is not yet settled.
    wait_until(lambda: one(conn, "select count(*) from pgmq.a_orders") == 400, timeout_s=60)
    ids = dict(
        conn.execute(
            "select qctl.webhook_id(q.queue_uuid, a.msg_id, a.enqueued_at), a.message::text::int"
            " from pgmq.a_orders a, qctl.queue q where q.queue_name = 'orders'"
        ).fetchall()
    )
    seen: dict[int, list[int]] = {}
    for entry in receiver.entries():
        if entry.answer == "200":
            seen.setdefault(ids[entry.webhook_id] % 40, []).append(ids[entry.webhook_id])
    assert all(numbers == sorted(numbers) and len(numbers) == 10 for numbers in seen.values())
