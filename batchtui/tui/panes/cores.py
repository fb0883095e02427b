"""Many cores in little room: an upright bar each, in bands one above the other."""

from __future__ import annotations

from collections.abc import Sequence

from batchtui.tui.widgets.bars import EIGHTHS, level_look
from batchtui.tui.widgets.canvas import Canvas


def draw_cores(canvas: Canvas, top: int, cores: Sequence[float]) -> None:
    """Draw upright bars from row `top` down.

    One band has its core numbers below; several have the number of the first core at the left.
    Where even bands of one row are too few, neighbours share a bar that shows the busiest.
    """
    height = canvas.height - top
    if height < 1 or not cores or canvas.width < 4:
        return
    if len(cores) <= canvas.width:
        cells = min(3, canvas.width // len(cores))
        _band(canvas, 0, top, height - (height > 2), cores, cells)
        if height > 2:
            _numbers(canvas, canvas.height - 1, len(cores), cells)
        return
    margin = len(str(len(cores))) + 1
    width, group = canvas.width - margin, 1
    while -(-len(cores) // group) > width * height:
        group *= 2
    bars = [max(cores[i : i + group]) for i in range(0, len(cores), group)]
    bands = -(-len(bars) // width)
    each = -(-len(bars) // bands)
    each = min(width, -(-each // 8) * 8)  # bands start at round numbers
    bands = -(-len(bars) // each)
    rows = height // bands
    for band in range(bands):
        first = band * each
        y = top + band * rows
        canvas.right(margin - 1, y + rows - 1, str(first * group), "dim")
        _band(canvas, margin, y, rows, bars[first : first + each], 1)


def _band(canvas: Canvas, x: int, y: int, height: int, bars: Sequence[float], each: int) -> None:
    width = each - 1 if each == 3 else each
    for index, value in enumerate(bars):
        eighths = max(1, round(min(1.0, value) * 8 * height))
        for row in range(height):
            part = max(0, min(8, eighths - 8 * row))
            canvas.put(
                x + index * each, y + height - 1 - row, EIGHTHS[part] * width, level_look(value)
            )


def _numbers(canvas: Canvas, y: int, cores: int, each: int) -> None:
    step = next(step for step in (1, 2, 4, 8, 16, 32, 64, 128) if step * each >= 5)
    for core in range(0, cores, step):
        canvas.put(core * each, y, str(core), "dim")
