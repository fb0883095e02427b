"""The screen as Textual has drawn it, from the stream that it writes."""

from __future__ import annotations

import re
from collections.abc import Callable

from rich.cells import get_character_cell_size

from batchtui.tui.driver.styles import PLAIN, Styles
from batchtui.tui.widgets.glyphs import is_narrow

_TOKEN = re.compile(
    r"(?P<text>[^\x00-\x1f\x7f-\x9f]+)"
    r"|\x1b\[(?P<sgr>[\d;:]*)m"
    r"|\x1b\[(?P<row>\d*)(?:;(?P<column>\d*))?H"
    r"|(?P<link>\x1b\]8;[^\x07\x1b]*(?:\x07|\x1b\\))"
    r"|(?P<string>\x1b[\]P_^X][^\x07\x1b]*(?:\x07|\x1b\\))"
    r"|(?P<csi>\x1b\[[0-?]*[ -/]*[@-~])"
    r"|(?P<escape>\x1b[ -/]*[0-~])"
    r"|(?P<control>[\x00-\x1f\x7f-\x9f])"
)
# Final bytes of sequences that move the cursor or change cells, which Textual does not use. If
# one comes the model cannot follow: it is passed on, and the whole screen is drawn anew.
_SURPRISES = frozenset("ABCDEFGIJKLMPSTXZ@`abdefru")


class Model:
    """Rows of cells, each a text and a style number.

    `touched` holds the rows that were drawn on, the longest waiting first, and for each the highest
    `urgency` at which it was.

    A wide character's second cell is empty. Whatever is no cell goes to `pass_on`, in order.
    """

    def __init__(
        self,
        width: int,
        height: int,
        styles: Styles,
        pass_on: Callable[[str], None],
        translate: Callable[[str], str] | None = None,
    ) -> None:
        """Take a size, and optionally what replaces characters by others of the same width."""
        self._styles, self._pass_on, self._translate = styles, pass_on, translate
        self.surprised = False
        self.urgency = 0
        self._x = self._y = 0
        self._pen = PLAIN
        self.resize(width, height)

    def resize(self, width: int, height: int) -> None:
        """Start again with blank cells."""
        self.width, self.height = width, height
        self.text = [[" "] * width for _ in range(height)]
        self.style = [[PLAIN] * width for _ in range(height)]
        self.touch_all()

    def touch_all(self) -> None:
        """Have all rows compared with what the terminal shows, from top to bottom."""
        self.touched = dict.fromkeys(range(self.height), 0)

    def feed(self, data: str) -> None:
        """Draw a piece of the stream; a sequence is never split between two pieces."""
        for token in _TOKEN.finditer(data):
            kind = token.lastgroup
            if kind == "text":
                self._draw(token[0])
            elif kind == "sgr":
                self._pen = self._styles.apply(self._pen, token["sgr"])
            elif kind in ("row", "column"):
                self._y = int(token["row"] or 1) - 1
                self._x = int(token["column"] or 1) - 1
            elif kind == "control":
                self._control(token[0])
            elif kind == "csi":
                self._sequence(token[0])
            elif kind in ("string", "escape"):
                self._pass_on(token[0])

    def _draw(self, text: str) -> None:
        if self._translate is not None:
            text = self._translate(text)
        y, x = self._y, self._x
        if not 0 <= y < self.height:
            return
        if self.touched.get(y, -1) < self.urgency:
            self.touched.pop(y, None)  # behind those that this key has changed already
            self.touched[y] = self.urgency
        if not is_narrow(text):
            self._draw_wide(text)
            return
        shown = text[: max(0, self.width - x)]
        self.text[y][x : x + len(shown)] = shown
        self.style[y][x : x + len(shown)] = [self._pen] * len(shown)
        self._x = min(self.width, x + len(text))

    def _draw_wide(self, text: str) -> None:
        cells, style = self.text[self._y], self.style[self._y]
        for character in text:
            size = get_character_cell_size(character)
            if size == 0:
                base = self._x - 1
                while base > 0 and cells[base] == "":
                    base -= 1
                if 0 <= base < self.width:
                    cells[base] += character
                continue
            if self._x + size > self.width:
                return
            cells[self._x], style[self._x] = character, self._pen
            if size == 2:
                cells[self._x + 1], style[self._x + 1] = "", self._pen
            self._x += size

    def _control(self, character: str) -> None:
        if character == "\n":
            self._y, self._x = min(self.height - 1, self._y + 1), 0
        elif character == "\r":
            self._x = 0
        elif character == "\x07":
            self._pass_on(character)
        # Any other has no business here: text is cleaned before it is drawn.

    def _sequence(self, sequence: str) -> None:
        if sequence == "\x1b[H":
            self._x = self._y = 0
        elif sequence == "\x1b[2J":
            for row in range(self.height):
                self.text[row] = [" "] * self.width
                self.style[row] = [self._pen] * self.width
            self.touch_all()
        else:
            if sequence[-1] in _SURPRISES and sequence[2] not in "<=>?":
                self.surprised = True
            self._pass_on(sequence)
