"""Bars: a thin one with a remainder, one of several parts, and stacked areas over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from batchtui.tui.view import History, Part
from batchtui.tui.widgets.braille import reduce_columns
from batchtui.tui.widgets.canvas import Box, Canvas
from batchtui.tui.widgets.scale import Y_LABEL

EIGHTHS = " ▁▂▃▄▅▆▇█"
ROLE_LOOKS = {
    "a": "sky", "b": "green", "c": "yellow", "d": "orange", "other": "purple", "rest": "dim",
}  # fmt: skip
ROLE_SHADES = {"a": "█", "b": "▓", "c": "░", "d": "▚", "other": "▒", "rest": "·"}


def level_look(fraction: float | None) -> str:
    """Return the look of how full something is: from 60 % on amber, from 85 % on red."""
    if fraction is None:
        return "dim"
    return "red" if fraction >= 0.85 else "orange" if fraction >= 0.6 else "green"


class Steady:
    """Lengths of bars that stay where they are until the value has moved by some per cent.

    The number beside a bar is exact; a bar that trembles says no more, and a slow line pays for it.
    """

    _TOLERANCE = 0.06

    def __init__(self) -> None:
        self._held: dict[object, float] = {}

    def __call__(self, key: object, fraction: float | None) -> float | None:
        """Return what the bar of that key shows for a fraction."""
        if fraction is None:
            self._held.pop(key, None)
            return None
        held = self._held.get(key)
        if held is None or abs(fraction - held) > self._TOLERANCE:
            held = self._held[key] = fraction
        return held


def draw_bar(canvas: Canvas, x: int, y: int, width: int, fraction: float | None, look: str) -> None:
    """Draw `━━━━╸────`, to half a cell."""
    if width < 1:
        return
    halves = 0 if fraction is None else round(max(0.0, min(1.0, fraction)) * 2 * width)
    canvas.put(x, y, "─" * width, "faint")
    canvas.put(x, y, "━" * (halves // 2) + "╸" * (halves % 2), look)


def spans(parts: Sequence[Part], whole: float, width: int) -> list[tuple[Part, int, int]]:
    """Return (part, first cell, cells) of parts laid end to end over `width` cells."""
    result, done, start = [], 0.0, 0
    for part in parts:
        done += max(0.0, part.value)
        end = min(width, round(done / whole * width)) if whole > 0 else 0
        result.append((part, start, end - start))
        start = end
    return result


def draw_parts(
    canvas: Canvas, x: int, y: int, width: int, rows: int, parts: Sequence[Part], whole: float
) -> int:
    """Draw parts as one thick bar of `rows` rows; return the cells they fill."""
    filled = 0
    for part, start, cells in spans(parts, whole, width):
        for row in range(rows):
            canvas.put(x + start, y + row, shade(canvas, part.role) * cells, ROLE_LOOKS[part.role])
        filled = start + cells
    return filled


def shade(canvas: Canvas, role: str) -> str:
    """Return the block that stands for a part: without colours, shades tell parts apart."""
    return "█" if canvas.colour else ROLE_SHADES[role]


def draw_history(canvas: Canvas, box: Box, history: History, tick: Callable[[float], str]) -> None:
    """Draw layers stacked upon each other over time, in eighths of a cell, and a limit line.

    The scale ends at what is full, or at a half, a quarter or an eighth of it where that shows
    all there is; `tick` writes the ends of the scale.
    """
    if box.width <= Y_LABEL or box.height < 1 or not history.full:
        return
    dated = box.height >= 6
    x, y = box.x + Y_LABEL, box.y
    width, height = box.width - Y_LABEL, box.height - dated
    window = history.window
    layers = [
        (role, reduce_columns(points, window.start, window.end, width).line)
        for role, points in history.layers
    ]
    full = _top(history.full, layers)
    plot = Box(x, y, width, height)
    for row in range(height):
        canvas.put(x - 1, y + row, "│", "faint")
    for row, end in ((0, full), (height - 1, 0.0)) if height > 1 else ((0, full),):
        canvas.put(x - 1, y + row, "┤", "faint")
        canvas.right(x - 1, y + row, tick(end), "dim", start=box.x)
    if dated:
        canvas.put(x - 1, y + height, "└" + "─" * width, "faint")
        canvas.put(x, y + height, window.left, "dim")
        canvas.right(x + width, y + height, window.right, "dim")
    if history.limit and history.limit <= full:
        limit_row = height - 1 - min(height - 1, int(history.limit / full * height))
        canvas.put(x, y + limit_row, "╌" * width, "red")
    for column in range(width):
        base, total = 0, 0.0
        for role, line in layers:
            value = line[column]
            if value is None:
                continue
            total += max(0.0, value)
            top = min(8 * height, round(total / full * 8 * height))
            _stack(canvas, x + column, y, height, base, top, role)
            base = max(base, top)
    _draw_marks(canvas, plot, history)


def _draw_marks(canvas: Canvas, plot: Box, history: History) -> None:
    """Draw a dotted upright line over the areas where a run takes over, and what changed there."""
    window = history.window
    for mark in history.marks:
        column = int((mark.x - window.start) / (window.end - window.start) * plot.width)
        if not 0 <= column < plot.width:
            continue
        x = plot.x + column
        for y in range(plot.y, plot.y + plot.height):
            area = canvas.look(x, y).partition("/")[0]
            filled = canvas.colour and area in ROLE_LOOKS.values()
            canvas.put(x, y, "┊", f"orange/{area}" if filled else "orange")
        if column + 1 + len(mark.label) <= plot.width:
            canvas.put(x + 1, plot.y, mark.label, "orange")


def _top(full: float, layers: Sequence[tuple[str, Sequence[float | None]]]) -> float:
    """Return where the scale ends."""
    lines = [line for _, line in layers]
    highest = max((sum(v or 0.0 for v in column) for column in zip(*lines, strict=True)), default=0)
    return next(full / part for part in (8, 4, 2, 1) if part == 1 or 1.1 * highest <= full / part)


def _stack(canvas: Canvas, x: int, y: int, height: int, base: int, top: int, role: str) -> None:
    """Fill eighths `base`…`top` of a column; a cell shared with the layer below keeps both."""
    look = ROLE_LOOKS[role]
    for cell in range(base // 8, -(-top // 8)):
        row = y + height - 1 - cell
        lower, upper = max(0, base - 8 * cell), min(8, top - 8 * cell)
        if upper <= lower:
            continue
        if lower == 0:
            canvas.put(x, row, shade(canvas, role) if upper == 8 else EIGHTHS[upper], look)
        elif not canvas.colour:
            if lower < 4:
                canvas.put(x, row, shade(canvas, role), look)
        else:
            below = canvas.look(x, row).partition("/")[0]
            canvas.put(x, row, EIGHTHS[lower], f"{below}/{look}")
