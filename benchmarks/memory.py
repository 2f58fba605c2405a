"""The most memory that ``qctl worker`` has resident (VmHWM) while it empties a queue: by depth, and by size of the payloads.

A new worker for each depth, of 1 KB payloads; and 1 MB payloads, few and many. nginx takes them all.
"""

import time
from contextlib import suppress

from results import Report, Row
from rig import Rounds, create, memory_mb, nginx, options, refill, site, start_worker

BODIES = {"1 KB": 1_000, "1 MB": 1_000_000}


def most_mb(uri: str) -> float:
    """Of one worker, until the queue is empty."""
    process, most = start_worker(uri, "-q", "bench", "--drain"), 0.0
    while process.poll() is None:
        with suppress(OSError):
            most = max(most, memory_mb(process.pid))
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"qctl worker ended with {process.returncode}")
    return most


def main() -> None:
    """Each depth in turn."""
    size = options(__doc__, rounds=(3, 1), depth=(1_000_000, 10_000), large=(4_000, 60))
    depths = sorted({1_000, min(100_000, size.depth), size.depth})
    cases = [("1 KB", depth) for depth in depths] + [("1 MB", size.large // 4), ("1 MB", size.large)]
    report, found = Report("memory", size.quick), Rounds()
    with site() as (connection, uri), nginx() as endpoint:
        create(connection, "bench", endpoint.url)
        for number in range(size.rounds):
            for payload, depth in cases:
                # The deepest queue takes minutes, and once is enough: its memory is not a matter of luck.
                if depth > 100_000 and number:
                    continue
                name = f"{payload}, {depth:,} deep"
                body = f"jsonb_build_object('id', n, 'text', repeat('x', {BODIES[payload]}))"
                refill(connection, "bench", depth, body)
                print(f"{name}: {found.add(name, most_mb(uri)):.0f} MB", flush=True)
    first = {payload: next(name for name in found.values if name.startswith(payload)) for payload in BODIES}
    for name, values in found.values.items():
        most, beside = found.median(name), first[name[:4]]
        small = name.startswith("1 KB")
        is_last = name == list(found.values)[-1]
        ratio = found.ratio(name, beside) if name != beside else None
        report.add(
            Row(
                f"worker memory: {name}",
                "≤ 120 MB" if small else "bounded: ≤ 1.2 × of a quarter as deep" if is_last else "",
                f"{most:.0f} MB", found.spread(name), len(values),
                "" if name == beside else f"{beside} {found.median(beside):.0f} MB",
                ratio, most <= 120 if small else ratio <= 1.2 if is_last else None,
            )
        )  # fmt: skip
    report.save()


if __name__ == "__main__":
    main()
