"""qctl lag."""

import json

from helpers import create, send
from processes import ok


def test_lag_and_age(conn, dsn):
    create(conn)
    send(conn)
    conn.execute(
        "update pgmq.q_orders set vt = now() - interval '90 s', enqueued_at = now() - interval '1 h', read_ct = 1"
    )
    (row,) = json.loads(ok("lag", "-o", "json", dsn=dsn).stdout)
    assert 85 < row["lag_s"] < 120
    assert 3590 < row["age_s"] < 3700
    assert "1m 3" in ok("lag", dsn=dsn).stdout


def test_the_time_that_a_transaction_was_open_before_it_wrote_is_not_age(conn, dsn):
    create(conn)
    with conn.transaction():
        conn.execute("select pg_sleep(5)")
        send(conn)
    (row,) = json.loads(ok("lag", "-o", "json", dsn=dsn).stdout)
    assert 0 <= row["age_s"] < 5
