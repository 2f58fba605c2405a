"""Durations as people write them, on a command line and in files."""

import re

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
