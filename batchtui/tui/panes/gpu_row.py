"""A GPU or MIG slice among several: its memory up to the run's limit, compute, power, heat."""

from __future__ import annotations

from batchtui import units
from batchtui.tui.view import GpuRow
from batchtui.tui.widgets.bars import Steady, draw_bar, level_look
from batchtui.tui.widgets.canvas import Canvas

_EXACT = 10  # cells beside the label of a row with a digit after the point: ` 50.0 100%`
_LEVELS = {"warning": "orange", "critical": "red"}


class Rows:
    """What all rows have in common: their room, and what the next batch size needs."""

    def __init__(
        self, width: int, digits: int, steady: Steady, needed: int | None, look: str
    ) -> None:
        """`digits` is the width of a label, `look` that of `needed` bytes."""
        self.width, self.digits, self.steady = width, digits, steady
        self.needed, self.look = needed, look


def draw_row(canvas: Canvas, x: int, y: int, rows: Rows, gpu: GpuRow | None) -> None:
    """Draw a GPU, or with None the heads of the columns."""
    end = x + rows.width
    start = x + rows.digits + 1
    if gpu is not None:
        canvas.put(x, y, f"{gpu.label:>{rows.digits}}", "strong" if gpu.ours else "dim")
        if gpu.error is not None:
            canvas.put(start, y, f"✗ {gpu.error}", "red", end=end)
            return
    if rows.width >= 60:
        end = _right(canvas, end, y, 4, "temp", _celsius(gpu.temperature_c) if gpu else None)
        end = _right(canvas, end - 2, y, 5, "power", _watt(gpu.power_w) if gpu else None) - 2
    head = "" if rows.width >= 44 else "use"
    end = _right(canvas, end, y, 5, head, units.percent(gpu.utilization) if gpu else None)
    if rows.width >= 44:
        bar = (end - start - 10) // 2 - 1
        if gpu is None:
            canvas.put(end - bar, y, "compute", "label", end=end)
        else:
            busy = rows.steady(("compute", gpu.label), gpu.utilization)
            draw_bar(canvas, end - bar, y, bar, busy, "sky")
        end -= bar + 2
    if gpu is None:
        canvas.put(start, y, "memory", "label", end=end)
        return
    _memory(canvas, start, end, y, rows, gpu)


def _memory(canvas: Canvas, start: int, end: int, y: int, rows: Rows, gpu: GpuRow) -> None:
    """Draw what is used, as far as there is room for it as a bar with the limit of the run."""
    fraction = gpu.used / gpu.total if gpu.used is not None and gpu.total else None
    look = _LEVELS.get(gpu.level or "", "orange" if level_look(fraction) != "green" else "green")
    number, _, unit = units.gib(gpu.used).partition(" ")
    bar = end - start - 10
    if bar >= 3:
        shown = rows.steady(("memory", gpu.label), fraction)
        draw_bar(canvas, start, y, bar, shown, look)
        if gpu.ours and gpu.total:
            _ahead(canvas, start, y, bar, round((shown or 0.0) * bar), gpu, rows)
        end = canvas.right(end, y, unit, "dim") - 1
    elif rows.width < rows.digits + _EXACT and unit == "GiB":
        number = f"{float(number):.0f}"
    canvas.right(end, y, number, look if gpu.level else "text")


def _ahead(
    canvas: Canvas, x: int, y: int, width: int, filled: int, gpu: GpuRow, rows: Rows
) -> None:
    """Draw where the run's memory counts as full, and how far the next batch size will reach."""
    total = gpu.total or 1
    if rows.needed is not None:
        reach = min(width, round((rows.needed + gpu.others) / total * width))
        if reach > filled:
            canvas.put(x + filled, y, "▒" * (reach - filled), rows.look)
        else:
            canvas.put(x + max(0, reach - 1), y, "╋", rows.look)
    if gpu.limit is not None and gpu.limit < total:
        canvas.put(x + min(width - 1, round(gpu.limit / total * width)), y, "┃", "red")


def _right(canvas: Canvas, end: int, y: int, width: int, head: str, value: str | None) -> int:
    canvas.right(end, y, head if value is None else value, "label" if value is None else "text")
    return end - width


def _celsius(value: float | None) -> str:
    return units.MISSING if value is None else f"{value:.0f}°C"


def _watt(value: float | None) -> str:
    # Rounded to 5 W: the sensors are no better, and a slow line pays for each digit that trembles.
    return units.MISSING if value is None else f"{5 * round(value / 5)} W"
