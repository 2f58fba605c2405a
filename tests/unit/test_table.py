"""Tables keep what matters at any width."""

import io
from dataclasses import dataclass

import pytest
from rich.console import Console

from qctl.output import Column, table


@dataclass
class Row:
    name: str
    count: int
    error: str


COLUMNS = [Column("name", "queue", fold=True), Column("count", "count", right=True), Column("error", "error", cut=True)]


def drawn(width: int) -> str:
    rows = [Row("a" * 40, 12345, "e" * 200), Row("short", 1, "")]
    console = Console(file=io.StringIO(), width=width)
    console.print(table.build(rows, COLUMNS, width))
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 160])
def test_numbers_and_names_are_whole_and_no_line_is_too_long(width):
    text = drawn(width)
    assert "12345" in text
    assert "".join(text.split()).count("a") >= 40
    assert "…" in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width


def test_nothing_is_cut_where_there_is_room():
    assert "e" * 200 in drawn(300)
    assert "…" not in drawn(300)
