"""What a terminal gets that is too small for the panes."""

from __future__ import annotations

from batchtui.tui.view import View
from batchtui.tui.widgets.canvas import Canvas
from batchtui.tui.widgets.pane import Pane


class SmallPane(Pane, can_focus=False):
    """The state of the run in a line, and what size the screen needs."""

    framed = False

    def draw(self, canvas: Canvas, view: View) -> None:
        canvas.put(0, 0, f"{view.run}: {view.word}", "strong")
        canvas.put(0, 1, "too small: 60x16 at least", "warn")
        canvas.put(0, 2, f"this is {canvas.width}x{canvas.height}", "dim")
