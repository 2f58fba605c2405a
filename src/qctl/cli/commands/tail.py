"""The last attempts."""

import sys
from contextlib import ExitStack
from typing import Annotated

import typer

from qctl import config, models, units
from qctl.cli import endless, options, styles
from qctl.cli.console import say
from qctl.cli.session import session, session_again
from qctl.errors import CannotConnectError
from qctl.operations import attempts, queues
from qctl.output import Column, Format, chosen, machine, render, table
from qctl.output.columns import clock, milliseconds, one_line, zone

_TAIL_COLUMNS = [
    Column("settled_at", "settled", clock),
    Column("queue_name", "queue", fold=True),
    Column("msg_id", "message", right=True),
    Column("attempt_no", "attempt", right=True),
    Column("outcome", "outcome", style=styles.outcome),
    Column("status_code", "status", right=True),
    Column("duration_ms", "took", milliseconds, right=True),
    Column("error", "error", one_line, cut=True),
]


def command(
    queue: options.Queue = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Continue as attempts settle, until Ctrl-C.")] = False,
    lines: Annotated[
        int | None,
        typer.Option(
            "--limit", "--lines", "-n", help="Most attempts to show first (default 20; with --since 10,000).", min=1
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="Only attempts settled at or after this time.", metavar="TIME")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only failed attempts.")] = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """The last attempts, oldest first.

    Example: qctl tail -f --failed
    """
    start = units.moment(since) if since else None
    with ExitStack() as stack:
        connection = stack.enter_context(session(dsn, profile, "tail"))
        if queue is not None:
            queues.described(connection, queue)
        watcher = attempts.Tail(connection, queue, failed=failed)
        rows = watcher.last(lines or (10_000 if start else 20), start)
        if not follow:
            render(rows, _TAIL_COLUMNS, output)
            return
        _follow(rows, output, first=True)
        if config.stderr_is_terminal():
            say(f"times are {zone()}; Ctrl-C to end")
        while True:
            endless.wait(0.5)
            try:
                for rows in watcher.look():
                    _follow(rows, output, first=False)
            except CannotConnectError as error:
                say(f"{error.message}; trying again")
                watcher.on(session_again(stack, dsn, profile, "tail", wait=endless.wait))
                say("connected again")


def _follow(rows: "list[models.Attempt]", output: Format | None, *, first: bool) -> None:
    """Writes rows to an output without an end."""
    match chosen(output) if output or sys.stdout.isatty() else Format.JSONL:
        case Format.JSON | Format.JSONL:
            machine.write_jsonl(rows)
        case Format.CSV | Format.TSV as kind:
            machine.write_separated(rows, "\t" if kind is Format.TSV else ",", header=first)
        case _:
            for row in rows:
                table.write_line(row, _TAIL_COLUMNS)
    sys.stdout.flush()
