"""The one line of the user's YAML that changes, before it is written."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.geometry import Size

from batchtui.config.rewrite import Edit
from batchtui.text import clean
from batchtui.tui.palette import Palette
from batchtui.tui.screens.dialog import Dialog
from batchtui.tui.widgets.canvas import Canvas


class WriteDialog(Dialog[Edit]):
    """Answers the edit that was agreed to, or None."""

    heading = "Write the batch size"
    extent = Size(72, 9)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "take", "Write it", show=False),
        Binding("escape,q", "cancel", "Leave it", show=False),
    ]

    def __init__(self, palette: Palette, ascii_only: bool, edit: Edit) -> None:
        super().__init__(palette, ascii_only)
        self._edit = edit

    def draw(self, canvas: Canvas) -> None:
        canvas.put(0, 0, clean(str(self._edit.path), canvas.width), "strong")
        if self._edit.before:
            canvas.put(0, 2, f"- {clean(self._edit.before, 200)}", "bad")
        canvas.put(0, 3, f"+ {clean(self._edit.after, 200)}", "good")
        x = 0
        for key, what in (("enter", "write it"), ("esc", "leave it")):
            x = canvas.put(x, canvas.height - 1, key, "key") + 1
            x = canvas.put(x, canvas.height - 1, what, "label") + 2

    def action_take(self) -> None:
        """Agree."""
        self.dismiss(self._edit)
