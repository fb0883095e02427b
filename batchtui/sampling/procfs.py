"""Reading small files of /proc and /sys, and the two formats that most of them share."""

from __future__ import annotations

import os


def read(path: str) -> bytes:
    """Return a file's whole content.

    Plain descriptors, since Python's file objects would double the cost of a pass over /proc.

    Raises:
        OSError: the file, or the process it tells of, is gone or not ours to see.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = chunk = os.read(descriptor, 1 << 16)
        while chunk:  # a short read is no end of file here
            chunk = os.read(descriptor, 1 << 16)
            content += chunk
        return content
    finally:
        os.close(descriptor)


def counters(content: bytes, separator: bytes | None = None) -> dict[bytes, int]:
    """Parse lines of a name and a number; what follows the number, and other lines, is skipped."""
    values = {}
    for line in content.splitlines():
        name, *rest = line.split(separator, 1) or (b"",)
        number = rest[0].split(None, 1)[:1] if rest else []
        if number and number[0].isdigit():
            values[name] = int(number[0])
    return values


def sizes(content: bytes) -> dict[bytes, int]:
    """Parse `Name:   123 kB` lines, as in meminfo and status, into bytes."""
    return {name: 1024 * value for name, value in counters(content, b":").items()}
