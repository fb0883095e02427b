"""The journal's writer: JSON lines, appended whole with one system call.

Writing never raises into training, and never waits for anything but the file system. What
cannot be written is counted, and the count stands in the last record.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from operator import attrgetter
from pathlib import Path

from batchtui.records import RECORD_TYPES, Note, Phase, Record, Step

ROTATE_BYTES = 64 << 20
# Quick steps share a write: in a cache that a training step has swept, one system call costs as
# much as a record. Who reads them looks once a second.
GATHER_SECONDS = 0.5

_FIELDS = {kind: tuple(field.name for field in dataclasses.fields(kind)) for kind in RECORD_TYPES}
# NaN is no JSON. Refusing it costs nothing where all is finite, and the rare line that holds
# one is encoded again.
_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def _line_format(names: tuple[str, ...]) -> str:
    """Return the format of a step's line when all the named fields are numbers."""
    kinds = {"time": "%.6f", **dict.fromkeys(_WHOLE, "%d")}
    return '{"kind":"step",' + ",".join(f'"{n}":{kinds.get(n, "%.7g")}' for n in names) + "}\n"


_WHOLE = ("step", "samples", "epoch", "batch", "allocated", "reserved", "peak")
_DEVICE_FIELDS = tuple(name for name in _FIELDS[Step] if name != "nonfinite")
_HOST_FIELDS = tuple(n for n in _DEVICE_FIELDS if n not in ("allocated", "reserved", "peak"))
_device_values, _DEVICE_LINE = attrgetter(*_DEVICE_FIELDS), _line_format(_DEVICE_FIELDS)
_host_values, _HOST_LINE = attrgetter(*_HOST_FIELDS), _line_format(_HOST_FIELDS)


class Journal:
    """One rank's journal, open for appending."""

    def __init__(self, folder: Path, rank: int = 0, rotate_bytes: int = ROTATE_BYTES) -> None:
        """Open the newest file of `rank` in `folder`; a failure is counted, not raised."""
        self.dropped = 0
        self.current_phase: str | None = None
        self._folder = folder
        self._rank = rank
        self._rotate_bytes = rotate_bytes
        self._descriptor = -1
        self._number = 1
        self._size = 0
        self._torn = False  # the file ends in half a line
        self._complained = False
        self._gathered: list[Step] = []
        self._written = 0.0  # monotonic clock
        try:
            folder.mkdir(parents=True, exist_ok=True)
            while self._path(self._number + 1).exists():
                self._number += 1
            self._open()
        except OSError as error:
            self._complain(error)

    def write(self, record: Record) -> None:
        """Append a record; a step may wait up to GATHER_SECONDS for those after it."""
        if isinstance(record, Step):
            self._gathered.append(record)
            if time.monotonic() - self._written >= GATHER_SECONDS:
                self.flush()
            return
        self.flush()
        self._append(lambda: encode(record), 1)

    def flush(self) -> None:
        """Write the steps that are still gathered."""
        if self._gathered:
            steps, self._gathered = self._gathered, []
            self._append(lambda: encode_steps(steps), len(steps))

    def phase(self, name: str) -> None:
        """Say what the worker is busy with from now on."""
        self.current_phase = name
        self.write(Phase(time=time.time(), phase=name))

    def note(self, message: str, level: str = "info") -> None:
        """Tell the user something; `level` is info or warning."""
        self.write(Note(time=time.time(), level=level, message=message))

    def close(self) -> None:
        """Write what is gathered and close the file; later records are dropped."""
        self.flush()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    # ------------------------------------------------------------------------------ inside

    def _append(self, render: Callable[[], str], records: int) -> None:
        try:
            lines = render().encode()
            if self._size and self._size + len(lines) > self._rotate_bytes:
                self._rotate()
            self._write_all(lines)
        except (OSError, ValueError, TypeError) as error:
            self.dropped += records
            self._complain(error)
        self._written = time.monotonic()

    def _write_all(self, lines: bytes) -> None:
        if self._torn:
            lines = b"\n" + lines  # a reader shall lose the torn record alone
        while lines:
            written = os.write(self._descriptor, lines)
            lines = lines[written:]  # a disk that fills up takes half a line, refuses the rest
            self._torn = bool(lines)
            self._size += written

    def _rotate(self) -> None:
        full = self._descriptor
        self._number += 1
        try:
            self._open()
        except OSError:
            self._number -= 1  # a file that is too long serves better than none
        else:
            os.close(full)

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(self._path(self._number), flags, 0o644)
        self._size = os.fstat(self._descriptor).st_size
        self._torn = False

    def _path(self, number: int) -> Path:
        suffix = "" if number == 1 else f".{number:04d}"
        return self._folder / f"rank-{self._rank}{suffix}.jsonl"

    def _complain(self, error: Exception) -> None:
        if self._complained:
            return
        self._complained = True
        try:
            print(f"the journal cannot be written: {error}", file=sys.stderr, flush=True)
        except (OSError, ValueError):
            pass  # the log may be on the same full disk


def encode(record: Record) -> str:
    """Return a record's line: `kind`, then its fields, those that are None left out."""
    values: dict[str, object] = {"kind": record.kind}
    for name in _FIELDS[type(record)]:
        value = getattr(record, name)
        if value is not None:
            values[name] = value
    try:
        return _encode(values) + "\n"
    except ValueError:  # NaN or infinity somewhere: unknown to whoever reads
        return _encode({name: value for name, value in values.items() if _is_finite(value)}) + "\n"


def encode_steps(steps: Sequence[Step]) -> str:
    """Return the lines of steps: what `encode` says, in seven digits, at a third of the price."""
    return "".join([_step_line(step) for step in steps])


def _step_line(step: Step) -> str:
    try:
        if step.peak is None:
            line = _HOST_LINE % _host_values(step)
        else:
            line = _DEVICE_LINE % _device_values(step)
    except TypeError:  # something else is None
        return encode(step)
    return encode(step) if step.nonfinite or ":nan" in line or "inf" in line else line


def _is_finite(value: object) -> bool:
    return not isinstance(value, float) or value - value == 0.0
