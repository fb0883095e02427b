"""A process that cannot be mistaken for a later one with the same pid."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Identity:
    """A process of one boot of one machine.

    `start` is in clock ticks since that boot; it and `boot` are empty where there is no /proc.
    """

    pid: int
    start: int | None
    boot: str | None

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """Identify a living process; None: there is none of that pid."""
        start = _start(pid)
        if start is None and (_has_proc() or not _answers(pid)):
            return None
        return cls(pid, start, boot_id())

    def alive(self) -> bool:
        """Return whether this very process still runs; a zombie does not."""
        return Identity.of(self.pid) == self


@lru_cache(maxsize=1)
def boot_id() -> str | None:
    """Return what tells this boot of this machine from every other; None: unknown."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None


def _start(pid: int) -> int | None:
    """Return a living process's start time in clock ticks since boot."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The second field is the program's name in parentheses, and may hold any byte.
            fields = file.read().rpartition(b")")[2].split()
        return None if fields[0] in b"ZXx" else int(fields[19])
    except (OSError, ValueError, IndexError):
        return None


@lru_cache(maxsize=1)
def _has_proc() -> bool:
    return os.path.exists("/proc/self/stat")


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
