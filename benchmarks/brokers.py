"""Hand-over: qctl worker beside the same library publishing the same bytes with confirms and no database.

Each broker is the one that its tests start, on this machine, on disk; signed, --log failures, fsync on. "library" is the
carrier's own connection, in batches as the worker sends them. The database's CPU is that of all processes of PostgreSQL
while the worker drains, its start included. SQS is moto, which says nothing about SQS; it is left out.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from results import Report, Row
from rig import QCTL, Rounds, change, create, one, options, refill, site
from seed import server_cpu_s

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/brokers"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from far import FARS, missing

from qctl.worker import carriers
from qctl.worker.carriers.broker import Destination, HandoverError, Outgoing

NAMES = ("rabbitmq", "nats", "redis", "kafka")


async def publish(url: str, messages: list[Outgoing]) -> float:
    """Seconds in which the library publishes all, 500 at once."""
    connection = await carriers.connect(Destination(url, {}, {"127.0.0.1": ["127.0.0.1"]}, 15))
    began = time.monotonic()
    for start in range(0, len(messages), 500):
        results = await connection.publish(messages[start : start + 500])
        assert not any(isinstance(result, HandoverError) for result in results), results
    took_s = time.monotonic() - began
    await connection.close()
    return took_s


def main() -> None:
    """Measures and reports."""
    given = options(__doc__ or "", NAMES, messages=(20_000, 500), rounds=(3, 1))
    report = Report("brokers", quick=given.quick)
    for name in given.parts:
        if why := missing(name):
            print(f"{name}: {why}")
            continue
        rounds = Rounds()
        with tempfile.TemporaryDirectory() as folder, site() as (connection, uri):
            far = FARS[name](Path(folder) / name)
            try:
                create(connection, "bench", far.url, log="failures", concurrency=500, max_in_flight=4000)
                postmaster = int(
                    (Path(one(connection, "show data_directory")) / "postmaster.pid").read_text().split()[0]
                )
                for _ in range(given.rounds):
                    for archive in (True, False):
                        change(connection, "bench", archive=archive)
                        refill(connection, "bench", given.messages)
                        body = one(connection, "select message::text from pgmq.q_bench limit 1").encode()
                        before, began = server_cpu_s(postmaster), time.monotonic()
                        subprocess.run(
                            [QCTL, "worker", "-q", "bench", "--drain"],
                            env={**os.environ, "QCTL_DSN": uri}, check=True, stderr=subprocess.DEVNULL,
                        )  # fmt: skip
                        took_s = time.monotonic() - began
                        kind = "archived" if archive else "not archived"
                        rounds.add(f"{kind} per s", given.messages / took_s)
                        rounds.add(f"{kind} us", (server_cpu_s(postmaster) - before) / given.messages * 1e6)
                    headers = {
                        "webhook-timestamp": "1795985069", "content-type": "application/json",
                        "webhook-signature": "v1," + "A" * 44,
                    }  # fmt: skip
                    messages = [
                        Outgoing(
                            f"msg_{time.monotonic_ns()}_{n}", None, {**headers, "webhook-id": f"msg_{n:064}"}, body
                        )
                        for n in range(given.messages)
                    ]
                    rounds.add("library per s", given.messages / asyncio.run(publish(far.url, messages)))
            finally:
                far.close()
        ratio = rounds.ratio("archived per s", "library per s")
        report.add(
            Row(
                f"hand-over to {name}: messages/s",
                target="≥ 0.5 × the library alone",
                measured=f"{rounds.median('archived per s'):,.0f}/s",
                beside=f"the library, no database {rounds.median('library per s'):,.0f}/s",
                ratio=ratio,
                met=ratio >= 0.5,
                rounds=given.rounds,
                spread=rounds.spread("archived per s"),
                note=f"{given.messages:,} messages, start of the worker included",
            )
        )
        spent = rounds.median("archived us")
        report.add(
            Row(
                f"hand-over to {name}: database per message, --log failures",
                target="≤ 25 µs",
                measured=f"{spent:.0f} µs",
                beside=f"--archive off {rounds.median('not archived us'):.0f} µs",
                ratio=spent / rounds.median("not archived us"),
                met=spent <= 25,
                rounds=given.rounds,
                spread=rounds.spread("archived us"),
                note="CPU of all processes of PostgreSQL",
            )
        )
    report.save()


if __name__ == "__main__":
    main()
