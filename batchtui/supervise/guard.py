"""When memory counts as full: samples in, changes of level out.

Two things watch memory. `MemoryGuard` warns, at 90 and 95 % of everything that can run out.
`Exhaustion` decides to stop a training, by the configuration's `limits.memory`; it looks at host
memory alone, because a GPU is legitimately full: PyTorch's allocator keeps what it once had.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from batchtui import units
from batchtui.records import MachineSample

Level = Literal["warning", "critical"]

WARNING = 0.90
CRITICAL = 0.95
HYSTERESIS = 0.02  # a level ends that far below where it began, so that it does not flap

_RANK: dict[Level | None, int] = {None: 0, "warning": 1, "critical": 2}


@dataclass(frozen=True, slots=True)
class Reading:
    """How full something is. `what` is the name that the user reads: "GPU 0", "host memory"."""

    what: str
    used: int
    total: int

    @property
    def fraction(self) -> float:
        """Used over total."""
        return self.used / self.total

    def __str__(self) -> str:
        return (
            f"{self.what} is {units.percent(self.fraction)} full: "
            f"{units.gib(self.used)} of {units.gib(self.total)}"
        )


@dataclass(frozen=True, slots=True)
class Change:
    """A level that rose or fell."""

    reading: Reading
    level: Level | None
    rose: bool


def readings(sample: MachineSample) -> Iterator[Reading]:
    """Yield what can run out, where both used and total are known."""
    host = limit_reading(sample)
    if host is not None:
        yield host
    if host is None or host.what != "host memory":
        available = sample.memory_available
        if sample.memory_total and available is not None:
            yield Reading("host memory", sample.memory_total - available, sample.memory_total)
    for gpu in sample.gpus:
        if gpu.total and gpu.used is not None:
            yield Reading(f"GPU {gpu.index}", gpu.used, gpu.total)
    if sample.shm_total and sample.shm_used is not None:
        yield Reading("/dev/shm", sample.shm_used, sample.shm_total)


def limit_reading(sample: MachineSample) -> Reading | None:
    """Return how full the lowest limit over the worker is: a cgroup's or the host's."""
    if not sample.limit_total or sample.limit_used is None:
        return None
    source = sample.limit_source
    what = "host memory" if source in (None, "host") else str(source)
    return Reading(what, sample.limit_used, sample.limit_total)


class MemoryGuard:
    """Follow the levels of everything that can run out."""

    def __init__(self) -> None:
        """Begin with nothing full."""
        self._levels: dict[str, Level] = {}
        self._fractions: dict[str, float] = {}

    def feed(self, sample: MachineSample) -> list[Change]:
        """Take a sample; return what rose or fell. What could not be read keeps its level."""
        changes = []
        for reading in readings(sample):
            before = self._levels.get(reading.what)
            level = _level(reading.fraction, before)
            self._fractions[reading.what] = reading.fraction
            if level == before:
                continue
            if level is None:
                del self._levels[reading.what]
            else:
                self._levels[reading.what] = level
            changes.append(Change(reading, level, _RANK[level] > _RANK[before]))
        return changes

    @property
    def worst(self) -> tuple[Level | None, str | None]:
        """The highest level, and what is at it; of several the fullest."""
        if not self._levels:
            return None, None
        what = max(self._levels, key=lambda w: (_RANK[self._levels[w]], self._fractions[w]))
        return self._levels[what], what


def _level(fraction: float, before: Level | None) -> Level | None:
    """Return the level of a fraction, given the one it comes from."""
    if fraction >= CRITICAL - (HYSTERESIS if before == "critical" else 0):
        return "critical"
    if fraction >= WARNING - (HYSTERESIS if before is not None else 0):
        return "warning"
    return None


class Exhaustion:
    """Decide when host memory is so full that the training has to stop.

    It takes two samples in a row over the limit, and a worker that holds at least half of what
    is used there: stopping it would not help against somebody else's memory.
    """

    SAMPLES = 2
    SHARE = 0.5

    def __init__(self, limit: float | str) -> None:
        """Take `limits.memory`: a fraction of the limit found, or a size such as "20GiB"."""
        self._limit = limit
        self._over = 0

    def feed(self, sample: MachineSample) -> str | None:
        """Take a sample; return why the training has to stop, or None."""
        reading = limit_reading(sample)
        if reading is None:
            return None
        if reading.used <= self._bytes(reading.total):
            self._over = 0
            return None
        self._over += 1
        if self._over < self.SAMPLES or not self._guilty(sample, reading):
            return None
        return f"{reading}, over limits.memory ({self._words()})"

    def _bytes(self, total: int) -> float:
        if isinstance(self._limit, str):
            return units.parse_size(self._limit)
        return self._limit * total

    def _words(self) -> str:
        return self._limit if isinstance(self._limit, str) else units.percent(self._limit)

    def _guilty(self, sample: MachineSample, reading: Reading) -> bool:
        resident = sample.worker_resident
        return resident is not None and resident >= self.SHARE * reading.used
