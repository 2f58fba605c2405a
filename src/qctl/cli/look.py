"""Commands that look at queues: status, depth, lag, queues, describe."""

import sys
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from qctl import attachments, config, queues
from qctl.cli import options
from qctl.cli.guard import say
from qctl.cli.session import session
from qctl.models import Status
from qctl.output import Column, Format, chosen, machine, render, table
from qctl.output.columns import instant, milliseconds, number, one_line, seconds, words

_HEALTH = {"ok": "green", "paused": "yellow"}


def _health_style(value: Any) -> str:
    return _HEALTH.get(value, "bold red")


def _dead_style(value: Any) -> str:
    return "red" if value else ""


_DEPTH_COLUMNS = [
    Column("depth", "depth", number, right=True),
    Column("ready", "ready", number, right=True),
    Column("delayed", "delay", number, right=True),
    Column("in_flight", "flying", number, right=True),
    Column("retrying", "retry", number, right=True),
    Column("dead", "dead", number, right=True, style=_dead_style),
]
_LAG_COLUMNS = [Column("lag_s", "lag", seconds, right=True), Column("age_s", "age", seconds, right=True)]
_QUEUE = Column("queue_name", "queue", fold=True)
_STATUS_COLUMNS = [
    _QUEUE,
    Column("health", "health", style=_health_style),
    *_DEPTH_COLUMNS,
    *_LAG_COLUMNS,
    Column("delivered_1m", "delivered/min", number, right=True, wide=True),
    Column("failed_1m", "failed/min", number, right=True, wide=True),
    Column("last_error", "last error", one_line, wide=True, cut=True),
]
_WORKER_COLUMNS = [
    Column("worker_id", "id", right=True),
    Column("name", "worker"),
    Column("transport", "transport"),
    Column("state", "state", style=lambda value: {"running": "green", "silent": "bold red"}.get(value, "dim")),
    Column("in_flight", "flying", number, right=True),
    Column("queues", "queues", words, fold=True),
    Column("last_seen_at", "last seen", instant),
    Column("qctl_version", "version", wide=True),
]


def status(
    queue: options.Queue = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh until Ctrl-C.")] = False,
    every: Annotated[str, typer.Option("--every", help="How often --watch refreshes.", metavar="DURATION")] = "2s",
    workers: Annotated[bool, typer.Option("--workers", help="Show the workers instead.")] = False,
    dsn: options.Dsn = None,
    output: options.Output = None,
) -> None:
    """How each queue stands: health, depth by state, lag, age.

    Health is the first that holds of: unarmed, paused, no_worker, endpoint_failing (every attempt of the last minute), ok.
    "flying" is in flight, "delay" and "retry" wait. Lag is how long the oldest ready message has waited for a worker;
    age is how old the oldest unfinished, not delayed message is.

    Example: qctl status --watch
    """
    pause_s = max(0.1, options.duration(every))
    with session(dsn, "status") as connection:
        if workers:
            render(queues.workers(connection), _WORKER_COLUMNS, output)
        elif watch:
            _watch(lambda: queues.statuses(connection, queue), pause_s, output)
        else:
            rows = queues.statuses(connection, queue)
            render(rows, _STATUS_COLUMNS, output)
            _advise(rows)


def _advise(rows: list[Status]) -> None:
    """What to type next about each queue that is not well, for a person."""
    if not config.stderr_is_terminal():
        return
    if not rows:
        say("no queue exists yet. Next: qctl create NAME --url URL")
    if any(row.health == "unarmed" for row in rows):
        say(
            "this database is a copy, or was disarmed: nothing is sent. Next: qctl arm, if it is this one that shall deliver"
        )
    for row in rows:
        if row.health == "paused":
            why = f": {row.pause_reason}" if row.pause_reason else ""
            say(f"{row.queue_name} is paused by {row.paused_by}{why}. Next: qctl resume -q {row.queue_name}")
        elif row.health == "endpoint_failing":
            say(
                f"{row.queue_name}: every attempt of the last minute failed. Next: qctl tail -q {row.queue_name} --failed"
            )
        elif row.health == "no_worker":
            start = f"worker -q {row.queue_name}" if row.transport == "http" else "scale --workers 1"
            say(f"{row.queue_name} has no live worker. Next: qctl {start}")
        if row.last_error and table.console().width < table.WIDE:
            say(f"{row.queue_name} last error: {row.last_error}")


def _watch(read: Callable[[], list[Status]], pause_s: float, output: Format | None) -> None:
    if chosen(output) is not Format.TABLE:
        while True:
            render(read(), _STATUS_COLUMNS, output)
            sys.stdout.flush()
            time.sleep(pause_s)
    from rich.live import Live

    console = table.console()
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(table.build(read(), _STATUS_COLUMNS, console.width), refresh=True)
            time.sleep(pause_s)


def depth(queue: options.Queue = None, dsn: options.Dsn = None, output: options.Output = None) -> None:
    """Unfinished messages by state, and dead letters.

    Example: qctl depth -q orders -o json
    """
    with session(dsn, "depth") as connection:
        render(queues.depths(connection, queue), [_QUEUE, *_DEPTH_COLUMNS], output)


def lag(queue: options.Queue = None, dsn: options.Dsn = None, output: options.Output = None) -> None:
    """How long the oldest ready message has waited, and how old the oldest unfinished one is.

    Lag is worker trouble, age is delivery trouble.

    Example: qctl lag
    """
    with session(dsn, "lag") as connection:
        render(queues.lags(connection, queue), [_QUEUE, *_LAG_COLUMNS], output)


def queues_(dsn: options.Dsn = None, output: options.Output = None) -> None:
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
    with session(dsn, "queues") as connection:
        rows = queues.listed(connection)
    render(rows, columns, output)
    if not rows:
        say("no queue exists yet. Next: qctl create NAME --url URL")


def describe(
    name: Annotated[str | None, typer.Argument(help="The queue.", metavar="QUEUE")] = None,
    queue: options.Queue = None,
    dsn: options.Dsn = None,
    output: options.Output = None,
) -> None:
    """A queue's whole configuration, and the tables attached to it.

    Example: qctl describe orders
    """
    with session(dsn, "describe") as connection:
        chosen_name = queues.the_one(connection, queue if name is None else name)
        row = queues.described(connection, chosen_name)
        attached = attachments.listed(connection, chosen_name)
    if chosen(output) in (Format.JSON, Format.JSONL):
        machine.write_object({**machine.as_dict(row), "attachments": [machine.as_dict(a) for a in attached]})
        return
    if chosen(output) in (Format.CSV, Format.TSV):
        render([row], [], output)
        return
    schedule = " ".join(seconds(wait) for wait in row.retry_schedule_s) or "no second attempt"
    table.write_pairs(
        [
            ("queue", row.queue_name),
            ("transport", row.transport),
            ("url", row.url),
            ("redirects", "a 2xx with a Location counts" if row.trust_location else "a failure"),
            ("headers", ", ".join(f"{key}: {value}" for key, value in row.headers.items())),
            ("timeout", milliseconds(row.timeout_ms)),
            ("concurrency", f"{row.concurrency} requests at once per worker process")
            if row.transport == "http"
            else (
                "batch",
                f"{row.batch} messages at once to pg_net" + (", by a job of its own" if row.dedicated else ""),
            ),
            ("max in flight", f"{row.max_in_flight} claimed messages of all workers"),
            ("retry after", f"{schedule} (±{row.retry_jitter:.0%})"),
            ("Retry-After", f"honoured up to {seconds(row.retry_after_max_s)}"),
            ("400 413 415 422", f"dead after {row.reject_after} attempts"),
            ("lost", f"dead after {row.max_lost} leases without an answer"),
            (
                "retention",
                "delivered messages are kept for ever"
                if row.retention_s is None
                else f"delivered messages are deleted after {seconds(row.retention_s)}",
            ),
            ("created", f"{instant(row.created_at)} by {row.created_by}"),
        ]
    )
    columns = [
        Column("relation", "table"),
        Column("operations", "operations", words),
        Column("triggers", "triggers", style=lambda value: "green" if value == "ok" else "bold red"),
        Column("when_sql", "when", one_line, fold=True),
        Column("columns", "columns", words),
        Column("payload", "payload"),
        Column("runs_as", "runs as", wide=True),
    ]
    if attached:
        render(attached, columns, output)
    else:
        say(f"no table is attached. Next: qctl attach SCHEMA.TABLE -q {chosen_name}")


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for function in (status, depth, lag, queues_, describe):
        app.command(function.__name__.rstrip("_"), rich_help_panel="Look")(function)
