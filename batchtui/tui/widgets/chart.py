"""A chart on a canvas: extremes of each dot column, a smoothed line over them, labels at the end.

The window is fixed and jumps, the scale has hysteresis: from one second to the next a few cells
change and the rest of the picture stands still.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from batchtui.tui.view import Mark, Points, Window
from batchtui.tui.widgets.braille import Columns, Raster, reduce_columns, smooth
from batchtui.tui.widgets.canvas import Box, Canvas
from batchtui.tui.widgets.scale import Y_LABEL, Scale

LEAST_LABELLED = 30  # cells of a chart that has room for labels at its right end


class Curve(NamedTuple):
    """A curve and how it looks: the line, what lies around it, the label at its end."""

    points: Points
    line: str
    around: str
    label: str = ""
    label_look: str = ""
    label_at: float | None = None


class Reference(NamedTuple):
    """A dotted horizontal line with a label."""

    value: float
    label: str
    look: str


class Chart(NamedTuple):
    """What to draw; `floor` and `ceiling` cut the scale, `tick` formats the numbers at the left."""

    curves: tuple[Curve, ...]
    window: Window
    tick: Callable[[float], str]
    references: tuple[Reference, ...] = ()
    floor: float | None = None
    ceiling: float | None = None
    log: bool = False
    label_width: int = 11
    marks: tuple[Mark, ...] = ()
    cursor: float | None = None


def draw_chart(canvas: Canvas, box: Box, chart: Chart, scale: Scale) -> None:
    """Draw a chart into a box; the scale keeps its bounds from one call to the next."""
    plot = plot_box(box, chart.label_width)
    columns = [
        reduce_columns(curve.points, chart.window.start, chart.window.end, 2 * plot.width)
        for curve in chart.curves
    ]
    intervals = max(1, min(4, plot.height // 3 + 1))
    _fit(scale, columns, chart)
    _axes(canvas, box, plot, chart, scale, intervals)
    _draw_marks(canvas, plot, chart)
    # From the top: references, lines, and what lies around them.
    first, count = len(chart.references), len(columns)
    raster = Raster(plot.width, plot.height, first + 2 * count, range(first, first + count))
    for index, reference in enumerate(chart.references):
        row = _row(scale, reference.value, plot.height)
        for x in range(2, 2 * plot.width, 4):
            raster.bar(index, x, row, row)
    clipped: set[int] = set()
    for index, column in enumerate(columns, start=first):
        clipped |= _draw_columns(raster, column, index, index + count, scale)
    looks = [reference.look for reference in chart.references]
    looks += [curve.line for curve in chart.curves] + [curve.around for curve in chart.curves]
    for x, y, dots, layer in raster.runs():
        canvas.put(plot.x + x, plot.y + y, dots, looks[layer])
    for x in clipped:
        canvas.put(plot.x + x, plot.y, "▲", "warn")
    if chart.floor is not None:
        canvas.put(plot.x - 1, plot.y + plot.height - 1, "▼", "label")
    _label_marks(canvas, plot, chart)
    _draw_cursor(canvas, plot, chart)
    if plot.width + Y_LABEL < box.width:
        _end_labels(canvas, box, plot, chart, scale)


def plot_box(box: Box, label_width: int) -> Box:
    """Return where the curves of a chart are drawn: what its numbers and labels leave."""
    labels = label_width if box.width >= LEAST_LABELLED else 0
    width = max(1, box.width - Y_LABEL - labels)
    return Box(box.x + Y_LABEL, box.y, width, max(1, box.height - 1))


def _fit(scale: Scale, columns: Sequence[Columns], chart: Chart) -> None:
    values = [
        value
        for column in columns
        for value in (*column.low, *column.high)
        if value is not None and not (chart.log and value <= 0)
    ]
    values += [reference.value for reference in chart.references]
    if not values:
        return
    low, high = min(values), max(values)
    if chart.ceiling is not None:
        high = min(high, chart.ceiling)
    if chart.floor is not None:
        low = max(low, min(chart.floor, high))
    scale.fit(min(low, high), high, chart.log)


def _axes(canvas: Canvas, box: Box, plot: Box, chart: Chart, scale: Scale, intervals: int) -> None:
    left = plot.x - 1
    for y in range(plot.height):
        canvas.put(left, plot.y + y, "│", "faint")
    taken = -2
    for value in sorted(scale.ticks(intervals)):
        row = _row(scale, value, plot.height) // 4
        if abs(row - taken) < 2 and plot.height > 2:
            continue
        taken = row
        canvas.put(left, plot.y + row, "┤", "faint")
        canvas.right(left, plot.y + row, chart.tick(value), "dim", start=box.x)
        for x in range(7, plot.width, 8):
            canvas.put(plot.x + x, plot.y + row, "·", "faint")
    bottom = plot.y + plot.height
    canvas.put(left, bottom, "└" + "─" * plot.width, "faint", end=plot.x + plot.width)
    window = chart.window
    canvas.put(plot.x, bottom, window.left, "dim", end=plot.x + plot.width)
    if len(window.left) + len(window.right) + 2 <= plot.width:
        canvas.right(plot.x + plot.width, bottom, window.right, "dim")


def _row(scale: Scale, value: float, height: int) -> int:
    """Return the dot row of a value, counted from the top; outside values stick to the edge."""
    last = 4 * height - 1
    return min(last, max(0, round((1 - scale.place(value)) * last)))


def _draw_columns(
    raster: Raster, columns: Columns, line_layer: int, around_layer: int, scale: Scale
) -> set[int]:
    """Draw extremes and line of a curve; return the cells where it leaves the top."""
    clipped: set[int] = set()
    line = smooth(columns.line, 2)
    before: int | None = None
    for x, value in enumerate(line):
        low, high = columns.low[x], columns.high[x]
        if low is not None and high is not None:
            top = _row(scale, high, raster.height)
            bottom = top if low == high else _row(scale, low, raster.height)
            raster.bar(around_layer, x, top, bottom)
            if scale.place(high) > 1 + 1e-6:
                clipped.add(x >> 1)
        if value is None:
            before = None
            continue
        row = _row(scale, value, raster.height)
        # One dot thick, and joined: the step down or up belongs to the later column.
        joined = row if before is None else before + (row > before) - (row < before)
        raster.bar(line_layer, x, joined if abs(row - joined) < 8 else row, row)
        before = row
    return clipped


def _cell(plot: Box, window: Window, x: float) -> int | None:
    """Return the cell of a place on the x axis, counted from the plot's left edge."""
    if not window.start <= x <= window.end:
        return None
    return min(plot.width - 1, int((x - window.start) / (window.end - window.start) * plot.width))


def _draw_marks(canvas: Canvas, plot: Box, chart: Chart) -> None:
    """Draw a dotted upright line where a run takes over."""
    for mark in chart.marks:
        x = _cell(plot, chart.window, mark.x)
        for y in range(plot.height if x is not None else 0):
            canvas.put(plot.x + (x or 0), plot.y + y, "┊", "orange")


def _label_marks(canvas: Canvas, plot: Box, chart: Chart) -> None:
    """Write what changed beside the tops of the marks, over the data: `12` is not `128`."""
    free = 0
    for mark in chart.marks:
        x = _cell(plot, chart.window, mark.x)
        if x is not None and mark.label and x + 1 >= free and x + 1 + len(mark.label) <= plot.width:
            free = canvas.put(plot.x + x + 1, plot.y, mark.label, "orange") - plot.x + 1


def _draw_cursor(canvas: Canvas, plot: Box, chart: Chart) -> None:
    x = None if chart.cursor is None else _cell(plot, chart.window, chart.cursor)
    if x is not None:
        for y in range(plot.height):
            canvas.put(plot.x + x, plot.y + y, "│", "strong")
        if canvas.look(plot.x + x, plot.y + plot.height) == "faint":  # not over a number
            canvas.put(plot.x + x, plot.y + plot.height, "▲", "strong")


def _end_labels(canvas: Canvas, box: Box, plot: Box, chart: Chart, scale: Scale) -> None:
    """Write each label beside the end of its line, pushed apart where they would collide."""
    wanted = [
        (_row(scale, curve.label_at, plot.height) // 4, curve.label, curve.label_look)
        for curve in chart.curves
        if curve.label and curve.label_at is not None
    ] + [
        (_row(scale, reference.value, plot.height) // 4, reference.label, reference.look)
        for reference in chart.references
    ]
    wanted.sort(key=lambda label: label[0])
    rows = spread([row for row, _, _ in wanted], plot.height)
    for row, (_, text, look) in zip(rows, wanted, strict=True):
        canvas.put(plot.x + plot.width + 1, plot.y + row, text, look, end=box.x + box.width)


def spread(rows: Sequence[int], height: int) -> list[int]:
    """Push ascending rows apart so that no two are equal, within `height` where they fit."""
    result: list[int] = []
    for row in rows:
        result.append(max(row, result[-1] + 1) if result else row)
    limit = height - 1
    for index in range(len(result) - 1, -1, -1):
        result[index] = min(result[index], limit)
        limit = result[index] - 1
    return [max(0, row) for row in result]
