"""qctl dead."""

from processes import ok


def test_dead_groups_then_lists(busy, dsn):
    done = ok("dead", dsn=dsn)
    assert done.stdout.index("rejected") < done.stdout.index("bad field")
    assert "qctl show orders/2" in done.stderr
    assert ok("dead", "-o", "jsonl", dsn=dsn).stdout.count("\n") == 1
    ok("replay", "2", dsn=dsn)
    assert ok("dead", dsn=dsn).stderr == "no message is dead\n"
