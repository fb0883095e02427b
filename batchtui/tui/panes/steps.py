"""How long steps take, and what they are made of."""

from __future__ import annotations

from batchtui import units
from batchtui.tui.view import StepsView, View
from batchtui.tui.widgets.bars import ROLE_LOOKS, draw_parts, shade
from batchtui.tui.widgets.canvas import Canvas
from batchtui.tui.widgets.chart import Box, Chart, Curve, Reference, draw_chart
from batchtui.tui.widgets.pane import Pane
from batchtui.tui.widgets.scale import Scale, tick_text

_SHORT_NAMES = {
    "data wait": "data", "to device": "copy", "forward": "fwd", "backward": "bwd",
    "optimizer": "opt", "other": "rest",
}  # fmt: skip


class StepsPane(Pane):
    """A chart of step times with their quantiles, over a bar of the step's parts."""

    title = "Step time"

    def on_mount(self) -> None:
        self._scale = Scale()

    def heading(self, view: View) -> str:
        steps = view.steps
        unit = _unit(steps.p50 if steps.p50 is not None else steps.now)[1]
        return self.title if steps.reason else f"{self.title} · {unit}"

    def note(self, view: View) -> tuple[str, str]:
        steps = view.steps
        notes = []
        if steps.ceiling is not None:
            notes.append(f"▲ up to {units.seconds(steps.highest)}")
        if steps.samples_per_s is not None:
            slow = steps.samples_per_s < 100
            rate = units.number(steps.samples_per_s) if slow else units.count(steps.samples_per_s)
            notes.append(f"{rate} samples/s")
        return " · ".join(notes), "text"

    def draw(self, canvas: Canvas, view: View) -> None:
        steps = view.steps
        if steps.reason is not None:
            canvas.centre(steps.reason, "dim")
            return
        rows = 0 if not steps.parts or canvas.height < 5 else 1 if canvas.height < 8 else 2
        if rows:
            self._parts(canvas, steps, canvas.height - rows, rows)
        self._chart(canvas, steps, canvas.height - rows)

    def _chart(self, canvas: Canvas, steps: StepsView, height: int) -> None:
        # One unit for all labels of a chart: that of the median, which seldom changes.
        scale, _ = _unit(steps.p50 if steps.p50 is not None else steps.now)
        now = "" if steps.now is None else f"{_short(steps.now * scale)} now"
        references = [
            Reference(value, f"{name} {_short(value * scale)}", look)
            for value, name, look in ((steps.p95, "p95", "orange"), (steps.p50, "p50", "green"))
            if value is not None
        ]
        if canvas.width < 30:
            x = 0
            for reference in reversed(references):
                x = canvas.put(x, 0, reference.label, reference.look) + 2
            canvas.right(canvas.width, 0, now.removesuffix(" now"), "pale.strong", start=x)
        draw_chart(
            canvas,
            Box(0, 1, canvas.width, height - 1)
            if canvas.width < 30
            else Box(0, 0, canvas.width, height),
            Chart(
                curves=(Curve(steps.points, "pale", "deep", now, "pale.strong", steps.now),),
                window=steps.window,
                tick=lambda value: tick_text(value * scale),
                references=tuple(references),
                ceiling=steps.ceiling,
                label_width=9,
            ),
            self._scale,
        )

    def _parts(self, canvas: Canvas, steps: StepsView, y: int, rows: int) -> None:
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


def _unit(value: float | None) -> tuple[float, str]:
    """Return the factor and the name of the unit in which a step time reads best."""
    if value is None or value >= 0.9995:
        return 1.0, "s"
    return (1e3, "ms") if value >= 0.9995e-3 else (1e6, "µs")


def _short(value: float) -> str:
    """Return a number in at most five characters."""
    if value >= 99.95 or value == round(value):
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
