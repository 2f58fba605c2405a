"""Claiming behind hidden messages: 200,000 that are not due stand at the head of the queue, before those that are.

Two queues on one server, one with and one without hidden messages, each with as many due ones: a claim of 50 is timed in turn in
the one and the other, and ``pgmq.read`` of 50 beside it.
"""

import time

import psycopg
from results import Report, Row
from rig import Rounds, create, fill, options, site

BATCH = 50


def claim_ms(connection: psycopg.Connection, queue: str) -> float:
    """Of one claim; what it took is given back."""
    started = time.perf_counter()
    rows = connection.execute("select msg_id, lease from qctl.claim(%s, %s)", (queue, BATCH)).fetchall()
    took = (time.perf_counter() - started) * 1000
    assert len(rows) == BATCH
    connection.execute("select qctl.release(%s, %s, %s)", (queue, [row[1] for row in rows], [row[0] for row in rows]))
    return took


def read_ms(connection: psycopg.Connection, queue: str) -> float:
    """Of one pgmq.read; what it took is visible again."""
    started = time.perf_counter()
    rows = connection.execute("select msg_id from pgmq.read(%s, 60, %s)", (queue, BATCH)).fetchall()
    took = (time.perf_counter() - started) * 1000
    assert len(rows) == BATCH
    connection.execute(f"update pgmq.q_{queue} set vt = now() where msg_id = any (%s)", ([row[0] for row in rows],))
    return took


def main() -> None:
    """All in turn."""
    size = options(__doc__, rounds=(100, 10), hidden=(200_000, 10_000), due=(10_000, 500))
    report, taken = Report("hidden", size.quick), Rounds()
    with site() as (connection, _):
        for queue, hidden in (("plain", 0), ("hiding", size.hidden)):
            create(connection, queue, "http://127.0.0.1:9/")
            connection.execute(
                f"insert into pgmq.q_{queue} (vt, message)"
                " select now() + interval '1 h', '{}' from generate_series(1, %s::bigint)",
                (hidden,),
            )
            fill(connection, queue, size.due)
            connection.execute(f"vacuum analyze pgmq.q_{queue}")
        for number in range(-2, size.rounds):
            for queue in ("plain", "hiding"):
                for name, measure in (("claim", claim_ms), ("read", read_ms)):
                    took = measure(connection, queue)
                    if number >= 0:
                        taken.add(f"{name} {queue}", took)
    for name, what in (("claim", "a claim of 50"), ("read", "pgmq.read of 50")):
        ratio = taken.ratio(f"{name} hiding", f"{name} plain")
        report.add(
            Row(
                f"{what} behind {size.hidden:,} hidden messages", "within 2 ×" if name == "claim" else "",
                f"{taken.median(f'{name} hiding'):.2f} ms", taken.spread(f"{name} hiding", ".2f"), size.rounds,
                f"without them {taken.median(f'{name} plain'):.2f} ms", ratio, ratio <= 2 if name == "claim" else None,
            )
        )  # fmt: skip
    report.save()


if __name__ == "__main__":
    main()
