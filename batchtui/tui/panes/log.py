"""The worker's output and what happened to the run."""

from __future__ import annotations

import time
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.reactive import reactive

from batchtui.tui.view import LogLine, View
from batchtui.tui.widgets import glyphs
from batchtui.tui.widgets.canvas import Canvas
from batchtui.tui.widgets.pane import Pane

_MARKS = {"info": (" ", "text"), "warning": ("▲", "orange"), "error": ("✗", "red")}


class LogPane(Pane):
    """The end of the log. New lines fill the pane, then it jumps by half a page.

    Scrolled back it stands still until it is scrolled to the end again.
    """

    title = "Log"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll_lines(-1)", "Up", show=False),
        Binding("down,j", "scroll_lines(1)", "Down", show=False),
        Binding("pageup", "scroll(-1)", "Page up", show=False),
        Binding("pagedown", "scroll(1)", "Page down", show=False),
        Binding("home,g", "scroll_lines(-1000000)", "Oldest", show=False),
        Binding("end,G", "scroll_lines(1000000)", "Newest", show=False),
    ]
    filter: reactive[str] = reactive("", repaint=False)

    def on_mount(self) -> None:
        self._top = 0  # number of the first line drawn
        self._follow = True
        self._height = 0

    def watch_filter(self) -> None:
        self._follow = True
        self.redraw()

    def note(self, view: View) -> tuple[str, str]:
        if not self._follow:
            return "scrolled back · end: newest", "warn"
        if self.filter:
            return f"/{self.filter}", "next"
        return (view.log.skipped, "warn") if view.log.skipped else ("", "dim")

    def shown(self, view: View) -> list[LogLine]:
        """Return the lines that pass the filter."""
        wanted = self.filter.lower()
        return [line for line in view.log.lines if wanted in line.text.lower()]

    def draw(self, canvas: Canvas, view: View) -> None:
        lines = self.shown(view)
        height = canvas.height
        if not lines:
            nothing = f"no line has “{self.filter}”" if self.filter else "nothing written yet"
            canvas.put(0, 0, view.log.reason or nothing, "dim")
            return
        first = next((i for i, line in enumerate(lines) if line.number >= self._top), len(lines))
        if self._follow:
            end = len(lines) - height
            jump = height // 2 if height >= 6 else (height + 3) // 4
            if height != self._height or first > end + jump:
                first = end
            elif first < end:
                first = end + jump
            self._height = height
        else:
            first = min(first, len(lines) - height)
        first = max(0, first)
        self._top = lines[first].number
        stamped = canvas.width >= 44
        for y, line in enumerate(lines[first : first + height]):
            self._line(canvas, y, line, stamped)

    def _line(self, canvas: Canvas, y: int, line: LogLine, stamped: bool) -> None:
        x = 0
        if stamped:
            if line.time is not None:
                canvas.put(0, y, time.strftime("%H:%M:%S", time.localtime(line.time)), "dim")
            x = 9
        mark, look = _MARKS[line.level]
        if line.event and line.level == "info":
            mark, look = "●", "sky"
        canvas.put(x, y, mark, look)
        text_look = look if line.level != "info" else "text"
        end = canvas.put(x + 2, y, line.text, text_look)
        if end >= canvas.width and glyphs.width(line.text) > canvas.width - x - 2:
            canvas.put(canvas.width - 1, y, "…", "dim")

    # Scrolling ----------------------------------------------------------------------------

    def action_scroll(self, pages: float) -> None:
        """Scroll by pages; a page is what fits, less a line."""
        self.scroll_lines(round(pages * max(1, self._canvas.height - 3)))

    def action_scroll_lines(self, amount: int) -> None:
        """Scroll by lines."""
        self.scroll_lines(amount)

    def scroll_lines(self, amount: int) -> None:
        """Scroll by lines; down to the end it follows again."""
        if self.view is None:
            return
        lines = self.shown(self.view)
        height = self._canvas.height - 2
        first = next((i for i, line in enumerate(lines) if line.number >= self._top), 0)
        if self._follow:
            first = max(0, min(first, len(lines) - height))
        first = max(0, first + amount)
        self._follow = first >= len(lines) - height
        if lines:
            self._top = lines[min(first, len(lines) - 1)].number if not self._follow else 0
        self.redraw()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.scroll_lines(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.scroll_lines(-3)
