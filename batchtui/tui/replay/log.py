"""The log up to a moment, by the notes of how long it was when."""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from batchtui.records import Event
from batchtui.runs.rows import LogSize
from batchtui.tui.logtail import LogTail, decoded, level_of, line_of
from batchtui.tui.view import LogLine, LogView

_WINDOW = 64 * 1024  # bytes read at most per look
_NOTES = 5000
_APART = 1 << 12  # between the numbers of two lines: room for events
# What the supervisor has put in place of the middle, behind the first MiB (supervise.log).
_CUT = re.compile(rb"\[\xe2\x80\xa6 ([\d,]+) bytes left out \xe2\x80\xa6\]\n")
_CUT_BEFORE = (1 << 20) + 64


class PastLog(LogTail):
    """What the worker had written until then, and what had happened to the run.

    A line has the time at which the log was first seen to be that long: no line comes early.
    """

    def __init__(self, path: Path, sizes: Callable[[int], Sequence[LogSize]]) -> None:
        """`sizes` returns the newest notes of the log's length, up to the moment."""
        super().__init__(path)
        self._sizes = sizes
        self._known: tuple[int, list[LogLine]] = (0, [])

    def read(self, now: float, events: Iterable[Event] = ()) -> LogView:
        """Return the lines up to now, and all of the events between them."""
        sizes = self._sizes(_NOTES)
        shown: list[LogLine] = []
        pending = sorted(events, key=lambda event: event.time)[::-1]

        def happened() -> None:
            shown.append(line_of(shown[-1].number + 1 if shown else 0, pending.pop()))

        for line in self._until(sizes):
            while pending and line.time is not None and pending[-1].time <= line.time:
                happened()
            shown.append(line)
        while pending:
            happened()
        skipped = None if sizes else "worker's lines have no time: see the end"
        return LogView(lines=tuple(shown), skipped=skipped)

    def _until(self, sizes: Sequence[LogSize]) -> list[LogLine]:
        written = sizes[-1].bytes if sizes else 0
        if written != self._known[0]:
            try:
                self._known = (written, _lines(self._path, sizes))
            except OSError:
                return []
        return self._known[1]


class _Cut(NamedTuple):
    """What was cut out of a log: where the note of that begins and ends, and how much it was."""

    start: int
    stop: int
    left_out: int

    def place(self, written: int) -> int:
        """Return where in the file it is that so many bytes had been written."""
        if written <= self.start:
            return written
        return max(self.stop, written - self.left_out + self.stop - self.start)

    def written(self, place: int) -> int:
        """Return how many bytes had been written up to a place in the file."""
        return place if place < self.stop else place + self.left_out - self.stop + self.start


def _lines(path: Path, sizes: Sequence[LogSize]) -> list[LogLine]:
    """Return the last lines of a log as it was, each with its time."""
    with open(path, "rb", buffering=0) as file:
        cut = _find_cut(file.fileno())
        stop = cut.place(sizes[-1].bytes)
        start = max(0, stop - _WINDOW)
        chunk = os.pread(file.fileno(), stop - start, start)
    lengths = [size.bytes for size in sizes]
    found: list[LogLine] = []
    place = start
    for number, raw in enumerate(chunk.split(b"\n")):
        place = min(stop, place + len(raw) + 1)
        text = decoded(raw)
        if not text or (number == 0 and start > 0):  # the end of a line
            continue
        written = cut.written(place)
        at = min(bisect_left(lengths, written), len(sizes) - 1)
        # What was written before the first of many notes is older than that.
        time = None if at == 0 and len(sizes) == _NOTES else sizes[at].time
        found.append(LogLine(written * _APART, text, level_of(text), time))
    return found


def _find_cut(file: int) -> _Cut:
    size = os.fstat(file).st_size
    found = _CUT.search(os.pread(file, _CUT_BEFORE, 0)) if size > _CUT_BEFORE else None
    if found is None:
        return _Cut(size, size, 0)
    return _Cut(found.start(), found.end(), int(found[1].replace(b",", b"")))
