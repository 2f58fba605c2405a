"""Option types, each defined once."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from qctl import durations as durations_
from qctl.cli import completing
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
        autocompletion=completing.profiles,
    ),
]
Queue = Annotated[
    str | None,
    typer.Option(
        "--queue", "-q", help="The queue.", envvar="QCTL_QUEUE", metavar="QUEUE", autocompletion=completing.queue_names
    ),
]
Output = Annotated[Format | None, typer.Option("--output", "-o", help="Output format; json, csv … hold every field.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, change nothing.")]
AsSql = Annotated[
    bool, typer.Option("--sql", help="Print the SQL instead, for migration files; no connection is made.")
]
Reason = Annotated[str | None, typer.Option("--reason", help="Kept in the audit.", metavar="TEXT")]
Headers = Annotated[
    list[str] | None,
    typer.Option("--header", "-H", help="HTTP header, 'Name: value'; may be repeated.", metavar="'NAME: VALUE'"),
]


Transport = Annotated[
    str | None,
    typer.Option(
        "--transport",
        help="auto: pg_net where it and pg_cron are here, else http. pg_net: jobs in the database. http: qctl worker.",
        metavar="auto|pg_net|http",
    ),
]
Retention = Annotated[
    str | None,
    typer.Option(
        "--retention", help="How long delivered messages are kept: 7d, or never to delete.", metavar="DURATION"
    ),
]


TrustLocation = Annotated[
    bool | None,
    typer.Option(
        "--trust-location/--no-trust-location",
        help="pg_net: a 2xx with a Location is the endpoint's own, not a redirect's end.",
    ),
]
All = Annotated[bool, typer.Option("--all", help="Every queue.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Agree beforehand.")]


def size(text: str) -> int:
    """Bytes of ``48k``, ``1m`` or ``2000``.

    Raises:
        UsageError: it is none of these.
    """
    match = re.fullmatch(r"([0-9]{1,9})([km]?)b?", text.strip().lower(), re.ASCII)
    if not match:
        raise UsageError(f"'{text[:50]}' is not a size", hint="for example 48k or 1m")
    return int(match[1]) * {"": 1, "k": 1024, "m": 1024**2}[match[2]]


def retention(text: str) -> int | None:
    """Seconds of a retention; None for ``never``."""
    return None if text.strip() == "never" else round(duration(text))


def duration(text: str) -> float:
    """Seconds of ``500ms``, ``90s``, ``1h30m``, ``7d`` or ``2w``.

    Raises:
        UsageError: it is none of these.
    """
    found = durations_.parse(text)
    if found is None:
        raise UsageError(f"'{text[:50]}' is not a duration", hint="for example 30s, 15m, 12h, 7d or 1h30m")
    return found


def moment(text: str) -> datetime:
    """The instant that lies ``15m`` back, or that is written ``2026-11-24 03:10``: local time unless it says otherwise.

    Raises:
        UsageError: it is neither.
    """
    try:
        back_s = durations_.parse(text)
        if back_s is not None:
            return datetime.now(UTC) - timedelta(seconds=back_s)
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError):
        raise UsageError(f"'{text[:50]}' is no time", hint="for example 15m, 7d or '2026-11-24 03:10'") from None


def per_second(text: str) -> float:
    """Messages a second of ``50/s``, ``5000/min`` or ``100000/h``.

    Raises:
        UsageError: it is none of these, or none at all.
    """
    found = durations_.rate(text)
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
        raise UsageError(f"'{text[:50]}' is no share", hint="for example 20% or 0.2")
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
                f"the value of header {name} would stand in the shell's history, the process list and the settings",
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
