"""Options that several commands share, each defined once, and how their values are read."""

import re
from typing import Annotated, cast

import typer

from qctl import units
from qctl.cli import completers
from qctl.errors import UsageError
from qctl.output import Format

Dsn = Annotated[
    str | None,
    typer.Option(
        "--dsn",
        help="Connection string. Without it or --profile: QCTL_DSN, the default profile, DATABASE_URL, libpq's own.",
        metavar="DSN",
    ),
]
Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        help="A profile of config.toml. Without it: QCTL_PROFILE.",
        metavar="NAME",
        autocompletion=completers.profiles,
    ),
]
Queue = Annotated[
    str | None,
    typer.Option(
        "--queue", "-q", help="The queue.", envvar="QCTL_QUEUE", metavar="QUEUE", autocompletion=completers.queue_names
    ),
]
Output = Annotated[
    Format | None, typer.Option("--output", "-o", help="Output format; json, csv … contain every field.")
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show every row, not the summary.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done and change nothing.")]
AsSql = Annotated[bool, typer.Option("--sql", help="Print the SQL instead, for migration files; makes no connection.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Reason to record in the audit.", metavar="TEXT")]
Headers = Annotated[
    list[str] | None,
    typer.Option("--header", "-H", help="HTTP header to send; may be repeated.", metavar="'NAME: VALUE'"),
]
Role = Annotated[str, typer.Argument(help="A role of the server.", metavar="ROLE")]
All = Annotated[bool, typer.Option("--all", help="All queues.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Agree without being asked.")]


def size(text: str) -> int:
    """Bytes of ``48k``, ``1m`` or ``2000``.

    Raises:
        UsageError: it is none of these.
    """
    match = re.fullmatch(r"([0-9]{1,9})([km]?)b?", text.strip().lower(), re.ASCII)
    if not match:
        raise UsageError(f"'{text[:50]}' is not a size", hint="for example 48k or 1m")
    return int(match[1]) * {"": 1, "k": 1024, "m": 1024**2}[match[2]]


def named_queue(queue: str | None) -> str:
    """The queue that ``--sql`` needs, because it makes no connection that could find the only one.

    Raises:
        UsageError: none was named.
    """
    if queue is None:
        raise UsageError("--sql makes no connection, so it needs -q QUEUE")
    return queue


def texts(value: object) -> list[str]:
    """The value if it is a list of texts.

    Raises:
        UsageError: it is not.
    """
    items = cast("list[object]", value) if isinstance(value, list) else None
    if items is None or not all(isinstance(item, str) for item in items):
        raise UsageError(f"{value!r} is not a list of texts", hint='["…"]')
    return cast("list[str]", items)


def retention(text: str) -> int | None:
    """Seconds of a retention; None for ``never``."""
    return None if text.strip() == "never" else round(duration(text))


def duration(text: str) -> float:
    """Seconds of ``500ms``, ``90s``, ``1h30m``, ``7d`` or ``2w``.

    Raises:
        UsageError: it is none of these.
    """
    found = units.parse(text)
    if found is None:
        raise UsageError(f"'{text[:50]}' is not a duration", hint="for example 30s, 15m, 12h, 7d or 1h30m")
    return found


def per_second(text: str) -> float:
    """Messages a second of ``50/s``, ``5000/min`` or ``100000/h``.

    Raises:
        UsageError: it is none of these, or zero.
    """
    found = units.rate(text)
    if found is None:
        raise UsageError(f"'{text[:50]}' is not a rate", hint="for example 50/s, 5000/min or 100000/h")
    return found


def share(text: str) -> float:
    """A share of 1, of ``20%`` or ``0.2``.

    Raises:
        UsageError: it is neither, or not within 0 to 100 %.
    """
    match = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*(%?)", text.strip(), re.ASCII)
    value = float(match[1]) / (100 if match[2] else 1) if match else -1.0
    if not 0 <= value <= 1:
        raise UsageError(f"'{text[:50]}' is not a share", hint="for example 20% or 0.2")
    return value


def durations(text: str) -> list[int]:
    """Whole seconds of a list of durations: ``5s,5m,30m``; an empty text is an empty list."""
    return [round(duration(part)) for part in text.split(",") if part.strip()]


_SECRET_NAMES = re.compile(r"auth|cookie|key|token|secret|signature|password", re.IGNORECASE)


def open_headers(lines: list[str] | None) -> dict[str, str]:
    """Headers of a queue: as :func:`headers`, but one that looks like a secret must name where its value is kept.

    Raises:
        UsageError: a line without a colon, or the literal value of a secret.
    """
    found = headers(lines)
    for name, value in found.items():
        if _SECRET_NAMES.search(name) and value and not re.match(r"(secret|vault):.", value):
            raise UsageError(
                f"the value of header {name} would show in the shell's history, the process list and the settings",
                hint=f"qctl secret set NAME; then --header '{name}: secret:NAME'",
            )
    return found


def headers(lines: list[str] | None) -> dict[str, str]:
    """Headers of ``Name: value`` lines.

    Raises:
        UsageError: a line without a colon.
    """
    found: dict[str, str] = {}
    for line in lines or []:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise UsageError("a header is 'Name: value'", hint="for example --header 'X-Tenant: acme'")
        found[name.strip()] = value.strip()
    return found
