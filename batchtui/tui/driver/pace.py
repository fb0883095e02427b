"""How much may be on its way to a terminal: about what the line takes in a second."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

# Where the cursor is, every terminal tells since the VT100; whether it has some mode, few do.
ASK = "\x1b[6n"
_LARGEST = 16_384  # bytes; a first screen is 10,000, and nothing is known of the line yet
_LEAST = 256  # bytes; below this the questions themselves would fill the line
_AIM_S = 1.0  # in which a piece shall be through
_QUESTIONS = 8  # that are told apart
_MOST_UNDER_WAY = 4  # pieces, however small: enough for a distant terminal on a fast line
# An answer that is lost must not end the picture: these seconds, and the time that a line of
# this many bytes a second needs for what is on its way, are patience enough.
_PATIENCE_S, _SLOWEST = 10.0, 300.0


class _Piece(NamedTuple):
    row: int
    size: int  # bytes
    sent: float


class Pace:
    """Asks the terminal after each piece where its cursor is, and counts what is unanswered.

    A question puts the cursor in a row of its own first, so that an answer tells which piece has
    arrived, whatever was lost, late or doubled. A terminal that does not answer is sent all there
    is, and never asked twice.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._open = self._knows = self._answering = False
        self._under_way: deque[_Piece] = deque()
        self._number = 0
        self._unasked = 0  # bytes sent before the first answer
        self._latency = math.inf  # seconds; the shortest that an answer took
        self._answered = -math.inf
        self._begun: float | None = None
        self.window = _LARGEST  # bytes that may be on their way

    @property
    def room(self) -> float:
        """How many bytes the next piece may have."""
        return self.window if self._answering else math.inf

    @property
    def behind(self) -> bool:
        """Whether the terminal has begun to answer after something was sent."""
        with self._changed:
            return self._open and self._knows and self._unasked > 0

    def begin(self) -> str:
        """Return the first question, which tells whether the terminal answers at all."""
        with self._changed:
            self._open = True
            self._begun = self._clock()
        return ASK

    def question(self, size: int, rows: int) -> tuple[int, str]:
        """Return a row and the question that ends a piece of `size` bytes; empty: not asked."""
        with self._changed:
            if not (self._open and self._knows):
                self._unasked += size
                return 0, ""
            told_apart = max(1, min(_QUESTIONS, rows))
            self._number = (self._number + 1) % told_apart
            while len(self._under_way) >= told_apart:
                self._under_way.popleft()
            size, self._unasked = size + self._unasked, 0
            self._under_way.append(_Piece(self._number, size, self._clock()))
        return self._number, f"\x1b[{self._number + 1}H{ASK}"

    def answer(self, row: int) -> None:
        """Take note of an answer: the piece that ended in this row has arrived."""
        with self._changed:
            self._knows = self._answering = True
            if self._begun is not None:
                self._latency = min(self._latency, self._clock() - self._begun)
                self._begun = None
            if any(piece.row == row for piece in self._under_way):
                self._arrived(row)
            self._changed.notify_all()

    def _arrived(self, row: int) -> None:
        size, before, self._answered = 0, self._answered, self._clock()
        while True:
            piece = self._under_way.popleft()
            size += piece.size
            if piece.row == row:
                break
        if piece.sent > before:  # on an empty line
            self._latency = min(self._latency, self._answered - piece.sent)
        spent = self._answered - max(piece.sent, before) - self._latency
        if spent > _AIM_S or 2 * size >= self.window:
            fits = size * _AIM_S / spent if spent > 0 else math.inf
            self.window = round(max(_LEAST, min(fits, 2 * self.window, _LARGEST)))

    def hold(self) -> float:
        """Return for how many seconds an answer is still worth waiting for; 0: there is room."""
        with self._changed:
            return self._hold()

    def _hold(self) -> float:
        if not (self._answering and self._under_way):
            return 0.0
        size = sum(piece.size for piece in self._under_way)
        if 2 * size <= self.window and len(self._under_way) < _MOST_UNDER_WAY:
            return 0.0
        since = max(self._under_way[0].sent, self._answered)
        left = since + _PATIENCE_S + size / _SLOWEST - self._clock()
        if left <= 0:
            self._answering = False
            self._under_way.clear()
        return max(0.0, left)

    def wait(self) -> None:
        """Return when there is room on the line, or patience is at its end."""
        with self._changed:
            while left := self._hold():
                self._changed.wait(left)

    def end(self, timeout: float) -> None:
        """Ask no more, and hold nothing back once the last answer has come.

        It is awaited for a second more than the line needs, if that is known, and no longer than
        the timeout.
        """
        with self._changed:
            self._open = False
            if self._answered > -math.inf:
                size = sum(piece.size for piece in self._under_way)
                timeout = min(timeout, 1.0 + size * _AIM_S / self.window)
            self._changed.wait_for(lambda: not (self._answering and self._under_way), timeout)
            self._answering = False
            self._under_way.clear()
            self._changed.notify_all()
