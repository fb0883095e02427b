"""What a worker does before its first step: done, going on, and to come."""

from __future__ import annotations

from batchtui import units
from batchtui.tui.view import Startup
from batchtui.tui.widgets.canvas import Canvas


def draw_startup(canvas: Canvas, startup: Startup) -> None:
    """Draw a line a phase, in the middle; where that is too high, the present one alone."""
    width = max(map(len, startup.phases)) + 12
    x = max(0, (canvas.width - width) // 2)
    whole = canvas.height >= len(startup.phases)
    phases = list(enumerate(startup.phases))
    if not whole:
        phases = phases[startup.current : startup.current + 1]
    y = max(0, (canvas.height - len(phases)) // 2)
    for number, phase in phases:
        if number < startup.current:
            mark, looks = "✓", ("good", "label")
        elif number == startup.current:
            mark, looks = "▶", ("next", "strong")
        else:
            mark, looks = "·", ("dim", "dim")
        canvas.put(x, y, mark, looks[0])
        end = canvas.put(x + 2, y, phase, looks[1])
        if number == startup.current and startup.elapsed_s is not None:
            canvas.put(end + 2, y, units.duration(startup.elapsed_s), "label")
        y += 1
