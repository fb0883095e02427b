"""What a process tree holds in memory, each page counted once.

A data loader is a fork of the training: most of its pages are the training's own, and adding up
what each process has resident would count them in every loader. The kernel tells the share of a
process (PSS: a page that n processes map counts one n-th in each) by walking its page tables,
some 20 ms for a gigabyte, during which the process cannot map memory. So one process is asked at a
time, seldom; in between its share moves with its resident size, since new pages are its own.

Two things show late or not at all: a copy that a loader makes of its parent's page moves the shares
alone, and a batch on its way from a loader to the training is mapped by neither. Who has no time to
wait, and only then, looks closely: all shares at once, and the files that processes hold open.

Shares say nothing until all are known: what one process has less of is in the others'. Until then
all that was there before a fork counts as the parent's.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from batchtui.sampling import procfs

# A look may take this part of the time, ours and the process's: 20 ms every 8 s.
_SHARE_OF_TIME = 1 / 400
# Of the sixty lines of /proc/PID/status; parsing all of them would take ten times as long.
_RESIDENT = re.compile(rb"^Rss(?:Anon|Shmem):\s*(\d+) kB", re.MULTILINE)
_SHARED = re.compile(rb"^RssShmem:\s*(\d+) kB", re.MULTILINE)
_PROPORTIONAL = re.compile(rb"^Pss_(?:Anon|Shmem):\s*(\d+) kB", re.MULTILINE)

Key = tuple[int, int]  # pid, start


@dataclass(slots=True)
class _Share:
    """What of a process counts, and how much it had resident when that was found out."""

    counted: int
    resident: int


class Resident:
    """Follows the memory of a tree: RssAnon + RssShmem, which no cache eviction gives back.

    Mapped files, such as torch's own libraries, do not count.
    """

    def __init__(self, proc: str = "/proc", clock: Callable[[], float] = time.monotonic) -> None:
        self._proc = proc
        self._clock = clock
        self._shares: dict[Key, _Share] = {}
        self._round: dict[Key, _Share] = {}  # told since the last time that all were known
        self._next = 0.0
        self._underway = 0  # bytes of batches that nobody maps, as of the last close look

    def read(self, members: Mapping[int, tuple[int, int]], closely: bool = False) -> int | None:
        """Return bytes; `members` is pid → (start, parent). None: no process could be read."""
        resident: dict[Key, int] = {}
        known = set(self._shares)
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
        if resident.keys() != known:  # what was shared is now among others
            self._round = {}
        self._shares = {key: self._shares[key] for key in resident}
        if len(resident) == 1:  # nobody to share with
            self._shares = {key: _Share(size, size) for key, size in resident.items()}
            self._underway = 0
        elif closely:
            self._round = {}
            self._ask(resident, resident)
            self._underway = _underway(self._proc, [pid for pid, _ in resident])
        elif self._clock() >= self._next:
            self._ask(resident, [key for key in resident if key not in self._round][:1])
        if not resident:
            return None if members else 0
        return self._underway + sum(
            min(max(share.counted + resident[key] - share.resident, 0), resident[key])
            for key, share in self._shares.items()
        )

    def _ask(self, resident: Mapping[Key, int], keys: Iterable[Key]) -> None:
        """Find out the shares of some; they count once those of all are known."""
        now, started = self._clock(), time.perf_counter()
        for key in keys:
            try:
                parts = _PROPORTIONAL.findall(procfs.read(f"{self._proc}/{key[0]}/smaps_rollup"))
            except OSError:
                continue
            if parts:  # a kernel without it: what is known from birth and growth stays
                self._round[key] = _Share(_bytes(parts), resident[key])
        self._next = now + (time.perf_counter() - started) / _SHARE_OF_TIME
        if resident and self._round.keys() >= resident.keys():
            self._shares, self._round = self._round, {}


def _underway(proc: str, pids: Iterable[int]) -> int:
    """Return the bytes of PyTorch's files in shared memory that are open, and mapped by nobody."""
    sizes: dict[int, int] = {}
    mapped = 0
    for pid in pids:
        try:
            mapped += _bytes(_SHARED.findall(procfs.read(f"{proc}/{pid}/status")))
            files = os.listdir(f"{proc}/{pid}/fd")
        except OSError:
            continue
        for file in files:
            path = f"{proc}/{pid}/fd/{file}"
            try:
                if os.readlink(path).startswith("/dev/shm/torch_"):
                    found = os.stat(path)
                    sizes[found.st_ino] = 512 * found.st_blocks
            except OSError:
                continue  # closed in between
    return max(0, sum(sizes.values()) - mapped)


def _bytes(kibibytes: list[bytes]) -> int:
    return sum(1024 * int(size) for size in kibibytes)
