"""What a process tree holds in memory, each page counted once.

A data loader is a fork of the training: most of its pages are the training's own, and adding up
what each process has resident would count them in every loader. The kernel tells the share of a
process (PSS: a page that n processes map counts one n-th in each) by walking its page tables,
some 20 ms for a gigabyte, during which the process cannot map memory. So one process is asked at a
time, seldom; in between its share moves with its resident size, since new pages are its own.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from batchtui.sampling import procfs

# A look may take this part of the time, ours and the process's: 20 ms every 8 s.
_SHARE_OF_TIME = 1 / 400
# Of the sixty lines of /proc/PID/status; parsing all of them would take ten times as long.
_RESIDENT = re.compile(rb"^Rss(?:Anon|Shmem):\s*(\d+) kB", re.MULTILINE)
_PROPORTIONAL = re.compile(rb"^Pss_(?:Anon|Shmem):\s*(\d+) kB", re.MULTILINE)

Key = tuple[int, int]  # pid, start


@dataclass(slots=True)
class _Share:
    """What of a process counts, and how much it had resident when that was found out."""

    counted: int
    resident: int
    asked: float = 0.0  # clock; 0: never


class Resident:
    """Follows the memory of a tree: RssAnon + RssShmem, which no cache eviction gives back.

    Mapped files, such as torch's own libraries, do not count.
    """

    def __init__(self, proc: str = "/proc", clock: Callable[[], float] = time.monotonic) -> None:
        self._proc = proc
        self._clock = clock
        self._shares: dict[Key, _Share] = {}
        self._next = 0.0

    def read(self, members: Mapping[int, tuple[int, int]]) -> int | None:
        """Return bytes; `members` is pid → (start, parent). None: no process could be read."""
        resident: dict[Key, int] = {}
        for pid, (start, parent) in members.items():
            try:
                parts = _RESIDENT.findall(procfs.read(f"{self._proc}/{pid}/status"))
            except OSError:
                continue
            if not parts:
                continue
            size = resident[pid, start] = _bytes(parts)
            if (pid, start) not in self._shares:
                # Born as a fork it has nothing of its own yet; what it gets is seen as growth.
                own = 0 if parent in members else size
                self._shares[pid, start] = _Share(own, size)
        self._shares = {key: self._shares[key] for key in resident}
        if len(resident) == 1:  # nobody to share with
            self._shares = {key: _Share(size, size) for key, size in resident.items()}
        else:
            self._ask(resident)
        if not resident:
            return None if members else 0
        return sum(
            min(max(share.counted + resident[key] - share.resident, 0), resident[key])
            for key, share in self._shares.items()
        )

    def _ask(self, resident: Mapping[Key, int]) -> None:
        """Find out the share of the process that was asked longest ago, if it is time again."""
        now = self._clock()
        if not resident or now < self._next:
            return
        key = min(resident, key=lambda known: self._shares[known].asked)
        started = time.perf_counter()
        try:
            parts = _PROPORTIONAL.findall(procfs.read(f"{self._proc}/{key[0]}/smaps_rollup"))
        except OSError:
            parts = []
        self._next = now + (time.perf_counter() - started) / _SHARE_OF_TIME
        share = self._shares[key]
        share.asked = now
        if parts:  # a kernel without it: what is known from birth and growth stays
            share.counted, share.resident = _bytes(parts), resident[key]


def _bytes(kibibytes: list[bytes]) -> int:
    return sum(1024 * int(size) for size in kibibytes)
