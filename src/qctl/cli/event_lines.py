"""Webhooks as lines: for people on a terminal, as JSON lines for programs."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar, cast

import typer

from qctl import exact_json
from qctl.cli import styles
from qctl.errors import UsageError
from qctl.listening import endpoint, forwarder
from qctl.output import Column, Format, chosen, machine, table
from qctl.output.columns import clock, milliseconds, one_line, visible

Event = TypeVar("Event")


@dataclass(frozen=True, slots=True)
class _Came:
    """A request that came, for programs; ``payload`` is JSON where it is some."""

    at: datetime
    method: str
    path: str
    webhook_id: str | None
    signature: str | None
    status: int
    headers: dict[str, str]
    payload: Any


@dataclass(frozen=True, slots=True)
class _Went:
    """A copy that was forwarded, for programs."""

    at: datetime
    queue_name: str
    msg_id: int
    webhook_id: str
    status: int | None
    duration_ms: int | None
    error: str | None
    payload: Any


@dataclass(frozen=True, slots=True)
class _Shown:
    """A line for people."""

    at: datetime
    subject: str
    what: str
    outcome: str
    took: int | None
    note: str | None


_COLUMNS = [
    Column("at", "at", clock),
    Column("subject", "message"),
    Column("what", "event", one_line),
    Column("outcome", "answer", style=lambda value: styles.outcome("delivered" if value.startswith("2") else "dead")),
    Column("took", "took", milliseconds, right=True),
    Column("note", "note", one_line),
]


class Lines:
    """Writes events: for people on a terminal, else as JSON lines."""

    def __init__(self, output: Format | None) -> None:
        asked = chosen(output) if output or sys.stdout.isatty() else Format.JSONL
        if asked in (Format.CSV, Format.TSV, Format.MARKDOWN):
            raise UsageError(f"events are not written as {asked}", hint="-o jsonl")
        self._machine = asked in (Format.JSON, Format.JSONL)

    def came(self, event: "endpoint.Arrival") -> None:
        """A request that came to the endpoint."""
        self._write(event, _came, _shown_arrival)

    def went(self, event: "forwarder.Forwarded") -> None:
        """A copy that was forwarded."""
        self._write(event, _went, _shown_copy)

    def _write(self, event: Event, row: Callable[[Event], Any], shown: Callable[[Event], _Shown]) -> None:
        if self._machine:
            machine.write_jsonl([row(event)])
        else:
            table.write_line(shown(event), _COLUMNS)

    def flush(self) -> None:
        """What was written is out."""
        sys.stdout.flush()


def _came(event: "endpoint.Arrival") -> _Came:
    return _Came(
        event.at,
        event.method,
        event.path,
        event.webhook_id,
        event.signature,
        event.status,
        event.headers,
        _payload(event.body),
    )


def _went(event: "forwarder.Forwarded") -> _Went:
    return _Went(
        event.at, event.queue_name, event.msg_id, event.webhook_id, event.status, event.duration_ms, event.error,
        _payload(event.copy.body or ""),
    )  # fmt: skip


def _shown_arrival(event: "endpoint.Arrival") -> _Shown:
    subject = (
        f"{event.method} {event.path}" if event.method != "POST" or event.path != "/" else (event.webhook_id or "")[:12]
    )
    return _Shown(event.at, subject, _event(event.body), str(event.status), None, event.signature)


def _shown_copy(event: "forwarder.Forwarded") -> _Shown:
    outcome = "no answer" if event.status is None else str(event.status)
    return _Shown(
        event.at,
        f"{event.queue_name}/{event.msg_id}",
        _event(event.copy.body or ""),
        outcome,
        event.duration_ms,
        event.error,
    )


def _payload(body: bytes | str) -> Any:
    """JSON as it came, digit by digit; text where it is none."""
    text = body if isinstance(body, str) else body.decode("utf-8", "replace")
    try:
        found = exact_json.loads(text)
        if "NaN" in text or "Infinity" in text:
            # Python reads them, and they are no JSON.
            json.dumps(found, allow_nan=False)
    except (ValueError, RecursionError):
        return text
    return found


def _event(body: bytes | str) -> str:
    """What a payload is about, in a few words."""
    found = _payload(body)
    if not isinstance(found, dict):
        return str(found)[:40]
    about = cast("dict[str, Any]", found)
    kind = about.get("operation") or about.get("type") or ""
    words = [str(kind), f"{about['schema']}.{about['table']}" if "table" in about and "schema" in about else ""]
    words += [f"{name} {value}" for name, value in _first(about.get("record") or about.get("old_record"))]
    return " ".join(word for word in words if word)[:60] or ", ".join(list(about)[:5])


def _first(row: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(row, dict):
        pairs = list(cast("dict[str, Any]", row).items())
        yield from [pair for pair in pairs if pair[0] == "id"] or pairs[:1]


def open_payload(body: str) -> None:
    """Writes a payload over several lines."""
    found = _payload(body)
    text = found if isinstance(found, str) else exact_json.dumps(found, indent=2)
    for line in text.split("\n"):
        typer.echo(visible(line))
