"""What a person reads beside the data: lines on stderr, progress, printed SQL."""

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import typer

from qctl import config
from qctl.cli.named_connection import carried, reminder
from qctl.errors import QctlError
from qctl.output.columns import visible

if TYPE_CHECKING:
    from qctl import db


def say(line: str, *, carry: bool = True) -> None:
    """Writes a line for people on stderr; commands in it carry the connection that was named unless told otherwise."""
    line = carried(line) if carry else line
    typer.echo(visible(line), err=True)
    if more := reminder(line):
        typer.echo(more, err=True)


def report(error: QctlError) -> None:
    """Says what happened, what more is known, what to type next."""
    say(f"Error: {error.message}")
    if error.detail:
        say(f"  {error.detail}")
    if error.hint:
        say(f"  Try:  {error.hint}", carry=not error.hint_is_for_another)


def once_a_second(line: Callable[[int], str]) -> Callable[[int], None]:
    """Progress of long work, for a terminal only.

    Args:
        line: makes the line of a count.

    Returns:
        A function to call with each new count; it writes at most one line a second.
    """
    written_at = time.monotonic()

    def progress(count: int) -> None:
        nonlocal written_at
        if config.stderr_is_terminal() and time.monotonic() - written_at > 1:
            say(line(count))
            written_at = time.monotonic()

    return progress


def print_calls(calls: "Iterable[db.Call[Any]]") -> None:
    """Prints what ``--sql`` prints instead of doing it: each call of an SQL function on a line of its own."""
    for call in calls:
        typer.echo(call.as_sql())
