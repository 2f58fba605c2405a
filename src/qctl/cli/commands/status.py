"""How each queue stands."""

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qctl import config, db, models
from qctl.cli import database_load, options, queue_columns, styles
from qctl.cli.command import Command as _Command
from qctl.cli.console import say
from qctl.cli.named_connection import in_fixes
from qctl.cli.session import session, session_again
from qctl.errors import CannotConnectError, UsageError
from qctl.operations import backfill, capacity, health, queues
from qctl.output import Column, Format, chosen, render, table
from qctl.output.columns import ago, instant, number, one_line, percent, seconds, sparkline, words, zone

if TYPE_CHECKING:
    from rich.console import Group


def _drain(row: "models.Status") -> str:
    """When a queue will be empty, or why that cannot be known."""
    if row.depth == 0:
        return "empty"
    if row.drain_s is not None:
        return f"empty in {seconds(row.drain_s)}"
    if row.health not in _DRAINING:
        return f"unknown: {row.health}"
    if (row.retrying or 0) + (row.delayed or 0) > (row.ready or 0) + (row.in_flight or 0):
        return "unknown: most wait for a time"
    if row.growth_per_s is None:
        return ""
    return "growing" if row.growth_per_s > 0 else "steady" if row.growth_per_s == 0 else ""


# Health under which messages are delivered.
_DRAINING = ("ok", "growing", "capture_broken", "schema_outdated")

_STATUS_COLUMNS = [
    queue_columns.QUEUE,
    Column("health", "health", style=styles.health),
    *queue_columns.DEPTH_COLUMNS,
    *queue_columns.LAG_COLUMNS,
    Column("delivered_1m", "ok/min", number, right=True, wide=True),
    Column("failed_1m", "failed/min", number, right=True, wide=True),
    Column("delivered_1h", "ok/h", number, right=True, wide=True),
    Column("failed_1h", "failed/h", number, right=True, wide=True),
    Column("p50_s", "p50", seconds, right=True, wide=True),
    Column("p95_s", "p95", seconds, right=True, wide=True),
    Column("drain_s", "outlook", of=_drain, wide=True),
    Column("last_error", "last error", one_line, wide=True, cut=True),
]


_ANSWER_COLUMNS = [
    queue_columns.QUEUE,
    Column("delivered", "attempts", lambda value: "delivered" if value else "failed"),
    Column("status_code", "status", right=True),
    Column("attempts", "number", number, right=True),
    Column("p50_s", "p50", seconds, right=True),
    Column("p95_s", "p95", seconds, right=True),
    Column("max_s", "longest", seconds, right=True),
    Column("first_at", "since", instant, wide=True),
    Column("last_at", "last", instant, wide=True),
    Column("error", "most frequent error", one_line, cut=True),
]


_WORKER_STATES = {
    "running": "green",
    "scheduled": "green",
    "silent": "bold red",
    "failing": "bold red",
    "off": "bold red",
}


_WORKER_COLUMNS = [
    Column("worker_id", "id", right=True),
    Column("name", "worker", fold=True),
    Column("kind", "kind"),
    Column("state", "state", style=lambda value: _WORKER_STATES.get(value, "dim")),
    Column("in_flight", "in flight", number, right=True),
    Column("queues", "queues", words, fold=True),
    Column("last_seen_at", "seen", lambda value: f"{ago(value)} ago"),
    Column("holds_since", "holds since", instant, wide=True),
    Column("busy", "busy", percent, right=True, wide=True),
    Column("role_name", "role", wide=True),
    Column("qctl_version", "version", wide=True),
    Column("last_message", "last run", one_line, wide=True, cut=True),
]


_EVERY = "2s"
_WIDE = 120


class Command(_Command):
    """Lets ``--watch`` stand without its value, which Typer's options cannot."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for place in range(len(args) - 1, -1, -1):
            if args[place] in ("--watch", "-w") and not _is_duration(args[place + 1 : place + 2]):
                args.insert(place + 1, _EVERY)
        return super().parse_args(ctx, args)


def command(
    queue: options.Queue = None,
    watch: Annotated[
        str | None,
        typer.Option("--watch", "-w", help="Refresh in place until Ctrl-C (default every 2 s).", metavar="[SECONDS]"),
    ] = None,
    workers: Annotated[bool, typer.Option("--workers", help="Show the workers and pg_cron's jobs instead.")] = False,
    answers: Annotated[
        bool,
        typer.Option(
            "--answers", help="Show what the last 5,000 attempts of the last hour came to, and how long they took."
        ),
    ] = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """How each queue stands: health, depth by state, lag, age.

    Health is ok or the first cause that applies: table_missing (pgmq's), capture_broken, unarmed, schema_outdated (a worker
    is newer than the schema), no_worker, secret_missing, address_refused, gone (HTTP 410), paused, circuit_open,
    endpoint_failing, growing.
    Messages are counted up to 10,000, above that shown as ≥. Lag is how long the oldest ready message has waited
    for a worker; age is how old the oldest unfinished message is that is not delayed. p50 and p95 are times from enqueued to
    delivered.

    Example: qctl status --watch
    """
    pause_s = 0.0 if watch is None else max(0.1, float(watch) if watch.isdigit() else options.duration(watch))
    if workers + answers + (watch is not None) > 1:
        raise UsageError("--workers, --answers and --watch exclude each other")
    with ExitStack() as stack:
        connection = stack.enter_context(session(dsn, profile, "status"))
        if workers:
            render(queues.workers(connection), _WORKER_COLUMNS, output)
        elif answers:
            render(queues.answers(connection, queue), _ANSWER_COLUMNS, output)
        elif watch is not None:
            _watch(
                connection, queue, pause_s, output,
                lambda: session_again(stack, dsn, profile, "status", wait=time.sleep),
            )  # fmt: skip
        else:
            rows = in_fixes(queues.statuses(connection, queue))
            render(rows, _STATUS_COLUMNS, output)
            _tell_backfills(connection, queue)
            _advise(connection, queue, rows)


def _tell_backfills(connection: "db.Connection", queue: str | None) -> None:
    for run in in_fixes(backfill.runs(connection, queue, unfinished=True)):
        share = f" of about {run.estimated:,}" if run.estimated > run.scanned else ""
        pace = f", {run.rows_per_s:,.0f}/s" if run.state == "running" and run.rows_per_s else ""
        error = f" ({run.error})" if run.error else ""
        more = f"; to go on: {run.fix}" if run.fix else ""
        state = "has failed" if run.state == "failed" else f"is {run.state}"
        say(f"backfill of {run.relation} into {run.queue_name} {state}{error}: {run.scanned:,}{share} rows{pace}{more}")


def _is_duration(words_: list[str]) -> bool:
    return bool(words_) and words_[0][:1].isdigit()


def _advise(connection: "db.Connection", queue: str | None, rows: "list[models.Status]") -> None:
    """Says what is wrong, since when, and what to type."""
    if not config.stderr_is_terminal():
        return
    if not rows:
        say("no queue exists yet. Next: qctl create NAME --url URL")
        return
    advice = _advice(rows, in_fixes(health.findings(connection, queue, health.NO_LIMITS)))
    for line in [*advice, *database_load.move(capacity.database_share(connection))]:
        say(line)


def _advice(rows: "list[models.Status]", findings: "list[models.Finding]") -> list[str]:
    lines: list[str] = []
    for finding in findings:
        since = f" (since {instant(finding.since)}, {ago(finding.since)})" if finding.since else ""
        about = "all queues" if len(finding.queues) == len(rows) > 1 else ", ".join(finding.queues)
        lines.append(f"{about}: {finding.cause}: {one_line(finding.problem)}{since}")
        if finding.fix:
            lines.append(f"  Next: {finding.fix}")
    told = " ".join(finding.problem for finding in findings)
    concerned = {(name, finding.cause) for finding in findings for name in finding.queues}
    for row in rows:
        if row.health == "ok" and row.reason:
            lines.append(f"{row.queue_name}: {row.reason}")
        elif row.health != "ok" and (row.queue_name, row.health) not in concerned:
            lines.append(f"{row.queue_name}: {row.health}: {one_line(row.reason or '')}")
            lines += [f"  Next: {row.fix}"] if row.fix else []
        if row.last_error and row.last_failed_at and row.last_error not in told:
            lines.append(f"{row.queue_name}: last error {ago(row.last_failed_at)} ago: {one_line(row.last_error)}")
        if row.depth_exact is False and row.depth and row.depth_estimate:
            about = number(row.depth_estimate)
            lines.append(f"{row.queue_name}: at least {number(row.depth)} unfinished; PostgreSQL estimates {about}")
    return lines


def _watch(
    connection: "db.Connection",
    queue: str | None,
    pause_s: float,
    output: Format | None,
    connect_again: "Callable[[], db.Connection]",
) -> None:
    if chosen(output) is not Format.TABLE:
        while True:
            try:
                rows = queues.statuses(connection, queue)
            except CannotConnectError as error:
                say(f"{error.message}; trying again")
                connection = connect_again()
                say("connected again")
                continue
            render(rows, _STATUS_COLUMNS, output)
            sys.stdout.flush()
            time.sleep(pause_s)
    from rich.live import Live

    console = table.console()
    with Live(console=console, auto_refresh=False, screen=True) as live:
        while True:
            try:
                live.update(_screen(connection, queue, pause_s, console.width), refresh=True)
            except CannotConnectError as error:
                live.update(f"{time.strftime('%H:%M:%S')}  {error.message}; trying again", refresh=True)
                connection = connect_again()
                continue
            time.sleep(pause_s)


def _screen(connection: "db.Connection", queue: str | None, pause_s: float, width: int) -> "Group":
    from rich.console import Group
    from rich.text import Text

    rows = queues.statuses(connection, queue)
    spark = _spark_column(queues.hours(connection, queue), 20 if width >= _WIDE else 10)
    columns = [*_STATUS_COLUMNS[:2], spark, *_STATUS_COLUMNS[2:]]
    at = Text(f"{time.strftime('%H:%M:%S')} {zone()}  every {seconds(pause_s)}  Ctrl-C to end", style="dim")
    findings = in_fixes(health.findings(connection, queue, health.NO_LIMITS))
    advice = [Text(line) for line in _advice(rows, findings)]
    return Group(at, table.build(rows, columns, width), Text(""), *advice)


def _spark_column(hours: "list[models.Hour]", width: int) -> Column:
    """Delivered per minute; the last full minute is at the right."""
    by_queue = {hour.queue_name: sparkline(hour.delivered, width) for hour in hours}
    return Column("queue_name", "last hour", of=lambda row: by_queue.get(row.queue_name, ""))
