"""Commands that act: send, replay, purge, pause, resume."""

import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Annotated, Any

import typer

from qctl import config, db, messages, queues
from qctl.cli import options
from qctl.cli.consent import consent
from qctl.cli.guard import say
from qctl.cli.session import session
from qctl.errors import ExitCode, NotFoundError, QctlError, UsageError
from qctl.models import Purged, Replayed, ReplayedMessage, SentMessage
from qctl.output import Column, render
from qctl.output.columns import counted, instant, number, size, yes_no

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


def replay(
    ids: Annotated[list[str], typer.Argument(help="1234, orders/1234, or - for ids on stdin.", metavar="MSG_ID...")],
    queue: options.Queue = None,
    reason: options.Reason = None,
    dry_run: options.DryRun = False,
    dsn: options.Dsn = None,
    output: options.Output = None,
) -> None:
    """Deliver finished messages again, delivered and dead ones alike.

    A replayed message keeps its id and its webhook-id and has its attempts afresh. One that waits for a retry is tried
    now; one in flight is left alone.

    Example: qctl replay 1234 1235 --reason "n8n was down"
    """
    wanted = _words(ids)
    rows: list[Any] = []
    with session(dsn, "replay", changes=not dry_run) as connection:
        found, unknown = messages.resolve(connection, wanted, queue)
        for name, msg_ids in _by_queue(found).items():
            if dry_run:
                outcomes = [Replayed(m, messages.get(connection, name, m).state) for m in msg_ids]
            else:
                outcomes = messages.replay(connection, name, msg_ids, reason)
            rows.extend(ReplayedMessage(name, outcome.msg_id, outcome.outcome) for outcome in outcomes)
    if rows or not unknown:
        columns = [*_SENT_COLUMNS, Column("outcome", "state now" if dry_run else "outcome")]
        render(rows, columns, output)
    counts = Counter(row.outcome for row in rows)
    if rows and not dry_run and config.stderr_is_terminal():
        say(", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())))
    missing = [*unknown, *(f"{row.queue_name}/{row.msg_id}" for row in rows if row.outcome == "unknown")]
    _refuse_unknown(missing, wanted)


def discard(
    ids: Annotated[list[str], typer.Argument(help="1234, orders/1234, or - for ids on stdin.", metavar="MSG_ID...")],
    queue: options.Queue = None,
    reason: options.Reason = None,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    dsn: options.Dsn = None,
    output: options.Output = None,
) -> None:
    """Give up on unfinished messages. They become dead letters, with the reason, and can be replayed.

    Example: qctl discard orders/1234 --reason "test data"
    """
    wanted = _words(ids)
    rows: list[ReplayedMessage] = []
    with session(dsn, "discard", changes=not dry_run) as connection:
        found, unknown = messages.resolve(connection, wanted, queue)
        if found and not dry_run:
            consent(f"{counted(len(found), 'message')} to be given up", yes=yes)
        for name, msg_ids in _by_queue(found).items():
            outcomes = (
                [Replayed(m, messages.get(connection, name, m).state) for m in msg_ids]
                if dry_run
                else messages.discard(connection, name, msg_ids, reason)
            )
            rows.extend(ReplayedMessage(name, outcome.msg_id, outcome.outcome) for outcome in outcomes)
    if rows or not unknown:
        render(rows, [*_SENT_COLUMNS, Column("outcome", "state now" if dry_run else "outcome")], output)
    _refuse_unknown(unknown, wanted)


def _refuse_unknown(missing: list[str], wanted: list[str]) -> None:
    """Ends with 6 if no queue knows any of the ids, with 9 if some were known."""
    if missing and len(missing) >= len(wanted):
        raise NotFoundError(f"no queue knows {_some(missing)}", hint="qctl tail lists recent ids; purged ones are gone")
    if missing:
        raise QctlError(
            f"no queue knows {_some(missing)}",
            code=ExitCode.PARTLY_DONE,
            hint="stdout says what was done to the others",
        )


def _words(ids: list[str]) -> list[str]:
    """The ids as written, those of stdin in the place of ``-``."""
    return [word for text in ids for word in (sys.stdin.read().split() if text == "-" else [text])]


def _by_queue(found: list[tuple[str, int]]) -> dict[str, list[int]]:
    grouped: dict[str, list[int]] = {}
    for name, msg_id in found:
        grouped.setdefault(name, []).append(msg_id)
    return grouped


def _some(names: list[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


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
    for function in (send, replay, discard, purge, pause, resume):
        app.command(function.__name__, rich_help_panel="Act")(function)
