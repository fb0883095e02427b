"""Typing the next batch size."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size

from batchtui import units
from batchtui.advise.choice import parse
from batchtui.tui.palette import Palette
from batchtui.tui.screens.dialog import Dialog, put_keys
from batchtui.tui.widgets.canvas import Canvas


class BatchDialog(Dialog[int]):
    """Answers a batch size, or None."""

    heading = "Next batch size"
    extent = Size(56, 9)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "take", "Choose it", show=False),
        Binding("backspace", "erase", "Erase", show=False),
        Binding("escape", "cancel", "Cancel", show=False),
    ]

    def __init__(self, palette: Palette, ascii_only: bool, size: int, largest: int | None) -> None:
        super().__init__(palette, ascii_only)
        self._text, self._largest = "", largest
        self._now = size
        self._error = ""

    def draw(self, canvas: Canvas) -> None:
        canvas.put(0, 1, "samples a step and process, now ", "label")
        canvas.put(32, 1, units.count(self._now), "text")
        x = canvas.put(0, 3, "▶ ", "brand")
        x = canvas.put(x, 3, self._text, "next")
        canvas.put(x, 3, "█" if canvas.colour else "_", "dim")
        canvas.put(0, 4, self._error, "bad")
        put_keys(canvas, 6, ("enter", "choose it"), ("esc", "cancel"), gap=3)

    def on_key(self, event: events.Key) -> None:
        if event.character is not None and event.character.isdigit() and len(self._text) < 10:
            event.stop()
            self._text, self._error = self._text + event.character, ""
            self.redraw()

    def action_erase(self) -> None:
        """Erase the last digit."""
        self._text, self._error = self._text[:-1], ""
        self.redraw()

    def action_take(self) -> None:
        """Answer with what was typed, if it can be a batch size."""
        try:
            self.dismiss(parse(self._text, self._largest))
        except ValueError as error:
            self._error = str(error)
            self.redraw()
