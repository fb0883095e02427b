"""The end of worker.log, read in bounded pieces, with the run's events between the lines."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from batchtui import units
from batchtui.records import Event
from batchtui.text import clean
from batchtui.tui.view import LogLine, LogView

WINDOW = 256 * 1024  # bytes read at most per look
KEEP = 2000  # lines kept
_PARTIAL = 16 * 1024  # bytes kept of a line that has not ended

# Levels and exceptions as programs write them; "test error 3.2%" is neither.
_ERROR = re.compile(
    r"\b(?:ERROR|CRITICAL|FATAL|Traceback)\b|\w(?:Error|Exception)\b|^\s*(?i:error|fatal)\s*:"
)
_WARNING = re.compile(r"\bWARN(?:ING)?\b|Warning\b|^\s*(?i:warn|warning)\s*:")
_EVENT_LEVELS = ("info", "warning", "error")


class LogTail:
    """Follow a log that grows, is cut or replaced, has no line ends, or comes too fast.

    No look reads more than `WINDOW` bytes: what came faster is counted and left out.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: deque[LogLine] = deque(maxlen=KEEP)
        self._number = 0
        self._file: tuple[int, int] | None = None  # device and inode
        self._offset = 0
        self._partial = b""
        self._skipped_bytes = 0
        self._first = True

    def turn_to(self, path: Path) -> None:
        """Go on with another log below the lines of this one."""
        if path != self._path:
            self._path, self._file, self._offset, self._partial = path, None, 0, b""

    def read(self, now: float, events: Iterable[Event] = ()) -> LogView:
        """Take in what is new, and events since the last look; return the lines to show."""
        chunk, changed = self._fetch()
        pending = sorted(events, key=lambda event: event.time)
        # Lines have no time of their own, but none is younger than the file: events up to then
        # come before them.
        while chunk and pending and pending[0].time <= changed:
            self._add_event(pending.pop(0))
        stamp = None if self._first else min(now, changed)
        self._first = False
        self._add_lines(chunk, stamp)
        for event in pending:
            self._add_event(event)
        lines = tuple(self._lines)
        if self._partial:
            text = decoded(self._partial)
            if text:
                lines = (*lines, LogLine(self._number, text, level_of(text), stamp))
        skipped = self._skipped_bytes
        return LogView(
            lines=lines,
            skipped=f"{units.gib(skipped)} not shown" if skipped >= 1 << 20
            else f"{units.count(skipped)} bytes not shown" if skipped else None,
        )  # fmt: skip

    def _fetch(self) -> tuple[bytes, float]:
        """Return the new bytes of the log, and when it was last written to."""
        try:
            with open(self._path, "rb", buffering=0) as file:
                status = os.fstat(file.fileno())
                identity = (status.st_dev, status.st_ino)
                if identity != self._file or status.st_size < self._offset:
                    # Another file, or one cut short: what is left of a line belongs to neither.
                    self._file, self._offset, self._partial = identity, 0, b""
                missed = status.st_size - self._offset - WINDOW
                if missed > 0:
                    if not self._first:
                        self._skipped_bytes += missed
                    self._offset += missed
                    self._partial = b""
                file.seek(self._offset)
                chunk = file.read(WINDOW)
                self._offset += len(chunk)
                if missed > 0 and b"\n" in chunk:
                    chunk = chunk[chunk.index(b"\n") + 1 :]
                return chunk, status.st_mtime
        except OSError:
            return b"", 0.0

    def _add_lines(self, chunk: bytes, stamp: float | None) -> None:
        if not chunk:
            return
        *whole, rest = (self._partial + chunk).split(b"\n")
        self._partial = rest[-_PARTIAL:]
        for raw in whole[-KEEP:]:
            text = decoded(raw)
            if text:
                self._lines.append(LogLine(self._number, text, level_of(text), stamp))
                self._number += 1

    def _add_event(self, event: Event) -> None:
        self._lines.append(line_of(self._number, event))
        self._number += 1


def line_of(number: int, event: Event) -> LogLine:
    """Return an event as a line of the log."""
    level = event.level if event.level in _EVENT_LEVELS else "info"
    text = clean(event.message)
    if event.step:
        text += f" · step {units.count(event.step)}"
    return LogLine(number, text, level, event.time, True)


def decoded(raw: bytes) -> str:
    """Return a line as it may be shown; of a line redrawn with \\r the last state."""
    if len(raw) > _PARTIAL:
        raw = raw[:_PARTIAL] if b"\r" not in raw[-_PARTIAL:] else raw[-_PARTIAL:]
    return clean(raw.decode("utf-8", "replace"), 1000).rstrip()


def level_of(text: str) -> str:
    if _ERROR.search(text):
        return "error"
    return "warning" if _WARNING.search(text) else "info"
