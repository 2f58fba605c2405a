"""The demo: the whole pipeline on a throw-away database, and the proof that nothing was lost."""

import os
import secrets
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psycopg import sql
from psycopg.conninfo import make_conninfo

from qctl import db
from qctl.config import Database
from qctl.db import files
from qctl.demo import embedded
from qctl.demo.receiver import read_ledger
from qctl.errors import ExitCode, QctlError
from qctl.operations import attachments, migrate, queues
from qctl.worker.loop import Worker

QUEUE = "users"
_NEXT = "Next: qctl demo --keep leaves it running to look around in"
_PATIENCE_S = 240.0
_ENDPOINT_WITHIN_S = 10.0


@dataclass(slots=True)
class Result:
    """What happened, counted on both sides."""

    rows: int
    events: int
    delivered: int
    dead: int
    requests: int
    failed_attempts: int
    duplicates: int
    lost: int
    unconfirmed: int
    p50_ms: int
    p95_ms: int
    took_s: float
    disagreement: str | None = None
    advice: list[str] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """Whether the endpoint's ledger confirms what the database says."""
        return self.disagreement is None

    def lines(self) -> list[tuple[str, str]]:
        """Names and values for people."""
        rate = f"{self.delivered / self.took_s:,.0f}/s, including retries and waits" if self.took_s else ""
        return [
            ("changes captured", f"{self.events:,} (from {self.rows:,} rows inserted, some updated)"),
            ("delivered", f"{self.delivered:,} in {self.took_s:.1f}s: {rate}"),
            ("attempts failed", f"{self.failed_attempts:,} of {self.requests:,} requests (500, no answer, reset)"),
            ("dead letters", f"{self.dead:,}"),
            ("duplicates", f"{self.duplicates:,} (same webhook-id answered 200 more than once)"),
            ("lost", f"{self.lost:,}"),
            ("commit to 200", f"p50 {self.p50_ms:,} ms, p95 {self.p95_ms:,} ms"),
            ("ledger", "the endpoint's own list agrees" if self.agrees else "DOES NOT AGREE"),
        ]


def run(
    count: int,
    fail_rate: float,
    *,
    keep: bool,
    dsn: str | None,
    talk: Callable[[str], None],
    on_progress: Callable[[str, int, int], None],
) -> Result:
    """Plays the demo.

    Args:
        count: rows to insert.
        fail_rate: share of requests that the endpoint fails.
        keep: leave the database running.
        dsn: a server to make a database on; None for the embedded one.
        talk: called with lines for people.
        on_progress: called with what is going on, how much is done, how much there is.

    Raises:
        QctlError: no server (3, 4), or the queue does not empty in four minutes (1).
    """
    with _database(dsn, keep=keep, talk=talk) as (database, advice), tempfile.TemporaryDirectory() as folder:
        ledger = Path(folder) / "ledger.jsonl"
        with db.connect(database, application="demo") as connection, _receiver(ledger, fail_rate) as port:
            url = f"http://127.0.0.1:{port}/webhook/users"
            _prepare(connection, url, talk)
            events = _change_rows(connection, count)
            talk(f"captured {events:,} changes; delivering to {url}, which fails {fail_rate:.0%} of requests")
            started = time.monotonic()
            _deliver(database, connection, events, on_progress)
            took_s = time.monotonic() - started
        with db.connect(database, application="demo") as connection:
            result = compare(connection, ledger, events, count, took_s)
        if keep:
            advice = [*_LOOK_AROUND, f"stop both: kill {_endpoint_that_stays(port)}; {advice[0]}"]
    result.advice = [line.replace("@DSN@", shlex.quote(db.without_secrets(database.conninfo)[0])) for line in advice]
    return result


_LOOK_AROUND = [
    "the database and the endpoint are still running, and the endpoint answers 200 from now on; look around:",
    "  export QCTL_DSN=@DSN@",
    "  qctl status",
    f"  qctl show {QUEUE}/1 --payload",
    f"  qctl replay {QUEUE}/1 && qctl worker --all --drain",
]


def _endpoint_that_stays(port: str) -> int:
    """Starts an endpoint without failures in the place of the one that has ended; its process id."""
    process = subprocess.Popen(
        [sys.executable, "-m", "qctl.demo.receiver", os.devnull, "--port", port],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    give_up_at = time.monotonic() + _ENDPOINT_WITHIN_S
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", int(port)), 1):
            return process.pid
        if process.poll() is not None or time.monotonic() > give_up_at:
            raise QctlError(
                f"the endpoint did not start again on port {port}",
                hint="run the demo once more",
                code=ExitCode.BUG,
            )
        time.sleep(0.05)


@contextmanager
def _database(dsn: str | None, *, keep: bool, talk: Callable[[str], None]) -> Generator[tuple[Database, list[str]]]:
    """A database of the demo's own, and what to tell at the end: how to remove it if it is kept, else what to type next."""
    if dsn is not None:
        with _database_on(Database(dsn, "--dsn"), keep=keep) as made:
            yield made
        return
    folder = Path(tempfile.mkdtemp(prefix="qctl-demo-"))
    folder.chmod(0o755)
    talk("starting PostgreSQL (embedded, a temporary folder, no network port)")
    try:
        server = embedded.start(folder / "data", keep=keep)
    except QctlError:
        with suppress(OSError):
            folder.rmdir()
        raise
    uri = server.get_uri("postgres")
    stop = f"{embedded.stop_command(folder / 'data')} && rm -r {folder}"
    try:
        yield (Database(uri, "the demo"), [stop if keep else _NEXT])
    except BaseException:
        # What was left running would not be told of.
        if keep:
            subprocess.run(["sh", "-c", stop], check=False, capture_output=True)
        raise
    finally:
        if not keep:
            server.cleanup()
            folder.rmdir()


@contextmanager
def _database_on(server: Database, *, keep: bool) -> Generator[tuple[Database, list[str]]]:
    name = f"qctl_demo_{secrets.token_hex(4)}"
    with db.connect(server, application="demo") as admin:
        with db.translating():
            admin.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        complete = False
        try:
            yield (
                Database(make_conninfo(server.conninfo, dbname=name), "the demo"),
                [
                    f"psql {shlex.quote(db.without_secrets(server.conninfo)[0])} -c 'drop database {name}'"
                    if keep
                    else _NEXT
                ],
            )
            complete = True
        finally:
            if not (keep and complete):
                with db.translating():
                    admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@contextmanager
def _receiver(ledger: Path, fail_rate: float) -> Generator[str]:
    """The endpoint, as a process of its own; yields its port."""
    command = [sys.executable, "-m", "qctl.demo.receiver", str(ledger), "--fail-rate", str(fail_rate)]
    # In a session of its own, so that Ctrl-C at the terminal does not end it before the worker has settled.
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def _prepare(connection: db.Connection, url: str, talk: Callable[[str], None]) -> None:
    migrate.apply(connection)
    with db.translating():
        connection.execute(files.query("table", "demo"), {})
    # This endpoint fails by the dice and is never down, however bad it is.
    settings = {
        "timeout_ms": 1000, "concurrency": 100, "retry_schedule_s": [1, 1, 1, 2, 2, 3, 3, 5, 5], "breaker_after": 0,
        "allow_networks": ["127.0.0.0/8"],
    }  # fmt: skip
    queues.create(QUEUE, url, {}, settings).execute(connection)
    attachments.run(connection, attachments.attach("public.users", QUEUE), talk)
    talk(f"installed qctl, created table public.users and attached it to queue {QUEUE}")


def _change_rows(connection: db.Connection, count: int) -> int:
    """Inserts rows and updates every tenth; the number of changes as PostgreSQL counted them."""
    with db.translating(), connection.cursor() as cursor:
        cursor.execute(files.query("insert", "demo"), {"count": count})
        inserted = cursor.rowcount
        cursor.execute(files.query("update", "demo"), {})
        return inserted + cursor.rowcount


def _deliver(
    database: Database, connection: db.Connection, events: int, on_progress: Callable[[str, int, int], None]
) -> None:
    """Runs a worker until the queue is empty."""
    process = Worker(connect=lambda within_s: db.connect_worker(database, within_s=within_s), queues=[QUEUE])
    failure: list[BaseException] = []

    def work() -> None:
        try:
            process.run()
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=work, name="qctl-demo-worker")
    thread.start()
    give_up_at = time.monotonic() + _PATIENCE_S
    try:
        while thread.is_alive():
            depth = queues.depths(connection, QUEUE)[0]
            on_progress(f"delivering, {depth.retrying:,} waiting for a retry", events - depth.depth, events)
            if depth.depth == 0:
                break
            if time.monotonic() > give_up_at:
                raise QctlError(
                    f"{depth.depth} messages are still not delivered after {_PATIENCE_S:.0f} s",
                    hint="use a lower --fail-rate or fewer --messages",
                    code=ExitCode.BUG,
                )
            time.sleep(0.1)
    finally:
        process.stop()
        thread.join()
    if failure:
        raise failure[0]


def compare(connection: db.Connection, ledger: Path, events: int, rows: int, took_s: float) -> Result:
    """Holds the endpoint's own ledger against the database: what each says was delivered."""
    entries = read_ledger(ledger)
    accepted = Counter(entry.webhook_id for entry in entries if entry.answer.startswith("2"))
    with db.translating(), connection.cursor() as cursor:
        cursor.execute(files.query("outcome", "demo"), {})
        found: list[tuple[Any, ...]] = cursor.fetchall()
    delivered = {webhook_id: latency_ms for webhook_id, state, latency_ms in found if state == "delivered"}
    dead = [webhook_id for webhook_id, state, _ in found if state == "dead"]
    unconfirmed = [webhook_id for webhook_id in delivered if webhook_id not in accepted]
    lost = max(0, events - len(delivered) - len(dead))
    latencies = sorted(delivered.values()) or [0]
    problems = [
        f"{lost} events are neither delivered nor dead" if lost else "",
        f"{len(unconfirmed)} are delivered according to the database and not in the ledger" if unconfirmed else "",
        f"{len(set(accepted) - set(delivered))} were answered 200 and are not delivered according to the database"
        if set(accepted) - set(delivered)
        else "",
    ]
    return Result(
        rows=rows,
        events=events,
        delivered=len(delivered),
        dead=len(dead),
        requests=len(entries),
        failed_attempts=sum(1 for entry in entries if not entry.answer.startswith("2")),
        duplicates=sum(count - 1 for count in accepted.values()),
        lost=lost,
        unconfirmed=len(unconfirmed),
        p50_ms=round(latencies[len(latencies) // 2]),
        p95_ms=round(latencies[min(len(latencies) - 1, len(latencies) * 95 // 100)]),
        took_s=took_s,
        disagreement="; ".join(problem for problem in problems if problem) or None,
    )
