"""NVIDIA's cards, read without ever waiting for the driver.

One thread makes every NVML call, one at a time: a driver that hangs (a card that fell off the
bus, a reset) holds up that thread alone. A thread in such a call can't be ended; it dies with
the process.

NVML numbers cards by PCI address whatever CUDA_VISIBLE_DEVICES says, so a training's cards are
found by UUID or by its processes.
"""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from batchtui.records import GpuSample
from batchtui.sampling.nvml import Nvml, Reading, Row

_STALE_S = 3.0  # a reading older than that is no reading
_FIRST_PID_NAMESPACE = 0xEFFFFFFC  # the inode the kernel gives to the host's own


class GpuSampler:
    """Asks the driver in a thread of its own and keeps the newest answer."""

    def __init__(
        self,
        *,
        nvml: Any = None,
        clock: Callable[[], float] = time.monotonic,
        stale_s: float = _STALE_S,
        retry_s: tuple[float, float] = (10.0, 300.0),
    ) -> None:
        """Take a stand-in for pynvml. The thread starts with the first request.

        Args:
            nvml: pynvml, or what offers the same functions; None imports it.
            clock: monotonic seconds.
            stale_s: how old a reading may be.
            retry_s: first and longest pause before a lost card or driver is asked again.
        """
        self._nvml = Nvml(nvml, clock=clock, retry_s=retry_s)
        self._clock = clock
        self._stale_s = stale_s
        self._thread: threading.Thread | None = None
        self._wanted = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._closing = False
        self._asked_at = 0.0
        # Replaced as one, so that no lock is needed to read it.
        self._newest: tuple[float, Reading] | None = None

    def request(self) -> None:
        """Have the cards read, unless a reading is still under way."""
        if self._closing or not self._idle.is_set():
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="nvml", daemon=True)
            self._thread.start()
        self._asked_at = self._clock()
        self._idle.clear()
        self._wanted.set()

    def newest(self, wait: float = 0.0) -> Reading:
        """Return the newest reading, after at most `wait` seconds for the one under way.

        While the driver does not answer, its cards are listed with an error and no numbers.
        """
        self._idle.wait(wait)
        newest, now = self._newest, self._clock()
        waited = 0.0 if self._idle.is_set() else now - self._asked_at
        silence = f"no answer for {waited:.0f} s" if waited > self._stale_s else None
        if newest is None:
            return Reading(status=f"NVIDIA driver: {silence or 'waiting for an answer'}")
        read_at, reading = newest
        if now - read_at <= self._stale_s:
            return reading
        rows = (Row(_known(row.gpu, silence)) for row in reading.rows)
        return Reading(tuple(rows), reading.status)

    def close(self) -> None:
        """End the thread, and the session with the driver if that still answers."""
        self._closing = True
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(0.2)

    def _work(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._closing:
                self._nvml.shutdown()
                return
            reading = self._nvml.read()
            self._newest = (self._clock(), reading)
            self._idle.set()


def _known(gpu: GpuSample, error: str | None) -> GpuSample:
    return GpuSample(index=gpu.index, uuid=gpu.uuid, name=gpu.name, error=error or gpu.error)


# ------------------------------------------------------------------------ whose card it is


def share(row: Row, tree: Collection[int], *, same_ids: bool, proc: str = "/proc") -> GpuSample:
    """Return a row's sample with the part that the processes `tree` hold.

    `same_ids` says that process ids mean here what they mean to the driver. Where they may not,
    in a container, NVML may list processes by the host's numbers, or none at all: there the
    part is None unless one of `tree` is listed, and every process listed exists here.
    """
    gpu, users = row.gpu, row.processes
    if users is None:
        return gpu
    ours = [used for pid, used in users.items() if pid in tree]
    absent = (pid for pid in users if pid and not os.path.exists(f"{proc}/{pid}"))
    if not same_ids and (not ours or any(absent)):
        return gpu
    parts = [used for used in ours if used is not None]
    if len(parts) < len(ours):
        return gpu
    worker = sum(parts)
    others = None if gpu.used is None else max(0, gpu.used - worker)
    return dataclasses.replace(gpu, worker_used=worker, others_used=others)


def host_pid_namespace(proc: str = "/proc") -> bool:
    """Whether this process sees the host's process ids: in a container it does not."""
    try:
        return os.stat(f"{proc}/self/ns/pid").st_ino == _FIRST_PID_NAMESPACE
    except OSError:
        return False


def worker_gpus(gpus: Sequence[GpuSample], uuids: Iterable[str]) -> tuple[GpuSample, ...]:
    """Return a training's cards: by the UUIDs its ranks gave, else those it holds memory on."""
    wanted = {_bare(uuid) for uuid in uuids}
    named = tuple(gpu for gpu in gpus if gpu.uuid and _bare(gpu.uuid) in wanted)
    return named or tuple(gpu for gpu in gpus if gpu.worker_used)


def _bare(uuid: str) -> str:
    """Drop what comes before the hexadecimal digits: CUDA says GPU- where NVML says MIG-."""
    prefix, _, digits = uuid.partition("-")
    return (digits if prefix.upper() in ("GPU", "MIG") else uuid).lower()


# ------------------------------------------------------------------------------ at a glance


@dataclass(frozen=True, slots=True)
class GpuSummary:
    """What `doctor` tells of the cards. `status` says why there are none."""

    gpus: tuple[GpuSample, ...]
    status: str | None
    driver: str | None
    cuda: str | None  # the newest version that the driver runs


def summarize(*, nvml: Any = None, timeout_s: float = 10.0) -> GpuSummary:
    """Ask the driver once, for at most that long."""
    answers: list[GpuSummary] = []

    def ask() -> None:
        session = Nvml(nvml)
        reading = session.read()
        driver, cuda = session.versions() if reading.rows else (None, None)
        gpus = tuple(row.gpu for row in reading.rows)
        answers.append(GpuSummary(gpus, reading.status, driver, cuda))
        session.shutdown()

    thread = threading.Thread(target=ask, name="nvml", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if answers:
        return answers[0]
    return GpuSummary((), f"NVIDIA driver: no answer for {timeout_s:.0f} s", None, None)
