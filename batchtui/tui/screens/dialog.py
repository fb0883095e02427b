"""A dialog: a framed canvas in the middle of a dimmed screen."""

from __future__ import annotations

from typing import Generic, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.geometry import Size
from textual.screen import ModalScreen
from textual.strip import Strip
from textual.widget import Widget

from batchtui.tui.palette import Palette
from batchtui.tui.widgets.canvas import Canvas

Result = TypeVar("Result")


class DialogBox(Widget):
    """The box of a dialog; the dialog draws it."""

    def __init__(self, dialog: Dialog[Result]) -> None:
        super().__init__(id="box")
        self._dialog = dialog
        self._strips: list[Strip] = []

    def on_mount(self) -> None:
        self.styles.width, self.styles.height = self._dialog.extent

    def on_resize(self) -> None:
        self.redraw()

    def redraw(self) -> None:
        """Draw anew after something has changed."""
        size = self.size
        canvas = Canvas(size.width, size.height, self._dialog.palette.colour)
        canvas.frame(self._dialog.heading, "", "frame.focus", "brand", "dim", True)
        inner = Canvas(max(0, size.width - 6), max(0, size.height - 2), canvas.colour)
        self._dialog.draw(inner)
        canvas.paste(inner, 3, 1)
        palette, ascii_only = self._dialog.palette, self._dialog.ascii_only
        self._strips = [canvas.strip(y, palette, "band", ascii_only) for y in range(canvas.height)]
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Return a row that `redraw` has prepared."""
        if y < len(self._strips):
            return self._strips[y]
        return Strip.blank(self.size.width, self.rich_style)


class Dialog(ModalScreen[Result], Generic[Result]):
    """Base of the dialogs: says its size and heading, and draws its inside."""

    # Here and not in batchtui.tcss, which is read before the first frame.
    DEFAULT_CSS = """
    Dialog {
        align: center middle;
        background: transparent;  /* dimming what is behind would send every cell again */
    }
    Dialog > #box {
        width: 60;
        max-width: 100%;
        height: auto;
        max-height: 100%;
    }
    """
    AUTO_FOCUS = ""
    heading = ""
    extent = Size(58, 9)

    def __init__(self, palette: Palette, ascii_only: bool) -> None:
        super().__init__()
        self.palette, self.ascii_only = palette, ascii_only

    def compose(self) -> ComposeResult:
        yield DialogBox(self)

    def draw(self, canvas: Canvas) -> None:
        """Draw the inside of the box."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw anew after something has changed."""
        for box in self.query(DialogBox):  # none is left where the dialog is being closed
            box.redraw()

    def within(self, event: events.Click) -> tuple[int, int]:
        """Return where a click lies on the inside's canvas."""
        region = self.query_one(DialogBox).region
        return event.screen_x - region.x - 3, event.screen_y - region.y - 1

    def action_cancel(self) -> None:
        """Close without a result."""
        self.dismiss(None)


def put_keys(canvas: Canvas, y: int, *keys: tuple[str, str], gap: int = 2) -> None:
    """Write keys and what they do beside each other."""
    x = 0
    for key, what in keys:
        x = canvas.put(x, y, key, "key") + 1
        x = canvas.put(x, y, what, "label") + gap
