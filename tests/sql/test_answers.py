"""qctl.answers: what the last attempts came to, and how long they took."""

import json

from helpers import claim, create, one, send, settle
from processes import ok, qctl


def answers(conn, name="orders"):
    rows = conn.execute(
        "select delivered, status_code, attempts, p50_s, p95_s, max_s, error, counts from qctl.answers(%s)", [name]
    )
    return {(row[0], row[1]): row[2:] for row in rows}


def test_attempts_are_counted_by_outcome_and_status(conn):
    create(conn, retry_schedule_s=[3600])
    send(conn, 20)
    settle(conn, claim(conn, 10), 200, took_ms=[1, 5, 6, 10, 20, 40, 90, 100, 2000, 70_000])
    settle(conn, claim(conn, 4), 503, error="busy", took_ms=[30, 30, 30, None])
    settle(conn, claim(conn, 2), None, error="no route", took_ms=[None, None])
    found = answers(conn)
    assert {key: row[0] for key, row in found.items()} == {(True, 200): 10, (False, 503): 4, (False, None): 2}
    _, p50, _, longest, error, counts = found[True, 200]
    assert (p50, longest, error) == (0.03, 70.0, None)
    # Up to 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000 ms, and longer.
    assert counts == [2, 2, 1, 1, 2, 0, 0, 0, 1, 0, 0, 0, 0, 1]
    assert found[False, 503][4] == "busy"
    assert sum(found[False, 503][5]) == 3
    assert found[False, None][1:] == (None, None, None, "no route", [0] * 14)
    bounds = one(conn, "select bounds_s from qctl.answers('orders') limit 1")
    assert len(bounds) == 13
    assert bounds == sorted(bounds)


def test_a_row_that_stands_for_many_counts_as_many(conn):
    create(conn, log="failures")
    send(conn, 12)
    settle(conn, claim(conn, 12), 200, took_ms=[7] * 12)
    ((delivered, *_, counts),) = [row for key, row in answers(conn).items() if key[0]]
    assert delivered == sum(counts) == 12


def test_only_the_last_hour_and_the_last_5000_are_looked_at(conn):
    create(conn, retry_schedule_s=[3600])
    send(conn, 2)
    settle(conn, claim(conn, 1), 500)
    conn.execute("update qctl.attempt set settled_at = settled_at - interval '61 min'")
    settle(conn, claim(conn, 1), 404)
    assert {key[1] for key in answers(conn)} == {404}
    conn.execute(
        "insert into qctl.attempt"
        " (queue_id, msg_id, delivery_no, attempt_no, outcome, transport, claimed_at, settled_at, status_code)"
        " select queue_id, n, 1, 1, 'delivered', 'http', now(), clock_timestamp(), 200"
        " from qctl.queue, generate_series(10, 6000) n"
    )
    assert sum(row[0] for row in answers(conn).values()) == 5000


def test_the_command_shows_them(conn, dsn):
    create(conn, retry_schedule_s=[3600])
    create(conn, "quiet")
    send(conn, 3)
    settle(conn, claim(conn, 2), 200, took_ms=[40, 40])
    settle(conn, claim(conn, 1), 500, error="boom", took_ms=[10])
    rows = json.loads(ok("status", "--answers", "-o", "json", dsn=dsn).stdout)
    assert [(row["queue_name"], row["status_code"], row["attempts"]) for row in rows] == [
        ("orders", 200, 2),
        ("orders", 500, 1),
    ]
    shown = ok("status", "--answers", "-q", "orders", dsn=dsn).stdout
    assert "40ms" in shown
    assert "boom" in shown
    assert ok("status", "--answers", "-q", "quiet", "-o", "json", dsn=dsn).stdout.strip() == "[]"
    assert qctl("status", "--answers", "-q", "nowhere", dsn=dsn).returncode == 6
    assert qctl("status", "--answers", "--watch", dsn=dsn).returncode == 2


def test_since_stays_where_it_began_however_many_attempts_failed_after_it(conn):
    create(conn)
    conn.execute("update qctl.upkept set rolled_to = now() - interval '30 min'")
    conn.execute(
        "insert into qctl.throughput (queue_id, minute, delivered, failed, dead, lost)"
        " select queue_id, date_trunc('minute', now()) - interval '20 min', 50, 3, 0, 0 from qctl.queue"
    )
    # One before that minute, then 3,000 from 19 minutes ago on: more than are looked at.
    conn.execute(
        "insert into qctl.attempt"
        " (queue_id, msg_id, delivery_no, attempt_no, outcome, transport, claimed_at, settled_at, status_code)"
        " select queue_id, n, 1, 1, 'retrying', 'http', t, t, 500 from qctl.queue, generate_series(0, 3000) n,"
        " lateral (select date_trunc('minute', now()) - case n when 0 then interval '25 min' else interval '19 min' end"
        " + n * interval '300 ms' as t) s"
    )
    since, began = conn.execute(
        "select qctl._failing_since(queue_id, now() - interval '1 h'),"
        " (select settled_at from qctl.attempt where msg_id = 1) from qctl.queue"
    ).fetchone()
    assert since == began
