"""Loss, its variance within a batch, their noise, and the accuracy on the held-out split."""

from __future__ import annotations

from batchtui import units
from batchtui.tui.view import LossView, View
from batchtui.tui.widgets.canvas import Canvas
from batchtui.tui.widgets.chart import Box, Chart, Curve, draw_chart
from batchtui.tui.widgets.pane import Pane
from batchtui.tui.widgets.scale import Scale, tick_text


class LossPane(Pane):
    """A chart of loss and s² over all steps, and what the numbers beside it mean."""

    title = "Loss and variance"

    def on_mount(self) -> None:
        self._scale = Scale(zero=True)

    def heading(self, view: View) -> str:
        return self.title + (" · log" if view.loss.log else "")

    def level(self, view: View) -> str | None:
        return "critical" if view.loss.alarm else None

    def note(self, view: View) -> tuple[str, str]:
        loss = view.loss
        if loss.best_accuracy is None:
            return "", "dim"
        return f"best {loss.best_accuracy:.1%} in epoch {loss.best_epoch}", "label"

    def draw(self, canvas: Canvas, view: View) -> None:
        loss = view.loss
        if loss.reason is not None:
            canvas.centre(loss.reason, "dim")
            return
        top = 0
        if loss.alarm is not None:
            canvas.put(0, 0, f" !! {loss.alarm} ", "alarm")
            top = 1
        rows = 0 if canvas.height < 5 else 1 if canvas.height < 8 else 2
        if rows:
            self._lines(canvas, loss, canvas.height - rows, rows)
        label = f"loss {units.number(loss.latest)}"
        spread = f"s²   {units.number(loss.latest_variance)}"
        if canvas.width < 30:
            x = canvas.put(0, top, label, "pale.strong") + 2
            canvas.put(x, top, spread.replace("   ", " "), "rose.strong")
            top += 1
        draw_chart(
            canvas,
            Box(0, top, canvas.width, canvas.height - rows - top),
            Chart(
                curves=(
                    Curve(loss.loss, "pale", "deep", label, "pale.strong", loss.latest),
                    Curve(loss.variance, "rose", "wine", spread, "rose.strong", loss.variance_end),
                ),
                window=loss.window,
                tick=tick_text,
                log=loss.log,
                label_width=11,
            ),
            self._scale,
        )

    def _lines(self, canvas: Canvas, loss: LossView, y: int, rows: int) -> None:
        """Say what V and R are, and below it the accuracy; on one row, the accuracy first."""
        if rows > 1:
            x = canvas.put(0, y, "V ", "label")
            if loss.trend_free is None:
                canvas.put(x, y, f"{units.MISSING} ({loss.noise_reason})", "dim")
            else:
                x = canvas.put(x, y, units.number(loss.trend_free), "text") + 2
                x = canvas.put(x, y, "R ", "label")
                self._ratio(canvas, loss, x, y)
            y += 1
        x = canvas.put(0, y, "accuracy ", "label")
        if loss.accuracy is None:
            canvas.put(x, y, f"{units.MISSING} ({loss.evaluation_reason})", "dim")
        else:
            canvas.put(x, y, f"{loss.accuracy:.1%}", "strong")

    def _ratio(self, canvas: Canvas, loss: LossView, x: int, y: int) -> None:
        if loss.ratio is None:
            canvas.put(x, y, f"{units.MISSING} ({loss.noise_reason})", "dim")
            return
        x = canvas.put(x, y, f"{loss.ratio:.1f}", "warn" if loss.dynamics else "text") + 2
        meaning = "▲ dynamics, not sampling noise" if loss.dynamics else "sampling noise"
        canvas.put(x, y, meaning, "warn" if loss.dynamics else "dim")
