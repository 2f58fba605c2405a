"""What commands leave in the audit."""

from helpers import claim, create, settle
from processes import ok


def test_acts_are_in_the_audit_without_payloads(conn, dsn):
    create(conn)
    ok("send", '{"secret": "hush"}', dsn=dsn)
    settle(conn, claim(conn), 200)
    ok("replay", "1", "--reason", "asked for", dsn=dsn)
    settle(conn, claim(conn), 200)
    ok("purge", "--older-than", "0s", dsn=dsn)
    rows = conn.execute(
        "select verb, application, detail from qctl.audit where queue_name = 'orders' order by audit_id"
    ).fetchall()
    assert [(verb, application) for verb, application, _ in rows[1:]] == [
        ("send", "qctl send"), ("replay", "qctl replay"), ("purge", "qctl purge"),
    ]  # fmt: skip
    assert rows[3][2]["messages"] == 1
    assert "hush" not in str(rows)
