"""What a step is made of, as a bar and its legend."""

from __future__ import annotations

from batchtui import units
from batchtui.tui.view import StepsView
from batchtui.tui.widgets.bars import ROLE_LOOKS, draw_parts, shade
from batchtui.tui.widgets.canvas import Canvas

_SHORT_NAMES = {
    "data wait": "data", "to device": "copy", "forward": "fwd", "backward": "bwd",
    "optimizer": "opt", "other": "rest",
}  # fmt: skip


def draw_step_parts(canvas: Canvas, steps: StepsView, y: int, rows: int) -> None:
    """Draw the parts of a step from row y on: with two rows the bar, too."""
    whole = sum(part.value for part in steps.parts)
    if rows > 1:
        draw_parts(canvas, 0, y, canvas.width, 1, steps.parts, whole)
        y += 1
    shown = [part for part in steps.parts if part.share is not None and part.share >= 0.005]
    names, gap = {part.label: part.label for part in shown}, 2

    def length() -> int:
        return sum(len(names[part.label]) + 6 + gap for part in shown) - gap

    if length() > canvas.width:
        names, gap = {label: _SHORT_NAMES.get(label, label) for label in names}, 1
    while len(shown) > 1 and length() > canvas.width:
        shown.remove(min(shown, key=lambda part: part.share or 0.0))
    x = 0
    for part in shown:
        mark = "■" if canvas.colour else shade(canvas, part.role)
        canvas.put(x, y, mark, ROLE_LOOKS[part.role])
        x = canvas.put(x + 2, y, names[part.label], "label")
        x = canvas.right(x + 4, y, units.percent(part.share), "text", start=x + 1)
        x += len(units.percent(part.share)) + gap
