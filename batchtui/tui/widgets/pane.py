"""A pane: draws its part of the view on a canvas and sends only the stretches that changed."""

from __future__ import annotations

from textual.geometry import Region, Size
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from batchtui.tui.outlook import Outlook
from batchtui.tui.palette import Palette
from batchtui.tui.picture import Picture
from batchtui.tui.view import View
from batchtui.tui.widgets.canvas import Canvas

RISE = (None, "warning", "critical")
LEVEL_LOOKS = {"warning": "warn", "critical": "bad"}
LEVEL_GLYPHS = {"warning": "▲", "critical": "!!"}
VERDICT_LOOKS = {"fits": "good", "tight": "warn", "will not fit": "bad"}


class Pane(Widget, can_focus=True):
    """Base of all panes. A pane computes nothing: numbers come with the view."""

    view: reactive[View | None] = reactive(None, repaint=False)
    choice: reactive[int | None] = reactive(None, repaint=False)  # the next batch size
    outlook: reactive[Outlook | None] = reactive(None, repaint=False)  # its forecast

    framed = True
    ground = "background"
    title = ""
    digit = ""  # the key that focuses the pane, small, before its title

    def __init__(self, palette: Palette, ascii_only: bool = False, *, id: str) -> None:
        super().__init__(id=id)
        self._palette = palette
        self._ascii = ascii_only
        self._canvas = Canvas(0, 0)
        self._strips: list[Strip] = []

    # What a pane says of itself -----------------------------------------------------------

    def heading(self, view: View) -> str:
        """Return the title in the frame."""
        return self.title

    @property
    def topic(self) -> str:
        """Return by which name the help explains it."""
        return self.id or ""

    def note(self, view: View) -> tuple[str, str]:
        """Return the text at the frame's lower right, and its look."""
        return "", "dim"

    def level(self, view: View) -> str | None:
        """Return warning or critical to colour the frame."""
        return None

    def picture(self, view: View) -> Picture | None:
        """Return the chart for a file; None: there is none."""
        return None

    def draw(self, canvas: Canvas, view: View) -> None:
        """Draw the inside; the canvas is what the frame leaves."""
        raise NotImplementedError

    # How it is drawn ----------------------------------------------------------------------

    def watch_view(self) -> None:
        self.redraw()

    def watch_choice(self) -> None:
        self.redraw()

    def watch_outlook(self) -> None:
        self.redraw()

    def watch_has_focus(self, _focused: bool) -> None:
        super().watch_has_focus(_focused)
        self.redraw()

    def on_resize(self) -> None:
        if (self._canvas.width, self._canvas.height) != self.size:
            self.redraw()

    def redraw(self) -> None:
        """Draw anew, and refresh the cells that differ."""
        width, height = self.size
        if not width or not height:
            return
        before, canvas = self._canvas, Canvas(width, height, self._palette.colour)
        if self.view is not None:
            self._draw_all(canvas, self.view)
        self._canvas = canvas
        if (before.width, before.height) != (width, height):
            self._strips = [self._strip(y) for y in range(height)]
            self.refresh()
            return
        changes = list(canvas.changes(before))
        for y, _, _ in changes:
            self._strips[y] = self._strip(y)
        if changes:
            self.refresh(*(Region(x, y, last - x + 1, 1) for y, x, last in changes))

    @property
    def closed(self) -> bool:
        """Whether the frame goes all around, and has its note below."""
        return self.size.height >= 6 and self.screen.size.height >= 20

    def draw_all(self) -> None:
        """Draw every cell anew: colours have changed."""
        self._canvas = Canvas(0, 0)
        self.redraw()

    def lines(self) -> list[str]:
        """Return what the inside says, as lines of text."""
        inside = Canvas(*inner_size(*self.size, True), False)
        if self.view is not None:
            self.draw(inside, self.view)
        rows = ("".join(text for text, _ in inside.runs(y)).rstrip() for y in range(inside.height))
        return [row for row in rows if row]

    def _strip(self, y: int) -> Strip:
        return self._canvas.strip(y, self._palette, self.ground, self._ascii)

    def _draw_all(self, canvas: Canvas, view: View) -> None:
        if not self.framed:
            self.draw(canvas, view)
            return
        level = self.level(view)
        look, title_look = "frame.focus" if self.has_focus else "frame", "title"
        if self.has_focus:
            title_look = "brand"
        heading = self.heading(view)
        if level is not None:
            look = title_look = LEVEL_LOOKS[level]
            heading = f"{LEVEL_GLYPHS[level]} {heading}"
        note, note_look = self.note(view)
        closed = self.closed
        canvas.frame(heading, note, look, title_look, note_look, closed)
        canvas.put(1, 0, self.digit, "key" if self.has_focus else "label")
        inside = inner_size(canvas.width, canvas.height, closed)
        inner = Canvas(inside.width, inside.height, canvas.colour)
        self.draw(inner, view)
        canvas.paste(inner, (canvas.width - inside.width) // 2, 1)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Return rows; after a change of size they are all drawn anew before.

        Textual's own would add borders, padding and colour filters, none of which a pane has, at
        several times the cost of what is left.
        """
        if (self._canvas.width, self._canvas.height) != self.size:
            self.redraw()
        first, last = crop.x, crop.right
        return [strip.crop(first, last) for strip in self._strips[crop.y : crop.bottom]]


def inner_size(width: int, height: int, closed: bool) -> Size:
    """Return what a frame leaves inside; closed frames have a margin of a cell."""
    return Size(max(0, width - (4 if closed else 2)), max(0, height - (2 if closed else 1)))
