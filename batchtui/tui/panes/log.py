"""The worker's output and what happened to the run."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.reactive import reactive

from batchtui.tui.view import LogLine, View
from batchtui.tui.widgets import glyphs
from batchtui.tui.widgets.canvas import Canvas
from batchtui.tui.widgets.pane import Pane
from batchtui.tui.widgets.scroll import Scroll

_MARKS = {"info": (" ", "text"), "warning": ("▲", "orange"), "error": ("✗", "red")}
_EVENT_MARK = ("●", "sky")
_ALL = 1_000_000
_STAMPED = 60  # cells: narrower, the words need the room of the time
_MOST_COPIED = 500  # lines; terminals take no more than some 75 kB


class LogPane(Pane):
    """The end of the log, or where it was scrolled to; `filter` picks lines."""

    title = "Log"
    digit = "⁵"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll_lines(-1)", "Up", show=False),
        Binding("down,j", "scroll_lines(1)", "Down", show=False),
        Binding("pageup", "scroll_pages(-1)", "Page up", show=False),
        Binding("pagedown", "scroll_pages(1)", "Page down", show=False),
        Binding("home,g", f"scroll_lines(-{_ALL})", "Oldest", show=False),
        Binding("end,G", f"scroll_lines({_ALL})", "Newest", show=False),
    ]
    filter: reactive[str] = reactive("", repaint=False)

    def on_mount(self) -> None:
        self._scroll = Scroll()

    def watch_filter(self) -> None:
        if self.is_mounted:
            self._scroll.follow()
            self.redraw()

    def note(self, view: View) -> tuple[str, str]:
        if not self._scroll.follows:
            return "scrolled back · end: newest", "warn"
        if self.filter:
            return f"/{self.filter}", "next"
        return (view.log.skipped, "warn") if view.log.skipped else ("", "dim")

    def lines(self) -> list[str]:
        """Return the lines that pass the filter, whole, with their times."""
        return [
            line.text if line.time is None else f"{_stamp(line.time)} {line.text}"
            for line in self.shown()[-_MOST_COPIED:]
        ]

    def shown(self) -> list[LogLine]:
        """Return the lines that pass the filter."""
        wanted = self.filter.lower()
        lines: Sequence[LogLine] = self.view.log.lines if self.view is not None else ()
        return [line for line in lines if wanted in line.text.lower()]

    def draw(self, canvas: Canvas, view: View) -> None:
        lines = self.shown()
        if not lines:
            nothing = f"no line has “{self.filter}”" if self.filter else "nothing written yet"
            canvas.centre(view.log.reason or nothing, "dim")
            return
        first = self._scroll.first([line.number for line in lines], canvas.height)
        page = lines[first : first + canvas.height]
        stamped = canvas.width >= _STAMPED and any(line.time is not None for line in page)
        for y, line in enumerate(page):
            self._line(canvas, y, line, stamped)

    def _line(self, canvas: Canvas, y: int, line: LogLine, stamped: bool) -> None:
        if stamped and line.time is not None:
            canvas.put(0, y, _stamp(line.time), "dim")
        x = 9 if stamped else 0
        mark, look = _EVENT_MARK if line.event and line.level == "info" else _MARKS[line.level]
        canvas.put(x, y, mark, look)
        text, room = line.text, canvas.width - x - 2
        if glyphs.width(text) > room:
            text = glyphs.clip_words(re.sub(r"(?<=\S) {2,}", " ", text[: 4 * room]), room)
        canvas.put(x + 2, y, text, look if line.level != "info" else "text")

    # Scrolling ----------------------------------------------------------------------------

    def action_scroll_lines(self, amount: int) -> None:
        """Scroll by lines."""
        self._scroll.by(amount, [line.number for line in self.shown()])
        self.redraw()

    def action_scroll_pages(self, pages: int) -> None:
        """Scroll by pages; a page is what fits, less a line."""
        self.action_scroll_lines(pages * max(1, self._scroll.height - 1))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.action_scroll_lines(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.action_scroll_lines(-3)


def _stamp(moment: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(moment))
