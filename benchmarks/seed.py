"""The seed's case: 5,000 events a minute, an endpoint that takes 200 ms. What does it cost the database, beside release 0.6.0?

Single rows are committed at random moments, 83 a second on average, into an attached table; one worker delivers, signed, fsync
on. Counted is the CPU time of all processes of the server: backends, workers, checkpointer, WAL writer, autovacuum. The
share while nobody writes is subtracted and printed. 0.6.0 is its own code, from its commit, on a server of its own; both run in
turn. A latency counts from just before the insert is sent, so its own flush to disk is in it, until the endpoint has the request.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
from psycopg.types.json import Jsonb
from results import Report, Row
from rig import CLOCK_TICKS, HERE, Rounds, family, one, options, percentile, postgres, wait_until

SERVICE_MS = 200
WHAT = ("idle", "share", "active", "p50", "p99")
RELEASED = HERE.parent / "tests/upgrade/released/v0.6.0.commit"
CODE = HERE.parent / ".venv/released/0.6.0"


def released() -> Path:
    """The code of 0.6.0, taken out of the repository once."""
    if not (CODE / "src").is_dir():
        CODE.mkdir(parents=True, exist_ok=True)
        archive = subprocess.run(
            ["git", "archive", RELEASED.read_text().strip(), "src", "sql"],
            cwd=HERE.parent,
            check=True,
            stdout=subprocess.PIPE,
        )
        subprocess.run(["tar", "x", "-C", str(CODE)], input=archive.stdout, check=True)
    return CODE / "src"


def server_cpu_s(postmaster: int) -> float:
    """Seconds of CPU of a server: its processes that run, and those that have ended."""
    total = 0.0
    for pid in family(postmaster):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(map(int, fields[11:15] if pid == postmaster else fields[11:13])) / CLOCK_TICKS
    return total


class Case:
    """One run of one version."""

    def __init__(self, source: Path, uri: str, folder: Path, settings: dict[str, object]) -> None:
        self._uri = uri
        self._env = {**os.environ, "PYTHONPATH": str(source), "QCTL_DSN": uri}
        self._ledger = folder / "ledger"
        self._ledger.touch()
        places = [sys.executable, str(HERE / "places.py"), str(self._ledger), "1000", str(SERVICE_MS)]
        self._endpoint = subprocess.Popen(places, stdout=subprocess.PIPE, text=True)
        assert self._endpoint.stdout
        url = f"http://127.0.0.1:{self._endpoint.stdout.readline().strip()}/hook"
        self._qctl("install")
        self._connection = psycopg.connect(uri, autocommit=True)
        self._connection.execute("create table public.users (id int primary key, name text)")
        self._connection.execute(
            "select qctl.create_queue('bench', %s, p_settings => %s)",
            (url, Jsonb({"transport": "http", "allow_networks": ["127.0.0.0/8"], **settings})),
        )
        self._connection.execute("select qctl.rotate_secret('bench')")
        self._connection.execute("select qctl.attach('public.users', 'bench')")
        self._worker = subprocess.Popen(
            self._command("worker", "-q", "bench"), env=self._env, stderr=subprocess.DEVNULL
        )
        self._postmaster = int(
            (Path(one(self._connection, "show data_directory")) / "postmaster.pid").read_text().split()[0]
        )

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "qctl", *arguments]

    def _qctl(self, *arguments: str) -> None:
        subprocess.run(self._command(*arguments), env=self._env, check=True, capture_output=True)

    def close(self) -> None:
        for process in (self._worker, self._endpoint):
            process.kill()
            process.communicate()
        self._connection.close()

    def share(self, seconds: float, write: bool) -> tuple[float, float]:
        """Shares of a core that the server takes and of time in which its sessions are active, while rows are written or not."""
        active = "select active_time from pg_stat_database where datname = current_database()"
        with psycopg.connect(self._uri, autocommit=True) as looking:
            before, active_ms, began = server_cpu_s(self._postmaster), one(looking, active), time.monotonic()
        if write:
            self.written = self._write(seconds)
        else:
            time.sleep(seconds)
        took = time.monotonic() - began
        used = server_cpu_s(self._postmaster) - before
        time.sleep(1)
        with psycopg.connect(self._uri, autocommit=True) as looking:
            return used / took, (one(looking, active) - active_ms) / 1000 / took

    def _write(self, seconds: float) -> dict[int, float]:
        choose, begun = random.Random(1), dict[int, float]()
        first = one(self._connection, "select count(*) from public.users")
        start = due = time.monotonic()
        with psycopg.connect(self._uri, autocommit=True) as writer:
            while (due := due + choose.expovariate(5000 / 60)) < start + seconds:
                time.sleep(max(0.0, due - time.monotonic()))
                number = first + len(begun) + 1
                begun[number] = time.time()
                writer.execute("insert into public.users values (%s, 'x')", (number,), prepare=True)
        return begun

    def waited_ms(self) -> list[float]:
        """Milliseconds from before the insert to the request."""
        wait_until(
            lambda: not one(self._connection, "select exists (select from pgmq.q_bench)"), 30, "all are delivered"
        )
        arrived = {body["record"]["id"]: at for at, _, body in map(json.loads, self._ledger.read_text().splitlines())}
        return [(arrived[number] - at) * 1000 - SERVICE_MS for number, at in self.written.items()]


def main() -> None:
    """Runs the rounds."""
    size = options(__doc__, rounds=(3, 1), seconds=(60.0, 5.0))
    report = Report("seed", size.quick)
    found = Rounds()
    now = HERE.parent / "src"
    cases = {"0.6.0": (released(), {}), "now": (now, {}), "now, --linger 0": (now, {"linger_ms": 0})}
    for number in range(1, size.rounds + 1):
        for name, (source, settings) in cases.items():
            with postgres() as uri, tempfile.TemporaryDirectory() as folder:
                case = Case(source, uri, Path(folder), settings)
                try:
                    case.share(2, write=True)
                    idle, _ = case.share(size.seconds / 4, write=False)
                    busy, active = case.share(size.seconds, write=True)
                    waited = case.waited_ms()
                finally:
                    case.close()
            p50, p99 = percentile(waited, 0.5), percentile(waited, 0.99)
            for what, value in zip(WHAT, (idle, busy - idle, active, p50, p99), strict=True):
                found.add(f"{name} {what}", value)
            print(
                f"round {number}: {name}: {busy - idle:.1%} of a core (idle {idle:.1%}, active {active:.1%}), commit to POST"
                f" p50 {p50:.0f} ms, p99 {p99:.0f} ms",
                flush=True,
            )
    before = {what: found.median(f"0.6.0 {what}") for what in WHAT}
    for name in list(cases)[1:]:
        after = {what: found.median(f"{name} {what}") for what in WHAT}
        ratio, target = after["share"] / before["share"], name == "now"
        report.add(
            Row(
                f"the seed's case, {name}: CPU of all processes of PostgreSQL",
                "≤ 0.2 × 0.6.0" if target else "",
                f"{after['share']:.1%} of a core",
                found.spread(f"{name} share", ".3f"),
                size.rounds,
                f"0.6.0 {before['share']:.1%}",
                ratio,
                ratio <= 0.2 if target else None,
                f"idle {after['idle']:.1%} subtracted; sessions active {after['active']:.1%}, 0.6.0 {before['active']:.1%}",
            )
        )
        report.add(
            Row(
                f"the seed's case, {name}: commit to POST",
                "p50 ≤ 60 ms, p99 ≤ 250 ms" if target else "",
                f"p50 {after['p50']:.0f} ms, p99 {after['p99']:.0f} ms",
                "",
                size.rounds,
                f"0.6.0 p50 {before['p50']:.0f} ms, p99 {before['p99']:.0f} ms",
                None,
                after["p50"] <= 60 and after["p99"] <= 250 if target else None,
            )
        )
    report.save()


if __name__ == "__main__":
    main()
