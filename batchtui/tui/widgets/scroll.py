"""Which line is the first one drawn of a text that grows at its end and loses its beginning."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


class Scroll:
    """Follow the end, or stand still where the user scrolled to.

    Following, new lines fill the page, and only when it is full it jumps by half: a jump costs a
    slow line as much as many lines do, and a text that stands still can be read.
    """

    def __init__(self) -> None:
        self.follows = True
        self.height = 0
        self._top = 0  # number of the first line drawn

    def follow(self) -> None:
        """Go to the end."""
        self.follows, self.height = True, 0

    def first(self, numbers: Sequence[int], height: int) -> int:
        """Return the index of the first line to draw; `numbers` name the lines and ascend."""
        index = bisect_left(numbers, self._top)
        end = max(0, len(numbers) - height)  # where the last page starts
        if self.follows:
            jump = height // 2 if height >= 6 else (height + 3) // 4
            if height != self.height or index > end + jump or index >= len(numbers):
                index = end
            elif index < end:
                index = end + jump
        index = min(index, end) if not self.follows else min(index, max(0, len(numbers) - 1))
        self.height = height
        self._top = numbers[index] if numbers else 0
        return index

    def by(self, amount: int, numbers: Sequence[int]) -> None:
        """Scroll by lines; at the end it follows again."""
        end = max(0, len(numbers) - self.height)
        here = end if self.follows else bisect_left(numbers, self._top)
        there = max(0, here + amount)
        self.follows = there >= end
        if self.follows:
            self.follow()
        elif numbers:
            self._top = numbers[there]
