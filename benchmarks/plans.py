"""``EXPLAIN (ANALYZE, BUFFERS)`` of the hot statements, for the docs: writes ``benchmarks/PLANS.md``.

From what flat.py saved at its largest size: of each question the statements that touch a table that grows, the costliest first.
"""

import argparse
import os
import re

from results import SAVED, table
from rig import HERE

QUESTIONS = ("status", "lag", "show", "messages", "tail", "check", "claim and settle", "capture", "purge")
TOUCHED = re.compile(
    r"(?:(?:Index Only |Index |Seq |Bitmap Heap |Tid )Scan(?: Backward)?(?: using (\S+))?|Insert|Update|Delete) on (\w+)"
)
GROWING = {"q_orders", "a_orders", "attempt"}
LONGEST = 170


def statements(section: str) -> list[str]:
    """Each with its time and plan; only those that touch a table that grows."""
    found = re.split(r"\n\n(?=[\d.]+ ms, \d+ times\n)", "\n\n" + section.strip())
    return [one for one in found if any(name in GROWING for _, name in TOUCHED.findall(one))]


def summary(question: str, found: list[str]) -> list[str]:
    """A line: time in all of them, buffers, how each growing table was reached."""
    spent = sum(float(one.split(" ms", 1)[0]) for one in found)
    buffers = 0
    for one in found:
        # The first node's buffers are those of all below it.
        if first := re.search(r"Buffers: shared (.*)", one):
            buffers += sum(int(number) for number in re.findall(r"(?:hit|read)=(\d+)", first[1]))
    reached = {(index, name) for one in found for index, name in TOUCHED.findall(one) if name in GROWING}
    ways = sorted(f"`{index}`" for index, _ in reached if index)
    scans = sorted(
        {f"{name} from its begin" for one in found for name in re.findall(r"Seq Scan on (\w+)", one) if name in GROWING}
    )
    return [question, f"{len(found)}", f"{spent:.2f} ms", f"{buffers:,}", ", ".join(ways + scans)]


def main() -> None:
    """Writes them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    saved = (SAVED / "quick" if quick else SAVED) / "explain.txt"
    target = SAVED / "quick/PLANS.md" if quick else HERE / "PLANS.md"
    if not saved.exists():
        raise SystemExit("no plans were saved yet: make bench-flat")
    head, *parts = re.split(r"^={20} (.*)\n", saved.read_text(), flags=re.MULTILINE)
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    found = {question: statements(sections[question]) for question in QUESTIONS}
    lines = [
        "# Plans", "",
        "Written by `make bench-plans` from what `make bench-flat` saved.", "",
        "<!-- --8<-- [start:summary] -->", "",
        table(["question", "statements", "time", "pages", "reached by"], [summary(q, s) for q, s in found.items() if s]), "",
        "<!-- --8<-- [end:summary] -->", "",
        "<!-- --8<-- [start:plans] -->", "",
        f"`{head.strip().removeprefix('-- ')}`", "",
    ]  # fmt: skip
    for question, ones in found.items():
        for one in ones:
            shown = "\n".join(
                text[:LONGEST] + ("…" if len(text) > LONGEST else "") for text in one.rstrip().splitlines()
            )
            lines += [f"## {question}" if one is ones[0] else "", "", "```text", shown, "```", ""]
    lines += ["<!-- --8<-- [end:plans] -->", ""]
    target.write_text("\n".join(lines))
    print(f"written: {os.path.relpath(target)}")


if __name__ == "__main__":
    main()
