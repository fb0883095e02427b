"""The line in which the log's filter is typed."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input

from batchtui.text import clean
from batchtui.tui.panes.log import LogPane


class FilterLine(Input):
    """Filters the log as it is typed; enter keeps the filter, escape drops it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "drop", "Drop", show=False)]

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, placeholder="show lines with …", compact=True)
        self.cursor_blink = False  # each blink would be a frame to send
        self.display = False

    def open(self) -> None:
        """Show the line in place of the footer."""
        self.value = self._log().filter
        self._swap(True)
        # At once: what was typed behind the slash belongs here already.
        self.screen.set_focus(self)

    def close(self, text: str) -> None:
        """Filter by a text and give the keys back to the log."""
        self._swap(False)
        self._log().filter = text
        self.screen.set_focus(self._log())

    def _swap(self, filtering: bool) -> None:
        self.display = filtering
        self.screen.query_one("#footer").display = not filtering

    def _log(self) -> LogPane:
        return self.screen.query_one(LogPane)

    def watch_value(self, value: str) -> None:
        if self.is_mounted and self.display:
            self._log().filter = clean(value, 100)

    async def action_submit(self) -> None:
        """Keep the filter."""
        self.close(clean(self.value, 100))

    def action_drop(self) -> None:
        """Show all lines again."""
        self.close("")
