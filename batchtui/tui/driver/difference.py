"""The shortest way from what a terminal shows to what it shall show."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from batchtui.tui.driver.model import Model
from batchtui.tui.driver.styles import PLAIN, Styles
from batchtui.tui.widgets.glyphs import is_narrow

# Unchanged cells of the same style up to this many are sent again: a cursor move costs as much.
_BRIDGE_BYTES = 4
_AROUND_BYTES = 20  # of moves and styles, to guess what a run costs before it is sent


class Run(NamedTuple):
    """Neighbouring cells of one style; `sure` if the terminal's cursor surely is behind it."""

    style: int
    y: int
    x: int
    text: str
    sure: bool


class Shown:
    """What a terminal shows, where its cursor is, and in which style it would write."""

    def __init__(self, styles: Styles) -> None:
        self._styles = styles
        self._text: list[list[str]] = []
        self._style: list[list[int]] = []
        self._pen: int | None = None
        self._at: tuple[int, int] | None = None  # x, y; None: unknown
        self._known = False

    def forget(self) -> None:
        """Take nothing for granted: the next update clears the screen and draws all of it."""
        self._known = False

    def lose_cursor(self) -> None:
        """Take note that something else was written: cursor and style are unknown."""
        self._pen = self._at = None

    def place_cursor(self, x: int, y: int) -> None:
        """Take note that the cursor was moved."""
        self._at = x, y

    def update(self, model: Model, room: float = math.inf) -> str:
        """Return what makes the terminal show the model, and count it as shown.

        The most urgent rows that differ come first and by themselves, those that waited longest
        before others. With room for so many bytes alone, rows stay touched when it is filled.
        """
        start = ""
        if not self._known or len(self._text) != model.height:
            start = "\x1b[m\x1b[2J"
            self._text = [[" "] * model.width for _ in range(model.height)]
            self._style = [[PLAIN] * model.width for _ in range(model.height)]
            self._pen, self._at, self._known = PLAIN, None, True
            model.touch_all()
        runs: list[Run] = []
        odd: list[Run] = []
        urgency = 0
        for y in sorted(model.touched, key=model.touched.__getitem__, reverse=True):
            if room <= 0 or model.touched[y] < urgency:
                break
            urgent = model.touched.pop(y)
            text, style = model.text[y], model.style[y]
            old_text, old_style = self._text[y], self._style[y]
            if text == old_text and style == old_style:
                continue
            urgency = urgent
            if is_narrow("".join(text)) and is_narrow("".join(old_text)):
                changed = [*_changed_runs(y, text, style, old_text, old_style)]
                runs += changed
            else:
                changed = [*_whole_row(y, text, style)]
                odd += changed
            room -= sum(_AROUND_BYTES + len(run.text.encode()) for run in changed)
            self._text[y], self._style[y] = text[:], style[:]
        if not runs and not odd:
            return start
        # Sorted by style most runs need no style change at all; in a frame that is new
        # altogether they may be shorter from left to right.
        by_style = sorted(runs, key=lambda run: (*self._styles.key(run.style), run.y, run.x))
        if self._pen is not None:
            by_style.sort(key=lambda run: run.style != self._pen)
        return start + self._shortest(by_style, runs, odd)

    def _shortest(self, by_style: list[Run], by_place: list[Run], odd: list[Run]) -> str:
        first = self._send([*by_style, *odd])
        if len(by_place) > 100:
            first = min(first, self._send([*by_place, *odd]), key=lambda sent: len(sent[0]))
        text, self._pen, self._at = first
        return text

    def _send(self, runs: list[Run]) -> tuple[str, int | None, tuple[int, int] | None]:
        parts: list[str] = []
        pen, at = self._pen, self._at
        width = len(self._text[0]) if self._text else 0
        for run in runs:
            if at != (run.x, run.y):
                parts.append(move(at, run.x, run.y))
            if pen != run.style:
                parts.append(self._styles.change(pen, run.style))
                pen = run.style
            parts.append(run.text)
            end = run.x + len(run.text)
            # Behind the last column terminals disagree on where the cursor is.
            at = (end, run.y) if run.sure and end < width else None
        return "".join(parts), pen, at


def _changed_runs(
    y: int, text: list[str], style: list[int], old_text: list[str], old_style: list[int]
) -> Iterator[Run]:
    width = len(text)
    x = 0
    while x < width:
        if text[x] == old_text[x] and style[x] == old_style[x]:
            x += 1
            continue
        end = x + 1  # behind the last changed cell
        at, spent = end, 0
        while at < width and style[at] == style[x]:
            if text[at] != old_text[at] or style[at] != old_style[at]:
                end, spent = at + 1, 0
            else:
                spent += len(text[at].encode())
                if spent > _BRIDGE_BYTES:
                    break
            at += 1
        yield Run(style[x], y, x, "".join(text[x:end]), True)
        x = end


def _whole_row(y: int, text: list[str], style: list[int]) -> Iterator[Run]:
    """Cut a row with wide or odd characters at each change of style; all of it is sent."""
    start = 0
    for x in range(1, len(text) + 1):
        if x == len(text) or (style[x] != style[start] and text[x] != ""):
            yield Run(style[start], y, start, "".join(text[start:x]), False)
            start = x


def move(at: tuple[int, int] | None, x: int, y: int) -> str:
    """Return the shortest sequence that takes the cursor to a cell."""
    absolute = f"\x1b[{y + 1};{x + 1}H" if x else f"\x1b[{y + 1}H" if y else "\x1b[H"
    if at is None:
        return absolute
    right, down = x - at[0], y - at[1]
    relative = ""
    if down:
        relative += f"\x1b[{_count(down)}{'B' if down > 0 else 'A'}"
    if right:
        sideways = f"\x1b[{_count(right)}{'C' if right > 0 else 'D'}"
        relative += "\b" * -right if 0 < -right < len(sideways) else sideways
    return min(relative, absolute, key=len)


def _count(distance: int) -> str:
    return str(abs(distance)) if abs(distance) > 1 else ""
