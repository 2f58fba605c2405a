"""Tables for a terminal, and the few other things that Rich draws."""

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from qctl.output.columns import Column, visible

_LEAST = 14
# A sentence in a narrower column is hard to read, so as long as there are others to leave out.
_LEAST_FOLDED = 40


def console() -> Console:
    """A console on stdout; where that is no terminal nothing is cut to a width."""
    return Console() if sys.stdout.isatty() else Console(width=10_000, soft_wrap=True)


def talk() -> Console:
    """A console on stderr."""
    return Console(stderr=True, highlight=False)


def write(rows: Sequence[Any], columns: Sequence[Column]) -> None:
    """Writes rows as a table to stdout."""
    target = console()
    target.print(build(rows, columns, target.width))


def build(rows: Sequence[Any], columns: Sequence[Column], width: int) -> Table | Text:
    """A table of rows for a terminal of that width; where it has no room for one, each row as lines of names and values."""
    shown = list(columns)
    while True:
        cells = [[column.text(row) for column in shown] for row in rows]
        widths = [max([cell_len(c.title), *(cell_len(line[i]) for line in cells)]) for i, c in enumerate(shown)]
        room = width - 2 * (len(shown) - 1)
        _shrink(shown, widths, room, _LEAST_FOLDED if any(column.wide for column in shown) else _LEAST)
        # A number that ends in an ellipsis says less than no number: a wide column goes instead, first one that says nothing.
        last = next((c for c in reversed(shown) if c.wide and all(c.text(row) in ("", "0") for row in rows)), None)
        last = last or next((column for column in reversed(shown) if column.wide), None)
        if sum(widths) <= room:
            break
        if last is None:
            return _as_pairs(rows, shown)
        shown.remove(last)
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column, fitting in zip(shown, widths, strict=True):
        drawn.add_column(
            column.title,
            justify="right" if column.right else "left",
            overflow="fold" if column.fold else "ellipsis",
            no_wrap=not column.fold,
            width=fitting,
        )
    for row, line in zip(rows, cells, strict=True):
        drawn.add_row(
            *(
                Text(cell, style=column.style(getattr(row, column.field)) if column.style else "")
                for column, cell in zip(shown, line, strict=True)
            )
        )
    return drawn


def _as_pairs(rows: Sequence[Any], columns: Sequence[Column]) -> Text:
    if not rows:
        return Text("  ".join(column.title for column in columns), style="bold")
    title = max(cell_len(column.title) for column in columns)
    drawn = Text()
    for row in rows:
        for column in columns:
            style = column.style(getattr(row, column.field)) if column.style else ""
            drawn.append(f"{column.title:<{title}}  ", style="bold").append(column.text(row) + "\n", style=style)
        drawn.append("\n")
    drawn.right_crop(2)
    return drawn


def _shrink(columns: Sequence[Column], widths: list[int], room: int, least_folded: int) -> None:
    """Takes what is too much from the columns that may lose it, first those that can be cut, then those that fold."""
    for kind, least in (("cut", _LEAST), ("fold", least_folded)):
        for index, column in enumerate(columns):
            too_much = sum(widths) - room
            if too_much > 0 and getattr(column, kind):
                widths[index] = max(min(widths[index], least), widths[index] - too_much)


def write_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    """Writes names and values under one another to stdout; empty values are left out."""
    target = console()
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        if value:
            target.print(Text(f"{name:<{width}}  ", style="bold") + Text(visible(value)), soft_wrap=True)


def write_findings(rows: Sequence[tuple[str, str, str, list[str]]]) -> None:
    """Writes findings: a word in its style, what it is about, and what to type, each on a line of its own.

    Not in columns: a command that is broken over lines cannot be copied.
    """
    target = console()
    for word, style, what, commands in rows:
        rest = visible("".join([f" {what}", *(f"\n    {command}" for command in commands)]))
        target.print(Text.assemble((word, style), rest), soft_wrap=True)


def write_line(row: Any, columns: Sequence[Column]) -> None:
    """Writes one row as a line, for output that goes on and on."""
    line = Text()
    for column in columns:
        value = getattr(row, column.field)
        if text := column.text(row):
            line.append(text + "  ", style=(column.style(value) if column.style else "") or "")
    console().print(line, soft_wrap=True)


@contextmanager
def progress() -> Generator[Callable[[str, int, int], None]]:
    """A bar on stderr for a person; called with what is going on, how much is done and how much there is.

    It is drawn from the first call on, so that lines written before stay as they are, and is gone at the end.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    target = talk()
    if not target.is_terminal:
        yield lambda _what, _done, _total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=target, transient=True)
    task = bar.add_task("", total=None)

    def tell(what: str, done: int, total: int) -> None:
        bar.update(task, description=what, completed=done, total=total)
        bar.start()

    try:
        yield tell
    finally:
        bar.stop()
