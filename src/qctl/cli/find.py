"""Commands that look for messages: messages, dead."""

import itertools
import sys
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import typer

from qctl import db, messages, models, queues
from qctl.cli import choice, options
from qctl.cli.guard import say
from qctl.cli.session import session
from qctl.errors import UsageError
from qctl.output import Column, Format, chosen, machine, render
from qctl.output.columns import instant, number, one_line

_PAGE = 500
_STATE = {"delivered": "green", "dead": "bold red", "retrying": "yellow", "in_flight": "cyan"}


def _state_style(value: Any) -> str:
    return _STATE.get(value, "")


_COLUMNS = [
    Column("queue_name", "queue", fold=True),
    Column("msg_id", "message", right=True),
    Column("state", "state", style=_state_style),
    Column("enqueued_at", "enqueued", instant),
    Column("attempts", "tries", right=True),
    Column("last_attempt_at", "last try", instant),
    Column("status_code", "status", right=True),
    Column("next_at", "next", instant, wide=True),
    Column("error", "error", one_line, cut=True),
    Column("response", "answer", one_line, cut=True, wide=True),
    Column("reason", "dead because", wide=True),
]


def messages_(
    queue: options.Queue = None,
    state: choice.State = None,
    retrying: choice.Retrying = False,
    since: choice.Since = None,
    until: choice.Until = None,
    captured_since: choice.CapturedSince = None,
    status_code: choice.StatusCode = None,
    error: choice.ErrorText = None,
    response: choice.Response = None,
    not_response: choice.NotResponse = None,
    where: choice.Where = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", help="At most so many; 100 on a terminal, else all.", min=1)
    ] = None,
    before: Annotated[
        int | None, typer.Option("--before", help="Only ids below this one: the next page.", metavar="MSG_ID")
    ] = None,
    ids: Annotated[bool, typer.Option("--ids", help="Print ids only, for qctl replay -.")] = False,
    payload: Annotated[
        bool, typer.Option("--payload", help="With headers and payload (json, jsonl, csv, tsv).")
    ] = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Find messages, the newest first: by state, by their last attempt, by what is in them.

    Filters add up. Those on the last attempt order by its time. Filters on errors, answers and payloads look back 24 h
    unless --since or --captured-since says otherwise. Answers are known by their first 4 KiB.

    Example: qctl messages --status-code 200 --response '"ok":false' --ids | qctl replay -
    """
    which = choice.criteria(
        state=state, retrying=retrying, since=since, until=until, captured_since=captured_since, status_code=status_code,
        error=error, response=response, not_response=not_response, where=where,
    ) or messages.Filter()  # fmt: skip
    if before is not None and which.by_attempt:
        raise UsageError(
            "--before goes by id, these filters by time", hint="--until, with the last try of the last line"
        )
    if payload and (ids or chosen(output) in (Format.TABLE, Format.PLAIN, Format.MARKDOWN)):
        raise UsageError("payloads have no room in lines", hint="-o jsonl")
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
            say(f"there are more; go on with {f'--before {more.msg_id + 1}' if by_id else 'a higher --limit'}")


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


_GROUP_COLUMNS = [
    Column("queue_name", "queue", fold=True),
    Column("reason", "reason"),
    Column("status_code", "status", right=True),
    Column("messages", "messages", number, right=True),
    Column("first_at", "first", instant),
    Column("last_at", "last", instant),
    Column("error", "most frequent error", one_line, cut=True),
]
_DEAD_COLUMNS = [
    Column("queue_name", "queue", fold=True),
    Column("msg_id", "message", right=True),
    Column("reason", "reason"),
    Column("status_code", "status", right=True),
    Column("attempts", "tries", right=True),
    Column("finished_at", "died", instant),
    Column("note", "note", one_line, cut=True),
    Column("error", "error", one_line, cut=True),
    Column("response", "answer", one_line, cut=True, wide=True),
]


def dead(
    queue: options.Queue = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many to list.", min=0)] = 20,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Dead letters: grouped by reason and status, then the newest of them.

    csv and tsv hold the list, json both. The groups are of the newest 100,000.

    Example: qctl dead
    """
    with session(dsn, profile, "dead") as connection:
        names = queues.some(connection, queue)
        groups = messages.dead(connection, queue)
        found = messages.listed(connection, names, messages.Filter(states=["dead"]), page=max(1, min(limit, _PAGE)))
        rows = list(itertools.islice(found, limit)) if names else []
    match chosen(output):
        case Format.JSON:
            machine.write_object({
                "groups": [machine.as_dict(group) for group in groups], "messages": [machine.as_dict(row) for row in rows],
            })  # fmt: skip
        case Format.JSONL | Format.CSV | Format.TSV:
            render(rows, _DEAD_COLUMNS, output)
        case _ if groups:
            render(groups, _GROUP_COLUMNS, output)
            if rows:
                typer.echo("")
                render(rows, _DEAD_COLUMNS, output)
            first = rows[0] if rows else None
            name = f"{first.queue_name}/{first.msg_id}" if first else "MSG_ID"
            say(f"Next: qctl show {name}; when the cause is mended: qctl messages --state dead --ids | qctl replay -")
        case _:
            say("no message is dead")


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("messages", rich_help_panel="Look")(messages_)
    app.command("dead", rich_help_panel="Look")(dead)
