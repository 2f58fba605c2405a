"""qctl replay: exactly those messages, at a rate, under new ids; what is partly done or refused."""

import json

import pytest

from helpers import claim, create, make_due, one, outcome_counts, send, settle, state, states
from processes import failing, ok, qctl

FILTER = ["--status-code", "200", "--response", '"ok":false']


@pytest.fixture
def wrong(conn):
    """1,000 delivered messages, 37 of them with an error behind the 200; the ids of those."""
    create(conn)
    send(conn, 1000)
    claims = claim(conn, 1000)
    ids = {c.msg_id for c in claims[5:1000:26]}
    ids = set(sorted(ids)[:37])
    settle(conn, claims, 200, response=[b'{"ok":false}' if c.msg_id in ids else b'{"ok":true}' for c in claims])
    return ids


def test_exactly_those_by_a_filter(conn, dsn, wrong):
    told = failing(7, "replay", *FILTER, dsn=dsn)
    assert "37 messages (37 delivered: orders/" in told
    assert "their webhook-ids stay" in told
    assert "--new-id gives new ones" in told
    done = ok("replay", *FILTER, "--yes", "-o", "json", dsn=dsn)
    assert {row["msg_id"] for row in json.loads(done.stdout)} == wrong
    assert outcome_counts(done) == {"replayed": 37}
    assert {row[0] for row in conn.execute("select msg_id from pgmq.q_orders")} == wrong
    assert (
        sum(one(conn, "select (detail ->> 'replayed')::int from qctl.audit where verb = 'replay'") for _ in [0]) == 37
    )
    # Waiting for their second delivery, they still match: nothing is done twice.
    assert outcome_counts(ok("replay", *FILTER, "--yes", "-o", "json", dsn=dsn)) == {"ready": 37}


def test_exactly_those_by_a_pipe(conn, dsn, wrong):
    ids = ok("messages", *FILTER, "--ids", dsn=dsn).stdout
    assert outcome_counts(ok("replay", "-", "-o", "json", stdin=ids, dsn=dsn)) == {"replayed": 37}
    assert {row[0] for row in conn.execute("select msg_id from pgmq.q_orders")} == wrong


def test_ten_thousand_dead_letters(conn, dsn):
    create(conn, retry_schedule_s=[], max_in_flight=10000)
    send(conn, 10000)
    settle(conn, claim(conn, 10000), 500)
    assert one(conn, "select count(*) from qctl.dead_letter") == 10000
    assert ok("replay", "--dead", "--dry-run", "-o", "table", dsn=dsn).stdout.split()[-3:] == [
        "orders",
        "dead",
        "10,000",
    ]
    assert ok("replay", "--dead", "--dry-run", "-v", dsn=dsn).stdout.count("dead") == 10000
    done = ok("replay", "--dead", "--yes", "--reason", "fixed", "-o", "json", dsn=dsn)
    assert outcome_counts(done) == {"replayed": 10000}
    assert one(conn, "select count(*) from pgmq.q_orders where vt <= now()") == 10000
    assert one(conn, "select count(*) from qctl.dead_letter") == 0
    assert "no message matches" in ok("replay", "--dead", "--yes", dsn=dsn).stderr


def test_a_rate_spreads_over_batches_of_several_queues(conn, dsn):
    create(conn, retry_schedule_s=[])
    create(conn, "other", retry_schedule_s=[])
    for name in ("orders", "other"):
        send(conn, 1500, name)
        for _ in range(2):
            settle(conn, claim(conn, 1000, name), 200, name=name)
    ok("replay", "--delivered", "--yes", "--rate", "50/s", dsn=dsn)
    rows = conn.execute("select vt from pgmq.q_orders union all select vt from pgmq.q_other order by 1").fetchall()
    times = [row[0] for row in rows]
    assert len(times) == 3000
    assert 58 <= (times[-1] - times[0]).total_seconds() <= 63
    for start in range(0, 2900, 100):
        assert 1.5 < (times[start + 100] - times[start]).total_seconds() < 2.5
    assert len(claim(conn, 1000)) < 300


def test_new_ids_and_the_same_ids(conn, dsn):
    create(conn)
    send(conn, 2)
    first = {c.msg_id: c.headers["webhook-id"] for c in claim(conn)}
    conn.execute("update qctl.in_flight set expires_at = now()")
    settle(conn, claim(conn), 200)
    conn.execute("select qctl.upkeep()")
    settle(conn, claim(conn), 200)
    ok("replay", "1", dsn=dsn)
    ok("replay", "2", "--new-id", dsn=dsn)
    second = {c.msg_id: c for c in claim(conn)}
    assert second[1].headers["webhook-id"] == first[1]
    assert second[2].headers["webhook-id"] != first[2]
    settle(conn, list(second.values()), 200)
    ok("replay", "2", dsn=dsn)
    assert claim(conn)[0].headers["webhook-id"] == second[2].headers["webhook-id"]


def test_ranges_have_holes_and_unknown_ids_are_said(conn, dsn):
    create(conn)
    send(conn, 10)
    conn.execute("delete from pgmq.q_orders where msg_id in (4, 5)")
    settle(conn, claim(conn), 200)
    assert outcome_counts(ok("replay", "3..6", "-o", "json", dsn=dsn)) == {"replayed": 2}
    done = qctl("replay", "orders/1", "7..8", "orders/99", "-o", "json", dsn=dsn)
    assert done.returncode == 9
    assert "orders/99" in done.stderr
    assert outcome_counts(done) == {"replayed": 3, "unknown": 1}
    failing(6, "replay", "4..5", dsn=dsn)
    failing(6, "replay", "orders/99", dsn=dsn)
    failing(6, "replay", "99", dsn=dsn)
    failing(6, "replay", "nope/1", dsn=dsn)
    for wrong in (
        ["5..1"],
        ["1..x"],
        ["1..9999999"],
        [],
        ["1", "--dead"],
        ["1", "--rate", "0/s"],
        ["--dead", "--rate", "fast"],
    ):
        failing(2, "replay", *wrong, dsn=dsn)


def test_what_waits_is_tried_now_and_what_flies_is_left_alone(conn, dsn):
    create(conn, retry_schedule_s=[3600])
    send(conn, 4)
    claims = claim(conn, 2)
    settle(conn, claims[:1], 500)
    done = qctl("replay", "1..4", "-o", "json", dsn=dsn)
    assert outcome_counts(done) == {"due_now": 1, "in_flight": 1, "ready": 2}
    assert states(conn, [1]) == {"ready": 1}


def test_replay_says_what_it_did(conn, dsn):
    create(conn)
    send(conn, 2)
    settle(conn, claim(conn), 200)
    assert json.loads(ok("replay", "1", "--dry-run", "-o", "json", dsn=dsn).stdout)[0]["outcome"] == "delivered"
    assert state(conn, 1) == "delivered"
    assert json.loads(ok("replay", "1", "--reason", "test", "-o", "json", dsn=dsn).stdout) == [
        {"queue_name": "orders", "msg_id": 1, "outcome": "replayed"}
    ]
    assert state(conn, 1) == "ready"
    assert "no queue knows 77" in failing(9, "replay", "2", "77", dsn=dsn)
    assert state(conn, 2) == "ready"
    assert "no queue knows 77" in failing(6, "replay", "77", dsn=dsn)
    assert json.loads(ok("replay", "-", "-o", "json", stdin="1 2\n", dsn=dsn).stdout)[1]["outcome"] == "ready"


def test_what_changed_while_a_person_thought_is_left_alone(conn, dsn):
    create(conn, retry_schedule_s=[3600] * 3)
    send(conn, 4)
    settle(conn, claim(conn), 500)
    conn.execute("select qctl.discard('orders', '{4}')")
    make_due(conn)
    seen = conn.execute("select msg_id, state, delivery_no from qctl.messages('orders') order by msg_id").fetchall()
    settle(conn, claim(conn, 2), 200)
    conn.execute("select qctl.replay('orders', '{4}')")
    rows = dict(conn.execute(
        "select * from qctl.replay('orders', %s, p_seen_states => %s, p_seen_delivery_nos => %s)",
        [list(c) for c in zip(*seen, strict=True)]
    ))  # fmt: skip
    assert rows == {1: "changed", 2: "changed", 3: "ready", 4: "changed"}
    assert states(conn, [1, 2, 3, 4]) == {"delivered": 2, "ready": 2}
    rows = dict(conn.execute(
        "select * from qctl.discard('orders', %s, null, %s, %s)", [list(c) for c in zip(*seen, strict=True)]))  # fmt: skip
    assert rows == {1: "changed", 2: "changed", 3: "discarded", 4: "changed"}


def test_a_rate_over_finished_and_waiting_ones(conn, dsn):
    create(conn, retry_schedule_s=[36000])
    send(conn, 200)
    claims = claim(conn, 200)
    settle(conn, claims, [200, 500] * 100)
    ok("replay", "1..200", "--rate", "20/s", dsn=dsn)
    times = [row[0] for row in conn.execute("select vt from pgmq.q_orders order by 1")]
    for start in range(0, 180, 20):
        assert 0.9 < (times[start + 20] - times[start]).total_seconds() < 1.1
    assert one(conn, "select age_s from qctl.lag()") < 5
    conn.execute("update qctl.retry set replayed_at = replayed_at - interval '1 h' where replayed_at is not null")
    assert one(conn, "select age_s from qctl.lag()") < 60


def test_a_new_id_also_for_a_replay_that_waits_already(conn, dsn):
    create(conn)
    send(conn)
    first = claim(conn)
    settle(conn, first, 200)
    ok("replay", "1", dsn=dsn)
    ok("replay", "1", "--new-id", dsn=dsn)
    assert claim(conn)[0].headers["webhook-id"] != first[0].headers["webhook-id"]
