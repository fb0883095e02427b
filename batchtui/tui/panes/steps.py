"""How long steps take, and what they are made of."""

from __future__ import annotations

from batchtui import units
from batchtui.tui.axes import near_window
from batchtui.tui.panes.parts import draw_step_parts
from batchtui.tui.picture import Picture
from batchtui.tui.view import Course, Points, View, Window
from batchtui.tui.widgets.canvas import Canvas
from batchtui.tui.widgets.chart import LEAST_LABELLED, Box, Chart, Curve, Reference, draw_chart
from batchtui.tui.widgets.chart_pane import ChartPane
from batchtui.tui.widgets.scale import Scale, tick_text


class StepsPane(ChartPane):
    """A chart of step times with their quantiles, over a bar of the step's parts."""

    title = "Step time"
    digit = "³"
    axis = "clock"
    label_width = 10

    def on_mount(self) -> None:
        super().on_mount()
        self._scale = Scale()

    def heading(self, view: View) -> str:
        steps = view.steps
        unit = units.unit_of_time(steps.p50 if steps.p50 is not None else steps.now)[1]
        return self.title if steps.reason else f"{self.title} · {unit}"

    def note(self, view: View) -> tuple[str, str]:
        steps = view.steps
        notes = []
        if steps.ceiling is not None:
            notes.append(f"▲ up to {units.seconds(steps.highest)}")
        if steps.samples_per_s is not None:
            notes.append(units.rate(steps.samples_per_s))
        return " · ".join(notes), "text"

    def own_course(self, view: View) -> Course:
        return view.steps.course

    def own_window(self, view: View, points: Points) -> Window:
        return near_window(self.axis, points.x[0], points.x[-1])

    def picture(self, view: View) -> Picture | None:
        return self.pictured(view, "step time, s", False, step_s=self.course(view).step_s)

    def draw(self, canvas: Canvas, view: View) -> None:
        steps = view.steps
        if steps.startup is not None:
            from batchtui.tui.panes.startup import draw_startup

            draw_startup(canvas, steps.startup)
            return
        course = self.course(view)
        points = self.along(view, course, course.step_s)
        if steps.reason is not None or not points.x:
            canvas.centre(steps.reason or "no step in sight", "dim")
            return
        rows = 0 if not steps.parts or canvas.height < 5 else 1 if canvas.height < 8 else 2
        if rows:
            draw_step_parts(canvas, steps, canvas.height - rows, rows)
        box = self.place_chart(canvas, Box(0, 0, canvas.width, canvas.height - rows))
        self._chart(canvas, box, view, course, points)

    def _chart(self, canvas: Canvas, box: Box, view: View, course: Course, points: Points) -> None:
        steps = view.steps
        # One unit for all labels of a chart: that of the median, which seldom changes.
        scale, unit = units.unit_of_time(steps.p50 if steps.p50 is not None else steps.now)
        word = "last" if view.moment else "now"
        now = "" if steps.now is None else f"{units.short_number(steps.now * scale)} {word}"
        references = [
            Reference(value, f"{name} {units.short_number(value * scale)}", look)
            for value, name, look in ((steps.p95, "p95", "orange"), (steps.p50, "p50", "green"))
            if value is not None
        ]
        if box.width < LEAST_LABELLED:
            x = 0
            for reference in reversed(references):
                x = canvas.put(x, box.y, reference.label, reference.look) + 2
            latest = now.removesuffix(f" {word}")
            canvas.right(canvas.width, box.y, latest, "pale.strong", start=x)
            box = Box(box.x, box.y + 1, box.width, box.height - 1)
        draw_chart(
            canvas,
            box,
            Chart(
                curves=(Curve(points, "pale", "deep", now, "pale.strong", steps.now),),
                window=self.window(view, course, points),
                tick=lambda value: tick_text(value * scale),
                references=tuple(references),
                ceiling=steps.ceiling,
                label_width=self.label_width,
                marks=self.marks(view, course),
                cursor=self.cursor(view, course),
            ),
            self._scale,
        )
        if self.zoomed:
            self.read_out(canvas, view, course, self._read(course, scale, unit))

    def _read(self, course: Course, scale: float, unit: str) -> str:
        """Say what the cursor reads."""
        found = self.at_cursor(course, course.step_s)
        if found is None:
            return ""
        if None in found:
            return units.MISSING
        mean, low, high = (units.short_number((value or 0.0) * scale) for value in found)
        return f"{mean} {unit}" + (f" ({low}…{high})" if low != high else "")
