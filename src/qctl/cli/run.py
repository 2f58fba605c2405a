"""Commands that keep running: worker, demo."""

import os
import re
import signal
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qctl import config, db, serving
from qctl import worker as delivering
from qctl.cli import completing, options
from qctl.cli.guard import say
from qctl.cli.measure import scrapes
from qctl.errors import ExitCode, QctlError, UsageError
from qctl.output import table

if TYPE_CHECKING:
    from qctl.worker import tracing


def worker(
    queue: Annotated[
        list[str] | None,
        typer.Option(
            "--queue",
            "-q",
            help="Deliver this queue; may be repeated.",
            metavar="QUEUE",
            autocompletion=completing.queue_names,
        ),
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Deliver every queue of the http transport, new ones too.")
    ] = False,
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", help="Requests at once per queue, instead of the queue's own.", min=1)
    ] = None,
    processes: Annotated[
        int,
        typer.Option("--processes", help="Run so many worker processes, for more than one core.", min=1, max=64),
    ] = 1,
    max_bytes: Annotated[
        str,
        typer.Option("--max-bytes", help="Hold so much payload at once, per process.", metavar="SIZE"),
    ] = "32m",
    once: Annotated[bool, typer.Option("--once", help="Claim once, deliver that, end.")] = False,
    drain: Annotated[bool, typer.Option("--drain", help="End when nothing is ready.")] = False,
    grace: Annotated[
        str, typer.Option("--grace", help="How long a stop waits for requests under way.", metavar="DURATION")
    ] = "30s",
    listen: Annotated[
        bool | None,
        typer.Option(
            "--listen/--no-listen", help="Be woken at once, or only poll, once a second. Without: poll behind a pooler."
        ),
    ] = None,
    health: Annotated[
        str | None, typer.Option("--health", help="Answer GET /live and /ready on this port.", metavar="[HOST:]PORT")
    ] = None,
    metrics_: Annotated[
        str | None,
        typer.Option("--metrics", help="Answer GET /metrics, for Prometheus, on this port.", metavar="[HOST:]PORT"),
    ] = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Send to any address, whatever the queues say.")
    ] = False,
    proxy: Annotated[
        str | None,
        typer.Option("--proxy", help="Send through this proxy, which then decides where to.", metavar="URL"),
    ] = None,
    ca: Annotated[
        str | None,
        typer.Option("--ca", help="Trust these authorities, a PEM file, instead of the system's.", metavar="FILE"),
    ] = None,
    cert: Annotated[
        str | None, typer.Option("--cert", help="Show this client certificate, a PEM file.", metavar="FILE")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Its key, if it is not in that file.", metavar="FILE")
    ] = None,
    traces: Annotated[
        bool, typer.Option("--traces", help="Send a span per attempt by OTLP, as the OTEL_ variables say.")
    ] = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
) -> None:
    """Deliver: claim messages, POST them, settle the answers. Runs until it is told to stop.

    Requests go to public addresses only, and to what a queue allows: qctl set --allow-network. Redirects are never followed.
    SIGTERM or Ctrl-C: nothing more is claimed, what is in flight is settled, exit 0. Any number of workers may run,
    on any number of machines.

    Example: qctl worker --all
    """
    if not queue and not all_ and (named := config.default_queue()):
        queue = [named]
    if bool(queue) == all_:
        raise UsageError("which queues?", hint="-q QUEUE, or --all")
    if once and drain:
        raise UsageError("--once and --drain exclude each other")
    database = config.database(dsn, profile)
    person = config.stderr_is_terminal()
    patience_s, held_bytes, egress = options.duration(grace), options.size(max_bytes), _egress(proxy, ca, cert, key)

    def work(number: int, hold: Callable[[delivering.Worker], None]) -> delivering.Progress:
        def talk(line: str) -> None:
            _talk(line if processes == 1 else f"[{number}] {line}")

        with _tracing(traces) as tracer:
            process = delivering.Worker(
                connect=lambda: db.connect_worker(database, pooled=None if listen is None else not listen),
                queues=queue or None,
                mode=delivering.Mode.ONCE if once else delivering.Mode.DRAIN if drain else delivering.Mode.FOREVER,
                concurrency=concurrency,
                grace_s=patience_s,
                listen=listen,
                max_bytes=held_bytes,
                allow_private=allow_private,
                egress=egress,
                talk=talk,
                on_progress=_Teller(talk) if person else lambda _progress: None,
                on_answer=tracer,
            )
            hold(process)
            return process.run()

    told = person or not (once or drain)
    if told:
        by = f" by {processes} processes" if processes > 1 else ""
        _talk(
            f"delivering {', '.join(queue) if queue else 'all queues'}{by}; {'Ctrl-C' if person else 'SIGTERM'} stops"
        )
    started = time.monotonic()
    if processes == 1:
        with ExitStack() as stack:

            def hold(process: delivering.Worker) -> None:
                _stop_on_signals(process.stop, process.wake_fd)
                stack.enter_context(_served(process, database, health, metrics_))

            progress = work(1, hold)
    else:
        fleet = delivering.Fleet(processes, work, _talk)
        try:
            fleet.start()
            _stop_on_signals(fleet.stop, fleet.wake_fd)
            with _served(fleet, database, health, metrics_):
                progress = fleet.run()
        finally:
            # Whatever ended this: Python waits for children at its exit, and nobody else would stop them.
            fleet.stop()
    if told:
        _talk(f"{progress} in {time.monotonic() - started:.1f}s")


def _talk(line: str) -> None:
    say(f"{time.strftime('%H:%M:%S')} {line}")


def _stop_on_signals(stop: Callable[[], None], wake_fd: int) -> None:
    """Ends what runs on SIGTERM and the first Ctrl-C; the second is no longer caught."""

    def handle(_signal: int, _frame: Any) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stop()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    signal.set_wakeup_fd(wake_fd, warn_on_full_buffer=False)


@contextmanager
def _served(
    process: "delivering.Worker | delivering.Fleet",
    database: "config.Database",
    health: str | None,
    metrics: str | None,
) -> Generator[None]:
    """Answers probes and scrapes while the worker works."""
    wanted: dict[tuple[str, int], dict[str, Callable[[], serving.Page]]] = {}
    if health:
        wanted.setdefault(serving.address(health), {}).update(
            {"/live": lambda: _probe(process.alive()), "/ready": lambda: _probe(process.ready())}
        )
    if metrics:
        wanted.setdefault(serving.address(metrics), {})["/metrics"] = scrapes(database)
    with serving.serving(wanted):
        yield


def _egress(proxy: str | None, ca: str | None, cert: str | None, key: str | None) -> "delivering.Egress":
    if proxy is not None and not re.match(r"(https?|socks5h?)://[^\s@]+$", proxy):
        raise UsageError(
            f"--proxy: '{proxy[:100]}' is no URL of a proxy", hint="for example http://proxy.internal:3128"
        )
    for option, path in (("--ca", ca), ("--cert", cert), ("--key", key)):
        if path is not None and not os.access(path, os.R_OK):
            raise UsageError(f"{option}: cannot read {path}")
    return delivering.Egress(proxy, ca, cert, key)


@contextmanager
def _tracing(wanted: bool) -> "Generator[tracing.Tracer | None]":
    if not wanted:
        yield None
        return
    try:
        from qctl.worker.tracing import Tracer
    except ImportError:
        raise QctlError(
            "OpenTelemetry is not installed", hint="pip install 'qctl[otel]'", code=ExitCode.SERVER_UNFIT
        ) from None
    tracer = Tracer()
    try:
        yield tracer
    finally:
        tracer.close()


def _probe(good: bool) -> "serving.Page":
    return serving.Page(200, b"ok\n") if good else serving.Page(503, b"not now\n")


class _Teller:
    """Tells a person how it goes, every few seconds."""

    def __init__(self, talk: Callable[[str], None]) -> None:
        self._talk = talk
        self._told_at = 0.0

    def __call__(self, progress: "delivering.Progress") -> None:
        now = time.monotonic()
        if now - self._told_at >= 5:
            self._told_at = now
            self._talk(str(progress))


def demo(
    count: Annotated[int, typer.Option("--messages", "-n", help="How many rows to insert.", min=1)] = 2000,
    fail_rate: Annotated[
        float, typer.Option("--fail-rate", help="Share of requests that the endpoint fails.", min=0, max=0.9)
    ] = 0.1,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the database running, to look around.")] = False,
    dsn: Annotated[
        str | None,
        typer.Option("--dsn", help="A server to make a throw-away database on; else the embedded one.", metavar="DSN"),
    ] = None,
) -> None:
    """Show the whole pipeline on a throw-away PostgreSQL: a table, a queue, a bad endpoint, and a proof of delivery.

    Exits 1 if the endpoint's own ledger and the database do not agree.

    Example: qctl demo --messages 5000 --fail-rate 0.3
    """
    from qctl import demo as play

    # A polite kill must stop PostgreSQL and the endpoint as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with table.progress() as shown:
        result = play.run(count, fail_rate, keep=keep, dsn=dsn, talk=say, on_progress=shown)
    table.write_pairs(result.lines())
    for line in result.advice:
        say(line)
    if not result.agrees:
        raise QctlError(
            "the endpoint's ledger and the database do not agree",
            detail=result.disagreement,
            hint="this is a bug in qctl: please report it",
            code=ExitCode.BUG,
        )


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("worker", rich_help_panel="Act")(worker)
    app.command("demo", rich_help_panel="Set up")(demo)
