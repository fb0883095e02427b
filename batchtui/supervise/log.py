"""worker.log, kept small: the beginning, the end, and how much is missing between them.

The worker writes the file itself, through a descriptor in append mode, and the supervisor cuts
the middle out when it has grown. A pipe would tie a training to its reader: it blocks while
the supervisor is busy, and breaks when the supervisor is killed, so that a `print` would raise
just when the worker has to write its last checkpoint. The price is that a worker that prints
without end fills the disk for some tenths of a second before it is cut.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

HEAD = 1 << 20
TAIL = 2 << 20
LIMIT = 12 << 20  # the file is cut when it is larger

_SOONEST_S = 0.1  # between two looks: what bounds the cost against a worker that floods
_LINE_SEARCH = 1 << 16  # a cut is moved to a line's end, if one is that near


def open_log(path: Path) -> int:
    """Open worker.log as the worker's stdout and stderr; return the descriptor.

    Raises:
        OSError: it cannot be created.
    """
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)


def read_tail(path: Path, size: int = 1 << 16) -> str:
    """Return the last `size` bytes as text; nothing where there is no file."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - size))
            return file.read(size).decode("utf-8", "replace")
    except OSError:
        return ""


class LogTrimmer:
    """Cuts a log that others append to."""

    def __init__(
        self, path: Path, *, head: int = HEAD, tail: int = TAIL, limit: int = LIMIT
    ) -> None:
        """Take the sizes in bytes; `limit` has to exceed `head` and `tail` together."""
        self._path = path
        self._head_size, self._tail_size, self._limit = head, tail, limit
        self._head_end: int | None = None  # where the kept beginning ends, once cut
        self._marker = b""
        self._size = 0
        self._looked = time.monotonic()
        self._written = 0
        self.left_out = 0  # bytes cut out so far

    def trim(self, at_most: float = 1.0) -> float:
        """Cut the log if it is too large; return in how many seconds to look again.

        The faster it grows, the sooner. `at_most` is the answer for a quiet log, in seconds.

        Raises:
            OSError: the file cannot be read or cut.
        """
        try:
            size = os.stat(self._path).st_size
        except FileNotFoundError:
            return at_most
        now = time.monotonic()
        rate = max(0, size - self._size) / max(now - self._looked, 1e-3)
        if size > self._limit:
            size = self._cut()
        self._size, self._looked = size, now
        room = max(0, self._limit - size)
        return min(at_most, max(_SOONEST_S, room / rate)) if rate > 0 else at_most

    def grown(self) -> int | None:
        """Return how many bytes were ever written, if that is more than at the last call."""
        try:
            size = os.stat(self._path).st_size
        except OSError:
            return None
        before, self._written = self._written, size - len(self._marker) + self.left_out
        return self._written if self._written != before else None

    def _cut(self) -> int:
        """Cut the middle out; return the new size.

        What is written between reading the end and cutting is lost, and counted: it would
        have been lost one cut later.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        try:
            if self._head_end is None:
                self._head_end = self._find_head_end(descriptor)
            start = max(self._head_end, os.fstat(descriptor).st_size - self._tail_size)
            tail = os.pread(descriptor, self._tail_size, start)
            newline = tail.find(b"\n", 0, _LINE_SEARCH)
            tail = tail[newline + 1 :]
            size = os.fstat(descriptor).st_size
            os.ftruncate(descriptor, self._head_end)
            self.left_out += size - self._head_end - len(self._marker) - len(tail)
            self._marker = f"[… {self.left_out:,} bytes left out …]\n".encode()
            _write_all(descriptor, self._marker + tail)
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def _find_head_end(self, descriptor: int) -> int:
        head = os.pread(descriptor, self._head_size, 0)
        newline = head.rfind(b"\n", max(0, len(head) - _LINE_SEARCH))
        return newline + 1 or len(head)


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
