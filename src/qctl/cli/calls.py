"""What ``--sql`` prints instead of doing it."""

from typing import Any

import typer

from qctl import db


def print_calls(calls: list[tuple[str, dict[str, Any]]]) -> None:
    """Each call of an SQL function on a line of its own."""
    for function, arguments in calls:
        typer.echo(db.call_as_text(function, **arguments))
