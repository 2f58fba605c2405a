"""qctl describe."""

from helpers import create
from processes import data, ok


def test_a_long_queue_is_described_as_what_is_known_of_it(conn, dsn):
    create(conn)
    conn.execute("insert into pgmq.q_orders (vt, message) select now(), '1' from generate_series(1, 12000)")
    conn.execute("analyze pgmq.q_orders")
    assert "unfinished       at least 10,000, about " in ok("describe", "orders", dsn=dsn).stdout
    found = data("check", "--max-depth", "11000", "--ignore", "no_worker", dsn=dsn, code=8)["problems"]
    assert [problem["value"] for problem in found if problem["cause"] == "depth"] == [12000]
