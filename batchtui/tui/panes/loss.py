"""Loss, its variance within a batch, their noise, and the accuracy on the held-out split."""

from __future__ import annotations

from batchtui import units
from batchtui.tui.axes import SCALES, whole_window
from batchtui.tui.panes.meaning import draw_meaning
from batchtui.tui.picture import Picture
from batchtui.tui.view import Course, Points, View, Window
from batchtui.tui.widgets import glyphs
from batchtui.tui.widgets.canvas import Canvas
from batchtui.tui.widgets.chart import LEAST_LABELLED, Box, Chart, Curve, draw_chart
from batchtui.tui.widgets.chart_pane import ChartPane
from batchtui.tui.widgets.scale import Scale, tick_text


class LossPane(ChartPane):
    """A chart of loss and s² over all steps, and what the numbers beside it mean."""

    title = "Loss and variance"
    digit = "⁴"
    hint = f"{ChartPane.hint} · l scale"

    def on_mount(self) -> None:
        super().on_mount()
        self._scale = Scale(zero=True)

    def heading(self, view: View) -> str:
        scale = "" if self.scale == SCALES[0] else " · linear"
        return self.title + (" · log" if self._log(view) else scale)

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
        return both if len(both) <= self.size.width - 6 else "".join(notes[-1:]), "label"

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
            text = glyphs.clip_words(loss.alarm, canvas.width - 5)
            canvas.put(0, 0, f" !! {text} ", "alarm")
            top = 1
        rows = 0 if canvas.height < 5 else 1 if canvas.height < 8 else 2
        if rows:
            draw_meaning(canvas, loss, canvas.height - rows, rows)
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
        found = self.at_cursor(course, points)
        if found is None:
            return ""
        mean, low, high = (units.number(value) for value in found)
        return f"{name} {mean}" + (f" ({low}…{high})" if low != high else "")
