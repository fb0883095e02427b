"""Loss, its variance within a batch, their noise, and the accuracy on the held-out split."""

from __future__ import annotations

from batchtui import units
from batchtui.tui.axes import whole_window
from batchtui.tui.view import Course, LossView, Picture, Points, View, Window
from batchtui.tui.widgets.canvas import Canvas
from batchtui.tui.widgets.chart import LEAST_LABELLED, Box, Chart, Curve, draw_chart
from batchtui.tui.widgets.chart_pane import ChartPane
from batchtui.tui.widgets.scale import Scale, tick_text

SCALES = ("auto", "log", "linear")


class LossPane(ChartPane):
    """A chart of loss and s² over all steps, and what the numbers beside it mean."""

    title = "Loss and variance"
    digit = "⁴"
    hint = f"{ChartPane.hint} · l scale"
    scale = SCALES[0]

    def on_mount(self) -> None:
        super().on_mount()
        self._scale = Scale(zero=True)

    def take_scale(self, scale: str | None) -> None:
        """Draw linear or log from now on; else as suits the data."""
        self.scale = scale if scale in SCALES else SCALES[0]

    def next_scale(self) -> str:
        """Return the scale that follows: first the one that differs from what is shown."""
        other = "linear" if self.view is not None and self.view.loss.wide else "log"
        turn = (SCALES[0], other, "linear" if other == "log" else "log")
        return turn[(turn.index(self.scale) + 1) % len(turn)]

    def heading(self, view: View) -> str:
        scale = "log" if self._log(view) else "linear" if self.scale != SCALES[0] else ""
        return f"{self.title} · {scale}" if scale else self.title

    def _log(self, view: View) -> bool:
        return view.loss.wide if self.scale == SCALES[0] else self.scale == "log"

    def level(self, view: View) -> str | None:
        return "critical" if view.loss.alarm else None

    def note(self, view: View) -> tuple[str, str]:
        loss = view.loss
        cut = loss.lowest is not None and self._log(view)
        notes = [f"▼ down to {tick_text(loss.lowest or 0.0)}"] if cut else []
        if loss.best_accuracy is not None:
            notes.append(f"best {loss.best_accuracy:.1%} in epoch {loss.best_epoch}")
        both = " · ".join(notes)
        return both if len(both) <= self.size.width - 6 else notes[-1], "label"

    def own_course(self, view: View) -> Course:
        return view.loss.course

    def own_window(self, view: View, points: Points) -> Window:
        loss = view.loss
        total = {"step": loss.total_steps, "samples": loss.total_samples}.get(self.axis)
        return whole_window(self.axis, points.x[0], points.x[-1], total, not view.status.alive)

    def picture(self, view: View) -> Picture | None:
        course, title = self.course(view), "loss and its variance within a batch"
        curves = {"loss": course.loss, "variance": course.variance}
        return self.pictured(view, title, self._log(view), **curves)

    def draw(self, canvas: Canvas, view: View) -> None:
        loss = view.loss
        course = self.course(view)
        points = self.along(view, course, course.loss)
        if loss.reason is not None or not points.x:
            canvas.centre(loss.reason or "no step in sight", "dim")
            return
        top = 0
        if loss.alarm is not None:
            canvas.put(0, 0, f" !! {loss.alarm} ", "alarm")
            top = 1
        rows = 0 if canvas.height < 5 else 1 if canvas.height < 8 else 2
        if rows:
            self._lines(canvas, loss, canvas.height - rows, rows)
        box = self.place_chart(canvas, Box(0, top, canvas.width, canvas.height - rows - top))
        self._chart(canvas, box, view, course, points)
        if self.zoomed:
            curves = (("loss", course.loss), ("s²", course.variance))
            self.read_out(canvas, view, course, *(self._read(course, *curve) for curve in curves))

    def _chart(self, canvas: Canvas, box: Box, view: View, course: Course, points: Points) -> None:
        loss = view.loss
        label = f"loss {units.number(loss.latest)}"
        spread = f"s²   {units.number(loss.latest_variance)}"
        if box.width < LEAST_LABELLED:
            x = canvas.put(0, box.y, label, "pale.strong") + 2
            canvas.put(x, box.y, spread.replace("   ", " "), "rose.strong")
            box = Box(box.x, box.y + 1, box.width, box.height - 1)
        variance = self.along(view, course, course.variance)
        draw_chart(
            canvas,
            box,
            Chart(
                curves=(
                    Curve(points, "pale", "deep", label, "pale.strong", loss.latest),
                    Curve(variance, "rose", "wine", spread, "rose.strong", loss.variance_end),
                ),
                window=self.window(view, course, points),
                tick=tick_text,
                floor=loss.floor if self._log(view) else None,
                log=self._log(view),
                label_width=self.label_width,
                marks=self.marks(view, course),
                cursor=self.cursor(view, course),
            ),
            self._scale,
        )

    def _read(self, course: Course, name: str, points: Points) -> str:
        """Say what the cursor reads of a curve."""
        index = self.index_at_cursor(course)
        if index is None or index >= len(points.x):
            return ""
        mean, low, high = points.mean[index], points.low[index], points.high[index]
        between = f" ({units.number(low)}…{units.number(high)})" if low != high else ""
        return f"{name} {units.number(mean)}{between}"

    def _lines(self, canvas: Canvas, loss: LossView, y: int, rows: int) -> None:
        """Say what V and R are, and below it the accuracy; on one row, the accuracy first."""
        if rows > 1:
            x = canvas.put(0, y, "V ", "label")
            if loss.trend_free is None:
                canvas.put_words(x, y, f"{units.MISSING} ({loss.noise_reason})", "dim")
            else:
                x = canvas.put(x, y, units.number(loss.trend_free), "text") + 2
                x = canvas.put(x, y, "R ", "label")
                self._ratio(canvas, loss, x, y)
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

    def _ratio(self, canvas: Canvas, loss: LossView, x: int, y: int) -> None:
        if loss.ratio is None:
            canvas.put_words(x, y, f"{units.MISSING} ({loss.noise_reason})", "dim")
            return
        x = canvas.put(x, y, f"{loss.ratio:.1f}", "warn" if loss.dynamics else "text") + 2
        meaning = "▲ dynamics, not sampling noise" if loss.dynamics else "sampling noise"
        canvas.put(x, y, meaning, "warn" if loss.dynamics else "dim")
