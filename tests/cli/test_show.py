"""qctl show: the life of a message."""

import json

from helpers import claim, create, send, settle
from processes import ok


def test_show_is_a_messages_whole_life(conn, dsn):
    create(conn)
    send(conn)
    settle(conn, claim(conn), 500, error="boom", response=b"it broke")
    ok("replay", "1", dsn=dsn)
    settle(conn, claim(conn), 200)
    (life,) = json.loads(ok("show", "1", "-o", "json", dsn=dsn).stdout)
    assert (life["state"], life["queue_name"], life["msg_id"]) == ("delivered", "orders", 1)
    assert "message" not in life
    assert [a["outcome"] for a in life["attempt_log"]] == ["retrying", "delivered"]
    assert life["attempt_log"][0]["response"] == "it broke"
    assert json.loads(ok("show", "orders/1", "--payload", "-o", "json", dsn=dsn).stdout)[0]["message"] == {"n": 0}
    text = ok("show", "1", "--payload", dsn=dsn).stdout
    assert "it broke" in text
    assert '{"n": 0}' in text


def test_show_tells_the_life_to_a_person(busy, dsn):
    ok("replay", "2", "--reason", "field added", dsn=dsn)
    text = ok("show", "2", dsn=dsn).stdout
    for word in ("captured from INSERT on public.users", "bad field", "field added", "next", "attempt as soon as"):
        assert word in text
    assert text.index("bad field") < text.index("field added") < text.index("attempt as soon as")


def test_why_the_numbers_of_attempts_go_further_than_their_count(conn, dsn):
    create(conn, retry_schedule_s=[3600])
    send(conn, 1)
    settle(conn, claim(conn, 1), 500)
    assert "not counted" not in ok("show", "1", dsn=dsn).stdout
    conn.execute("update qctl.attempt set attempt_no = 2")
    assert "1 attempt, 0 lost; 1 probe of an open circuit breaker not counted" in ok("show", "1", dsn=dsn).stdout
