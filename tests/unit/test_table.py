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


@dataclass
class Many:
    name: str
    depth: int
    a: int
    b: int
    error: str


def test_wide_columns_give_way_before_a_number_is_cut():
    columns = [
        Column("name", "queue", fold=True), Column("depth", "messages of all kinds", right=True),
        Column("a", "attempts that went well within the last hour", right=True, wide=True),
        Column("b", "attempts that failed in an hour", right=True, wide=True), Column("error", "error", wide=True, cut=True),
    ]  # fmt: skip
    rows = [Many("orders", 123456789, 11111111, 22222222, "e" * 100)]
    shown = {}
    for width in (60, 90, 120, 130, 160):
        console = Console(file=io.StringIO(), width=width)
        console.print(table.build(rows, columns, width))
        shown[width] = console.file.getvalue()
        assert "123456789" in shown[width]
    assert ("11111111" in shown[60], "11111111" in shown[90], "eee" in shown[120]) == (False, True, False)
    assert "22222222" in shown[130] and "ee…" in shown[130]
    assert "…" not in shown[120]
