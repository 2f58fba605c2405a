"""qctl discard."""

from helpers import claim, create, one, outcome_counts, send, settle, state, states
from processes import data, failed, failing, ok


def test_discard(full, dsn):
    done = failed(7, "discard", "1", dsn=dsn)
    assert "1 message (orders/1) will be discarded" in done.stderr
    done = failed(9, "discard", "1", "99", "--yes", "--reason", "test data", dsn=dsn)
    assert "discarded" in done.stdout
    assert state(full, 1) == "dead"
    assert one(full, "select note from qctl.dead_letter") == "test data"
    failed(6, "discard", "99", "--yes", dsn=dsn)


def test_discard_by_a_filter(conn, dsn):
    create(conn, retry_schedule_s=[3600])
    send(conn, 5)
    settle(conn, claim(conn, 3), [500, 500, 503])
    assert "2 messages (2 retrying: orders/1, orders/2) will be discarded" in failing(
        7, "discard", "--status-code", "500", dsn=dsn
    )
    assert outcome_counts(
        ok("discard", "--status-code", "500", "--yes", "--reason", "no use", "-o", "json", dsn=dsn)
    ) == {"discarded": 2}
    assert states(conn, [1, 2, 3, 4, 5]) == {"dead": 2, "retrying": 1, "ready": 2}


def test_discard_frees_an_order_key(conn, dsn):
    create(conn, ordered=True, on_dead="block", order_schedule_s=[])
    ok("send", "-", "--order-key", "a", dsn=dsn, stdin="1\n2\n")
    settle(conn, claim(conn), 500)
    assert claim(conn) == []
    assert data("discard", "1", "--yes", dsn=dsn)[0]["outcome"] == "unblocked"
    assert len(claim(conn)) == 1
