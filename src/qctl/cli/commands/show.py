"""One message's whole life."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from qctl import models
from qctl.cli import completers, options, styles
from qctl.cli.session import session
from qctl.errors import NotFoundError
from qctl.operations import attempts, messages
from qctl.output import Column, Format, chosen, machine, render, table
from qctl.output.columns import counted, instant, milliseconds, one_line


def _detail_text(event: "models.LifeEvent") -> str:
    """An event's error, answer and detail on one line."""
    detail = f"{event.detail or ''} {instant(event.until)}".strip() if event.until else event.detail
    parts = (event.error, event.response, detail)
    return " · ".join(one_line(part)[:200] for part in parts if part)


_EVENT_COLUMNS = [
    Column("at", "when", instant),
    Column("event", "what", style=styles.outcome),
    Column("delivery_no", "delivery", right=True, wide=True),
    Column("attempt_no", "attempt", right=True),
    Column("status_code", "status", right=True),
    Column("duration_ms", "took", milliseconds, right=True),
    Column("actor", "by", wide=True),
    Column("detail", "", of=_detail_text, fold=True),
]


@dataclass(frozen=True, slots=True)
class _Life:
    """A message, its attempts, everything that happened to it, and its payload if that was asked for."""

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


def command(
    ids: Annotated[
        list[str],
        typer.Argument(help="1234 or orders/1234.", metavar="MSG_ID...", autocompletion=completers.message_ids),
    ],
    queue: options.Queue = None,
    payload: Annotated[bool, typer.Option("--payload", help="Show the body and the headers too.")] = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """A message's whole life in order: each attempt and wait, replays with who and why, what comes next.

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
            f"no queue knows {', '.join(unknown)}",
            hint="qctl tail lists recent ids; purged messages are gone, and so are delivered ones of a queue with --archive off",
        )


def _free(life: _Life) -> str:
    """Why the numbers of the attempts go further than their count, if they do."""
    tried = max((e.attempt_no or 0 for e in life.events if e.delivery_no == life.message.delivery_no), default=0)
    free = tried - life.message.attempts - life.message.lost - (life.message.state == "in_flight")
    return f"; {counted(free, 'probe')} of an open circuit breaker not counted" if free > 0 else ""


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
    pairs.append(
        ("delivery", f"{message.delivery_no}, {counted(message.attempts, 'attempt')}, {message.lost} lost{_free(life)}")
    )
    if life.payload is not None:
        pairs.append(("headers", machine.text(life.payload.headers) if life.payload.headers else ""))
        pairs.append(("payload", machine.text(life.payload.message)))
    table.write_pairs(pairs)
    render(life.events, _EVENT_COLUMNS, output)
