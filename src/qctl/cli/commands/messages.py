"""Find messages."""

import itertools
import sys
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import typer

from qctl import db, models
from qctl.cli import options, selection, styles
from qctl.cli.console import say
from qctl.cli.session import session
from qctl.errors import UsageError
from qctl.operations import criteria, messages, queues
from qctl.output import Column, Format, chosen, machine, render
from qctl.output.columns import (
    instant,
    one_line,
)

_PAGE = 500


_COLUMNS = [
    Column("queue_name", "queue", fold=True),
    Column("msg_id", "message", right=True),
    Column("state", "state", style=styles.state),
    Column("enqueued_at", "enqueued", instant),
    Column("attempts", "attempts", right=True, wide=True),
    Column("last_attempt_at", "last attempt", instant, wide=True),
    Column("status_code", "status", right=True),
    Column("next_at", "next", instant, wide=True),
    Column("error", "answer", cut=True, of=lambda row: one_line(row.error or row.response or "")),
    Column("reason", "dead because", wide=True),
]


def command(
    queue: options.Queue = None,
    state: selection.State = None,
    retrying: selection.Retrying = False,
    attempted: selection.Attempted = False,
    dead: selection.Dead = False,
    delivered: selection.Delivered = False,
    since: selection.Since = None,
    until: selection.Until = None,
    captured_since: selection.CapturedSince = None,
    status_code: selection.StatusCode = None,
    error: selection.ErrorText = None,
    response: selection.Response = None,
    not_response: selection.NotResponse = None,
    where: selection.Where = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", "-n", help="Most messages to list (default 100 on a terminal, else all).", min=1),
    ] = None,
    before: Annotated[
        int | None, typer.Option("--before", help="Only messages with a lower id: the next page.", metavar="MSG_ID")
    ] = None,
    ids: Annotated[bool, typer.Option("--ids", help="Print only ids, for qctl replay -.")] = False,
    payload: Annotated[
        bool, typer.Option("--payload", help="Add headers and payload (json, jsonl, csv, tsv).")
    ] = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Find messages, newest first: by state, by their last attempt, by their payload.

    All filters must match. Filters on the last attempt sort by its time. Filters on errors, answers and payloads look back
    24 h unless --since or --captured-since says otherwise. Of an answer the first 4 KiB are kept.

    Example: qctl messages --status-code 200 --response '"ok":false' --ids | qctl replay -
    """
    which = criteria.read(
        state=state, retrying=retrying, attempted=attempted, since=since, until=until, captured_since=captured_since,
        status_code=status_code, error=error, response=response, not_response=not_response, where=where,
        dead=dead, delivered=delivered,
    ) or messages.Filter()  # fmt: skip
    if before is not None and which.by_attempt:
        raise UsageError(
            "--before works by id, these filters by time", hint="use --until with the last attempt of the last line"
        )
    if payload and (ids or chosen(output) in (Format.TABLE, Format.PLAIN, Format.MARKDOWN)):
        raise UsageError("payloads do not fit into a table", hint="-o jsonl")
    most = limit or (100 if sys.stdout.isatty() and not ids and output is None else None)
    with session(dsn, profile, "messages") as connection:
        names = queues.some(connection, queue)
        if before is not None and len(names) != 1:
            raise UsageError("--before needs one queue", hint=f"-q {names[0]}" if names else None)
        page = min(_PAGE, most + 1) if most else _PAGE
        rows = messages.listed(connection, names, which, before_id=before, page=page)
        shown = itertools.islice(rows, most)
        if ids:
            for row in shown:
                typer.echo(f"{row.queue_name}/{row.msg_id}")
        elif payload:
            _write_with_payloads(_with_payloads(connection, shown), chosen(output))
        else:
            render(shown, _COLUMNS, output)
        if most and (more := next(rows, None)):
            by_id = len(names) == 1 and not which.by_attempt
            say(f"there are more; continue with {f'--before {more.msg_id + 1}' if by_id else 'a higher --limit'}")


def _with_payloads(connection: "db.Connection", rows: "Iterable[models.MessageListed]") -> Iterator[dict[str, Any]]:
    source = iter(rows)
    while batch := list(itertools.islice(source, _PAGE)):
        carried = {
            name: messages.payloads(connection, name, [row.msg_id for row in batch if row.queue_name == name])
            for name in {row.queue_name for row in batch}
        }
        for row in batch:
            held = carried[row.queue_name].get(row.msg_id)
            yield machine.as_dict(row) | {
                "headers": held.headers if held else None,
                "message": held.message if held else None,
            }


def _write_with_payloads(values: Iterator[dict[str, Any]], output: Format) -> None:
    if output is Format.JSON:
        machine.write_json_values(values)
    elif output is Format.JSONL:
        machine.write_jsonl_values(values)
    else:
        machine.write_separated_values(values, "\t" if output is Format.TSV else ",")
