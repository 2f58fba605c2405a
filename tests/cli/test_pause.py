"""qctl pause and resume."""

import json

from helpers import create, one
from processes import failing, ok


def test_pause_and_resume_all(conn, dsn):
    for name in ("a", "b", "c"):
        create(conn, name)
    ok("pause", "-q", "b", "--reason", "first", dsn=dsn)
    rows = json.loads(ok("pause", "--all", "--reason", "maintenance", "-o", "json", dsn=dsn).stdout)
    assert [(row["queue_name"], row["changed"]) for row in rows] == [("a", True), ("b", False), ("c", True)]
    assert one(conn, "select pause_reason from qctl.status where queue_name = 'b'") == "first"
    failing(2, "resume", dsn=dsn)
    assert all(row["changed"] for row in json.loads(ok("resume", "--all", "-o", "json", dsn=dsn).stdout))


def test_all_and_one_exclude_each_other(conn, dsn):
    create(conn)
    failing(2, "pause", "--all", "-q", "orders", dsn=dsn)
    ok("pause", "--all", dsn=dsn, QCTL_QUEUE="orders")
