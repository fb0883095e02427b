"""What is left to say of a run that has ended, in the place of the advisor."""

from __future__ import annotations

from collections.abc import Sequence

from batchtui.tui.view import Fact
from batchtui.tui.widgets import glyphs
from batchtui.tui.widgets.canvas import Canvas


def draw_summary(canvas: Canvas, summary: Sequence[Fact]) -> None:
    """Draw as many lines as there is room for; what is of less interest goes first."""
    labels = max(len(fact.label) for fact in summary) + 2
    for y, fact in enumerate(summary[: canvas.height]):
        canvas.put(0, y, fact.label, "label")
        value = glyphs.clip_words(fact.value, canvas.width - labels)
        x = canvas.put(labels, y, value, "strong" if fact.value != "n/a" else "dim")
        if x + glyphs.width(fact.rest) <= canvas.width:
            canvas.put(x, y, fact.rest, "dim")
