"""Columns without a terminal: plain and Markdown."""

import sys
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from qctl.output.columns import Column


def write(rows: Sequence[Any], columns: Sequence[Column], *, markdown: bool) -> None:
    """Writes rows as aligned text to stdout, uncut."""
    cells = [
        [column.text(row).replace("|", "\\|") if markdown else column.text(row) for column in columns] for row in rows
    ]
    sys.stdout.write(
        tabulate(
            cells,
            headers=[column.title for column in columns],
            tablefmt="github" if markdown else "plain",
            disable_numparse=True,
            colalign=["right" if column.right else "left" for column in columns] if cells else None,
        )
        + "\n"
    )
