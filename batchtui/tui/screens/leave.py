"""Leaving a live run: detach, which is harmless and the default, or stop."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size

from batchtui.tui.palette import Palette
from batchtui.tui.screens.dialog import Dialog, put_keys
from batchtui.tui.widgets.canvas import Canvas

DETACH, STOP = "detach", "stop"
_CHOICES = (
    (DETACH, "Detach", "the training goes on; attach again at any time"),
    (STOP, "Stop", "write a checkpoint, then end the training"),
)


class LeaveDialog(Dialog[str]):
    """Answers `detach`, `stop`, or None to stay."""

    heading = "Leave"
    extent = Size(66, 9)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "take", "Do it", show=False),
        Binding("up,left,shift+tab,k", "move(-1)", "Up", show=False),
        Binding("down,right,tab,j", "move(1)", "Down", show=False),
        Binding("d", "answer('detach')", "Detach", show=False),
        Binding("s", "answer('stop')", "Stop", show=False),
        Binding("escape,q", "cancel", "Stay", show=False),
    ]

    def __init__(self, palette: Palette, ascii_only: bool, run: str) -> None:
        super().__init__(palette, ascii_only)
        self._run, self._at = run, 0

    def draw(self, canvas: Canvas) -> None:
        canvas.put(0, 1, self._run, "strong", end=canvas.width - 12)
        for index, (_, name, meaning) in enumerate(_CHOICES):
            chosen = index == self._at
            y = 3 + index
            canvas.put(0, y, "▶" if chosen else " ", "brand")
            canvas.put(2, y, f"{name:<8}", "strong" if chosen else "text")
            canvas.put_words(10, y, meaning, "text" if chosen else "dim")
        put_keys(
            canvas, 6, ("enter", "do it"), ("d", "detach"), ("s", "stop"), ("esc", "stay"), gap=3
        )

    def action_move(self, by: int) -> None:
        """Choose the other one."""
        self._at = (self._at + by) % len(_CHOICES)
        self.redraw()

    def action_take(self) -> None:
        """Do what is chosen."""
        self.dismiss(_CHOICES[self._at][0])

    def action_answer(self, choice: str) -> None:
        """Do it at once."""
        self.dismiss(choice)

    def on_click(self, event: events.Click) -> None:
        x, y = self.within(event)
        if 0 <= x < 60 and 0 <= y - 3 < len(_CHOICES):
            self.dismiss(_CHOICES[y - 3][0])
