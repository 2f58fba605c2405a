"""The table of all results. ``python benchmarks/results.py`` prints it and writes ``benchmarks/RESULTS.md`` and ``docs/plots``.

Each script saves its rows as ``.venv/bench/NAME.json``. With ``--quick`` only what was measured with ``--quick`` is read, and
everything is written beside it, for such figures say nothing.
"""

import argparse
import json
import os
import platform
import re
import subprocess
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rig import HERE, machine, nginx_program, peer

from qctl import __version__
from qctl.demo import embedded

SAVED = HERE.parent / ".venv/bench"
PLOTS = HERE.parent / "docs/plots"
VERDICT = {True: "met", False: "**not met**", None: ""}


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        what: what was measured.
        target: what it has to reach; nothing for what is there only to compare with.
        measured: the median.
        spread: of the rounds, from the lowest to the highest.
        rounds: how many.
        beside: what was measured beside it in the same run.
        ratio: of the two.
        met: whether the target is reached; None where there is none.
        note: what one has to know of it.
    """

    what: str
    target: str
    measured: str
    spread: str = ""
    rounds: int = 1
    beside: str = ""
    ratio: float | None = None
    met: bool | None = None
    note: str = ""

    def cells(self) -> list[str]:
        """As text, for the table."""
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        return [self.what, self.target, self.measured, self.beside, ratio, VERDICT[self.met]]


HEADS = ["what", "target", "measured", "beside it", "ratio", ""]


@dataclass(frozen=True)
class Plot:
    """A picture: lines of points."""

    name: str
    title: str
    x: str
    y: str
    lines: dict[str, list[tuple[float, float]]]
    log_x: bool = False
    log_y: bool = False


@dataclass
class Report:
    """What one script found."""

    name: str
    quick: bool
    rows: list[Row] = field(default_factory=list[Row])
    plots: list[Plot] = field(default_factory=list[Plot])
    versions: list[str] = field(default_factory=list[str])

    def add(self, row: Row) -> None:
        """Prints a row and keeps it."""
        self.rows.append(row)
        print(line(row), flush=True)

    def save(self) -> None:
        """Writes it where :func:`main` reads it."""
        folder = SAVED / "quick" if self.quick else SAVED
        folder.mkdir(parents=True, exist_ok=True)
        at = datetime.now(UTC).isoformat(timespec="minutes")
        found = {**asdict(self), "at": at, "machine": machine(), "commit": commit()}
        (folder / f"{self.name}.json").write_text(json.dumps(found, indent=1))


def commit() -> str:
    """What of the project was measured."""
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def line(row: Row) -> str:
    """A row for people at a terminal."""
    said = [f"{row.what}: {row.measured}"]
    if row.spread:
        said.append(f"({row.spread}, {row.rounds} rounds)")
    if row.beside:
        said.append(f"beside {row.beside}")
    if row.ratio is not None:
        said.append(f"ratio {row.ratio:.2f}")
    if row.target:
        said.append(f"[{row.target}: {VERDICT[row.met].strip('*') or 'not judged'}]")
    return ", ".join(said) + (f". {row.note}" if row.note else "")


# In the order of the table; what is not in it comes last.
ORDER = [
    "database", "seed", "throughput", "latency", "inside", "slow_endpoint", "memory", "capture", "commits", "flat", "hidden",
    "purging", "partitions", "processes", "startup", "capacity", "soak",
]  # fmt: skip


def reports(folder: Path) -> list[dict]:
    """What the scripts saved."""
    return in_order([json.loads(path.read_text()) for path in folder.glob("*.json")])


def in_order(found: list[dict]) -> list[dict]:
    """Reports as the table has them."""
    place = {name: number for number, name in enumerate(ORDER)}
    return sorted(found, key=lambda report: (place.get(report["name"], len(ORDER)), report["name"]))


def earlier(text: str) -> list[dict]:
    """What RESULTS.md holds already, script by script: what was not measured again stays, with its day and commit."""
    first, _, second = text.partition("## Rounds, spread, notes")
    judged = {verdict: met for met, verdict in VERDICT.items()}
    found: dict[str, dict] = {}
    beside = re.search(r"^- Beside it: (.+)$", text, re.MULTILINE)
    versions = beside[1].split(", ") if beside else []
    rows = {cells[0]: cells for cells in _cells(first)}
    for script, when, what, rounds, measured, spread, note in _cells(second):
        at, _, measured_at = when.partition(", ")
        if what not in rows:
            continue
        _, target, _, beside, ratio, verdict = rows[what]
        report = found.setdefault(
            script,
            {
                "name": script,
                "at": at,
                "commit": measured_at,
                "machine": "",
                "rows": [],
                "plots": [],
                "versions": versions,
            },
        )
        report["rows"].append(
            asdict(
                Row(
                    what,
                    target,
                    measured,
                    spread,
                    int(rounds),
                    beside,
                    float(ratio) if ratio else None,
                    judged[verdict],
                    note,
                )
            )
        )
    return list(found.values())


def _cells(text: str) -> list[list[str]]:
    """The rows of the tables in it, without heads."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
    return [row for row in cells if row[0] not in ("what", "script")]


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, its columns under each other."""
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    head = "| " + " | ".join(cell.ljust(width) for cell, width in zip(heads, widths, strict=True)) + " |"
    return "\n".join([head, "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines])


def where(found: list[dict]) -> list[str]:
    """The machine and the versions, a line each."""
    postgres = subprocess.run(
        [str(embedded.binaries() / "postgres"), "--version"], capture_output=True, text=True, check=True
    )
    nginx = subprocess.run([nginx_program(), "-v"], capture_output=True, text=True, check=True).stderr
    versions = sorted({version for report in found for version in report["versions"]})
    here = next(report["machine"] for report in found if report["machine"])
    days = sorted(report["at"][:10] for report in found)
    return [
        f"Machine: {here}, which PostgreSQL, nginx and the workers share; kernel {platform.release()}",
        *(
            ["Rows of earlier days: other machines of 2 cores"]
            if any(not report["machine"] for report in found)
            else []
        ),
        f"PostgreSQL: {postgres.stdout.split(') ')[-1].strip()}, embedded, its own defaults, fsync on",
        f"nginx: {nginx.split('/')[-1].strip()}",
        f"Python: {platform.python_version()}",
        f"qctl: {__version__}",
        f"Beside it: {', '.join(versions)}",
        f"Measured: {days[0] if days[0] == days[-1] else f'{days[0]} to {days[-1]}'}",
    ]


def markdown(found: list[dict], pictures: dict[str, str]) -> str:
    """RESULTS.md."""
    rows = [(report, Row(**row)) for report in found for row in report["rows"]]
    judged = [row.met for _, row in rows if row.met is not None]
    parts = [
        "# Results",
        "Written by `make bench`; each row can be had again by `make bench-NAME`, its script. Measured side by side in one run,"
        " in turn, after a warm-up; the figures are medians. Only the ratios say much about another machine."
        " What was not measured again keeps its day and commit, which stand below.",
        "\n".join(f"- {text}" for text in where(found)),
        f"{sum(judged)} of {len(judged)} targets are met.",
        # Marks by which docs/performance.md takes the table in.
        "<!-- --8<-- [start:table] -->",
        table(HEADS, [row.cells() for _, row in rows]),
        "<!-- --8<-- [end:table] -->",
        "## Rounds, spread, notes",
        table(
            ["script", "when, commit", "what", "rounds", "median", "lowest – highest", "note"],
            [
                [
                    report["name"],
                    f"{report['at'][:16]}, {report['commit']}",
                    row.what,
                    str(row.rounds),
                    row.measured,
                    row.spread,
                    row.note,
                ]
                for report, row in rows
            ],
        ),
    ]
    if pictures:
        parts += ["## Pictures", *(f"![{title}]({path})" for path, title in pictures.items())]
    return "\n\n".join(parts) + "\n"


def draw(found: list[dict], folder: Path) -> dict[str, str]:
    """Draws the plots; file name and title of each."""
    plots = [plot for report in found for plot in report["plots"]]
    folder.mkdir(parents=True, exist_ok=True)
    if plots:
        command = [str(peer("plots", "matplotlib")), str(HERE / "peers/draw.py"), str(folder)]
        subprocess.run(command, input=json.dumps(plots), text=True, check=True)
    return {f"{plot['name']}.svg": plot["title"] for plot in plots}


def drawn_earlier(text: str) -> dict[str, str]:
    """The pictures of RESULTS.md that are there still."""
    shown = re.findall(r"^!\[([^]]*)\]\(\S*/([^/)]+)\)$", text, re.MULTILINE)
    return {name: title for title, name in shown if (PLOTS / name).exists()}


def main() -> None:
    """Prints the table and writes it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    new = reports(SAVED / "quick" if quick else SAVED)
    if not new:
        raise SystemExit("nothing was measured yet: make bench")
    names = {report["name"] for report in new}
    kept = (
        []
        if quick
        else [report for report in earlier((HERE / "RESULTS.md").read_text()) if report["name"] not in names]
    )
    found = in_order([*new, *kept])
    target, plots = (SAVED / "quick/RESULTS.md", SAVED / "quick/plots") if quick else (HERE / "RESULTS.md", PLOTS)
    drawn = ({} if quick else drawn_earlier((HERE / "RESULTS.md").read_text())) | draw(found, plots)
    pictures = {os.path.relpath(plots / name, target.parent): title for name, title in drawn.items()}
    target.write_text(markdown(found, pictures))
    print("\n".join(where(found)) + "\n")
    print(table(HEADS, [Row(**row).cells() for report in found for row in report["rows"]]).replace("**", "  "))
    print(f"\nwritten: {os.path.relpath(target)} and {len(pictures)} pictures in {os.path.relpath(plots)}")


if __name__ == "__main__":
    main()
