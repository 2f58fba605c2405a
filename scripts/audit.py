"""What stands in the lock, against the registry at hand: ``python scripts/audit.py LOCK [--strict]``

Three questions, each answered on a line of its own:
  served      does the registry still have, for every pin, a file with one of its hashes?
  yanked      has a maintainer withdrawn one of them (PEP 592)?
  advisories  is a vulnerability known for one of them? Asked by pip-audit, in an environment of its own.

Ends with 1 if a file is not served, withdrawn or vulnerable. A registry that holds no advisories, as a mirror of files, is no
failure but with ``--strict``; it is said.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
AUDITOR = HERE.parent / ".venv/audit"


def pip_report(lock: Path) -> list[dict[str, Any]]:
    """What pip would install of the lock, by pip's own report; ends the program if it would not."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        done = subprocess.run(
            [*_pip(Path(sys.executable)), "install", "--dry-run", "--ignore-installed", "--no-deps", "--require-hashes",
             "--report", report.name, "-r", str(lock)],
            capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if not line.startswith("WARNING")]
            sys.exit("served      no:\n" + "\n".join(errors))
        return json.loads(Path(report.name).read_text())["install"]


def advisories(lock: Path) -> list[dict[str, Any]]:
    """Each pin with its vulnerabilities, or with the reason why none could be looked up."""
    python = AUDITOR / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(AUDITOR)], check=True)
    subprocess.run([*_pip(python), "install", "--quiet", "pip-audit"], check=True, stderr=subprocess.DEVNULL)
    done = subprocess.run(
        [str(python), "-m", "pip_audit", "--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json",
         "-r", str(lock)],
        capture_output=True, text=True,
    )  # fmt: skip
    try:
        return json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return [{"name": "all", "skip_reason": (done.stderr.splitlines() or ["pip-audit said nothing"])[-1]}]


def _pip(python: Path) -> list[str]:
    return [str(python), "-m", "pip", "--disable-pip-version-check"]


def main() -> None:
    """Asks and answers."""
    lock, strict = Path(sys.argv[1]), "--strict" in sys.argv
    served = pip_report(lock)
    print(f"served      {len(served)} of {len(served)} pins for this platform, with the hashes of {lock}")
    yanked = [item["metadata"]["name"] for item in served if item.get("is_yanked")]
    print(f"yanked      {', '.join(yanked) or 'none'}")
    found = advisories(lock)
    looked_up = [item for item in found if "vulns" in item]
    vulnerable = [item for item in looked_up if item["vulns"]]
    if looked_up:
        unknown = len(found) - len(looked_up)
        print(f"advisories  {len(vulnerable)} of {len(looked_up)} are vulnerable; {unknown} could not be looked up")
    else:
        print(f"advisories  not known: the registry at hand has none ({found[0]['skip_reason']})")
    for item in vulnerable:
        for known in item["vulns"]:
            print(
                f"  {item['name']} {item['version']}: {known['id']}, mended in {', '.join(known['fix_versions']) or 'no release'}"
            )
    sys.exit(1 if yanked or vulnerable or (strict and len(looked_up) < len(found)) else 0)


if __name__ == "__main__":
    main()
