"""What a supervisor sees: samples, journals, silence, memory; once a second into run.db."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from batchtui.config.schema import Config
from batchtui.records import MachineSample, Record, Status
from batchtui.runs.directory import RunDirectory
from batchtui.runs.identity import Identity
from batchtui.runs.progress import Progress
from batchtui.sampling.gpu import worker_gpus
from batchtui.sampling.machine import MachineSampler
from batchtui.sampling.processes import ProcessTree, TreeUsage
from batchtui.supervise import worker
from batchtui.supervise.guard import Change, Exhaustion, MemoryGuard, limit_reading
from batchtui.supervise.ingest import Ingest
from batchtui.supervise.ledger import Ledger
from batchtui.supervise.patience import Patience
from batchtui.supervise.silence import Silence

# A training may take seconds to die of what happened: a data loader is killed, the loop
# notices, writes error.json, and lets its other processes end.
_MEMORY_SAMPLES = 15


class Sampler(Protocol):
    """What `sampling.machine.MachineSampler` offers."""

    def sample(self) -> MachineSample: ...
    def oom_kills(self) -> int | None: ...
    def close(self) -> None: ...


class Family:
    """The process tree that the sampler reads, remembered: who was ever seen in it."""

    def __init__(self, own: int) -> None:
        """Watch everything below the process `own`."""
        self._tree = ProcessTree(lambda: (own,), own=own)
        self._now: frozenset[int] = frozenset()
        self.seen: set[int] = set()
        self.alive: dict[int, Identity] = {}  # as of the last look
        self.changed = False  # since the caller cleared it

    def read(self, closely: bool = False) -> TreeUsage:
        """Look once more; what the sampler calls."""
        usage = self._tree.read(closely)
        if usage.pids != self._now:
            self._now = usage.pids
            known = {pid: self.alive.get(pid) or Identity.of(pid) for pid in usage.pids}
            self.alive = {pid: identity for pid, identity in known.items() if identity}
            self.seen |= usage.pids
            self.changed = True
        return usage


SamplerFactory = Callable[[Family, Path], Sampler]


def machine_sampler(family: Family, path: Path) -> Sampler:
    """Return the sampler of this machine, which reads the process tree through `family`."""
    return MachineSampler(roots=lambda: (), run_path=path, tree=family)


class Watch:
    """Observes one training and keeps its record; decides nothing but what it is called."""

    def __init__(
        self,
        run: RunDirectory,
        config: Config,
        ledger: Ledger,
        sampler: Sampler,
        patience: Patience,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to watch a worker that has just been started."""
        self._ledger = ledger
        self._sampler = sampler
        self._clock = clock
        self.progress = Progress()
        self._silence = Silence(patience, clock())
        self._ingest = Ingest(
            run.journals, worker.processes(config), ledger, self.progress, self._heard
        )
        self._guard = MemoryGuard()
        self._exhaustion = (
            Exhaustion(config.limits.memory) if config.limits.on_exhaustion == "stop" else None
        )
        self._host_peak: int | None = None
        self._peak: int | None = None
        self._limit: int | None = None
        self._recent: deque[MachineSample] = deque(maxlen=_MEMORY_SAMPLES)
        self._oom_kills: deque[int | None] = deque([sampler.oom_kills()], maxlen=_MEMORY_SAMPLES)
        self.behind = False  # whether the journals hold more than was read

    def tick(self) -> str | None:
        """Look at everything once; return why the training has to stop, or None."""
        sample = self._sampler.sample()
        self._recent.append(sample)
        self._ledger.store.add_sample(sample)
        self._count_kills()
        for change in self._guard.feed(sample):
            self._tell(change)
        self.pull()
        self._judge()
        self._note(sample)
        return self._exhaustion.feed(sample) if self._exhaustion else None

    def pull(self) -> None:
        """Read the journals, unless what was read before could not be recorded yet."""
        if not self._ledger.failing:
            self.behind = self._ingest.pull()

    def committed(self) -> None:
        """Take note that all is in run.db."""
        self._ingest.committed()

    def finish(self) -> bool:
        """Read the journals to their end, the worker being gone; whether all is in run.db."""
        complete = self._ledger.commit() and self._ingest.drain()
        self._note(self._recent[-1] if self._recent else None)
        self._sampler.close()
        return complete

    # ------------------------------------------------------------- evidence for a death

    @property
    def oom_kills(self) -> int | None:
        """How many processes the kernel killed for want of memory, of late."""
        before, now = self._oom_kills[0], self._sampler.oom_kills()
        return None if before is None or now is None else max(0, now - before)

    @property
    def fullest_memory(self) -> float | None:
        """The fullest that the lowest host memory limit was of late, as a fraction."""
        found = [reading.fraction for s in self._recent if (reading := limit_reading(s))]
        return max(found, default=None)

    @property
    def fullest_shm(self) -> float | None:
        """… and /dev/shm."""
        found = [
            s.shm_used / s.shm_total for s in self._recent if s.shm_total and s.shm_used is not None
        ]
        return max(found, default=None)

    # -------------------------------------------------------------------------- inside

    def _heard(self, record: Record) -> None:
        self._silence.heard(record, self._clock())

    def _judge(self) -> None:
        """Say whether the training runs, or has been silent for too long."""
        ledger = self._ledger
        if ledger.status is Status.STOPPING:
            return
        if ledger.failing or self.behind:  # it may have spoken, and nobody has read it
            self._silence.excuse(self._clock())
            return
        alive = Status.RUNNING if self.progress.start else Status.STARTING
        overdue = self._silence.overdue(self.progress.slow_step, self._clock())
        if overdue and ledger.status is not Status.LOST:
            ledger.set_status(Status.LOST)
            ledger.event("warning", "lost", overdue)
        elif not overdue and ledger.status is Status.LOST:
            ledger.set_status(alive)
            ledger.event("info", "revived", "the worker speaks again")
        elif not overdue and ledger.status is not alive:
            ledger.set_status(alive)

    def _tell(self, change: Change) -> None:
        step = self.progress.last.step if self.progress.last else None
        if change.rose:
            level = "error" if change.level == "critical" else "warning"
            self._ledger.event(level, "memory", str(change.reading), step=step)
        elif change.level is None:
            message = f"{change.reading}: below its warning level again"
            self._ledger.event("info", "memory", message, step=step)

    def _count_kills(self) -> None:
        before, now = self._oom_kills[-1], self._sampler.oom_kills()
        self._oom_kills.append(now)
        if before is not None and now is not None and now > before:
            self._ledger.event(
                "error", "memory", "the kernel killed a process here for want of memory"
            )

    def _note(self, sample: MachineSample | None) -> None:
        """Put into `meta` what changes all the time."""
        store = self._ledger.store
        peak, limit = self._memory(sample)
        level, what = self._guard.worst
        store.set_meta(
            heartbeat=time.time(),
            bad_lines=self._ingest.bad_lines,
            memory_level=level,
            memory_what=what,
            peak_bytes=peak,
            limit_bytes=limit,
            **self.progress.meta(),
        )

    def _memory(self, sample: MachineSample | None) -> tuple[int | None, int | None]:
        """Return the training's peak and the limit it lives under, in bytes.

        On an accelerator that is its memory, else the host's.
        """
        if sample is None:
            return self._peak, self._limit
        if sample.worker_resident is not None:
            self._host_peak = max(sample.worker_resident, self._host_peak or 0)
        start = self.progress.start
        if start is None:
            return None, None
        if self.progress.on_accelerator:
            cards = worker_gpus(sample.gpus, [start.device_uuid] if start.device_uuid else ())
            limit = min((card.total for card in cards if card.total), default=None)
            self._peak = self.progress.accelerator_peak
        else:
            limit = sample.limit_total
            self._peak = self._host_peak
        self._limit = limit or self._limit  # a sensor that fails now does not take it back
        return self._peak, self._limit
