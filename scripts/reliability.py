"""Injects every fault of ``tests/chaos/faults.py`` repeatedly under load and writes ``docs/reliability.md``.

    python scripts/reliability.py [--injections 5] [--messages 9000] [--long-s 60] [--at-once 2]

The default is the long form of ``make chaos``: more than 100,000 messages, about 30 min. Needs Debian's PostgreSQL.
"""

import argparse
import platform
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TOP = Path(__file__).parents[1]
sys.path[:0] = [str(TOP / "tests"), str(TOP / "tests/chaos")]
from faults import FAULTS  # noqa: E402
from rig import Result  # noqa: E402

from servers import debian_binaries  # noqa: E402

PAGE = TOP / "docs/reliability.md"
BEGIN, END = "<!-- faults: begin -->\n", "<!-- faults: end -->\n"


def run(name: str, options: argparse.Namespace) -> Result | str:
    """Runs one fault and returns its result, or the reason why it could not run."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            result = FAULTS[name](Path(folder), options.injections, options.messages, options.long_s)
        except PermissionError as error:
            return f"{name}: not run, {error}"
    print(result, flush=True)
    return result


def table(results: list[Result | str], took_s: float, options: argparse.Namespace) -> str:
    """Returns the Markdown between the marks."""
    version = subprocess.run(
        [str(debian_binaries() / "postgres"), "--version"], capture_output=True, text=True, check=True
    )
    done = [result for result in results if isinstance(result, Result)]
    lines = [
        f"{sum(r.messages for r in done):,} messages, {sum(r.injections for r in done)} injections, {took_s / 60:.0f} min, on"
        f" {time.strftime('%Y-%m-%d')} with {version.stdout.strip()} and Python {platform.python_version()}.",
        f"Command: `python scripts/reliability.py --injections {options.injections} --messages {options.messages} --long-s"
        f" {options.long_s:.0f}`.",
        "",
        "| fault | injections | messages | lost | falsely delivered | dead | duplicates | recovery, max |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
        *(
            f"| {r.fault} | {r.injections} | {r.messages:,} | {r.lost} | {r.false} | {r.dead} | {r.duplicates:,} |"
            f" {r.recovery_s:.1f} s |"
            for r in done
        ),
        *(f"\n{result}" for result in results if isinstance(result, str)),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Runs all faults, writes the page and returns the exit code: 1 if a message was lost or falsely delivered."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--injections", type=int, default=5)
    parser.add_argument("--messages", type=int, default=9000)
    parser.add_argument("--long-s", type=float, default=60)
    parser.add_argument("--at-once", type=int, default=2)
    options = parser.parse_args()
    if debian_binaries() is None:
        sys.exit("Debian's PostgreSQL not found; run: sh scripts/debian_parts.sh")
    started = time.monotonic()
    with ThreadPoolExecutor(options.at_once) as pool:
        results = list(pool.map(lambda name: run(name, options), FAULTS))
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(
        before + BEGIN + table(results, time.monotonic() - started, options) + END + after, encoding="utf-8"
    )
    return int(any(r.lost or r.false for r in results if isinstance(r, Result)))


if __name__ == "__main__":
    sys.exit(main())
