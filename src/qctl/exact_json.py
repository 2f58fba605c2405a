"""JSON whose numbers stay as they were written: ``12345678901234567.89`` and ``1.10`` are more than a float holds."""

import json
import re
import secrets
from collections.abc import Callable
from typing import Any, cast


class Number(float):
    """A float that knows how it was written."""

    __slots__ = ("text",)
    text: str


def _number(text: str) -> float:
    value = float(text)
    if repr(value) == text:
        return value
    number = Number(value)
    number.text = text
    return number


_DECODER = json.JSONDecoder(parse_float=_number)
# Around a number's text until the encoder has written it as a string; no payload can know it.
_MARK = secrets.token_hex(16)
_MARKED = re.compile(f'"{_MARK}([^"]*)"')


def loads(text: str) -> Any:
    """What a JSON text says.

    Raises:
        json.JSONDecodeError: it is not JSON.
    """
    return _DECODER.decode(text)


def dumps(
    value: Any, *, default: Callable[[Any], Any] | None = None, indent: int | None = None, ensure_ascii: bool = True
) -> str:
    """A value as JSON, as :func:`json.dumps` writes it, with exact numbers as they were read."""
    try:
        marked = _marked(value)
    except RecursionError:
        # The encoder goes deeper than this; what is nested so deep is shown rather than exact.
        marked = value
    text = json.dumps(marked, default=default, indent=indent, ensure_ascii=ensure_ascii)
    return _MARKED.sub(r"\1", text) if _MARK in text else text


def _marked(value: Any) -> Any:
    if isinstance(value, Number):
        return _MARK + value.text
    if isinstance(value, dict):
        return {key: _marked(item) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_marked(item) for item in cast("list[Any]", value)]
    return value
