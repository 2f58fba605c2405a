"""qctl drop."""

import json

from processes import failed, qctl


def test_drop_refuses_asks_and_drops(full, dsn):
    done = failed(7, "drop", "orders", dsn=dsn)
    assert "2 unfinished messages" in done.stderr
    assert "--discard" in done.stderr
    done = failed(7, "drop", "orders", "--discard", dsn=dsn)
    assert "2 unfinished messages, 0 dead letters" in done.stderr
    assert "--yes" in done.stderr
    [before] = json.loads(qctl("drop", "orders", "--discard", "--dry-run", "-o", "json", dsn=dsn).stdout)
    assert (before["unfinished"], before["attached"]) == (2, 1)
    done = qctl("drop", "orders", "--discard", "--yes", "-o", "json", dsn=dsn)
    [row] = json.loads(done.stdout)
    assert (row["discarded"], row["dead"], row["archive"]) == (2, 2, "pgmq.a_orders")
    full.execute("insert into users values (3)")
    failed(6, "drop", "orders", dsn=dsn)
