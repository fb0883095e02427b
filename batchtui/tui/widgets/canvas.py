"""A grid of cells to draw on: whatever is drawn outside is cut, nothing can overlap a neighbour."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from rich.cells import get_character_cell_size
from rich.segment import Segment
from textual.strip import Strip

from batchtui.tui.palette import Palette
from batchtui.tui.widgets import glyphs


class Box(NamedTuple):
    """A rectangle of cells."""

    x: int
    y: int
    width: int
    height: int


class Canvas:
    """`width` × `height` cells, each a character and the name of its look.

    A wide character takes a cell and leaves the next one empty.
    """

    __slots__ = ("_looks", "_text", "colour", "height", "width")

    def __init__(self, width: int, height: int, colour: bool = True) -> None:
        self.width, self.height, self.colour = max(0, width), max(0, height), colour
        self._text = [[" "] * self.width for _ in range(self.height)]
        self._looks = [[""] * self.width for _ in range(self.height)]

    def put(self, x: int, y: int, text: str, look: str = "", *, end: int | None = None) -> int:
        """Draw text from cell x on, up to `end` (exclusive); return the cell after it."""
        end = self.width if end is None else min(end, self.width)
        if not 0 <= y < self.height or x >= end:
            return x
        if x < 0 or not glyphs.is_narrow(text):
            return self._put_wide(x, y, text, look, end)
        text = text[: end - x]
        stop = x + len(text)
        cells = self._text[y]
        # Half of a wide character that is drawn over becomes a space.
        if x and x < self.width and cells[x] == "":
            cells[x - 1] = " "
        if stop < self.width and cells[stop] == "":
            cells[stop] = " "
        cells[x:stop] = text
        self._looks[y][x:stop] = [look] * len(text)
        return stop

    def _put_wide(self, x: int, y: int, text: str, look: str, end: int) -> int:
        cells, looks = self._text[y], self._looks[y]
        last = -1
        for character in unicodedata.normalize("NFC", text):
            size = get_character_cell_size(character)
            # A variation selector or joiner would change the width of its neighbour: left out.
            if size == 0:
                if last >= 0 and len(cells[last]) < 3 and unicodedata.combining(character):
                    cells[last] += character
                continue
            if x + size > end:
                return x
            if x >= 0:
                # Half of a wide character that is drawn over becomes a space.
                if x and cells[x] == "":
                    cells[x - 1] = " "
                if x + size < self.width and cells[x + size] == "":
                    cells[x + size] = " "
                cells[x], looks[x] = character, look
                last = x
                if size == 2:
                    cells[x + 1], looks[x + 1] = "", look
            x += size
        return x

    def right(self, end: int, y: int, text: str, look: str = "", *, start: int = 0) -> int:
        """Draw text so that it ends before cell `end`; return the cell where it starts."""
        x = max(start, end - glyphs.width(text))
        self.put(x, y, text, look, end=end)
        return x

    def put_words(self, x: int, y: int, text: str, look: str = "") -> int:
        """Draw text from cell x on; what has no room is left out word by word."""
        return self.put(x, y, glyphs.clip_words(text, self.width - x), look)

    def centre(self, text: str, look: str) -> None:
        """Draw a line in the middle."""
        x = max(0, (self.width - glyphs.width(text)) // 2)
        self.put(x, max(0, (self.height - 1) // 2), text, look)

    def paste(self, other: Canvas, x: int, y: int) -> None:
        """Lay another canvas upon this one; what sticks out is cut."""
        width = min(other.width, self.width - x)
        for row in range(min(other.height, self.height - y)):
            self._text[y + row][x : x + width] = other._text[row][:width]
            self._looks[y + row][x : x + width] = other._looks[row][:width]

    def look(self, x: int, y: int) -> str:
        """Return the look of a cell; outside there is none."""
        inside = 0 <= x < self.width and 0 <= y < self.height
        return self._looks[y][x] if inside else ""

    def frame(
        self, title: str, note: str, look: str, title_look: str, note_look: str, closed: bool
    ) -> None:
        """Draw a rounded frame with a title above and a note at the lower right.

        Not closed it is the upper edge alone: a row more for what matters on a low terminal.
        """
        width, height = self.width, self.height
        if width < 4 or height < 1:
            return
        self.put(0, 0, "╭" + "─" * (width - 2) + "╮" if closed else "─" * width, look)
        if closed:
            for y in range(1, height - 1):
                self.put(0, y, "│", look)
                self.put(width - 1, y, "│", look)
            self.put(0, height - 1, "╰" + "─" * (width - 2) + "╯", look)
        if title:
            title = glyphs.clip_words(title, width - 6)
            self.put(2, 0, f" {title} ", title_look)
        if note and closed:
            note = glyphs.clip_words(note, width - 6)
            self.right(width - 2, height - 1, f" {note} ", note_look, start=2)
        elif note and width - glyphs.width(title) - glyphs.width(note) > 8:
            self.right(width - 1, 0, f" {note} ", note_look, start=2)

    def runs(self, y: int) -> list[tuple[str, str]]:
        """Return a row as runs of (text, look)."""
        text, looks = self._text[y], self._looks[y]
        runs: list[tuple[str, str]] = []
        start = 0
        for x in range(1, self.width + 1):
            if x == self.width or looks[x] != looks[start]:
                runs.append(("".join(text[start:x]), looks[start]))
                start = x
        return runs

    def strip(self, y: int, palette: Palette, ground: str, ascii_only: bool) -> Strip:
        """Return a row as Textual draws it, on a ground of that colour."""
        translate = glyphs.to_ascii if ascii_only else str
        return Strip(
            [Segment(translate(text), palette.style(look, ground)) for text, look in self.runs(y)],
            self.width,
        )

    def changes(self, before: Canvas) -> Iterator[tuple[int, int, int]]:
        """Yield (y, first, last) of each row that differs from an earlier canvas of this size."""
        for y in range(self.height):
            text, looks = self._text[y], self._looks[y]
            old_text, old_looks = before._text[y], before._looks[y]
            if text == old_text and looks == old_looks:
                continue
            differing = [
                x for x in range(self.width) if text[x] != old_text[x] or looks[x] != old_looks[x]
            ]
            yield y, differing[0], differing[-1]
