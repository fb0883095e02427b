"""The one line of the user's YAML that changes, before it is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.geometry import Size

from batchtui.config.rewrite import Edit, batch_size_edit
from batchtui.errors import UsageError
from batchtui.text import clean
from batchtui.tui.palette import Palette
from batchtui.tui.screens.dialog import Dialog, put_keys
from batchtui.tui.widgets.canvas import Canvas

if TYPE_CHECKING:
    from batchtui.tui.screens.choosing import ChoosingScreen


def offer(
    screen: ChoosingScreen, look: tuple[Palette, bool], path: Path, size: int, since: float | None
) -> None:
    """Show what changes in a YAML file for a batch size, and write that if it is agreed to.

    `since` is when the run began, which a file may have changed after.
    """

    def answer(error: UsageError) -> None:
        screen.answer(str(error).replace(str(path), path.name))  # room for the reason

    def write(edit: Edit | None) -> None:
        try:
            if edit is not None:
                edit.write()
                screen.answer(f"written: {edit.after}")
        except UsageError as error:
            answer(error)

    try:
        edit = batch_size_edit(path, size)
    except UsageError as error:
        answer(error)
    else:
        changed = since is not None and edit.modified > since
        note = "the file has changed since the run started" if changed else ""
        screen.app.push_screen(WriteDialog(*look, edit, note), write)


class WriteDialog(Dialog[Edit]):
    """Answers the edit that was agreed to, or None."""

    heading = "Write the batch size"
    extent = Size(72, 9)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "take", "Write it", show=False),
        Binding("escape,q", "cancel", "Leave it", show=False),
    ]

    def __init__(self, palette: Palette, ascii_only: bool, edit: Edit, note: str) -> None:
        super().__init__(palette, ascii_only)
        self._edit, self._note = edit, note

    def draw(self, canvas: Canvas) -> None:
        canvas.put(0, 0, clean(str(self._edit.path), canvas.width), "strong")
        if self._edit.before:
            canvas.put(0, 2, f"- {clean(self._edit.before, 200)}", "bad")
        canvas.put(0, 3, f"+ {clean(self._edit.after, 200)}", "good")
        canvas.put(0, 5, self._note, "warn")
        put_keys(canvas, canvas.height - 1, ("enter", "write it"), ("esc", "leave it"))

    def action_take(self) -> None:
        """Agree."""
        self.dismiss(self._edit)
