"""Formats for programs: every field, raw values, durations in the unit of the field's name, instants in ISO 8601 UTC."""

import csv
import dataclasses
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from qctl import exact_json


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"no JSON for {type(value).__name__}")


def _ascii() -> bool:
    """Whether JSON must escape what the reader's encoding may not have."""
    return not (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf8")


def _json(value: Any, *, indent: int | None = None) -> str:
    return exact_json.dumps(value, default=_plain, indent=indent, ensure_ascii=_ascii())


def as_dict(row: Any) -> dict[str, Any]:
    """A model as JSON-ready keys."""
    return {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}


def write_json(rows: Iterable[Any]) -> None:
    """One JSON array."""
    write_json_values(as_dict(row) for row in rows)


def write_json_values(values: Iterable[dict[str, Any]]) -> None:
    """One JSON array of objects that are no models."""
    sys.stdout.write(_json(list(values), indent=2) + "\n")


def write_jsonl_values(values: Iterable[dict[str, Any]]) -> None:
    """One object a line."""
    for value in values:
        sys.stdout.write(text(value) + "\n")


def text(value: Any) -> str:
    """A JSON value as one line."""
    return _json(value)


def write_object(value: dict[str, Any]) -> None:
    """One JSON object."""
    sys.stdout.write(_json(value, indent=2) + "\n")


def write_jsonl(rows: Iterable[Any]) -> None:
    """One JSON object a line, each written as it comes."""
    write_jsonl_values(as_dict(row) for row in rows)
    sys.stdout.flush()


def write_separated(rows: Iterable[Any], separator: str, *, header: bool = True) -> None:
    """CSV or TSV, with a header line unless told otherwise."""
    write_separated_values((as_dict(row) for row in rows), separator, header=header)


def write_separated_values(rows: Iterable[dict[str, Any]], separator: str, *, header: bool = True) -> None:
    """CSV or TSV of objects that are no models."""
    writer = csv.writer(sys.stdout, delimiter=separator, lineterminator="\n")
    for values in rows:
        if header:
            header = False
            writer.writerow(values)
        writer.writerow([_cell(value) for value in values.values()])


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, (datetime, UUID)):
        return _plain(value)
    if isinstance(value, (dict, list, bool)):
        return _json(value)
    return value
