"""qctl send: from an argument, from lines, from a file; which lines fail."""

import json

from helpers import claim, create, one, state
from processes import data, failing, ok, qctl


def test_send_takes_an_argument_and_lines(conn, dsn):
    create(conn)
    assert json.loads(ok("send", '{"a": 1}', "-H", "X-One: 1", "-o", "json", dsn=dsn).stdout) == [
        {"queue_name": "orders", "msg_id": 1, "duplicate": False}
    ]
    assert one(conn, "select headers from pgmq.q_orders") == {"x-one": "1"}
    ok("send", "-", "-q", "orders", stdin='{"a": 2}\n\n[3]\n"text"\n', dsn=dsn)
    assert [r[0] for r in conn.execute("select message from pgmq.q_orders order by msg_id")] == [
        {"a": 1},
        {"a": 2},
        [3],
        "text",
    ]
    ok("send", "7", "--delay", "1h", dsn=dsn)
    assert state(conn, 5) == "delayed"


def test_broken_lines_are_named_and_the_others_sent(conn, dsn):
    create(conn)
    lines = '{"a": 1}\n{"a":\n{"nul": "\\u0000"}\n{"b": 2}\n'
    talk = failing(9, "send", "-", stdin=lines, dsn=dsn)
    assert "line 2: not JSON" in talk
    assert "line 3:" in talk
    assert "2 sent, 2 not" in talk
    assert one(conn, "select count(*) from pgmq.q_orders") == 2
    assert "nothing was sent" in failing(2, "send", "{", dsn=dsn)


def test_a_megabyte_is_taken(conn, dsn):
    create(conn)
    ok("send", "-", stdin=json.dumps("x" * 1_000_000) + "\n", dsn=dsn)
    assert one(conn, "select length(message::text) from pgmq.q_orders") > 1_000_000


def test_numbers_are_sent_as_they_are_written(conn, dsn):
    create(conn)
    number = "0.12345678901234567890123"
    ok("send", f'{{"n": {number}}}', dsn=dsn)
    assert number in one(conn, "select message::text from pgmq.q_orders")
    assert "line 1" in failing(2, "send", "", dsn=dsn)
    assert "10 years" in failing(2, "send", "1", "--delay", "99999d", dsn=dsn)


def test_send_from_a_file_names_the_lines_that_fail(conn, dsn, tmp_path):
    create(conn)
    file = tmp_path / "m.jsonl"
    file.write_text('{"a": 1}\nnot json\n\n{"a": 2}\n')
    done = qctl("send", f"@{file}", dsn=dsn)
    assert done.returncode == 9
    assert "line 2: not JSON" in done.stderr
    assert one(conn, "select count(*) from pgmq.q_orders") == 2
    assert "cannot read" in failing(2, "send", f"@{tmp_path / 'none'}", dsn=dsn)
    file.write_bytes(b"\x1f\x8bbroken")
    failing(2, "send", f"@{file}", dsn=dsn)


def test_lines_that_only_look_like_an_export_and_bytes_that_are_no_text(conn, dsn):
    create(conn)
    lines = [
        b'{"qctl_export": 1}',
        b'{"qctl_export": 1, "message": {"a": 1}}',
        b'{"a": "\xff"}',
        b'{"qctl_export": 1, "message": "[7]"}',
    ]
    done = qctl("send", "-", "-o", "json", stdin=b"\n".join(lines), dsn=dsn)
    assert done.returncode == 9
    assert b"line 3: not UTF-8" in done.stderr
    assert len(json.loads(done.stdout)) == 3
    bodies = [row[0] for row in conn.execute("select message from pgmq.q_orders order by msg_id")]
    assert bodies == [{"qctl_export": 1}, {"qctl_export": 1, "message": {"a": 1}}, [7]]


def test_send_once_and_in_order(conn, dsn):
    create(conn, ordered=True)
    [first] = data("send", "{}", "--dedup-key", "k", "--order-key", "a", dsn=dsn)
    assert first["duplicate"] is False
    done = ok("send", "{}", "--dedup-key", "k", "--order-key", "a", "-o", "json", dsn=dsn)
    assert json.loads(done.stdout) == [{**first, "duplicate": True}]
    assert "nothing was sent" in done.stderr
    ok("send", "-", "--order-key", "a", dsn=dsn, stdin="1\n2\n")
    assert len(claim(conn)) == 1
