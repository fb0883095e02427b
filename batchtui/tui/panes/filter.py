"""The line in which the log's filter is typed."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from batchtui.text import clean
from batchtui.tui.panes.log import LogPane
from batchtui.tui.view import View
from batchtui.tui.widgets.canvas import Canvas
from batchtui.tui.widgets.pane import Pane

_LONGEST = 100


class FilterLine(Pane):
    """Filters the log as it is typed; enter keeps the filter, escape drops it."""

    framed = False
    ground = "band"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "close", "Keep the filter", show=False),
        Binding("escape", "drop", "Show all lines", show=False),
        Binding("backspace", "erase", "Erase", show=False),
        Binding("ctrl+u", "clear", "Erase all", show=False),
    ]

    def on_mount(self) -> None:
        self.display = False

    def draw(self, canvas: Canvas, view: View) -> None:
        text = self._log().filter
        x = canvas.put(1, 0, "/", "key")
        # Of a long filter the end shows, where the typing is.
        x = canvas.put(x, 0, text[-max(1, canvas.width - 30) :], "strong")
        x = canvas.put(x, 0, "█", "dim") + 2
        if not text:
            x = canvas.put(x, 0, "show lines with …", "dim") + 2
        canvas.right(canvas.width - 1, 0, "enter keep  esc all", "dim", start=x)

    def open(self) -> None:
        """Take the place of the footer, and the keys."""
        self._swap(True)
        # At once: what was typed behind the slash belongs here already.
        self.screen.set_focus(self)

    def on_blur(self) -> None:
        self._swap(False)

    def on_key(self, event: events.Key) -> None:
        if event.is_printable and event.character is not None:
            event.stop()
            self._set(self._log().filter + event.character)

    def on_paste(self, event: events.Paste) -> None:
        event.stop()
        self._set(self._log().filter + event.text)

    def action_close(self) -> None:
        """Keep the filter."""
        self._swap(False)
        self.screen.set_focus(self._log())

    def action_drop(self) -> None:
        """Show all lines again."""
        self._set("")
        self.action_close()

    def action_erase(self) -> None:
        """Erase the last character."""
        self._set(self._log().filter[:-1])

    def action_clear(self) -> None:
        """Erase all of it."""
        self._set("")

    def _set(self, text: str) -> None:
        self._log().filter = clean(text, _LONGEST)
        self.redraw()

    def _log(self) -> LogPane:
        return self.screen.query_one(LogPane)

    def _swap(self, filtering: bool) -> None:
        self.display = filtering
        self.screen.query_one("#footer").display = not filtering
