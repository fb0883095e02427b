"""What is seen of a trial from outside: its memory, and what its journals say."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from batchtui.records import End, Evaluation, Phase, Record, Start, Step
from batchtui.sampling import procfs


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a trial is."""

    phase: str
    step: int
    peak: int | None


@dataclass(slots=True)
class Observed:
    """What is known of a trial so far."""

    peak: int = 0  # resident, all its processes
    base: int | None = None
    reserved: int | None = None
    allocated: int | None = None
    start: Start | None = None
    end: End | None = None
    phase: str = ""
    step: int = 0
    times: list[float] = field(default_factory=list)
    heard_at: float = field(default_factory=time.monotonic)
    _now: int | None = None
    _tree: int = 0  # most seen, all its processes
    _own: int = 0  # … and of the worker alone

    def heard(self, record: Record) -> None:
        """Take a record of any rank."""
        self.heard_at = time.monotonic()
        if isinstance(record, Phase):
            self.phase = record.phase
        elif isinstance(record, Start) and self.start is None:
            self.start, self.base = record, self._now
        elif isinstance(record, Step):
            self.step, self.phase = max(self.step, record.step), "training"
            self._device(record.reserved, record.peak)
            if record.step_s is not None:
                self.times.append(record.step_s)
        elif isinstance(record, Evaluation):
            self._device(None, record.peak)
        elif isinstance(record, End):
            self.end = record

    def resident(self, size: int | None, worker: int) -> None:
        """Take what its processes hold, in bytes.

        The kernel remembers the worker's own peak: what came and went between two looks is
        added to the sum.
        """
        self._now = size
        if size is not None:
            self._tree = max(self._tree, size)
        own = _status(worker)
        if own is not None:
            self._own = max(self._own, own["RssAnon"] + own["RssShmem"])
            missed = own["VmHWM"] - own["RssFile"] - self._own
            self.peak = max(self.peak, self._tree + max(0, missed))
        else:
            self.peak = max(self.peak, self._tree)

    def standing(self) -> Standing:
        """Return what there is to show."""
        return Standing(self.phase or "starting", self.step, self.reserved or self.peak or None)

    def _device(self, reserved: int | None, allocated: int | None) -> None:
        if reserved is not None:
            self.reserved = max(reserved, self.reserved or 0)
        if allocated is not None:
            self.allocated = max(allocated, self.allocated or 0)


def _status(pid: int) -> dict[str, int] | None:
    """Return the sizes of /proc/PID/status in bytes; None: it is gone."""
    try:
        lines = procfs.read(f"/proc/{pid}/status").decode("ascii", "replace").splitlines()
    except OSError:
        return None
    words = (line.split() for line in lines)
    sizes = {word[0][:-1]: int(word[1]) * 1024 for word in words if word[-1:] == ["kB"]}
    return sizes if "VmHWM" in sizes and "RssAnon" in sizes else None
