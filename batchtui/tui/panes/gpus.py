"""Several GPUs or MIG slices in the memory pane: a row each, in two columns if need be."""

from __future__ import annotations

from collections.abc import Sequence

from batchtui import units
from batchtui.tui.view import GpuRow
from batchtui.tui.widgets.bars import Steady, draw_bar, level_look
from batchtui.tui.widgets.canvas import Canvas

_LEAST, _EXACT = 9, 10  # cells of a row beside its label: ` 50 100%`, ` 50.0 100%`
_LEVELS = {"warning": "orange", "critical": "red"}


def draw_gpus(canvas: Canvas, gpus: Sequence[GpuRow], steady: Steady) -> None:
    """Draw as many rows as there is room for, and say how many are left out."""
    headed = canvas.height > len(gpus)
    rows = canvas.height - headed
    digits = max(len(gpu.label) for gpu in gpus)
    least = digits + _LEAST
    columns = max(1, min(-(-len(gpus) // rows), (canvas.width + 1) // (least + 1)))
    if columns > 1:  # of about equal length
        rows = min(rows, -(-len(gpus) // columns))
    gap = 2 if (canvas.width + 2) // columns >= least + 2 else 1
    width = (canvas.width - gap * (columns - 1)) // columns
    shown = list(gpus)
    if len(gpus) > rows * columns:
        shown = shown[: rows * columns - 1]
        canvas.put(
            (columns - 1) * (width + gap),
            canvas.height - 1,
            f"… {len(gpus) - len(shown)} more",
            "dim",
        )
    for column in range(columns):
        x = column * (width + gap)
        if headed and (column == 0 or len(shown) > rows):
            _row(canvas, x, 0, width, digits, None, steady)
            totals = {gpu.total for gpu in gpus}
            if len(totals) == 1 and width >= 60:
                canvas.put(x + digits + 8, 0, f"of {units.gib(totals.pop())} each", "dim")
        for index, gpu in enumerate(shown[column * rows : (column + 1) * rows]):
            _row(canvas, x, headed + index, width, digits, gpu, steady)


def _row(
    canvas: Canvas, x: int, y: int, width: int, digits: int, gpu: GpuRow | None, steady: Steady
) -> None:
    """Draw a GPU, or with None the heads of the columns."""
    end = x + width
    start = x + digits + 1
    if gpu is not None:
        canvas.put(x, y, f"{gpu.label:>{digits}}", "strong" if gpu.ours else "dim")
        if gpu.error is not None:
            canvas.put(start, y, f"✗ {gpu.error}", "red", end=end)
            return
    if width >= 60:
        end = _right(canvas, end, y, 4, "temp", _celsius(gpu.temperature_c) if gpu else None)
        end = _right(canvas, end - 2, y, 5, "power", _watt(gpu.power_w) if gpu else None) - 2
    compute_bar = width >= 44
    end = _right(canvas, end, y, 5, "", units.percent(gpu.utilization) if gpu else None)
    room = end - start - 10
    if compute_bar:
        bar = room // 2 - 1
        if gpu is None:
            canvas.put(end - bar, y, "compute", "label", end=end)
        else:
            draw_bar(
                canvas, end - bar, y, bar, steady(("compute", gpu.label), gpu.utilization), "sky"
            )
        end -= bar + 2
    bar = end - start - 10
    if gpu is None:
        canvas.put(start, y, "memory", "label", end=end)
        return
    fraction = gpu.used / gpu.total if gpu.used is not None and gpu.total else None
    look = _LEVELS.get(gpu.level or "", "orange" if level_look(fraction) != "green" else "green")
    number, _, unit = units.gib(gpu.used).partition(" ")
    if bar >= 3:
        draw_bar(canvas, start, y, bar, steady(("memory", gpu.label), fraction), look)
        end = canvas.right(end, y, unit, "dim") - 1
    elif width < digits + _EXACT and unit == "GiB":
        number = f"{float(number):.0f}"
    canvas.right(end, y, number, look if gpu.level else "text")


def _right(canvas: Canvas, end: int, y: int, width: int, head: str, value: str | None) -> int:
    canvas.right(end, y, head if value is None else value, "label" if value is None else "text")
    return end - width


def _celsius(value: float | None) -> str:
    return units.MISSING if value is None else f"{value:.0f}°C"


def _watt(value: float | None) -> str:
    # Rounded to 5 W: the sensors are no better, and a slow line pays for each digit that trembles.
    return units.MISSING if value is None else f"{5 * round(value / 5)} W"
