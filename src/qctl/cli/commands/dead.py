"""Dead letters."""

import itertools
from datetime import datetime
from typing import Annotated

import typer

from qctl import units
from qctl.cli import options
from qctl.cli.console import say
from qctl.cli.session import session
from qctl.operations import (
    messages,
    queues,
)
from qctl.output import Column, Format, chosen, machine, render
from qctl.output.columns import (
    instant,
    number,
    one_line,
)

_PAGE = 500


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
    Column("attempts", "attempts", right=True),
    Column("finished_at", "died", instant),
    Column("error", "why", cut=True, of=lambda row: one_line(row.note or row.error or row.response or "")),
]


def command(
    queue: options.Queue = None,
    since: Annotated[str | None, typer.Option("--since", help="Died at or after this time.", metavar="TIME")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Died before this time.", metavar="TIME")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="Most messages to list.", min=0)] = 20,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Dead letters: grouped by reason and status, then the newest of them.

    csv and tsv contain the list, json both. The newest 100,000 dead letters are grouped.

    Example: qctl dead
    """
    first_at, last_at = (units.moment(text) if text else None for text in (since, until))
    with session(dsn, profile, "dead") as connection:
        names = queues.some(connection, queue)
        groups = messages.dead(connection, queue, first_at, last_at)
        listed = messages.listed(connection, names, messages.Filter(states=["dead"]), page=max(1, min(limit, _PAGE)))
        found = (row for row in listed if _is_within(row.finished_at, first_at, last_at))
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
            only = f" -q {queue}" if queue is not None else ""
            say(f"Next: qctl show {name}; when the cause is fixed: qctl replay --dead{only}")
        case _:
            say("no message is dead")


def _is_within(at: datetime | None, since: datetime | None, until: datetime | None) -> bool:
    """Whether an instant is in a window of which either end may be open."""
    return at is not None and (since is None or at >= since) and (until is None or at < until)
