"""Prints a release's notes: its section of CHANGELOG.md. Without a version those of the newest section."""

import re
import sys
from pathlib import Path

CHANGELOG = Path(__file__).parents[1] / "CHANGELOG.md"


def notes(text: str, version: str) -> str | None:
    """The section of a version, without its heading; None if there is none."""
    found = re.search(rf"^## \[{re.escape(version)}\][^\n]*\n(.*?)(?=^## \[|\Z)", text, re.MULTILINE | re.DOTALL)
    return found[1].strip() + "\n" if found else None


def main() -> None:
    """Prints, or ends with 1."""
    text = CHANGELOG.read_text(encoding="utf-8")
    newest = re.search(r"^## \[([^\]]+)\]", text, re.MULTILINE)
    version = sys.argv[1] if len(sys.argv) > 1 else newest[1] if newest else ""
    found = notes(text, version)
    if found is None:
        sys.exit(f"CHANGELOG.md has no section [{version}]")
    print(found, end="")


if __name__ == "__main__":
    main()
