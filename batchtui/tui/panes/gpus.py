"""Several GPUs or MIG slices in the memory pane: a row each, in two columns if need be."""

from __future__ import annotations

from collections.abc import Sequence

from batchtui import units
from batchtui.tui.panes.gpu_row import Rows, draw_row
from batchtui.tui.view import GpuRow
from batchtui.tui.widgets.bars import Steady
from batchtui.tui.widgets.canvas import Canvas

_LEAST = 9  # cells of a row beside its label: ` 50 100%`


def draw_gpus(
    canvas: Canvas, gpus: Sequence[GpuRow], steady: Steady, needed: int | None, look: str
) -> int:
    """Draw as many rows as there is room for, and say how many are left out; return their height.

    `needed` are the bytes that the next batch size holds on each GPU of the run, `look` theirs.
    """
    digits = max(len(gpu.label) for gpu in gpus)
    least = digits + _LEAST
    columns = max(1, min(-(-len(gpus) // canvas.height), (canvas.width + 1) // (least + 1)))
    headed = -(-len(gpus) // columns) < canvas.height
    rows = min(canvas.height - headed, -(-len(gpus) // columns))  # columns of about equal length
    gap = 2 if (canvas.width + 2) // columns >= least + 2 else 1
    width = (canvas.width - gap * (columns - 1)) // columns
    common = Rows(width, digits, steady, needed, look)
    shown = list(gpus)
    if len(gpus) > rows * columns:
        shown = shown[: rows * columns - 1]
        x, y = (columns - 1) * (width + gap), canvas.height - 1
        canvas.put(x, y, f"… {len(gpus) - len(shown)} more", "dim")
    for column in range(columns):
        x = column * (width + gap)
        if headed:
            draw_row(canvas, x, 0, common, None)
            totals = {gpu.total for gpu in gpus}
            if len(totals) == 1 and width >= 60:
                canvas.put(x + digits + 8, 0, f"of {units.gib(totals.pop())} each", "dim")
        for index, gpu in enumerate(shown[column * rows : (column + 1) * rows]):
            draw_row(canvas, x, headed + index, common, gpu)
    return headed + rows
