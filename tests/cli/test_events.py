"""qctl events."""

from helpers import URL, create, one
from processes import data, ok, qctl


def test_events(conn, dsn):
    create(conn)
    assert "nowhere" in ok("events", dsn=dsn).stderr
    [made] = data("events", "--url", URL, dsn=dsn)
    assert made["queue_name"] == "qctl_events"
    assert made["secret"].startswith("whsec_")
    assert data("events", dsn=dsn)[0]["url"] == URL
    assert one(conn, "select count(*) from qctl.queue") == 2
    [again] = data("events", "--url", f"{URL}/2", "--throttle", "1h", dsn=dsn)
    assert (again["secret"], again["throttle_s"]) == (None, 3600)
    ok("pause", "-q", "orders", dsn=dsn)
    assert one(conn, "select message ->> 'type' from pgmq.q_qctl_events") == "queue.paused"
    ok("events", "--off", dsn=dsn)
    assert qctl("events", "--to", "nothing", dsn=dsn).returncode == 6
