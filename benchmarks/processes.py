"""1, 2 and 4 worker processes on one queue: throughput, and whether each message came exactly once.

Once as one ``qctl worker --processes N``, once as N commands that know nothing of each other. nginx writes down the webhook-id of
each request. The time counts from the start of the first to the end of the last.
"""

import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

from results import Plot, Report, Row
from rig import LOGGED_S, Rounds, create, drain, nginx, one, options, refill, site

PROCESSES = (1, 2, 4)
# What two runs of the same may differ by.
NOISE = 0.95
WAYS: dict[str, Callable[[str, int], float]] = {
    "by --processes": lambda uri, count: drain(uri, "bench", "--processes", str(count)),
    "by themselves": lambda uri, count: drain(uri, "bench", processes=count),
}


def main() -> None:
    """All in turn."""
    size = options(__doc__, rounds=(3, 1), count=(60_000, 2_000))
    report, rates = Report("processes", size.quick), Rounds()
    lost = dict.fromkeys(WAYS, 0)
    twice = dict.fromkeys(WAYS, 0)
    with site() as (connection, uri), nginx(log=True) as endpoint:
        create(connection, "bench", endpoint.url, concurrency=100, max_in_flight=1600)
        refill(connection, "bench", size.count // 10)
        drain(uri, "bench")
        time.sleep(LOGGED_S)
        for _ in range(size.rounds):
            for processes in PROCESSES:
                for way, work in WAYS.items():
                    refill(connection, "bench", size.count)
                    endpoint.forget()
                    rates.add(f"{processes} {way}", size.count / work(uri, processes))
                    time.sleep(LOGGED_S)
                    came = Counter(webhook_id for _, webhook_id in endpoint.seen())
                    rows = connection.execute(
                        "select qctl.webhook_id(q.queue_uuid, a.msg_id, a.enqueued_at) from pgmq.a_bench a, qctl.queue q"
                    ).fetchall()
                    assert one(connection, "select count(*) from pgmq.q_bench") == 0
                    lost[way] += size.count - sum(row[0] in came for row in rows)
                    twice[way] += sum(count - 1 for count in came.values())
            print(", ".join(f"{name} {values[-1]:,.0f}/s" for name, values in rates.values.items()), flush=True)
    lines = {}
    for way in WAYS:
        medians = {processes: rates.median(f"{processes} {way}") for processes in PROCESSES}
        falls = any(medians[more] < NOISE * medians[fewer] for fewer, more in pairwise(PROCESSES))
        came_once = f"{lost[way]} lost, {twice[way]} twice in all rounds; start-up included; 5 % are taken for noise"
        lines[way] = [(processes, round(rate)) for processes, rate in medians.items()]
        for processes, rate in medians.items():
            name, is_last = f"{processes} {way}", processes == PROCESSES[-1]
            report.add(
                Row(
                    f"worker processes on one queue, {way}: {processes}",
                    "none lost, none twice, throughput never falls" if is_last else "",
                    f"{rate:,.0f}/s", rates.spread(name), size.rounds, "" if processes == 1 else f"1 process {medians[1]:,.0f}/s",
                    None if processes == 1 else rate / medians[1], not (lost[way] or twice[way] or falls) if is_last else None,
                    came_once if is_last else "",
                )
            )  # fmt: skip
    report.plots.append(Plot("workers", "Throughput by worker processes", "processes", "deliveries/s", lines))
    report.save()


if __name__ == "__main__":
    main()
