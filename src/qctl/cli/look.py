"""Commands that look at queues: status, depth, lag, queues."""

import sys
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from qctl import config, db, models, queues
from qctl.cli import options
from qctl.cli.guard import say
from qctl.cli.session import session
from qctl.output import Column, Format, chosen, render, table
from qctl.output.columns import ago, instant, number, one_line, percent, seconds, sparkline, words

_HEALTH = {"ok": "green", "paused": "yellow"}


def _health_style(value: Any) -> str:
    return _HEALTH.get(value, "bold red")


def _dead_style(value: Any) -> str:
    return "red" if value else ""


def _at_least(field: str) -> Callable[[Any], str]:
    """Writes a number of messages: at least so many, where they were not all counted."""

    def write(row: Any) -> str:
        value = getattr(row, field)
        if value is None:
            return "unknown" if field == "depth" else ""
        exact = row.depth_exact if isinstance(row, models.Status) else row.exact
        return number(value) if exact else f"≥{number(value)}"

    return write


def _estimate(row: Any) -> str:
    exact, estimate = (
        (row.depth_exact, row.depth_estimate) if isinstance(row, models.Status) else (row.exact, row.estimate)
    )
    return "" if exact or estimate is None else f"~{number(estimate)}"


_DEPTH_COLUMNS = [
    Column("depth", "depth", of=_at_least("depth"), right=True),
    Column("ready", "ready", of=_at_least("ready"), right=True),
    Column("delayed", "delay", of=_at_least("delayed"), right=True),
    Column("in_flight", "flying", number, right=True),
    Column("retrying", "retry", of=_at_least("retrying"), right=True),
    Column("dead", "dead", number, right=True, style=_dead_style),
]


def _drain(row: "models.Status") -> str:
    """Whether a queue empties: what an operator asks first of a long one."""
    if row.depth == 0:
        return "empty"
    if row.drain_s is not None:
        return f"empty in {seconds(row.drain_s)}"
    if row.growth_per_s is None:
        return ""
    return "growing" if row.growth_per_s > 0 else "steady"


_LAG_COLUMNS = [Column("lag_s", "lag", seconds, right=True), Column("age_s", "age", seconds, right=True)]
_QUEUE = Column("queue_name", "queue", fold=True)
_STATUS_COLUMNS = [
    _QUEUE,
    Column("health", "health", style=_health_style),
    *_DEPTH_COLUMNS,
    *_LAG_COLUMNS,
    Column("delivered_1m", "ok/min", number, right=True, wide=True),
    Column("failed_1m", "failed", number, right=True, wide=True),
    Column("delivered_1h", "ok/h", number, right=True, wide=True),
    Column("failed_1h", "failed", number, right=True, wide=True),
    Column("p50_s", "p50", seconds, right=True, wide=True),
    Column("p95_s", "p95", seconds, right=True, wide=True),
    Column("drain_s", "outlook", of=_drain, wide=True),
    Column("last_error", "last error", one_line, wide=True, cut=True),
]
_WORKER_COLUMNS = [
    Column("worker_id", "id", right=True),
    Column("name", "worker", fold=True),
    Column("kind", "kind"),
    Column("state", "state", style=lambda value: _WORKER_STATES.get(value, "dim")),
    Column("in_flight", "flying", number, right=True),
    Column("queues", "queues", words, fold=True),
    Column("last_seen_at", "seen", lambda value: f"{ago(value)} ago"),
    Column("holds_since", "holds since", instant, wide=True),
    Column("busy", "busy", percent, right=True, wide=True),
    Column("role_name", "role", wide=True),
    Column("qctl_version", "version", wide=True),
    Column("last_message", "last run", one_line, wide=True, cut=True),
]
_WORKER_STATES = {
    "running": "green",
    "scheduled": "green",
    "silent": "bold red",
    "failing": "bold red",
    "off": "bold red",
}


class _WatchCommand(TyperCommand):
    """Lets ``--watch`` stand without its value, which Typer's options cannot."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for place in range(len(args) - 1, -1, -1):
            if args[place] in ("--watch", "-w") and not _is_duration(args[place + 1 : place + 2]):
                args.insert(place + 1, _EVERY)
        return super().parse_args(ctx, args)


_EVERY = "2s"


def _is_duration(words_: list[str]) -> bool:
    return bool(words_) and words_[0][:1].isdigit()


def status(
    queue: options.Queue = None,
    watch: Annotated[
        str | None,
        typer.Option(
            "--watch", "-w", help="Refresh in place until Ctrl-C, every 2 s or so often.", metavar="[SECONDS]"
        ),
    ] = None,
    workers: Annotated[bool, typer.Option("--workers", help="Show the workers and pg_cron's jobs instead.")] = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """How each queue stands: health, depth by state, lag, age.

    Health is the first that holds of: unarmed, schema_outdated (a worker is newer than the schema), no_worker, paused, gone
    (HTTP 410, or pgmq's table), secret_missing, circuit_open, capture_broken, endpoint_failing, growing, ok. "flying"
    is in flight, "delay" and "retry" wait; beyond 10,000 messages are not counted on: ≥. Lag is how long the oldest
    ready message has waited for a worker; age is how old the oldest unfinished, not delayed message is. p50 and p95
    run from enqueued to delivered.

    Example: qctl status --watch
    """
    pause_s = 0.0 if watch is None else max(0.1, float(watch) if watch.isdigit() else options.duration(watch))
    with session(dsn, profile, "status") as connection:
        if workers:
            render(queues.workers(connection), _WORKER_COLUMNS, output)
        elif watch is not None:
            _watch(connection, queue, pause_s, output)
        else:
            rows = queues.statuses(connection, queue)
            render(rows, _STATUS_COLUMNS, output)
            _advise(rows)


def _advise(rows: "list[models.Status]") -> None:
    """What is wrong with each queue, since when, and what to type, for a person."""
    if not config.stderr_is_terminal():
        return
    if not rows:
        say("no queue exists yet. Next: qctl create NAME --url URL")
    for line in _advice(rows):
        say(line)


def _advice(rows: "list[models.Status]") -> list[str]:
    lines: list[str] = []
    told: set[str] = set()
    for row in rows:
        if row.reason and row.mend:
            since = f" (since {instant(row.since)}, {ago(row.since)})" if row.since else ""
            about = "all queues" if row.health in ("unarmed", "schema_outdated") else row.queue_name
            if about != "all queues" or row.health not in told:
                lines.append(f"{about}: {row.health}: {one_line(row.reason)}{since}\n  Next: {row.mend}")
            told.add(row.health)
        elif row.reason:
            lines.append(f"{row.queue_name}: {row.reason}")
        if row.last_error and row.last_failed_at and row.last_error not in (row.reason or ""):
            lines.append(f"{row.queue_name}: last error {ago(row.last_failed_at)} ago: {one_line(row.last_error)}")
        if row.depth_exact is False and row.depth and row.depth_estimate:
            about = number(row.depth_estimate)
            lines.append(f"{row.queue_name}: counted to {number(row.depth)}; PostgreSQL's estimate is {about}")
    return lines


def _watch(connection: "db.Connection", queue: str | None, pause_s: float, output: Format | None) -> None:
    if chosen(output) is not Format.TABLE:
        while True:
            render(queues.statuses(connection, queue), _STATUS_COLUMNS, output)
            sys.stdout.flush()
            time.sleep(pause_s)
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    console = table.console()
    with Live(console=console, auto_refresh=False, screen=True) as live:
        while True:
            rows = queues.statuses(connection, queue)
            spark = _spark_column(queues.hours(connection, queue), 20 if console.width >= table.WIDE else 10)
            columns = [*_STATUS_COLUMNS[:2], spark, *_STATUS_COLUMNS[2:]]
            if console.width < table.WIDE:
                columns = [column for column in columns if column.field not in ("delayed", "retrying")]
            at = Text(f"{time.strftime('%H:%M:%S')}  every {seconds(pause_s)}  Ctrl-C ends", style="dim")
            advice = [Text(line) for line in _advice(rows)]
            live.update(Group(at, table.build(rows, columns, console.width), Text(""), *advice), refresh=True)
            time.sleep(pause_s)


def _spark_column(hours: "list[models.Hour]", width: int) -> Column:
    """Delivered per minute; the last minute that ended stands at the right."""
    by_queue = {hour.queue_name: sparkline(hour.delivered, width) for hour in hours}
    return Column("queue_name", "last hour", of=lambda row: by_queue.get(row.queue_name, ""))


def depth(
    queue: options.Queue = None, dsn: options.Dsn = None, profile: options.Profile = None, output: options.Output = None
) -> None:
    """Unfinished messages by state, and dead letters.

    Exact to 100,000; above that ≥, with PostgreSQL's own estimate.

    Example: qctl depth -q orders -o json
    """
    with session(dsn, profile, "depth") as connection:
        estimate = Column("estimate", "estimate", of=_estimate, right=True)
        render(queues.depths(connection, queue), [_QUEUE, *_DEPTH_COLUMNS, estimate], output)


def lag(
    queue: options.Queue = None, dsn: options.Dsn = None, profile: options.Profile = None, output: options.Output = None
) -> None:
    """How long the oldest ready message has waited, and how old the oldest unfinished one is.

    Lag is worker trouble, age is delivery trouble.

    Example: qctl lag
    """
    with session(dsn, profile, "lag") as connection:
        render(queues.lags(connection, queue), [_QUEUE, *_LAG_COLUMNS], output)


def queues_(dsn: options.Dsn = None, profile: options.Profile = None, output: options.Output = None) -> None:
    """The queues and their endpoints.

    Example: qctl queues
    """
    columns = [
        _QUEUE,
        Column("transport", "transport"),
        Column("attached", "tables", right=True),
        Column("paused_at", "paused since", instant),
        Column("url", "url", fold=True),
        Column("created_at", "created", instant, wide=True),
    ]
    with session(dsn, profile, "queues") as connection:
        rows = queues.listed(connection)
    render(rows, columns, output)
    if not rows:
        say("no queue exists yet. Next: qctl create NAME --url URL")


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("status", rich_help_panel="Look", cls=_WatchCommand)(status)
    for function in (depth, lag, queues_):
        app.command(function.__name__.rstrip("_"), rich_help_panel="Look")(function)
