"""An order key in a broker's identifiers and headers, within their limits."""

import hashlib
import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")


def short_id(text: str, most: int, pattern: re.Pattern[str]) -> str:
    """``text`` where ``pattern`` matches it and it is short enough, otherwise its SHA-256: the same for the same text."""
    if len(text) <= most and pattern.fullmatch(text):
        return text
    return hashlib.sha256(text.encode()).hexdigest()


def subject_token(key: str | None) -> str:
    """A key as one token of a NATS subject, ``_`` for none."""
    return "_" if key is None else short_id(key, 64, _TOKEN)


def order_header(key: str) -> str:
    """A key as a header, in which no control character may stand."""
    return _CONTROL.sub(" ", key)
