"""Print tables."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

Row = Sequence[str]
_GAP = 2  # cells
_WIDE = 1000  # columns of what is no terminal


def print_table(rows: Sequence[Row]) -> None:
    """Print rows in columns: text to the left, numbers to the right."""
    widths = _widths(rows)
    for row in rows:
        cells = [
            text.ljust(width) if column < 2 else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        print((" " * _GAP).join(cells).rstrip())


def print_tables(rows: Sequence[Row], first: int) -> None:
    """Print rows as one table or, where the terminal is too narrow, as two.

    The second has the columns from `first` on, and repeats the leading one.
    """
    widths = _widths(rows)
    if sum(widths) + _GAP * (len(widths) - 1) <= shutil.get_terminal_size((_WIDE, 24)).columns:
        print_table(rows)
        return
    print_table([row[:first] for row in rows])
    print()
    print_table([[row[0], "", *row[first:]] for row in rows])


def _widths(rows: Sequence[Row]) -> list[int]:
    return [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
