"""One pass over all sensors: one `MachineSample`, whatever fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol, TypeVar

from batchtui.records import GpuSample, MachineSample
from batchtui.sampling.cgroup import CgroupMemory, MemoryLimit, tightest
from batchtui.sampling.gpu import GpuSampler, host_pid_namespace, share
from batchtui.sampling.host import CpuLoad, Host, Memory, Space, space
from batchtui.sampling.nvml import Reading
from batchtui.sampling.processes import ProcessTree, TreeUsage

T = TypeVar("T")

# A driver that answers within that time is shown in the same pass, a slower one in the next.
_PATIENCE_S = 0.02


class HostSensor(Protocol):
    """What `host.Host` offers."""

    def cpu(self) -> CpuLoad | None: ...
    def load1(self) -> float: ...
    def memory(self) -> Memory: ...
    def shm(self) -> Space: ...


class MemorySensor(Protocol):
    """What `cgroup.CgroupMemory` offers."""

    def limits(self) -> list[MemoryLimit]: ...
    def oom_kills(self) -> int | None: ...


class TreeSensor(Protocol):
    """What `processes.ProcessTree` offers."""

    def read(self) -> TreeUsage: ...


class GpuSensor(Protocol):
    """What `gpu.GpuSampler` offers."""

    def request(self) -> None: ...
    def newest(self, wait: float = 0.0) -> Reading: ...
    def close(self) -> None: ...


class MachineSampler:
    """Samples the machine for one training."""

    def __init__(
        self,
        *,
        roots: Callable[[], Iterable[int]],
        run_path: str | Path,
        host: HostSensor | None = None,
        memory: MemorySensor | None = None,
        tree: TreeSensor | None = None,
        gpu: GpuSensor | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take what to watch; a sensor left out is the real one.

        Args:
            roots: asked in each pass for the processes whose trees are the training: the
                worker, and the supervisor, which stands for all that descends from it.
            run_path: the run directory.
            host, memory, tree, gpu: the sensors.
            clock: wall-clock time, which only labels a sample. What happened between two
                passes is taken from the kernel's counters and the monotonic clock.
        """
        self._run_path = run_path
        self._host = host or Host()
        self._memory = memory or CgroupMemory()
        self._tree = tree or ProcessTree(roots)
        self._gpu = gpu or GpuSampler()
        self._clock = clock
        self._same_ids = host_pid_namespace()

    def sample(self) -> MachineSample:
        """Ask every sensor once; one that fails leaves its fields None. Rates need a second pass.

        The driver of the GPUs is waited for only a moment, see `GpuSampler`. A run directory
        on a network file system that hangs is waited for: nothing could be recorded there.
        """
        sample = MachineSample(time=self._clock())
        _try(self._gpu.request)
        if cpu := _try(self._host.cpu):
            sample.cpu, sample.iowait, sample.cores = cpu.busy, cpu.iowait, cpu.cores
        sample.load1 = _try(self._host.load1)
        memory = _try(self._host.memory)
        if memory:
            sample.memory_total, sample.memory_available = memory.total, memory.available
        if limit := tightest([*_host_limit(memory), *(_try(self._memory.limits) or ())]):
            sample.limit_total, sample.limit_used = limit.total, limit.used
            sample.limit_source = limit.source
        tree = _try(self._tree.read)
        if tree:
            sample.worker_cpu, sample.worker_resident = tree.cpu, tree.resident
            sample.worker_processes = tree.processes
        if shm := _try(self._host.shm):
            sample.shm_used, sample.shm_total = shm.used, shm.total
        if disk := _try(lambda: space(self._run_path)):
            sample.disk_free = disk.free
        sample.gpus, sample.gpu_status = self._gpus(tree)
        return sample

    def oom_kills(self) -> int | None:
        """Return the kernel's count of processes killed for want of memory; None if unknown."""
        return _try(self._memory.oom_kills)

    def close(self) -> None:
        """Let go of the GPU driver."""
        _try(self._gpu.close)

    def _gpus(self, tree: TreeUsage | None) -> tuple[tuple[GpuSample, ...], str | None]:
        reading = _try(lambda: self._gpu.newest(_PATIENCE_S))
        if reading is None:
            return (), "the GPU sensor failed"
        if tree is None:  # nobody knows whose processes they are
            return tuple(row.gpu for row in reading.rows), reading.status
        gpus = (share(row, tree.pids, same_ids=self._same_ids) for row in reading.rows)
        return tuple(gpus), reading.status


def memory_limits() -> list[MemoryLimit]:
    """Return every limit this process lives under, the host's first."""
    return [*_host_limit(_try(Host().memory)), *CgroupMemory().limits()]


def _host_limit(memory: Memory | None) -> list[MemoryLimit]:
    if memory is None:
        return []
    return [MemoryLimit(memory.total, memory.total - memory.available, "host")]


def _try(sensor: Callable[[], T]) -> T | None:
    """Ask one sensor; its failure is its own."""
    try:
        return sensor()
    except Exception:
        return None
