"""What the keys do, and what the panes show."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.geometry import Size

from batchtui.tui.screens.dialog import Dialog
from batchtui.tui.widgets.canvas import Canvas

_KEYS = (
    ("d", "detach: leave, the training goes on"),
    ("q", "leave: detach or stop"),
    ("tab  1…6", "focus a pane: CPU, memory, step time, loss, log, advisor"),
    ("z", "zoom the focused pane, and back"),
    ("space", "hold the view still; reading goes on"),
    ("/", "filter the log; ↑ ↓ PgUp PgDn Home End scroll it"),
    ("+  −", "next batch size; b to type it, esc to drop it"),
    ("ctrl+p", "find a command"),
    ("ctrl+l", "draw the screen anew"),
)
_WORDS = (
    ("s²", "variance of the per-sample losses within a batch"),
    ("V", "variance of the batch mean, free of the loss's trend"),
    ("R", "V over s²/B: 1 sampling noise, above 2 the training's dynamics"),
    ("p50 p95", "half, and 95 of 100, of the recent steps took no longer"),
)


class HelpDialog(Dialog[None]):
    """Closes on any of the usual keys."""

    heading = "Help"
    extent = Size(78, len(_KEYS) + len(_WORDS) + 5)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter,space", "cancel", "Close", show=False)
    ]

    def draw(self, canvas: Canvas) -> None:
        y = 0 if canvas.height < self.extent.height - 2 else 1
        for key, what in _KEYS:
            canvas.put(0, y, key, "key")
            canvas.put(11, y, what, "text")
            y += 1
        y += y < canvas.height - len(_WORDS)
        for word, meaning in _WORDS:
            canvas.put(0, y, word, "pale.strong")
            canvas.put(11, y, meaning, "label")
            y += 1
