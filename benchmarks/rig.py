"""What every benchmark needs: servers of its own, peers in environments of their own, ``qctl worker`` as users run it, rounds.

All of it listens on this machine only, and ends with the block that started it.
"""

import argparse
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.json import Jsonb

from qctl import db
from qctl.config import Database
from qctl.demo import embedded
from qctl.operations import migrate

HERE = Path(__file__).parent
PEERS = HERE.parent / ".venv" / "peers"
QCTL = str(Path(sys.executable).with_name("qctl"))
# A body of about 350 bytes, made of a row of generate_series() as n.
BODY = "jsonb_build_object('operation', 'INSERT', 'record', jsonb_build_object('id', n, 'name', repeat('x', 300)))"
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def options(description: str, parts: Collection[str] = (), **sizes: tuple[float, float]) -> argparse.Namespace:
    """The command line of a benchmark: ``--quick``, and an option for each size.

    Args:
        description: the script's docstring.
        parts: what may be named to run only that; without any named all are in ``parts``.
        sizes: the default of each size, and the one of ``--quick``, which only shows that the script works.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny counts: does it work?")
    for name, (full, quick) in sizes.items():
        parser.add_argument(f"--{name}", type=type(full), help=f"{full:,}, with --quick {quick:,}")
    if parts:
        parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(parts))
    given = parser.parse_args()
    if parts:
        if unknown := set(given.parts) - set(parts):
            parser.error(f"there is no {', '.join(unknown)}")
        given.parts = given.parts or list(parts)
    for name, (full, quick) in sizes.items():
        if getattr(given, name) is None:
            setattr(given, name, quick if given.quick else full)
    return given


class Rounds:
    """What was measured in rounds: the values of each thing, side by side."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = defaultdict(list)

    def add(self, name: str, value: float) -> float:
        """Notes a value of this round."""
        self.values[name].append(value)
        return value

    def median(self, name: str) -> float:
        """The median of the rounds."""
        return statistics.median(self.values[name])

    def ratio(self, name: str, beside: str) -> float:
        """The ratio of two medians."""
        return self.median(name) / self.median(beside)

    def spread(self, name: str, form: str = ",.0f") -> str:
        """From the lowest to the highest."""
        values = self.values[name]
        return f"{min(values):{form}} – {max(values):{form}}"


def percentile(values: list[float], share: float) -> float:
    """The value below which that share of the values lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


# Servers


@contextmanager
def postgres() -> Iterator[str]:
    """An embedded server with its own defaults, fsync on; yields its URI."""
    folder = Path(tempfile.mkdtemp(prefix="qctl-bench-"))
    folder.chmod(0o755)
    server = embedded.start(folder / "data", keep=False)
    try:
        yield server.get_uri("postgres")
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def site() -> Iterator[tuple[psycopg.Connection, str]]:
    """An embedded server with qctl in it; yields a connection in autocommit, and the URI."""
    with postgres() as uri:
        install(uri)
        with psycopg.connect(uri, autocommit=True) as connection:
            yield connection, uri


def install(uri: str) -> None:
    """Installs qctl."""
    with db.connect(Database(uri, "bench"), application="bench") as connection:
        migrate.apply(connection)


def create(connection: psycopg.Connection, queue: str, url: str, **settings) -> None:
    """Creates a queue of the http transport that may send to this machine, and signs."""
    settings = {"transport": "http", "allow_networks": ["127.0.0.0/8"], **settings}
    connection.execute("select qctl.create_queue(%s, %s, p_settings => %s)", (queue, url, Jsonb(settings)))
    connection.execute("select qctl.rotate_secret(%s)", (queue,))


def change(connection: psycopg.Connection, queue: str, **settings) -> None:
    """Changes settings of a queue."""
    connection.execute("select qctl.set_queue(%s, p_settings => %s)", (queue, Jsonb(settings)))


def refill(connection: psycopg.Connection, queue: str, count: int, body: str = BODY) -> None:
    """Empties a queue, its archive and the log of attempts, and puts so many ready messages in."""
    connection.execute(f"truncate pgmq.q_{queue}, pgmq.a_{queue}, qctl.attempt, qctl.in_flight, qctl.retry")
    fill(connection, queue, count, body)
    connection.execute(f"vacuum analyze pgmq.q_{queue}")
    # So that no round pays for what the one before wrote.
    connection.execute("checkpoint")


def fill(connection: psycopg.Connection, queue: str, count: int, body: str = BODY) -> None:
    """Puts ready messages in."""
    connection.execute(
        f"insert into pgmq.q_{queue} (vt, message) select clock_timestamp(), {body} from generate_series(1, %s::bigint) n",
        (count,),
    )


def one(connection: psycopg.Connection, query: str, *values):
    """The first column of the first row."""
    return connection.execute(query, values).fetchone()[0]


def wait_until(holds: Callable[[], object], within_s: float, what: str) -> None:
    """Looks until it holds."""
    until = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > until:
            raise SystemExit(f"{what}: not within {within_s:.0f} s")
        time.sleep(0.05)


class Nginx:
    """An nginx that answers every POST with 200 and counts requests."""

    def __init__(self, port: int, log: Path) -> None:
        self.url = f"http://127.0.0.1:{port}/hook"
        self._status = f"http://127.0.0.1:{port}/status"
        self._log = log
        self._looks = 0

    def requests(self) -> int:
        """How many requests it has answered, this look left out."""
        with urllib.request.urlopen(self._status) as answer:
            counts = re.findall(r"\d+", answer.read().decode().splitlines()[2])
        self._looks += 1
        return int(counts[2]) - self._looks

    def seen(self) -> list[tuple[float, str]]:
        """Time and webhook-id of each request, if it logs; of the last moments not yet all."""
        text = self._log.read_text()
        lines = text[: text.rfind("\n") + 1].splitlines()
        return [(float(at), webhook_id) for at, webhook_id in (line.split(" ", 1) for line in lines)]

    def forget(self) -> None:
        """Empties the log; wait LOGGED_S after the last request."""
        os.truncate(self._log, 0)


# How long nginx keeps lines of its log to itself, and a little more.
LOGGED_S = 0.5


@contextmanager
def nginx(*, log: bool = False) -> Iterator[Nginx]:
    """Starts Debian's nginx on a free port; installs it where apt-get may.

    Args:
        log: write down each request, see :meth:`Nginx.seen`.
    """
    folder = Path(tempfile.mkdtemp(prefix="qctl-nginx-"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    seen = folder / "seen"
    values = {"FOLDER": folder, "PORT": port, "LOG": f"{seen} seen buffer=64k flush=200ms" if log else "off"}
    config = (HERE / "nginx.conf").read_text()
    for name, value in values.items():
        config = config.replace(f"@{name}@", str(value))
    (folder / "nginx.conf").write_text(config)
    process = subprocess.Popen([nginx_program(), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")])
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            process.poll() is None or sys.exit("nginx did not start")
            time.sleep(0.02)
        yield Nginx(port, seen)
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def nginx_program() -> str:
    """Where nginx is."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            sys.exit("this benchmark needs nginx: apt-get install nginx-light")
        subprocess.run(["apt-get", "install", "-y", "-qq", "nginx-light"], check=True, stdout=subprocess.DEVNULL)
        program = "/usr/sbin/nginx"
    return program


# Processes


@contextmanager
def worker(uri: str, *arguments: str) -> Iterator[subprocess.Popen]:
    """``qctl worker`` for as long as the block runs."""
    process = start_worker(uri, *arguments)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        finally:
            process.kill()


def start_worker(uri: str, *arguments: str) -> subprocess.Popen:
    """``qctl worker`` as a process of its own."""
    return subprocess.Popen([QCTL, "worker", "--dsn", uri, *arguments], stderr=subprocess.DEVNULL)


def drain(uri: str, queue: str, *arguments: str, processes: int = 1) -> float:
    """Seconds that ``qctl worker --drain`` takes, from its start to its end."""
    began = time.perf_counter()
    running = [start_worker(uri, "-q", queue, "--drain", *arguments) for _ in range(processes)]
    try:
        for process in running:
            if process.wait():
                raise SystemExit(f"qctl worker ended with {process.returncode}")
    finally:
        for process in running:
            process.kill()
    return time.perf_counter() - began


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    try:
        tasks = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return []
    return [pid, *(other for task in tasks for child in task for other in family(int(child)))]


def cpu_s(pid: int) -> float:
    """Seconds of CPU that a process and its descendants have used."""
    found = (Path(f"/proc/{each}/stat").read_text().rsplit(") ", 1)[1].split() for each in family(pid))
    return sum(int(fields[11]) + int(fields[12]) for fields in found) / CLOCK_TICKS


def memory_mb(pid: int, what: str = "VmHWM") -> float:
    """Most memory that a process has had resident, in MB, those of its descendants added; ``VmRSS`` for what it has now."""
    total = 0
    for each in family(pid):
        try:
            found = re.search(rf"{what}:\s*(\d+)", Path(f"/proc/{each}/status").read_text())
        except OSError:
            continue
        total += int(found[1]) if found else 0
    return total * 1024 / 1e6


# Peers


def peer(name: str, *packages: str) -> Path:
    """The Python of an environment with those packages at their newest; made once, and anew when ``.venv/peers`` is gone."""
    python, made = PEERS / name / "bin/python", PEERS / name / "made"
    if not made.exists():
        subprocess.run([sys.executable, "-m", "venv", str(PEERS / name)], check=True)
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, *packages], check=True)
        made.touch()
    return python


def pgqueuer() -> Path:
    """PgQueuer's Python."""
    return peer("pgqueuer", "pgqueuer", "asyncpg", "aiohttp", "uvloop", "typer")


def procrastinate() -> Path:
    """procrastinate's Python."""
    return peer("procrastinate", "procrastinate", "aiohttp")


def version(python: Path, package: str) -> str:
    """The version of a peer."""
    code = f"from importlib.metadata import version; print('{package}', version('{package}'))"
    return subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def libpq(uri: str) -> dict[str, str]:
    """An environment that leads libpq and asyncpg to the server."""
    given = conninfo_to_dict(uri)
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}
    return {"PATH": "/usr/bin:/bin", **{names[key]: str(value) for key, value in given.items() if key in names}}


# The machine


def machine() -> str:
    """One line about the machine."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    return f"{os.cpu_count()} cores, {model[1] if model else '?'}, {int(memory[1]) // 2**20 if memory else '?'} GiB"
