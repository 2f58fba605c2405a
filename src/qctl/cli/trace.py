"""Commands that look at messages and attempts: show, tail."""

import select
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from qctl import attempts, messages, models, queues
from qctl.cli import completing, options
from qctl.cli.session import session
from qctl.errors import NotFoundError
from qctl.output import Column, Format, chosen, machine, render, table
from qctl.output.columns import clock, instant, milliseconds, one_line

_OUTCOME = {
    "delivered": "green",
    "retrying": "yellow",
    "paused": "yellow",
    "late": "dim",
    "dead": "bold red",
    "lost": "red",
    "next": "bold",
    "in_flight": "cyan",
    "lapsed": "yellow",
}


def _outcome_style(value: Any) -> str:
    return _OUTCOME.get(value, "")


def _told(event: "models.LifeEvent") -> str:
    """What is known of an event, in words."""
    detail = f"{event.detail or ''} {instant(event.until)}".strip() if event.until else event.detail
    parts = (event.error, event.response, detail)
    return " · ".join(one_line(part)[:200] for part in parts if part)


_EVENT_COLUMNS = [
    Column("at", "when", instant),
    Column("event", "what", style=_outcome_style),
    Column("delivery_no", "delivery", right=True, wide=True),
    Column("attempt_no", "try", right=True),
    Column("status_code", "status", right=True),
    Column("duration_ms", "took", milliseconds, right=True),
    Column("actor", "by", wide=True),
    Column("detail", "", of=_told, fold=True),
]


def show(
    ids: Annotated[
        list[str],
        typer.Argument(help="1234 or orders/1234.", metavar="MSG_ID...", autocompletion=completing.message_ids),
    ],
    queue: options.Queue = None,
    payload: Annotated[bool, typer.Option("--payload", help="Show the body and the headers, too.")] = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """A message's whole life in order: each attempt, waits, replays and who asked why, what comes next.

    Example: qctl show orders/1234 --payload
    """
    with session(dsn, profile, "show") as connection:
        found, unknown = messages.resolve(connection, ids, queue)
        lives = [
            _Life(
                messages.get(connection, name, msg_id),
                attempts.of_message(connection, name, msg_id),
                messages.life(connection, name, msg_id),
                messages.payloads(connection, name, [msg_id]).get(msg_id) if payload else None,
            )
            for name, msg_id in found
        ]
    if chosen(output) is Format.JSON:
        machine.write_json_values([life.as_dict() for life in lives])
    elif chosen(output) is Format.JSONL:
        machine.write_jsonl_values(life.as_dict() for life in lives)
    elif chosen(output) in (Format.CSV, Format.TSV):
        render([attempt for life in lives for attempt in life.tried], [], output)
    else:
        for life in lives:
            _show_one(life, output)
    if unknown:
        raise NotFoundError(
            f"no queue knows {', '.join(unknown)}", hint="qctl tail lists recent ids; purged ones are gone"
        )


@dataclass(frozen=True, slots=True)
class _Life:
    """A message, its attempts, all that happened to it, and what it carries if that was asked for."""

    message: "models.Message"
    tried: "list[models.Attempt]"
    events: "list[models.LifeEvent]"
    payload: "models.Payload | None"

    def as_dict(self) -> dict[str, Any]:
        values = machine.as_dict(self.message)
        if self.payload is not None:
            values |= {"headers": self.payload.headers, "message": self.payload.message}
        return {
            **values,
            "attempt_log": [machine.as_dict(attempt) for attempt in self.tried],
            "life": [machine.as_dict(event) for event in self.events],
        }


def _show_one(life: _Life, output: Format | None) -> None:
    message = life.message
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
    if life.payload is not None:
        pairs.append(("headers", machine.text(life.payload.headers) if life.payload.headers else ""))
        pairs.append(("payload", machine.text(life.payload.message)))
    table.write_pairs(pairs)
    render(life.events, _EVENT_COLUMNS, output)


def tail(
    queue: options.Queue = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as attempts settle, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many of the last attempts.", min=1)] = 20,
    failed: Annotated[bool, typer.Option("--failed", help="Only attempts that did not deliver.")] = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """The last attempts, oldest first.

    Example: qctl tail -f --failed
    """
    with session(dsn, profile, "tail") as connection:
        if queue is not None:
            queues.described(connection, queue)
        watcher = attempts.Tail(connection, queue, failed=failed)
        rows = watcher.last(lines)
        if not follow:
            render(rows, _TAIL_COLUMNS, output)
            return
        _follow(rows, output, first=True)
        while not _reader_is_gone(0.5):
            for rows in watcher.look():
                _follow(rows, output, first=False)
        raise BrokenPipeError


def _reader_is_gone(within_s: float) -> bool:
    """Waits, and sees at once when nobody reads our output any more: without a row to write we would not notice."""
    poller = select.poll()
    poller.register(sys.stdout.fileno(), 0)
    return bool(poller.poll(within_s * 1000))


def _follow(rows: "list[models.Attempt]", output: Format | None, *, first: bool) -> None:
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
    for function in (show, tail):
        app.command(function.__name__, rich_help_panel="Look")(function)
