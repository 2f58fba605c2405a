"""Rows to stdout, in the format that was asked for: the one door."""

import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

from qctl.lazy import lazy
from qctl.output.columns import Column

lazy("qctl.output.machine", "qctl.output.table", "qctl.output.text")

from qctl.output import machine, table, text  # noqa: E402

__all__ = ["MACHINE", "Column", "Format", "chosen", "render"]


class Format(StrEnum):
    """Output formats. The first three are for people, the others for programs: raw values, all fields."""

    TABLE = "table"
    PLAIN = "plain"
    MARKDOWN = "markdown"
    TSV = "tsv"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"


MACHINE = frozenset({Format.TSV, Format.CSV, Format.JSON, Format.JSONL})


def chosen(given: Format | None) -> Format:
    """The format that was given; else a table for a terminal and plain columns for a pipe."""
    return given or (Format.TABLE if sys.stdout.isatty() else Format.PLAIN)


def render(rows: Iterable[Any], columns: Sequence[Column], output: Format | None) -> None:
    """Writes rows (dataclasses) to stdout.

    Args:
        rows: models of one type.
        columns: what the formats for people show, in order.
        output: the format; None for :func:`chosen`.
    """
    match chosen(output):
        case Format.TABLE:
            table.write(list(rows), columns)
        case Format.PLAIN | Format.MARKDOWN as kind:
            text.write(list(rows), columns, markdown=kind is Format.MARKDOWN)
        case Format.JSON:
            machine.write_json(rows)
        case Format.JSONL:
            machine.write_jsonl(rows)
        case Format.CSV | Format.TSV as kind:
            machine.write_separated(rows, "\t" if kind is Format.TSV else ",")
