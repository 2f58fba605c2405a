"""How long a person waits: ``qctl help --all`` beside those of pgq and procrastinate, and ``qctl status`` beside a bare script.

Each of a wheel in an environment of its own; the bare script, in qctl's, imports typer and psycopg and asks the one query that
``status`` asks. In turn, in one run, after a warm-up; the figures are medians of ``--rounds`` processes, in seconds.
"""

import os
import subprocess
import time
from pathlib import Path

from results import Report, Row
from rig import HERE, Rounds, create, options, peer, pgqueuer, procrastinate, site, version

BARE = """
import sys
import psycopg
import typer
app = typer.Typer()
@app.command()
def status(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for row in connection.execute("select queue_name, health, depth, lag_s from qctl.status"):
            print(*row)
app()
"""


def qctl() -> Path:
    """The folder of qctl's programs, of a wheel of what is here now."""
    python = peer("qctl", str(HERE.parent))
    pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--force-reinstall"]
    subprocess.run([*pip, str(HERE.parent)], check=True)
    return python.parent


def main() -> None:
    """All in turn."""
    size = options(__doc__, rounds=(21, 3))
    report, taken = Report("startup", size.quick), Rounds()
    report.versions = [version(pgqueuer(), "pgqueuer"), version(procrastinate(), "procrastinate")]
    ours = qctl()
    with site() as (connection, uri):
        create(connection, "orders", "http://127.0.0.1:9/x")
        commands = {
            "qctl help --all": [str(ours / "qctl"), "help", "--all"],
            "pgq --help": [str(pgqueuer().with_name("pgq")), "--help"],
            "procrastinate --help": [str(procrastinate().with_name("procrastinate")), "--help"],
            "qctl status": [str(ours / "qctl"), "status", "--dsn", uri],
            "a bare script": [str(ours / "python"), "-c", BARE, uri],
            "qctl --version": [str(ours / "qctl"), "--version"],
            "qctl status --help": [str(ours / "qctl"), "status", "--help"],
        }
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("QCTL_", "PG"))}
        for number in range(-1, size.rounds):
            for name, command in commands.items():
                began = time.perf_counter()
                subprocess.run(
                    command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
                )
                if number >= 0:
                    taken.add(name, time.perf_counter() - began)
    for name in commands:
        print(f"{name:22} {taken.median(name):.3f} s")
    for name, beside, most in (
        ("qctl help --all", "pgq --help", 0.4),
        ("qctl help --all", "procrastinate --help", None),
        ("qctl status", "a bare script", 1.3),
    ):
        ratio = taken.ratio(name, beside)
        report.add(
            Row(
                f"start-up: {name} beside {beside}", f"≤ {most} × {beside}" if most else "", f"{taken.median(name):.3f} s",
                taken.spread(name, ".3f"), size.rounds, f"{beside} {taken.median(beside):.3f} s", ratio,
                ratio <= most if most else None,
            )
        )  # fmt: skip
    report.save()


if __name__ == "__main__":
    main()
