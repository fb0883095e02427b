"""Reading a rank's journal while it grows: bounded, never failing, never a half record.

A journal is `rank-N.jsonl`, then `rank-N.0002.jsonl` and so on: a writer begins the next file
when the current one is large. A line counts once its newline is there; what follows the last
newline is a line still being written, unless a later file shows that nobody will finish it.
"""

from __future__ import annotations

import re
import time
from collections import deque
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from batchtui.records import RECORD_TYPES, Record

MAX_LINE = 4 << 20  # bytes; a longer line is skipped and counted as bad
MAX_INTEGER = 1 << 53  # no count or size is larger; SQLite holds 64 bits, sums need room

_CHUNK = 256 << 10
_KIND = re.compile(rb'\s*\{\s*"kind"\s*:\s*"(\w+)"')
_RECORD_START = b'{"kind"'
_BAD = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Position(NamedTuple):
    """How far a journal was read: the number of the file, and the start of a line in it."""

    file: int = 1
    offset: int = 0  # bytes


class _AnyKind(msgspec.Struct):
    kind: str


def _integers(record: type) -> tuple[str, ...]:
    return tuple(
        name for name, hint in record.__annotations__.items() if hint.split(" ")[0] == "int"
    )


_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    record.kind: msgspec.json.Decoder(record)  # type: ignore[attr-defined]
    for record in RECORD_TYPES
}
_FIRST_LOOK = msgspec.json.Decoder(_AnyKind)
_INTEGERS = {
    record: attrgetter(*names) for record in RECORD_TYPES if len(names := _integers(record)) > 1
}


class JournalTail:
    """Follow the journal of one rank from a position on."""

    def __init__(self, directory: Path, rank: int, position: Position | None = None) -> None:
        """Take the folder of the journals; nothing is opened before the first read."""
        self._directory = directory
        self._rank = rank
        self._file, self._line_start = position or Position()
        self._read_from = self._line_start  # bytes of the file that are in memory or behind
        self._lines: deque[bytes] = deque()  # whole lines read and not yet decoded
        self._torn = b""  # what follows them
        self._skipping = False  # inside a line that is too long to keep
        self.bad_lines = 0
        self.caught_up = False  # the last read saw all there was
        self.trouble: str | None = None  # why a journal that is there cannot be read

    @property
    def position(self) -> Position:
        """Where a new tail has to start to miss nothing and repeat nothing."""
        return Position(self._file, self._line_start)

    def read(self, max_records: int = 5000, max_seconds: float = 0.25) -> list[Record]:
        """Return the next records, at most so many.

        Stops once `max_seconds` have passed; `caught_up` tells whether it found the end. Lines
        that are no record are counted in `bad_lines`; kinds of record that a newer writer may
        know are passed over.
        """
        deadline = time.monotonic() + max_seconds
        records: list[Record] = []
        self.caught_up = False
        while len(records) < max_records:
            if not self._lines and not self._fill() and not self._next_file():
                self.caught_up = True
                break
            for _ in range(min(len(self._lines), max_records - len(records), 500)):
                line = self._lines.popleft()
                self._line_start += len(line) + 1
                record = self._decode(line)
                if record is not None:
                    records.append(record)
            if time.monotonic() > deadline:
                break
        return records

    def delete_ingested(self) -> None:
        """Delete the files before the current one; call it once their records are committed."""
        for number in self._numbers():
            if number < self._file:
                try:
                    self._path(number).unlink()
                except OSError:
                    pass

    def _path(self, number: int) -> Path:
        suffix = f".{number:04d}" if number > 1 else ""
        return self._directory / f"rank-{self._rank}{suffix}.jsonl"

    def _numbers(self) -> list[int]:
        """Return the numbers of this rank's files, in order."""
        pattern = re.compile(rf"rank-{self._rank}(?:\.([0-9]{{4,}}))?\.jsonl\Z")
        try:
            names = [path.name for path in self._directory.iterdir()]
        except OSError:
            return []
        return sorted(int(match[1] or 1) for name in names if (match := pattern.match(name)))

    def _fill(self) -> bool:
        """Read one chunk; return whether there was any."""
        self.trouble = None
        try:
            with open(self._path(self._file), "rb", buffering=0) as file:
                if file.seek(0, 2) < self._read_from:
                    self._begin(self._file)  # cut short or replaced: read what is there now
                file.seek(self._read_from)
                chunk = file.read(_CHUNK)
        except FileNotFoundError:
            return False
        except OSError as error:
            self.trouble = f"{self._path(self._file)}: {error.strerror}"
            return False
        self._read_from += len(chunk)
        self._split(chunk)
        return bool(chunk)

    def _split(self, chunk: bytes) -> None:
        head, newline, rest = chunk.partition(b"\n")
        if self._skipping:
            if not newline:
                return
            self._skipping = False
            self._line_start = self._read_from - len(rest)
            chunk = rest
        elif not newline and len(self._torn) + len(head) > MAX_LINE:
            self._torn = b""
            self._skipping = True
            self.bad_lines += 1
            return
        *lines, self._torn = (self._torn + chunk).split(b"\n")
        self._lines.extend(lines)

    def _next_file(self) -> bool:
        """Go on to the next file, if there is one; return whether there is more to do."""
        later = self._later()
        if later is None:
            return False
        if self._fill():
            return True  # written between the last look and the start of the next file
        if self._torn:
            self._lines.append(self._torn)  # nobody will finish it; it may lack its newline only
            self._line_start -= 1  # so that a position never lies beyond the file's end
            self._torn = b""
            return True
        self._begin(later)
        return True

    def _later(self) -> int | None:
        """Return the number of the file after this one; the folder is searched only in need."""
        if self._path(self._file + 1).exists():
            return self._file + 1
        if self._path(self._file).exists():
            return None
        return min((number for number in self._numbers() if number > self._file), default=None)

    def _begin(self, number: int) -> None:
        self._file = number
        self._line_start = self._read_from = 0
        self._torn = b""
        self._skipping = False

    def _decode(self, line: bytes) -> Record | None:
        record = _decode(line)
        if isinstance(record, bytes):
            # A torn line that another writer continued: its last record may be whole.
            start = line.rfind(_RECORD_START)
            record = _decode(line[start:]) if start > 0 else record
            self.bad_lines += 1
        return None if isinstance(record, bytes) else record


def _decode(line: bytes) -> Record | bytes | None:
    """Return the record of a line, None for one to pass over, or the line itself if it is bad."""
    match = _KIND.match(line)
    try:
        kind = match[1].decode() if match else _FIRST_LOOK.decode(line).kind
        decoder = _DECODERS.get(kind)
        if decoder is None:
            _FIRST_LOOK.decode(line)  # raises unless the line is a whole object
            return None
        record: Record = decoder.decode(line)
    except _BAD:
        return line if line.strip() else None
    integers = _INTEGERS.get(type(record))
    if integers is not None:
        values = integers(record)
        if None in values:
            values = tuple(value for value in values if value is not None)
        if min(values) < 0 or max(values) >= MAX_INTEGER:
            return line
    return record
