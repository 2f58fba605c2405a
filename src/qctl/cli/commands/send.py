"""Enqueue messages by hand."""

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from qctl import models
from qctl.cli import options
from qctl.cli.console import say
from qctl.cli.session import session
from qctl.errors import ExitCode, QctlError, UsageError
from qctl.operations import messages, purge, queues
from qctl.output import Column, render

_BATCH = 1000


_SENT_COLUMNS = [Column("queue_name", "queue"), Column("msg_id", "message", right=True)]


def command(
    body: Annotated[
        str,
        typer.Argument(
            help="A JSON value; - or @FILE: one JSON value per line, plain or gzip.", metavar="JSON|-|@FILE"
        ),
    ],
    queue: options.Queue = None,
    header: options.Headers = None,
    delay: Annotated[
        str, typer.Option("--delay", help="Time before which it is not delivered.", metavar="DURATION")
    ] = "0s",
    dedup_key: Annotated[
        str | None,
        typer.Option(
            "--dedup-key", help="Send it only if no message of this key was sent within --dedup-window.", metavar="KEY"
        ),
    ] = None,
    dedup_window: Annotated[
        str, typer.Option("--dedup-window", help="Time for which a key is remembered.", metavar="DURATION")
    ] = "24h",
    order_key: Annotated[
        str | None,
        typer.Option("--order-key", help="Deliver it one at a time with the others of this key.", metavar="KEY"),
    ] = None,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Enqueue messages by hand.

    Prints the ids. With - or @FILE each line is a message; lines that are not JSON are named, the others are sent (exit 9).
    A file that qctl purge --export wrote is read back: its messages, without what else it says of them. With --dedup-key the
    id of the message that was sent before is printed instead of a new one; of two that run at once, one is sent.

    Example: qctl send -q orders '{"id": 7}'
    """
    headers = options.headers(header)
    delay_s = options.duration(delay)
    window_s = options.duration(dedup_window)
    many = body == "-" or body.startswith("@")
    if dedup_key is not None and many:
        raise UsageError(
            "--dedup-key is for one message, and - and @FILE are for many", hint="send each message by itself"
        )
    lines: Iterable[bytes] = (
        sys.stdin.buffer if body == "-" else purge.lines(Path(body[1:])) if many else [body.encode()]
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
        say(f"nothing was sent: this message of the same key was sent within the last {dedup_window}")
    for problem in problems:
        say(problem)
    if problems and sent:
        raise QctlError(
            f"{len(sent)} sent, {len(problems)} not",
            hint="fix those lines and send them alone",
            code=ExitCode.PARTLY_DONE,
        )
    if problems:
        raise UsageError("nothing was sent", hint="""a message is one JSON value, for example '{"id": 7}'""")


def _parsed(lines: Iterable[tuple[int, bytes]], problems: list[str], *, skip_blank: bool) -> Iterator[tuple[int, str]]:
    """The lines that are JSON, unchanged, because PostgreSQL reads numbers more exactly than Python."""
    for line_no, line in lines:
        try:
            text = line.decode("utf-8-sig").strip()
            if not text and skip_blank:
                continue
            text = purge.exported_body(text)
            json.loads(text, parse_int=str, parse_float=str)
        except UnicodeDecodeError:
            problems.append(f"line {line_no}: not UTF-8")
        except json.JSONDecodeError as error:
            problems.append(f"line {line_no}: not JSON: {error.msg}, column {error.colno}")
        except RecursionError:
            problems.append(f"line {line_no}: not JSON: nested too deeply")
        else:
            yield line_no, text
