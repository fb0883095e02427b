"""What a chart can lie over: steps, samples, seconds since the first step, or the clock."""

from __future__ import annotations

import math
from bisect import bisect_left

from batchtui import units
from batchtui.tui.assemble.windows import clock, recent_window, round_up, step_window
from batchtui.tui.view import Course, Points, Window

AXES = ("step", "samples", "seconds", "clock")
SCALES = ("auto", "log", "linear")  # upright; auto is as suits the data


def next_scale(scale: str, log: bool) -> str:
    """Return the scale after another, where auto is logarithmic or not: first what differs."""
    turn = ("auto", "linear", "log") if log else ("auto", "log", "linear")
    return turn[(turn.index(scale) + 1) % len(turn)]


def along(points: Points, course: Course, axis: str, origin: float = 0.0) -> Points:
    """Return a curve over another axis than steps; what has no place on it is left out."""
    if axis == "step":
        return points
    places = places_of(course, axis, origin)
    known = [index for index, place in enumerate(places) if place is not None]
    return Points(
        tuple(places[index] or 0.0 for index in known),
        *(tuple(values[index] for index in known) for values in points[1:]),
    )


def places_of(course: Course, axis: str, origin: float = 0.0) -> list[float | None]:
    """Return where the steps of a course lie, ascending: a clock that was set back stands still."""
    shift = origin if axis == "seconds" else 0.0
    last = float("-inf")
    places: list[float | None] = []
    for value in course.samples if axis == "samples" else course.time:
        if value is None:
            places.append(None)
        else:
            last = max(last, value - shift)
            places.append(last)
    return places


def place(step: float, steps: tuple[float, ...], places: list[float | None]) -> float | None:
    """Return where a step lies between those whose places are known."""
    known = [(x, where) for x, where in zip(steps, places, strict=True) if where is not None]
    if not known:
        return None
    at = bisect_left(known, (step, float("-inf")))
    if at == 0 or at == len(known):
        return known[min(at, len(known) - 1)][1]
    (before, low), (after, high) = known[at - 1], known[at]
    return low + (high - low) * (step - before) / (after - before)


def near_window(axis: str, first: float, last: float) -> Window:
    """Return the window of a chart of the last minutes; it moves by a quarter of its span."""
    if axis in ("clock", "seconds"):
        window = recent_window(first, last)
    else:
        span = round_up(max(8.0, last - first))
        quarter = span / 4
        start = first if first <= quarter else math.floor(first / quarter) * quarter
        end = start + span
        while end < last:
            end += quarter
        window = Window(start, end)
    return named(axis, window)


def whole_window(axis: str, first: float, last: float, total: float | None, ended: bool) -> Window:
    """Return the window of a chart of the whole run, with room ahead while it is alive."""
    return named(axis, step_window(first, last, total, ended))


def named(axis: str, window: Window) -> Window:
    """Return a window with the words of its axis at its ends."""
    left = words(window.start, axis)
    right = words(window.end, axis).removeprefix("step ").removesuffix(" samples")
    return window._replace(left=left, right=right)


def words(value: float, axis: str) -> str:
    """Return a place on an axis as text."""
    if axis == "step":
        return f"step {units.count(value)}"
    if axis == "samples":
        return f"{units.short_count(value)} samples"
    return units.duration(value) if axis == "seconds" else clock(value)
