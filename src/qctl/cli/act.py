"""Commands that act on queues: send, test, pause, resume."""

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from qctl import config, db, messages, models, purging, queues, testing
from qctl.cli import options
from qctl.cli.guard import say
from qctl.cli.session import session
from qctl.errors import ExitCode, QctlError, UsageError
from qctl.output import Column, render
from qctl.output.columns import instant, milliseconds, one_line, yes_no

_BATCH = 1000
_SENT_COLUMNS = [Column("queue_name", "queue"), Column("msg_id", "message", right=True)]
_PAUSE_COLUMNS = [
    Column("queue_name", "queue"),
    Column("changed", "changed", yes_no),
    Column("paused_at", "since", instant),
]


def send(
    body: Annotated[
        str,
        typer.Argument(
            help="A JSON value; - or @FILE for one JSON value a line, plain or gzip.", metavar="JSON|-|@FILE"
        ),
    ],
    queue: options.Queue = None,
    header: options.Headers = None,
    delay: Annotated[
        str, typer.Option("--delay", help="Deliver no sooner than in this time.", metavar="DURATION")
    ] = "0s",
    dedup_key: Annotated[
        str | None, typer.Option("--dedup-key", help="Send it only if none of this key was sent lately.", metavar="KEY")
    ] = None,
    dedup_window: Annotated[str, typer.Option("--dedup-window", help="What lately is.", metavar="DURATION")] = "24h",
    order_key: Annotated[
        str | None, typer.Option("--order-key", help="One at a time with the others of this key.", metavar="KEY")
    ] = None,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Enqueue messages by hand.

    Prints the ids. With - or @FILE each line is a message; lines that are no JSON are named, the others are sent (exit 9).
    A file that qctl purge --export wrote is read back: the messages, not what else it says of them. With --dedup-key the id of
    the message that was sent before comes back instead of a second one; of two at once one is sent.

    Example: qctl send -q orders '{"id": 7}'
    """
    headers = options.headers(header)
    delay_s = options.duration(delay)
    window_s = options.duration(dedup_window)
    many = body == "-" or body.startswith("@")
    if dedup_key is not None and many:
        raise UsageError("--dedup-key is of one message, and - and @FILE are of many", hint="send each by itself")
    lines: Iterable[bytes] = (
        sys.stdin.buffer if body == "-" else purging.lines(Path(body[1:])) if many else [body.encode()]
    )
    problems: list[str] = []
    sent: list[models.SentMessage] = []
    with session(dsn, profile, "send", changes=True) as connection:
        name = queues.the_one(connection, queue)
        parsed = _parsed(enumerate(lines, start=1), problems, skip_blank=many)
        last_line = 0
        try:
            while batch := list(islice(parsed, _BATCH)):
                if dedup_key is not None:
                    once = messages.send_once(
                        connection, name, batch[0][1], headers, delay_s, dedup_key, window_s, order_key
                    )
                    sent.append(models.SentMessage(name, once.msg_id, once.duplicate))
                    break
                results = messages.send(connection, name, [text for _, text in batch], headers, delay_s, order_key)
                for (line_no, _), result in zip(batch, results, strict=True):
                    if isinstance(result, QctlError):
                        problems.append(f"line {line_no}: {result.message}")
                    else:
                        sent.append(models.SentMessage(name, result))
                last_line = batch[-1][0]
        except QctlError as error:
            if not sent:
                raise
            problems.append(f"after line {last_line}: {error.message}")
    render(sent, _SENT_COLUMNS, output)
    if any(message.duplicate for message in sent):
        say(f"nothing was sent: this is the message of that key, sent within {dedup_window}")
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


def test(
    queue: options.Queue = None,
    body: Annotated[
        str | None, typer.Option("--body", help="This JSON value instead of a sample event.", metavar="JSON")
    ] = None,
    within: Annotated[
        str, typer.Option("--within", help="How long to wait for the answer.", metavar="DURATION")
    ] = "90s",
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Send a test event through the whole way: queue, worker, request, answer. Exit 8 if it is not delivered.

    The request carries x-qctl-test: 1. One attempt; a test event that fails is not tried again and leaves no dead letter.

    Example: qctl test -q orders
    """
    within_s = options.duration(within)
    if body is not None:
        try:
            json.loads(body)
        except (json.JSONDecodeError, RecursionError):
            raise UsageError("--body is not JSON", hint="""for example '{"id": 7}'""") from None
    with session(dsn, profile, "test", changes=True) as connection:
        name = queues.the_one(connection, queue)
        url = queues.described(connection, name).url
        (now,) = queues.statuses(connection, name)
        # Health names one ailment: of a paused queue without a worker that is no_worker.
        if now.health == "unarmed" or now.paused_at is not None:
            unarmed = now.health == "unarmed"
            raise QctlError(
                f"nothing was sent, for queue {name} sends nothing now",
                detail=f"unarmed: {now.reason}" if unarmed else f"paused: {now.pause_reason or 'no reason was given'}",
                hint="qctl arm, if it is this database that shall deliver" if unarmed else f"qctl resume -q {name}",
                code=ExitCode.CHECK_FAILED,
            )
        msg_id = testing.send(connection, name, body)
        try:
            say(f"sent {name}/{msg_id}; waiting for {url}")
            attempt = testing.answer(connection, name, msg_id, within_s)
        except KeyboardInterrupt:
            testing.give_up(connection, name, msg_id)
            raise
        if (attempt is None or attempt.outcome != "delivered") and not testing.give_up(connection, name, msg_id):
            attempt = testing.answer(connection, name, msg_id, 0.0)
        (now,) = queues.statuses(connection, name)
    if attempt is None:
        raise QctlError(
            f"no answer within {within}",
            detail=f"{now.health}: {now.reason}" if now.reason else None,
            hint=now.mend or f"qctl status -q {name}",
            code=ExitCode.CHECK_FAILED,
        )
    columns = [
        Column("msg_id", "message", right=True),
        Column("outcome", "outcome"),
        Column("status_code", "status", right=True),
        Column("duration_ms", "took", milliseconds, right=True),
        Column("error", "error", one_line, fold=True),
        Column("response", "answer", one_line, cut=True),
        Column("worker", "worker", wide=True),
    ]
    render([attempt], columns, output)
    if attempt.outcome != "delivered":
        redirected = attempt.status_code is not None and 300 <= attempt.status_code < 400
        raise QctlError(
            f"not delivered: {attempt.error or f'HTTP {attempt.status_code}'}",
            detail="a redirect is a failure, for a POST would become a GET" if redirected else None,
            hint="qctl doctor --probe says where it leads"
            if redirected
            else f"is {url} right? qctl set -q {name} --url URL",
            code=ExitCode.CHECK_FAILED,
        )


def _parsed(lines: Iterable[tuple[int, bytes]], problems: list[str], *, skip_blank: bool) -> Iterator[tuple[int, str]]:
    """The lines that are JSON, as they were written: PostgreSQL reads numbers more exactly than Python."""
    for line_no, line in lines:
        try:
            text = line.decode().strip()
            if not text and skip_blank:
                continue
            text = purging.exported_body(text)
            json.loads(text, parse_int=str, parse_float=str)
        except UnicodeDecodeError:
            problems.append(f"line {line_no}: not UTF-8")
        except json.JSONDecodeError as error:
            problems.append(f"line {line_no}: not JSON: {error.msg}, column {error.colno}")
        except RecursionError:
            problems.append(f"line {line_no}: not JSON: nested too deep")
        else:
            yield line_no, text


def pause(
    queue: options.Queue = None,
    all_: options.All = False,
    reason: options.Reason = None,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Stop delivering a queue, or all. Capture goes on; what is in flight settles.

    status says since when, by whom and why, and check fails until it is resumed.

    Example: qctl pause -q orders --reason "endpoint moves"
    """
    with session(dsn, profile, "pause", changes=True) as connection:
        rows = [queues.pause(connection, name, reason) for name in _which(connection, queue, all_=all_)]
    render(rows, _PAUSE_COLUMNS, output)


def resume(
    queue: options.Queue = None,
    all_: options.All = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Deliver a paused queue again, or all.

    Example: qctl resume -q orders
    """
    with session(dsn, profile, "resume", changes=True) as connection:
        rows = [queues.resume(connection, name) for name in _which(connection, queue, all_=all_)]
    render(rows, _PAUSE_COLUMNS, output)


def _which(connection: "db.Connection", queue: str | None, *, all_: bool) -> list[str]:
    if all_ and queue is not None and queue != config.default_queue():
        raise UsageError("--all, or one queue?", hint="give one of the two")
    if all_:
        return queues.some(connection, None)
    return [queues.the_one(connection, queue)]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for function in (send, test, pause, resume):
        app.command(function.__name__, rich_help_panel="Act")(function)
