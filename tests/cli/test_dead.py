"""qctl dead."""

from helpers import claim, create, send, settle
from processes import data, ok


def test_dead_groups_then_lists(busy, dsn):
    done = ok("dead", dsn=dsn)
    assert done.stdout.index("rejected") < done.stdout.index("bad field")
    assert "qctl show orders/2" in done.stderr
    assert ok("dead", "-o", "jsonl", dsn=dsn).stdout.count("\n") == 1
    ok("replay", "2", dsn=dsn)
    assert ok("dead", dsn=dsn).stderr == "no message is dead\n"


def test_since_and_until_are_about_when_it_died(conn, dsn):
    create(conn, retry_schedule_s=[])
    send(conn, 4)
    settle(conn, claim(conn, 3), [500, 400, 500])
    conn.execute("select qctl.discard('orders', '{4}')")
    conn.execute("update qctl.dead_letter set died_at = died_at - interval '2 h' where msg_id <= 2")

    def found(*options: str) -> tuple[set[int], int]:
        shown = data("dead", *options, dsn=dsn)
        return {row["msg_id"] for row in shown["messages"]}, sum(group["messages"] for group in shown["groups"])

    assert found() == ({1, 2, 3, 4}, 4)
    assert found("--since", "1h") == ({3, 4}, 2)
    assert found("--until", "1h") == ({1, 2}, 2)
    assert found("--since", "1h", "-n", "1") == ({4}, 2)
