"""Durations, rates and times as people write them, on a command line, in files and on a page."""

import re
from datetime import UTC, datetime, time, timedelta

from qctl.errors import UsageError

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_WHOLE = re.compile(r"(?:\d{1,9}(?:\.\d{1,6})?(?:ms|s|m|h|d|w))+", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)", re.ASCII)


def parse(text: str) -> float | None:
    """Seconds of ``500ms``, ``90s``, ``1h30m``, ``7d``, ``2w`` or ``0``; None if it is none of these."""
    if text.strip() == "0":
        return 0.0
    if not _WHOLE.fullmatch(text.strip()):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


_RATE = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)/(s|sec|min|m|h)", re.ASCII)
_PER_S = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600}


def rate(text: str) -> float | None:
    """Per second, of ``50/s``, ``5000/min`` or ``100000/h``; None if it is none of these, or zero."""
    match = _RATE.fullmatch(text.strip())
    return float(match[1]) / _PER_S[match[2]] if match and float(match[1]) else None


def moment(text: str) -> datetime:
    """The instant that a text names: local time unless it says otherwise.

    It is ``15m`` or ``-15m`` back, ``today``, ``yesterday``, ``14:02`` or ``14:02:11`` (the last such time of day), or a date
    with or without a time; ``UTC`` behind a time is understood. That is every form that is printed.

    Raises:
        UsageError: it is none of these.
    """
    words = re.sub(r"\s*UTC$", "+00:00", text.strip())
    now = datetime.now().astimezone()
    try:
        back_s = parse(words.removeprefix("-"))
        if back_s is not None:
            return datetime.now(UTC) - timedelta(seconds=back_s)
        if words in ("today", "yesterday"):
            return _midnight(now, days_ago=("today", "yesterday").index(words))
        if re.match(r"\d{1,2}:\d{2}(?!\d)", words):
            at = time.fromisoformat(words if words[2] == ":" else f"0{words}")
            day = now.astimezone(at.tzinfo).date()
            found = datetime.combine(day, at).astimezone()
            return found if found <= now else datetime.combine(day - timedelta(days=1), at).astimezone()
        return datetime.fromisoformat(words).astimezone()
    except (ValueError, OverflowError):
        raise UsageError(
            f"'{text[:50]}' is not a valid time",
            hint="for example 15m, 7d, today, yesterday, 14:02:11 or '2026-11-24 03:10'",
        ) from None


def _midnight(now: datetime, *, days_ago: int) -> datetime:
    """The beginning of a day by the local clock, also where summer time began or ended in between."""
    return datetime.combine(now.date() - timedelta(days=days_ago), time()).astimezone()
