"""Which stretch of time or of steps a chart shows: windows that stand still and then jump."""

from __future__ import annotations

import math
import time

from batchtui import units
from batchtui.tui.view import Window

_TIME_SPANS = (30.0, 60.0, 120.0, 300.0)  # seconds
RECENT_S = _TIME_SPANS[-1]
# What is read goes back further than what is shown: a window that began where the data does would
# move with each look, and draw the whole chart anew.
KEPT_S = 1.1 * RECENT_S
# Ends of a window of steps. Each is at most a half above the one before: a jump draws the whole
# chart anew, which a slow line feels.
_ROUND = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)


def recent_window(first: float, last: float) -> Window:
    """Return a window of the wall clock that ends at or after `last`.

    A young run fills a short window; later the window moves on by a quarter of its span.
    """
    elapsed = max(0.0, last - first)
    span = next((span for span in _TIME_SPANS if elapsed <= span), RECENT_S)
    if elapsed <= span:
        start = first
    else:
        quarter = span / 4
        start = math.ceil(last / quarter) * quarter - span
    return Window(start, start + span, clock(start), clock(start + span))


def step_window(first: float, last: float, total: float | None, ended: bool) -> Window:
    """Return a window over all steps: a round number ahead, or exactly what an ended run has."""
    end = last
    if not ended:
        end = first + round_up(max(8.0, last - first))
        if total is not None and total > first:
            end = min(end, max(total, last))
    if end <= first:
        end = first + 1
    return Window(first, end, f"step {units.count(first)}", units.count(end))


def round_up(value: float) -> float:
    """Return the next round number that is no less."""
    power = 10.0 ** math.floor(math.log10(value))
    for step in (*_ROUND, 10.0):
        if step * power >= value:
            return step * power
    return value


def clock(moment: float) -> str:
    """Return a moment of the wall clock as text."""
    return time.strftime("%H:%M:%S", time.localtime(moment))
