"""Deliver over HTTP."""

import os
import re
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from qctl import config, db, http_server
from qctl.cli import completers, missing_right, named_connection, options
from qctl.cli.console import say
from qctl.cli.metrics_page import scrapes
from qctl.errors import ExitCode, QctlError, UsageError
from qctl.output.columns import seconds
from qctl.worker import loop, request, signals, supervisor, totals

if TYPE_CHECKING:
    from qctl.worker import tracing


def command(
    queue: Annotated[
        list[str] | None,
        typer.Option(
            "--queue",
            "-q",
            help="Deliver this queue; may be repeated.",
            metavar="QUEUE",
            autocompletion=completers.queue_names,
        ),
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Deliver every queue of the http transport, new ones too.")
    ] = False,
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--concurrency", help="Simultaneous requests per queue, instead of the queue's own setting.", min=1
        ),
    ] = None,
    processes: Annotated[
        int,
        typer.Option("--processes", help="Worker processes to run, to use more than one core.", min=1, max=64),
    ] = 1,
    max_bytes: Annotated[
        str,
        typer.Option("--max-bytes", help="Payload that a process may hold at once.", metavar="SIZE"),
    ] = "32m",
    once: Annotated[bool, typer.Option("--once", help="Claim once, deliver that, then end.")] = False,
    drain: Annotated[bool, typer.Option("--drain", help="End when nothing is ready.")] = False,
    grace: Annotated[
        str, typer.Option("--grace", help="Time that a stop waits for requests in flight.", metavar="DURATION")
    ] = "30s",
    listen: Annotated[
        bool | None,
        typer.Option(
            "--listen/--no-listen", help="Be woken at once, or poll once a second (default: poll only behind a pooler)."
        ),
    ] = None,
    health: Annotated[
        str | None, typer.Option("--health", help="Serve GET /live and /ready on this port.", metavar="[HOST:]PORT")
    ] = None,
    metrics_: Annotated[
        str | None,
        typer.Option("--metrics", help="Serve GET /metrics, for Prometheus, on this port.", metavar="[HOST:]PORT"),
    ] = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Send to any address, regardless of the queues' settings.")
    ] = False,
    proxy: Annotated[
        str | None,
        typer.Option(
            "--proxy",
            help="Send through this proxy, which decides which addresses are allowed; with a login: QCTL_PROXY.",
            metavar="URL",
        ),
    ] = None,
    ca: Annotated[
        str | None,
        typer.Option("--ca", help="Trust the authorities of this PEM file instead of the system's.", metavar="FILE"),
    ] = None,
    cert: Annotated[
        str | None, typer.Option("--cert", help="Present this client certificate, a PEM file.", metavar="FILE")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", help="Key of the client certificate, if it is not in the same file.", metavar="FILE"),
    ] = None,
    traces: Annotated[
        bool, typer.Option("--traces", help="Send a span per attempt by OTLP, as the OTEL_ variables say.")
    ] = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
) -> None:
    """Deliver: claim messages, POST them or hand them over to their broker, settle the answers. Runs until it is told to stop.

    Requests go only to public addresses and to networks that a queue allows: qctl set --allow-network. Redirects are never
    followed. On SIGTERM or Ctrl-C no more messages are claimed, those in flight are settled, and the exit code is 0. Any
    number of workers may run, on any number of machines.

    Example: qctl worker --all
    """
    if not queue and not all_ and (named := config.default_queue()):
        queue = [named]
    if bool(queue) == all_:
        raise UsageError(
            "no queue was named" if not queue else "--all and -q exclude each other", hint="-q QUEUE, or --all"
        )
    if once and drain:
        raise UsageError("--once and --drain exclude each other")
    named_connection.remember(dsn, profile)
    database = config.database(dsn, profile)
    person = config.stderr_is_terminal()
    patience_s, held_bytes, egress = options.duration(grace), options.size(max_bytes), _egress(proxy, ca, cert, key)

    def work(number: int, hold: Callable[[loop.Worker], None]) -> totals.Totals:
        def talk(line: str) -> None:
            _talk(line if processes == 1 else f"[{number}] {line}")

        with _tracing(traces) as tracer:
            process = loop.Worker(
                connect=lambda within_s: db.connect_worker(
                    database, pooled=None if listen is None else not listen, within_s=within_s
                ),
                queues=queue or None,
                mode=loop.Mode.ONCE if once else loop.Mode.DRAIN if drain else loop.Mode.FOREVER,
                concurrency=concurrency,
                grace_s=patience_s,
                listen=listen,
                max_bytes=held_bytes,
                allow_private=allow_private,
                egress=egress,
                talk=talk,
                on_totals=_TotalsPrinter(talk) if person else lambda _totals: None,
                on_answer=tracer,
            )
            hold(process)
            return process.run()

    talkative = person or not (once or drain)
    if talkative:
        by = f" by {processes} processes" if processes > 1 else ""
        _talk(
            f"delivering {', '.join(queue) if queue else 'all queues'}{by}; {'Ctrl-C' if person else 'SIGTERM'} stops"
        )
    started = time.monotonic()
    if processes == 1:
        with ExitStack() as stack, missing_right.explained(database, "work"):

            def hold(process: loop.Worker) -> None:
                signals.stop_on_signals(process.stop, process.wake_fd)
                stack.enter_context(_served(process, database, health, metrics_))

            done = work(1, hold)
    else:
        parent = supervisor.Supervisor(processes, work, _talk)
        try:
            parent.start()
            signals.stop_on_signals(parent.stop, parent.wake_fd)
            with missing_right.explained(database, "work"), _served(parent, database, health, metrics_):
                done = parent.run()
        finally:
            # Python waits for its children when it ends, and nobody else would stop them.
            parent.stop()
    if talkative:
        _talk(f"stopped after {seconds(time.monotonic() - started)}: {done}")


def _talk(line: str) -> None:
    say(f"{time.strftime('%H:%M:%S')} {line}")


@contextmanager
def _served(
    process: "loop.Worker | supervisor.Supervisor",
    database: "config.Database",
    health: str | None,
    metrics: str | None,
) -> Generator[None]:
    """Answers probes and scrapes while the worker works."""
    wanted: dict[tuple[str, int], dict[str, Callable[[], http_server.Page]]] = {}
    if health:
        wanted.setdefault(http_server.address(health), {}).update(
            {"/live": lambda: _probe(process.alive()), "/ready": lambda: _probe(process.ready())}
        )
    if metrics:
        wanted.setdefault(http_server.address(metrics), {})["/metrics"] = scrapes(database)
    with http_server.serving(wanted):
        yield


def _egress(proxy: str | None, ca: str | None, cert: str | None, key: str | None) -> "request.Egress":
    if proxy is not None and "@" in proxy:
        raise UsageError(
            "--proxy: a login does not belong on a command line, which everybody on this machine can read",
            hint="put the URL with its login into the environment variable QCTL_PROXY",
        )
    name = "--proxy" if proxy is not None else "QCTL_PROXY"
    proxy = proxy or config.variable("QCTL_PROXY") or None
    if proxy is not None and not re.match(r"(https?|socks5h?)://[^\s/]+/?$", proxy):
        raise UsageError(f"{name} is not the URL of a proxy", hint="for example http://proxy.internal:3128")
    for option, path in (("--ca", ca), ("--cert", cert), ("--key", key)):
        if path is not None and not os.access(path, os.R_OK):
            raise UsageError(f"{option}: cannot read {path}")
    return request.Egress(proxy, ca, cert, key)


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


def _probe(good: bool) -> "http_server.Page":
    return http_server.Page(200, b"ok\n") if good else http_server.Page(503, b"not now\n")


class _TotalsPrinter:
    """Shows a person the totals every few seconds."""

    def __init__(self, talk: Callable[[str], None]) -> None:
        self._talk = talk
        self._printed_at = 0.0
        self._printed: str = ""

    def __call__(self, totals: "totals.Totals") -> None:
        now = time.monotonic()
        line = str(totals)
        if now - self._printed_at >= 5 and line != self._printed:
            self._printed_at, self._printed = now, line
            self._talk(line)
