"""Commands that act on queues: send, purge, pause, resume."""

import json
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Annotated

import typer

from qctl import config, db, messages, queues
from qctl.cli import options
from qctl.cli.guard import say
from qctl.cli.session import session
from qctl.errors import ExitCode, QctlError, UsageError
from qctl.models import Purged, SentMessage
from qctl.output import Column, render
from qctl.output.columns import instant, number, size, yes_no

_BATCH = 1000
_PURGE_BATCH = 5000
_SENT_COLUMNS = [Column("queue_name", "queue"), Column("msg_id", "message", right=True)]
_PAUSE_COLUMNS = [
    Column("queue_name", "queue"),
    Column("changed", "changed", yes_no),
    Column("paused_at", "since", instant),
]
_PURGE_COLUMNS = [
    Column("queue_name", "queue"),
    Column("messages", "messages", number, right=True),
    Column("attempts", "attempts", number, right=True),
    Column("bytes", "size", size, right=True),
]


def send(
    body: Annotated[str, typer.Argument(help="A JSON value, or - for one JSON value a line on stdin.", metavar="JSON")],
    queue: options.Queue = None,
    header: options.Headers = None,
    delay: Annotated[
        str, typer.Option("--delay", help="Deliver no sooner than in this time.", metavar="DURATION")
    ] = "0s",
    dsn: options.Dsn = None,
    output: options.Output = None,
) -> None:
    """Enqueue messages by hand.

    Prints the ids. With - each line is a message; lines that are no JSON are named, the others are sent (exit 9).

    Example: qctl send -q orders '{"id": 7}'
    """
    headers = options.headers(header)
    delay_s = options.duration(delay)
    lines: Iterable[str] = sys.stdin if body == "-" else [body]
    problems: list[str] = []
    sent: list[SentMessage] = []
    with session(dsn, "send", changes=True) as connection:
        name = queues.the_one(connection, queue)
        parsed = _parsed(enumerate(lines, start=1), problems, skip_blank=body == "-")
        last_line = 0
        try:
            while batch := list(islice(parsed, _BATCH)):
                results = messages.send(connection, name, [text for _, text in batch], headers, delay_s)
                for (line_no, _), result in zip(batch, results, strict=True):
                    if isinstance(result, QctlError):
                        problems.append(f"line {line_no}: {result.message}")
                    else:
                        sent.append(SentMessage(name, result))
                last_line = batch[-1][0]
        except QctlError as error:
            if not sent:
                raise
            problems.append(f"after line {last_line}: {error.message}")
    render(sent, _SENT_COLUMNS, output)
    for problem in problems:
        say(problem)
    if problems and sent:
        raise QctlError(
            f"{len(sent)} sent, {len(problems)} not",
            hint="mend those lines and send them alone",
            code=ExitCode.PARTLY_DONE,
        )
    if problems:
        raise UsageError("nothing was sent", hint="""a message is one JSON value, for example '{"id": 7}'""")


def _parsed(lines: Iterable[tuple[int, str]], problems: list[str], *, skip_blank: bool) -> Iterator[tuple[int, str]]:
    """The lines that are JSON, as they were written: PostgreSQL reads numbers more exactly than Python."""
    for line_no, line in lines:
        text = line.strip()
        if not text and skip_blank:
            continue
        try:
            json.loads(text, parse_int=str, parse_float=str)
        except json.JSONDecodeError as error:
            problems.append(f"line {line_no}: not JSON: {error.msg}, column {error.colno}")
        except RecursionError:
            problems.append(f"line {line_no}: not JSON: nested too deep")
        else:
            yield line_no, text


def purge(
    older_than: Annotated[
        str, typer.Option("--older-than", help="Delivered longer ago than this, for example 7d.", metavar="DURATION")
    ],
    queue: options.Queue = None,
    dry_run: options.DryRun = False,
    dsn: options.Dsn = None,
    output: options.Output = None,
) -> None:
    """Delete delivered history: messages delivered longer ago than that, with their attempts.

    Never an unfinished or a dead message. In batches that a worker does not feel; asks nothing, so it can stand in
    cron; interrupting it loses only what is left to do.

    Example: qctl purge --older-than 7d
    """
    older_than_s = options.duration(older_than)
    with session(dsn, "purge", changes=not dry_run) as connection:
        names = queues.some(connection, queue)
        rows: list[Purged] = []
        problems: list[str] = []
        for name in names:
            try:
                if dry_run:
                    rows.append(queues.purgeable(connection, name, older_than_s))
                else:
                    rows.append(_purge(connection, name, older_than_s))
            except QctlError as error:
                if connection.closed or len(names) == 1:
                    raise
                problems.append(f"{name}: {error.message}")
    render(rows, _PURGE_COLUMNS, output)
    for problem in problems:
        say(problem)
    if problems:
        raise QctlError(
            f"{len(problems)} of {len(names)} queues could not be purged", code=ExitCode.PARTLY_DONE, hint="qctl status"
        )


def _purge(connection: db.Connection, name: str, older_than_s: float) -> Purged:
    deleted, attempts = 0, 0
    batch = None
    told_at = time.monotonic()
    while batch is None or batch.next_after is not None:
        batch = queues.purge_batch(connection, name, older_than_s, batch, _PURGE_BATCH)
        deleted += batch.messages
        attempts += batch.attempts
        if config.stderr_is_terminal() and time.monotonic() - told_at > 1:
            say(f"{name}: {deleted:,} messages deleted so far")
            told_at = time.monotonic()
    return Purged(name, deleted, attempts, None)


def pause(
    queue: options.Queue = None, reason: options.Reason = None, dsn: options.Dsn = None, output: options.Output = None
) -> None:
    """Stop delivering a queue. Capture goes on; what is in flight settles.

    Example: qctl pause -q orders --reason "endpoint moves"
    """
    with session(dsn, "pause", changes=True) as connection:
        row = queues.pause(connection, queues.the_one(connection, queue), reason)
    render([row], _PAUSE_COLUMNS, output)


def resume(queue: options.Queue = None, dsn: options.Dsn = None, output: options.Output = None) -> None:
    """Deliver a paused queue again.

    Example: qctl resume -q orders
    """
    with session(dsn, "resume", changes=True) as connection:
        row = queues.resume(connection, queues.the_one(connection, queue))
    render([row], _PAUSE_COLUMNS, output)


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for function in (send, purge, pause, resume):
        app.command(function.__name__, rich_help_panel="Act")(function)
