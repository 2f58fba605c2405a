"""qctl messages: filters that find exactly those."""

import pytest

from helpers import claim, create, send, settle
from processes import data, failing, ok


def test_exactly_the_37_with_an_error_behind_a_200(conn, dsn):
    create(conn)
    create(conn, "other")
    send(conn, 1000)
    send(conn, 10, "other")
    settle(conn, claim(conn, 10, "other"), 200, response=b'{"ok":false}', name="other")
    claims = claim(conn, 1000)
    wrong = {c.msg_id for c in claims[::27]} - {claims[-1].msg_id}
    wrong = set(sorted(wrong)[:37])
    settle(
        conn,
        claims,
        200,
        response=[b'{"ok":false,"error":"no credit"}' if c.msg_id in wrong else b'{"ok":true}' for c in claims],
    )
    found = ok(
        "messages", "-q", "orders", "--status-code", "200", "--response", '"ok":false', "--ids", dsn=dsn
    ).stdout.split()
    assert found == [f"orders/{msg_id}" for msg_id in sorted(wrong, reverse=True)]
    assert len(ok("messages", "--response", '"ok":false', "--ids", dsn=dsn).stdout.split()) == 47
    assert len(ok("messages", "-q", "orders", "--not-response", '"ok":false', "--ids", dsn=dsn).stdout.split()) == 963
    piped = ok("replay", "-", "-v", stdin="\n".join(found), dsn=dsn)
    assert piped.stdout.count("replayed") == 37
    assert {row["msg_id"] for row in data("messages", "--state", "ready", dsn=dsn)} == wrong


def test_messages_of_several_queues_come_newest_first(conn, dsn):
    create(conn)
    create(conn, "other")
    for name in ("orders", "other", "orders"):
        send(conn, 1, name)
    assert ok("messages", "--ids", dsn=dsn).stdout.split() == ["orders/2", "other/1", "orders/1"]
    assert ok("messages", "--ids", "-n", "2", dsn=dsn).stdout.split() == ["orders/2", "other/1"]
    assert "--before needs one queue" in failing(2, "messages", "--before", "2", dsn=dsn)
    assert ok("messages", "--ids", "-q", "orders", "--before", "2", dsn=dsn).stdout == "orders/1\n"


def test_more_than_a_page(conn, dsn):
    create(conn)
    send(conn, 1234)
    assert ok("messages", "--ids", dsn=dsn).stdout.split() == [f"orders/{n}" for n in range(1234, 0, -1)]
    more = ok("messages", "-q", "orders", "-n", "3", dsn=dsn)
    assert "--before 1232" in more.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--since", "tomorrow"], "is not a valid time"),
        (["--status-code", "ok"], "not a status code"),
        (["--where", "{"], "not JSON"),
        (["--state", "lost"], "is not a message state"),
        (["--payload"], "payloads do not fit"),
        (["--before", "3", "--error", "x", "-q", "orders"], "--until"),
    ],
)
def test_messages_refuses_what_it_cannot_mean(busy, dsn, arguments, words):
    assert words in failing(2, "messages", *arguments, dsn=dsn)


def test_payload_and_error_filters_look_back_a_day_unless_told(busy, dsn):
    assert ok("messages", "--error", "x", "--ids", dsn=dsn).stdout == ""
    assert ok("messages", "--response", "bad", "--ids", dsn=dsn).stdout == "orders/2\n"
    assert ok("messages", "--where", '{"record":{"id":2}}', "--ids", dsn=dsn).stdout == "orders/2\n"
    busy.execute("update qctl.attempt set settled_at = settled_at - interval '25 h'")
    busy.execute("update qctl.dead_letter set enqueued_at = enqueued_at - interval '25 h'")
    assert ok("messages", "--response", "bad", "--ids", dsn=dsn).stdout == ""
    assert ok("messages", "--response", "bad", "--since", "2d", "--ids", dsn=dsn).stdout == "orders/2\n"
    assert ok("messages", "--where", '{"record":{"id":2}}', "--ids", dsn=dsn).stdout == ""
    assert (
        ok("messages", "--where", '{"record":{"id":2}}', "--captured-since", "2d", "--ids", dsn=dsn).stdout
        == "orders/2\n"
    )


def test_an_instant_without_end_harms_nobody(busy, dsn):
    busy.execute("update pgmq.q_orders set vt = 'infinity' where msg_id = 5")
    busy.execute("update pgmq.q_orders set enqueued_at = '-infinity' where msg_id = 4")
    assert len(data("messages", dsn=dsn)) == 5
    assert failing(2, "messages", "--since", "99999999d", dsn=dsn)
