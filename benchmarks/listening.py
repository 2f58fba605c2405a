"""qctl listen beside a worker: are copies lost, does it grow, at 500 events a second for five minutes.

A queue is delivered to nginx by a worker, and forwarded to another nginx by ``qctl listen --to``. In the end each has got each
message once. Memory is what the process holds after the first tenth, and at the end.
"""

import subprocess
import time
from contextlib import ExitStack

from results import Report, Row
from rig import QCTL, create, memory_mb, nginx, one, options, site, wait_until, worker

INSERT = (
    "insert into pgmq.q_bench (vt, message)"
    " select clock_timestamp(), jsonb_build_object('n', n) from generate_series(1, %s) n"
)


def main() -> None:
    """One run."""
    size = options(__doc__, rate=(500, 200), seconds=(300, 5))
    report = Report("listening", size.quick)
    with ExitStack() as stack:
        connection, uri = stack.enter_context(site())
        receiver = stack.enter_context(nginx(log=True))
        local = stack.enter_context(nginx(log=True))
        create(connection, "bench", receiver.url)
        stack.enter_context(worker(uri, "-q", "bench", "--grace", "1s"))
        command = [QCTL, "--dsn", uri, "listen", "-q", "bench", "--to", local.url]
        listening = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        stack.callback(listening.wait)
        stack.callback(listening.terminate)
        assert listening.stderr
        while "signed with" not in listening.stderr.readline():
            assert listening.poll() is None
        total, first = size.rate * size.seconds, 0.0
        started = time.monotonic()
        for number in range(size.seconds * 10):
            connection.execute(INSERT, [size.rate // 10])
            if number == size.seconds:
                first = memory_mb(listening.pid, "VmRSS")
            time.sleep(max(0.0, started + (number + 1) / 10 - time.monotonic()))
        wait_until(lambda: one(connection, "select count(*) from pgmq.q_bench") == 0, 120, "all delivered")
        wait_until(lambda: len(local.seen()) >= total, 60, "all forwarded")
        last = memory_mb(listening.pid, "VmRSS")
        for name, server in (("forwarded", local), ("delivered", receiver)):
            ids = [webhook_id for _, webhook_id in server.seen()]
            report.add(
                Row(
                    f"listen at {size.rate}/s for {size.seconds} s, {name}", "each once", f"{len(set(ids)):,} of {total:,}",
                    met=len(ids) == len(set(ids)) == total,
                )
            )  # fmt: skip
        report.add(
            Row(
                "listen, memory", "≤ 1.1 ×", f"{last:.1f} MB", beside=f"at the beginning {first:.1f} MB",
                ratio=last / first, met=last <= 1.1 * first,
            )
        )  # fmt: skip
    report.save()


if __name__ == "__main__":
    main()
