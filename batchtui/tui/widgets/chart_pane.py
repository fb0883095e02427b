"""What the panes with a chart over the steps have in common: the axis, and the zoom's keys."""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import pairwise
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from batchtui import units
from batchtui.tui.axes import AXES, SCALES, along, named, place, places_of, words
from batchtui.tui.picture import Picture
from batchtui.tui.preferences import Preferences
from batchtui.tui.view import Course, Mark, Points, View, Window
from batchtui.tui.widgets import glyphs
from batchtui.tui.widgets.canvas import Canvas
from batchtui.tui.widgets.chart import Box, plot_box
from batchtui.tui.widgets.lens import Lens, Span
from batchtui.tui.widgets.pane import Pane

_MANY = 1e12  # times as many steps as there are


class ChartPane(Pane):
    """A pane whose chart, zoomed, goes through the whole history of the run."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "axis", "Steps, samples, seconds or clock", show=False),
        Binding("left", "cursor(-1)", "Cursor left", show=False),
        Binding("right", "cursor(1)", "Cursor right", show=False),
        Binding("shift+left", "cursor(-10)", "Cursor far left", show=False),
        Binding("shift+right", "cursor(10)", "Cursor far right", show=False),
        Binding("plus,equals_sign,greater_than_sign,up", "scale(0.5)", "Fewer steps", show=False),
        Binding("minus,less_than_sign,down", "scale(2)", "More steps", show=False),
        Binding("pageup", "pan(-0.5)", "Earlier", show=False),
        Binding("pagedown", "pan(0.5)", "Later", show=False),
        Binding("home", "whole", "The whole run", show=False),
        Binding("end", "newest", "As it was", show=False),
    ]
    axis = "step"
    scale = SCALES[0]
    label_width = 11
    hint = "← → cursor · + − zoom · PgUp PgDn pan · x axis"
    _box = Box(0, 0, 0, 0)  # of the chart, in cells of the inside

    class Looked(Message):
        """Steps are wanted in detail; None: no longer."""

        def __init__(self, span: Span | None) -> None:
            super().__init__()
            self.span = span

    class AxisTaken(Message):
        """Another axis was chosen for a chart."""

        def __init__(self, pane: str, axis: str) -> None:
            super().__init__()
            self.pane, self.axis = pane, axis

    def on_mount(self) -> None:
        self._lens = Lens()

    def recall(self, preferences: Preferences) -> None:
        """Have the axis and the scale that were chosen before."""
        axis, scale = preferences.axes.get(self.id or ""), preferences.scales.get(self.id or "")
        if axis in AXES:
            self.axis = axis
        if scale in SCALES:
            self.scale = scale

    # What subclasses say --------------------------------------------------------------------

    def own_course(self, view: View) -> Course:
        """Return what the chart shows by itself."""
        raise NotImplementedError

    def own_window(self, view: View, points: Points) -> Window:
        """Return the window in which it does."""
        raise NotImplementedError

    # What they draw with --------------------------------------------------------------------

    @property
    def zoomed(self) -> bool:
        """Whether the pane has the whole screen."""
        return self.has_class("zoomed-pane")

    def course(self, view: View) -> Course:
        """Return the curves over the steps that are shown now."""
        if self._lens.span is not None and view.close_up is not None:
            return view.close_up
        return self.own_course(view)

    def window(self, view: View, course: Course, points: Points) -> Window:
        """Return the stretch of the axis that is shown now."""
        if self._lens.span is None:
            return self.own_window(view, points)
        ends = [self._place(view, course, step) for step in self._lens.span]
        first, last = (end or 0.0 for end in ends)
        return named(self.axis, Window(first, max(last, first + 1e-9)))

    def along(self, view: View, course: Course, points: Points) -> Points:
        """Return a curve over the present axis."""
        return along(points, course, self.axis, view.origin)

    def marks(self, view: View, course: Course) -> tuple[Mark, ...]:
        """Return the restarts on the present axis."""
        steps = _steps(course)
        found = []
        for mark in view.marks:
            if steps and steps[0] < mark.x <= steps[-1]:
                where = self._place(view, course, mark.x)
                if where is not None:
                    found.append(mark._replace(x=where))
        return tuple(found)

    def cursor(self, view: View, course: Course) -> float | None:
        """Return where the cursor stands on the present axis."""
        if not self.zoomed or self._lens.cursor is None:
            return None
        return self._place(view, course, self._lens.cursor)

    def place_chart(self, canvas: Canvas, box: Box) -> Box:
        """Take note of where the chart is; zoomed, its first row is the cursor's."""
        if self.zoomed:
            box = Box(box.x, box.y + 1, box.width, box.height - 1)
        self._box = box
        return box

    def read_out(self, canvas: Canvas, view: View, course: Course, *values: str) -> None:
        """Say above the chart what the cursor reads, or how to get one."""
        index = self.index_at_cursor(course)
        if index is None:
            hint = self.hint.replace("← →", "<- ->") if self._ascii else self.hint
            canvas.put(0, 0, hint, "dim")
            return
        places = ((course.samples[index], "samples"), (course.time[index], "clock"))
        said = [(value, "text") for value in values]
        said += [(words(where, axis), "label") for where, axis in places if where is not None]
        x = canvas.put(0, 0, self._steps_read(view, _steps(course), index), "strong")
        for text, look in said:
            if x + 3 + glyphs.width(text) <= canvas.width:  # half a number would be another
                x = canvas.put(x, 0, f" · {text}", look)

    def _steps_read(self, view: View, steps: tuple[float, ...], index: int) -> str:
        """Say which steps a point stands for: the mean of several is no value of the first."""
        each = min((after - before for before, after in pairwise(steps[1:])), default=math.inf)
        newest = view.progress.step or steps[-1]
        following = steps[index + 1] if index + 1 < len(steps) else newest + 1
        last = min(steps[index] + each, following) - 1
        if last <= steps[index]:
            return words(steps[index], "step")
        return f"steps {units.count(steps[index])}–{units.count(last)}"

    def index_at_cursor(self, course: Course) -> int | None:
        """Return the point of the course that the cursor is on."""
        steps, at = _steps(course), self._lens.cursor
        if not self.zoomed or at is None or not steps:
            return None
        return max(0, bisect_right(steps, at) - 1)

    def at_cursor(
        self, course: Course, points: Points
    ) -> tuple[float | None, float | None, float | None] | None:
        """Return mean, lowest and highest value of a curve where the cursor reads it."""
        index = self.index_at_cursor(course)
        if index is None or index >= len(points.x):
            return None
        return points.mean[index], points.low[index], points.high[index]

    def pictured(self, view: View, title: str, log: bool, **curves: Points) -> Picture | None:
        """Return what is shown as a picture for a file."""
        course = self.course(view)
        steps = _steps(course)
        if not steps:
            return None
        columns: list[tuple[str, tuple[float | None, ...]]] = [
            ("step", steps), ("samples", course.samples), ("time_unix_s", course.time)
        ]  # fmt: skip
        for name, points in curves.items():
            if points.x:
                columns += [(name, points.mean), (f"{name}_min", points.low)]
                columns += [(f"{name}_max", points.high)]
        drawn = ((name, self.along(view, course, points)) for name, points in curves.items())
        marks = self.marks(view, course)
        return Picture(title, self.axis, tuple(drawn), tuple(columns), log, marks=marks)

    def _place(self, view: View, course: Course, step: float) -> float | None:
        if self.axis == "step":
            return step
        return place(step, _steps(course), places_of(course, self.axis, view.origin))

    # Keys -----------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave the keys to the screen until the pane is zoomed."""
        if action in ("cursor", "scale", "pan", "whole", "newest"):
            view = self.view
            return self.zoomed and view is not None and bool(_steps(self.own_course(view)))
        return True

    def action_axis(self) -> None:
        """Take the next axis."""
        self.axis = AXES[(AXES.index(self.axis) + 1) % len(AXES)]
        self.post_message(self.AxisTaken(self.id or "", self.axis))
        self.redraw()

    def action_cursor(self, columns: int) -> None:
        """Move the cursor by columns of dots."""
        shown, all_of_it = self._spans()
        columns_shown = 2 * max(1, plot_box(self._box, 0).width)
        self._lens.move(columns * (shown[1] - shown[0]) / columns_shown, shown, all_of_it)
        self._look()

    def action_scale(self, factor: float) -> None:
        """Show fewer steps, or more."""
        self._lens.scale(factor, *self._spans())
        self._look()

    def action_pan(self, share: float) -> None:
        """Show earlier or later steps."""
        self._lens.pan(share, *self._spans())
        self._look()

    def action_whole(self) -> None:
        """Show the whole run."""
        self._lens.scale(_MANY, *self._spans())
        self._look()

    def action_newest(self) -> None:
        """Show what the chart shows by itself, up to the newest step."""
        self.forget_zoom()

    def forget_zoom(self) -> None:
        """Go back to what the chart shows by itself."""
        if self._lens.span is not None or self._lens.cursor is not None:
            self._lens.reset()
            self._look()

    def _look(self) -> None:
        self.post_message(self.Looked(self._lens.span))
        self.redraw()

    def _spans(self) -> tuple[Span, Span]:
        """Return the first and the last step that are shown, and that there are."""
        assert self.view is not None
        steps, whole = _steps(self.own_course(self.view)), _steps(self.view.loss.course)
        newest = max(steps[-1], whole[-1] if whole else 0.0)
        all_of_it = (min(steps[0], whole[0] if whole else steps[0]), newest)
        return self._lens.span or (steps[0], newest), all_of_it

    def on_click(self, event: events.Click) -> None:
        if self.check_action("cursor", ()):
            shown, all_of_it = self._spans()
            plot = plot_box(self._box, self.label_width)
            share = (event.x - 2 - plot.x) / max(1, plot.width - 1)
            self._lens.cursor = shown[0] + min(1.0, max(0.0, share)) * (shown[1] - shown[0])
            self._lens.move(0, shown, all_of_it)
            self._look()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        if self.check_action("scale", ()):
            event.stop()
            self.action_scale(2.0)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        if self.check_action("scale", ()):
            event.stop()
            self.action_scale(0.5)


def _steps(course: Course) -> tuple[float, ...]:
    return max((course.step_s.x, course.loss.x), key=len)
