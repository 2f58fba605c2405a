"""Commands that look: status, depth, lag, queues, describe, show, tail."""

import itertools
import sys
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from qctl import attachments, attempts, config, messages, queues
from qctl.cli import options
from qctl.cli.guard import say
from qctl.cli.session import session
from qctl.errors import NotFoundError
from qctl.models import Attempt, Message, Status
from qctl.output import Column, Format, chosen, machine, render, table
from qctl.output.columns import clock, instant, milliseconds, number, one_line, seconds, words

_HEALTH = {"ok": "green", "paused": "yellow"}
_OUTCOME = {
    "delivered": "green",
    "retrying": "yellow",
    "paused": "yellow",
    "late": "dim",
    "in_flight": "cyan",
    "lapsed": "yellow",
}


def _health_style(value: Any) -> str:
    return _HEALTH.get(value, "bold red")


def _outcome_style(value: Any) -> str:
    return _OUTCOME.get(value, "red")


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
_ATTEMPT_COLUMNS = [
    Column("delivery_no", "delivery", right=True),
    Column("attempt_no", "no", right=True),
    Column("claimed_at", "started", instant),
    Column("outcome", "outcome", style=_outcome_style),
    Column("status_code", "status", right=True),
    Column("duration_ms", "took", milliseconds, right=True),
    Column("next_at", "next", instant),
    Column("error", "error", one_line, fold=True),
    Column("response", "answer", one_line, wide=True, cut=True),
    Column("worker", "worker", wide=True),
]
_WORKER_COLUMNS = [
    Column("worker_id", "id", right=True),
    Column("name", "worker"),
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

    Health is the first that holds of: paused, no_worker, endpoint_failing (every attempt of the last minute), ok.
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
    for row in rows:
        if row.health == "paused":
            why = f": {row.pause_reason}" if row.pause_reason else ""
            say(f"{row.queue_name} is paused by {row.paused_by}{why}. Next: qctl resume -q {row.queue_name}")
        elif row.health == "endpoint_failing":
            say(
                f"{row.queue_name}: every attempt of the last minute failed. Next: qctl tail -q {row.queue_name} --failed"
            )
        elif row.health == "no_worker":
            say(f"{row.queue_name} has no live worker. Next: qctl worker -q {row.queue_name}")
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
            ("headers", ", ".join(f"{key}: {value}" for key, value in row.headers.items())),
            ("timeout", milliseconds(row.timeout_ms)),
            ("concurrency", f"{row.concurrency} requests at once per worker process"),
            ("max in flight", f"{row.max_in_flight} claimed messages of all workers"),
            ("retry after", f"{schedule} (±{row.retry_jitter:.0%})"),
            ("Retry-After", f"honoured up to {seconds(row.retry_after_max_s)}"),
            ("400 413 415 422", f"dead after {row.reject_after} attempts"),
            ("lost", f"dead after {row.max_lost} leases without an answer"),
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


def show(
    ids: Annotated[list[str], typer.Argument(help="1234 or orders/1234.", metavar="MSG_ID...")],
    queue: options.Queue = None,
    payload: Annotated[bool, typer.Option("--payload", help="Show the body and the headers, too.")] = False,
    dsn: options.Dsn = None,
    output: options.Output = None,
) -> None:
    """A message's whole life: its state, each attempt, what comes next.

    Example: qctl show orders/1234 --payload
    """
    with session(dsn, "show") as connection:
        found, unknown = messages.resolve(connection, ids, queue)
        lives = [
            (messages.get(connection, name, msg_id), attempts.of_message(connection, name, msg_id))
            for name, msg_id in found
        ]
    if chosen(output) is Format.JSON:
        machine.write_json_values([_life(message, tried, payload=payload) for message, tried in lives])
    elif chosen(output) is Format.JSONL:
        machine.write_jsonl_values(_life(message, tried, payload=payload) for message, tried in lives)
    elif chosen(output) in (Format.CSV, Format.TSV):
        render([attempt for _, tried in lives for attempt in tried], [], output)
    else:
        for message, tried in lives:
            _show_one(message, tried, output, payload=payload)
    if unknown:
        raise NotFoundError(
            f"no queue knows {', '.join(unknown)}", hint="qctl tail lists recent ids; purged ones are gone"
        )


def _life(message: Message, tried: list[Attempt], *, payload: bool) -> dict[str, Any]:
    values = machine.as_dict(message)
    if not payload:
        del values["message"], values["headers"]
    return {**values, "attempt_log": [machine.as_dict(attempt) for attempt in tried]}


def _show_one(message: Message, tried: list[Attempt], output: Format | None, *, payload: bool) -> None:
    pairs = [
        ("message", f"{message.queue_name}/{message.msg_id}"),
        ("state", message.state),
        ("webhook-id", message.webhook_id),
        ("enqueued", instant(message.enqueued_at) if message.enqueued_at else ""),
    ]
    if message.finished_at:
        pairs.append((message.state, instant(message.finished_at)))
    if message.next_at and message.state == "retrying":
        pairs.append(("next attempt", instant(message.next_at)))
    if message.state == "delayed" and message.visible_at:
        pairs.append(("visible", instant(message.visible_at)))
    if message.reason:
        pairs.append(("dead because", message.reason + (f": {message.note}" if message.note else "")))
    if message.last_error or message.last_status:
        pairs.append(("last answer", " ".join(str(v) for v in (message.last_status, message.last_error) if v)))
    pairs.append(("delivery", f"{message.delivery_no}, {message.attempts} attempts, {message.lost} lost"))
    if payload:
        pairs.append(("headers", machine.text(message.headers) if message.headers else ""))
        pairs.append(("payload", machine.text(message.message)))
    table.write_pairs(pairs)
    if tried:
        render(tried, _ATTEMPT_COLUMNS, output)


def tail(
    queue: options.Queue = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as attempts settle, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many of the last attempts.", min=1)] = 20,
    failed: Annotated[bool, typer.Option("--failed", help="Only attempts that did not deliver.")] = False,
    dsn: options.Dsn = None,
    output: options.Output = None,
) -> None:
    """The last attempts, oldest first.

    Example: qctl tail -f --failed
    """
    with session(dsn, "tail") as connection:
        if queue is not None:
            queues.described(connection, queue)
        watcher = attempts.Tail(connection, queue, failed=failed)
        rows = watcher.last(lines)
        if not follow:
            render(rows, _TAIL_COLUMNS, output)
            return
        for first in itertools.chain([True], itertools.repeat(False)):
            _follow(rows, output, first=first)
            time.sleep(0.5)
            rows = list(watcher.look(100_000))


def _follow(rows: list[Attempt], output: Format | None, *, first: bool) -> None:
    """Writes rows to an output that goes on and on."""
    match chosen(output) if output or sys.stdout.isatty() else Format.JSONL:
        case Format.JSON | Format.JSONL:
            machine.write_jsonl(rows)
        case Format.CSV | Format.TSV as kind:
            machine.write_separated(rows, "\t" if kind is Format.TSV else ",", header=first)
        case _:
            for row in rows:
                table.write_line(row, _TAIL_COLUMNS)
    sys.stdout.flush()


_TAIL_COLUMNS = [
    Column("settled_at", "settled", clock),
    Column("queue_name", "queue", fold=True),
    Column("msg_id", "message", right=True),
    Column("attempt_no", "attempt", right=True),
    Column("outcome", "outcome", style=_outcome_style),
    Column("status_code", "status", right=True),
    Column("duration_ms", "took", milliseconds, right=True),
    Column("error", "error", one_line, cut=True),
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for function in (status, depth, lag, queues_, describe, show, tail):
        app.command(function.__name__.rstrip("_"), rich_help_panel="Look")(function)
