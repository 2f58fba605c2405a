"""1, 2 and 4 worker processes on one queue: throughput, and whether each message came exactly once.

nginx writes down the webhook-id of each request. The time counts from the start of the workers to the end of the last.
"""

import time
from collections import Counter
from itertools import pairwise

from results import Plot, Report, Row
from rig import LOGGED_S, Rounds, create, drain, nginx, one, options, refill, site

PROCESSES = (1, 2, 4)
# What two runs of the same may differ by.
NOISE = 0.95


def main() -> None:
    """All in turn."""
    size = options(__doc__, rounds=(3, 1), count=(60_000, 2_000))
    report, rates = Report("processes", size.quick), Rounds()
    lost = twice = 0
    with site() as (connection, uri), nginx(log=True) as endpoint:
        create(connection, "bench", endpoint.url, concurrency=100, max_in_flight=1600)
        for _ in range(size.rounds):
            for processes in PROCESSES:
                refill(connection, "bench", size.count)
                endpoint.forget()
                seconds = drain(uri, "bench", processes=processes)
                rates.add(str(processes), size.count / seconds)
                time.sleep(LOGGED_S)
                came = Counter(webhook_id for _, webhook_id in endpoint.seen())
                rows = connection.execute(
                    "select qctl.webhook_id(q.queue_uuid, a.msg_id, a.enqueued_at) from pgmq.a_bench a, qctl.queue q"
                ).fetchall()
                assert one(connection, "select count(*) from pgmq.q_bench") == 0
                lost += size.count - sum(row[0] in came for row in rows)
                twice += sum(count - 1 for count in came.values())
            print(
                ", ".join(f"{name} processes {values[-1]:,.0f}/s" for name, values in rates.values.items()), flush=True
            )
    falls = [rates.median(str(more)) < NOISE * rates.median(str(fewer)) for fewer, more in pairwise(PROCESSES)]
    for processes in PROCESSES:
        is_last = processes == PROCESSES[-1]
        report.add(
            Row(
                f"worker processes on one queue: {processes}", "none lost, none twice, throughput never falls" if is_last else "",
                f"{rates.median(str(processes)):,.0f}/s", rates.spread(str(processes)), size.rounds,
                "" if processes == 1 else f"1 process {rates.median('1'):,.0f}/s",
                None if processes == 1 else rates.ratio(str(processes), "1"),
                not (lost or twice or any(falls)) if is_last else None,
                f"{lost} lost, {twice} twice in all rounds; start-up included; 5 % are taken for noise" if is_last else "",
            )
        )  # fmt: skip
    points = [(processes, round(rates.median(str(processes)))) for processes in PROCESSES]
    report.plots.append(
        Plot("workers", "Throughput by worker processes", "processes", "deliveries/s", {"qctl worker": points})
    )
    report.save()


if __name__ == "__main__":
    main()
