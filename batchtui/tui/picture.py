"""What a chart leaves the screen as: curves to be drawn, and columns of numbers."""

from __future__ import annotations

from typing import NamedTuple

from batchtui.tui.view import History, Mark, Points


class Picture(NamedTuple):
    """A chart for a file: curves over an axis, and all that is known of their points."""

    title: str
    axis: str
    curves: tuple[tuple[str, Points], ...]
    columns: tuple[tuple[str, tuple[float | None, ...]], ...]
    log: bool = False
    references: tuple[tuple[str, float], ...] = ()  # lines across
    marks: tuple[Mark, ...] = ()


def pictured(history: History, title: str, unit: str, drawn: float = 1.0) -> Picture | None:
    """Return a history as a picture for a file, its layers beside each other.

    `unit` is that of the columns; what is drawn is in `drawn` of them, as the title says.
    """
    names = {"a": "worker", "other": "others"}
    if not history.layers:
        return None
    columns: list[tuple[str, tuple[float | None, ...]]]
    columns, curves = [("time_unix_s", history.layers[0][1].x)], []
    for role, points in history.layers:
        columns.append((f"{names.get(role, role)}_{unit}", points.mean))
        values = tuple(value and value / drawn for value in points.mean)
        curves.append((names.get(role, role), Points(points.x, values, values, values)))
    limit = (("limit", history.limit / drawn),) if history.limit else ()
    return Picture(
        title, "clock", tuple(curves), tuple(columns), references=limit, marks=history.marks
    )
