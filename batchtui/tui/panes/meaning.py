"""What stands below the loss: whether its jitter is sampling noise, and what was held out."""

from __future__ import annotations

from batchtui import units
from batchtui.tui.view import LossView
from batchtui.tui.widgets.canvas import Canvas


def draw_meaning(canvas: Canvas, loss: LossView, y: int, rows: int) -> None:
    """Say what V and R are, and below it the accuracy; on one row, the accuracy alone."""
    if rows > 1:
        x = canvas.put(0, y, "V ", "label")
        if loss.trend_free is None:
            canvas.put_words(x, y, f"{units.MISSING} ({loss.noise_reason})", "dim")
        else:
            x = canvas.put(x, y, units.number(loss.trend_free), "text") + 2
            _ratio(canvas, loss, canvas.put(x, y, "R ", "label"), y)
        y += 1
    if loss.held_out_loss is not None:
        x = canvas.put(0, y, "held-out loss ", "label")
        canvas.put(x, y, units.number(loss.held_out_loss), "strong")
        return
    x = canvas.put(0, y, "accuracy ", "label")
    if loss.accuracy is None:
        canvas.put_words(x, y, f"{units.MISSING} ({loss.evaluation_reason})", "dim")
    else:
        canvas.put(x, y, f"{loss.accuracy:.1%}", "strong")


def _ratio(canvas: Canvas, loss: LossView, x: int, y: int) -> None:
    if loss.ratio is None:
        canvas.put_words(x, y, f"{units.MISSING} ({loss.noise_reason})", "dim")
        return
    x = canvas.put(x, y, f"{loss.ratio:.1f}", "warn" if loss.dynamics else "text") + 2
    meaning = "▲ dynamics, not sampling noise" if loss.dynamics else "sampling noise"
    canvas.put(x, y, meaning, "warn" if loss.dynamics else "dim")
