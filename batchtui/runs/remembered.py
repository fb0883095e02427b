"""What one who looks again and again need not read again: a run's steps come in order, and stay.

A bucket is full once a later step is recorded, and what a parent contributes stands still: both
are read once, and a look costs what has come since the last one.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_left
from collections.abc import Callable, Sequence
from operator import itemgetter

from batchtui.records import Step
from batchtui.runs import rollups
from batchtui.runs.rollups import BucketRow

_bucket = itemgetter(0)


class Remembered:
    """The newest steps of a run, the full buckets of its windows, and its parents' windows."""

    def __init__(self) -> None:
        self._newest = 0
        self._steps: list[Step] = []
        # By columns: the size of the buckets, the one after the last, and their rows.
        self._full: dict[tuple[str, ...], tuple[int, int, list[BucketRow]]] = {}
        # By parent and columns: which window it was (first, stop, size), and its rows.
        self._parents: dict[tuple[str, ...], tuple[tuple[int, int, int], list[BucketRow]]] = {}

    def check(self, newest: int) -> None:
        """Forget all if the newest step recorded is an earlier one than before: another run."""
        if newest < self._newest:
            self._steps = []
            self._full.clear()
        self._newest = newest

    def steps(self, n: int, read: Callable[[int], list[Step]]) -> list[Step]:
        """Return the newest n steps, oldest first; `read` returns those after a step."""
        self._steps = [*self._steps, *read(self._steps[-1].step if self._steps else -1)][-n:]
        return self._steps

    def window(
        self, db: sqlite3.Connection, columns: Sequence[str], first: int, stop: int, size: int
    ) -> list[BucketRow]:
        """Return the rows of the run's steps [first, stop) as `rollups.window` does."""
        begin, end = -(-first // size), stop // size
        of_size, read_to, rows = self._full.get(tuple(columns), (0, 0, []))
        start = bisect_left(rows, begin, key=_bucket)
        if of_size == size and rows and rows[0][0] <= begin <= read_to <= end:
            rows = rows[start:]
        else:
            rows, read_to = [], begin

        def part(first: int, stop: int) -> list[BucketRow]:
            return list(rollups.window(db, rollups.STEPS, columns, first, stop, size))

        if begin >= end:
            return part(first, stop)
        rows += part(read_to * size, end * size)
        self._full[tuple(columns)] = (size, end, rows)
        return [*part(first, begin * size), *rows, *part(end * size, stop)]

    def parent(
        self,
        name: str,
        columns: Sequence[str],
        window: tuple[int, int, int],
        read: Callable[[], list[BucketRow]],
    ) -> list[BucketRow]:
        """Return the rows of a parent's window (first, stop, size), read if it was not that."""
        key = (name, *columns)
        known, rows = self._parents.get(key, (None, []))
        if known != window:
            rows = read()
            self._parents[key] = (window, rows)
        return rows
