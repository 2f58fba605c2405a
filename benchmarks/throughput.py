"""Deliveries a second of ``qctl worker`` beside its peers: the same POSTs to the same nginx, in turn, in one run.

All with fsync on and everything durable. qctl claims under a lease, signs, posts, archives and logs each attempt, its start-up
included. PgQueuer and procrastinate mark a job as done, or delete it and log that; their start-up is not included. The raw HTTP
client sends the same bodies through bare pycurl and knows no database: what this machine could do at most.
"""

import subprocess
import sys
from dataclasses import dataclass, field

from results import Report, Row
from rig import (
    HERE,
    Nginx,
    Rounds,
    change,
    create,
    drain,
    libpq,
    nginx,
    one,
    options,
    pgqueuer,
    procrastinate,
    refill,
    site,
    version,
)


@dataclass(frozen=True)
class Setting:
    """How qctl runs: settings of the queue, arguments of the worker."""

    name: str
    queue: dict[str, int]
    arguments: list[str] = field(default_factory=list[str])


def at_once(count: int, *arguments: str, name: str = "") -> Setting:
    """So many requests at once; max_in_flight is the default 1000 unless four times as many are more."""
    return Setting(
        name or f"qctl, {count} at once",
        {"concurrency": count, "max_in_flight": max(1000, 4 * count)},
        list(arguments),
    )


SETTINGS = [
    at_once(100),
    at_once(500),
    at_once(100, "--processes", "2", name="qctl, 2 processes, 100 at once each"),
]


def main() -> None:
    """Runs the rounds."""
    size = options(__doc__, rounds=(3, 1), count=(100_000, 2_000), pgqueuer=(20_000, 500), procrastinate=(2_000, 100))
    report = Report(
        "throughput", size.quick, versions=[version(pgqueuer(), "pgqueuer"), version(procrastinate(), "procrastinate")]
    )
    rates = Rounds()
    with site() as (connection, uri), nginx() as endpoint:
        create(connection, "bench", endpoint.url)
        env = libpq(uri)
        subprocess.run([str(pgqueuer().with_name("pgq")), "install"], env=env, check=True, capture_output=True)
        posters = {
            "PgQueuer": (size.pgqueuer, [str(pgqueuer()), "pgqueuer_deliver.py"]),
            "procrastinate": (size.procrastinate, [str(procrastinate()), "procrastinate_deliver.py"]),
            "raw HTTP client": (size.count, [sys.executable, "raw_post.py"]),
        }

        def once(setting: Setting, count: int) -> float:
            change(connection, "bench", **setting.queue)
            refill(connection, "bench", count)
            before = endpoint.requests()
            seconds = drain(uri, "bench", *setting.arguments)
            assert endpoint.requests() - before == count
            assert one(connection, "select count(*) from pgmq.a_bench") == count
            return count / seconds

        once(SETTINGS[0], size.count // 10)
        for number in range(1, size.rounds + 1):
            for setting in SETTINGS:
                rates.add(setting.name, once(setting, size.count))
            for name, (count, (python, script)) in posters.items():
                rates.add(name, posted(endpoint, count, [python, str(HERE / "peers" / script)], env))
            print(
                f"round {number}: " + ", ".join(f"{name} {values[-1]:,.0f}/s" for name, values in rates.values.items()),
                flush=True,
            )

    best = max((setting.name for setting in SETTINGS), key=rates.median)
    for setting in SETTINGS:
        rate, ratio = rates.median(setting.name), rates.ratio(setting.name, "PgQueuer")
        report.add(
            Row(
                f"deliveries end to end: {setting.name}",
                "≥ 20,000/s and ≥ 5 × PgQueuer" if setting.name == best else "",
                f"{rate:,.0f}/s",
                rates.spread(setting.name),
                size.rounds,
                f"PgQueuer {rates.median('PgQueuer'):,.0f}/s",
                ratio,
                rate >= 20_000 and ratio >= 5 if setting.name == best else None,
                f"{size.count:,} messages, signed, fsync on, start-up included",
            )
        )
    for name, (count, _) in posters.items():
        report.add(
            Row(
                f"deliveries end to end: {name}", "", f"{rates.median(name):,.0f}/s", rates.spread(name), size.rounds,
                f"{best} {rates.median(best):,.0f}/s", rates.ratio(best, name), None,
                f"{count:,} requests; the ratio is qctl's rate to this one",
            )
        )  # fmt: skip
    report.save()


def posted(endpoint: Nginx, count: int, command: list[str], env: dict[str, str]) -> float:
    """Requests a second of a poster that prints its seconds."""
    before = endpoint.requests()
    done = subprocess.run([*command, endpoint.url, str(count)], env=env, check=True, stdout=subprocess.PIPE, text=True)
    assert endpoint.requests() - before == count
    return count / float(done.stdout.split()[-1])


if __name__ == "__main__":
    main()
