"""Standard output that cannot end a training.

A `print` on a full disk raises OSError, in the user's code or in ours, and would end a run that
has lost nothing but a line of its log.
"""

from __future__ import annotations

import io
import sys
from typing import Any


class _Lenient(io.FileIO):
    """A descriptor that swallows what it cannot write."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(memoryview(data).cast("B"))


def shield() -> None:
    """Replace stdout and stderr by streams whose writes never raise."""
    sys.stdout = _stream(1)
    sys.stderr = _stream(2)


def _stream(descriptor: int) -> io.TextIOWrapper:
    raw = _Lenient(descriptor, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), "utf-8", "backslashreplace", line_buffering=True
    )
