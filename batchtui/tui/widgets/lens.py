"""Which steps a zoomed chart shows, and the step that its cursor reads."""

from __future__ import annotations

Span = tuple[float, float]  # first and last step

_LEAST = 8.0  # steps


class Lens:
    """A stretch of steps within those of the run; without one the chart shows what it always does.

    `shown` is what the chart shows now, `all_of_it` the first and the last step there is.
    """

    def __init__(self) -> None:
        self.span: Span | None = None
        self.cursor: float | None = None

    def reset(self) -> None:
        """Go back to what the chart shows by itself."""
        self.span = self.cursor = None

    def scale(self, factor: float, shown: Span, all_of_it: Span) -> None:
        """Show `factor` times as many steps; the cursor, else the newest step, stays in place."""
        first, last = shown
        fixed = self.cursor if self.cursor is not None else last
        wide = max(last - first, 1.0)
        share = min(1.0, max(0.0, (fixed - first) / wide))
        width = max(_LEAST, wide * factor)
        self._show(fixed - share * width, width, all_of_it)

    def pan(self, share: float, shown: Span, all_of_it: Span) -> None:
        """Move on by a share of what is shown; the cursor stays in sight."""
        width = shown[1] - shown[0]
        self._show(shown[0] + share * width, width, all_of_it)
        if self.cursor is not None and self.span is not None:
            self.cursor = min(max(self.cursor, self.span[0]), self.span[1])

    def move(self, steps: float, shown: Span, all_of_it: Span) -> None:
        """Move the cursor, and what is shown with it where it would leave."""
        at = self.cursor if self.cursor is not None else shown[1]
        self.cursor = min(max(at + steps, all_of_it[0]), all_of_it[1])
        if not shown[0] <= self.cursor <= shown[1]:
            width = shown[1] - shown[0]
            start = self.cursor if self.cursor < shown[0] else self.cursor - width
            self._show(start, width, all_of_it)

    def _show(self, first: float, width: float, all_of_it: Span) -> None:
        oldest, newest = all_of_it
        width = min(width, max(newest - oldest, _LEAST))
        first = max(oldest, min(first, newest - width))
        self.span = (first, first + width)
