"""What stands under a bar: its parts with their sizes, and facts in a row."""

from __future__ import annotations

from collections.abc import Sequence

from batchtui import units
from batchtui.tui.view import Part
from batchtui.tui.widgets import glyphs
from batchtui.tui.widgets.bars import ROLE_LOOKS, shade
from batchtui.tui.widgets.canvas import Canvas


def draw_legend(canvas: Canvas, all_parts: Sequence[Part], y: int, room: int) -> int:
    """Draw the parts in columns from row y on; return the rows taken, `room` at most."""
    columns = 2 if canvas.width >= 40 else 1
    if len(all_parts) in (3, 5) and canvas.width >= 66:
        columns = 3
    width = canvas.width // columns
    rows = min(room, 2 if canvas.height < 12 else 3, -(-len(all_parts) // columns))
    # Where not all fit, the smallest goes: the bar still shows it.
    parts = list(all_parts)
    while len(parts) > max(0, rows) * columns:
        parts.remove(min(parts, key=lambda part: (part.role != "free", part.value)))
    for index, part in enumerate(parts):
        _entry(canvas, part, index % columns * width, y + index // columns, width)
    return max(0, rows)


def _entry(canvas: Canvas, part: Part, x: int, y: int, width: int) -> None:
    if part.role == "free":
        canvas.put(x, y, "·", "dim")
    else:
        mark = "■" if canvas.colour else shade(canvas, part.role)
        canvas.put(x, y, mark, ROLE_LOOKS[part.role])
    shares = width >= 27
    canvas.put(x + 2, y, part.label, "label", end=x + width - 9)
    at = x + min(24, width - (6 if shares else 2))
    size = part.value if part.shown is None else part.shown
    canvas.right(at, y, units.gib(size), "text")
    if shares:
        canvas.right(at + 5, y, f"{units.percent(part.share):>5}", "dim")


def draw_facts(canvas: Canvas, facts: Sequence[tuple[str, str]], y: int) -> None:
    """Draw (label, value) side by side in row y, as many as fit."""
    x = 0
    for label, value in facts:
        if x + glyphs.width(label) + glyphs.width(value) + 1 > canvas.width:
            break
        x = canvas.put(x, y, label + " ", "dim")
        x = canvas.put(x, y, value, "text") + 3
