"""The pass: rates, limits, and that no sensor can spoil it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from batchtui.records import GpuSample, MachineSample
from batchtui.sampling.cgroup import MemoryLimit
from batchtui.sampling.host import CpuLoad, Host, Memory, Space, parse_cpu, space
from batchtui.sampling.machine import MachineSampler, memory_limits
from batchtui.sampling.nvml import Reading, Row
from batchtui.sampling.processes import TreeUsage

GIB = 1 << 30


class Fake:
    """All sensors in one; those named in `broken` raise."""

    def __init__(self, *broken: str) -> None:
        self._broken = broken

    def _answer(self, name: str, value: Any) -> Any:
        if name in self._broken:
            raise OSError(f"{name} is broken")
        return value

    def cpu(self) -> CpuLoad | None:
        return self._answer("cpu", CpuLoad(0.5, 0.1, (0.25, 0.75)))

    def load1(self) -> float:
        return self._answer("load1", 1.5)

    def memory(self) -> Memory:
        return self._answer("memory", Memory(64 * GIB, 60 * GIB))

    def shm(self) -> Space:
        return self._answer("shm", Space(32 * GIB, GIB, 31 * GIB))

    def limits(self) -> list[MemoryLimit]:
        return self._answer("limits", [MemoryLimit(8 * GIB, 2 * GIB, "cgroup /job")])

    def oom_kills(self) -> int | None:
        return self._answer("oom_kills", 3)

    def read(self) -> TreeUsage:
        return self._answer("tree", TreeUsage(frozenset({10, 11}), 1.5, GIB))

    def request(self) -> None:
        self._answer("request", None)

    def newest(self, wait: float = 0.0) -> Reading:
        row = Row(GpuSample(index=0, used=4 * GIB), {os.getpid(): GIB})
        return self._answer("newest", Reading((row,), None))

    def close(self) -> None:
        self._answer("close", None)


def sampler(*broken: str, run_path: str = "/", clock: Any = lambda: 1000.0) -> MachineSampler:
    fake = Fake(*broken)
    return MachineSampler(
        roots=list, run_path=run_path, host=fake, memory=fake, tree=fake, gpu=fake, clock=clock
    )


def test_whole_sample() -> None:
    sample = sampler().sample()
    assert (sample.time, sample.cpu, sample.iowait, sample.cores) == (1000, 0.5, 0.1, (0.25, 0.75))
    assert (sample.load1, sample.memory_total, sample.memory_available) == (1.5, 64 * GIB, 60 * GIB)
    assert (sample.limit_total, sample.limit_used) == (8 * GIB, 2 * GIB)
    assert sample.limit_source == "cgroup /job"
    assert (sample.worker_cpu, sample.worker_resident, sample.worker_processes) == (1.5, GIB, 2)
    assert (sample.shm_used, sample.shm_total) == (GIB, 32 * GIB)
    assert sample.disk_free is not None
    assert sample.gpus[0].used == 4 * GIB
    assert sample.gpu_status is None


BROKEN = {
    "cpu": {"cpu", "iowait"},
    "load1": {"load1"},
    "memory": {"memory_total", "memory_available"},
    "limits": set(),
    "shm": {"shm_used", "shm_total"},
    "tree": {"worker_cpu", "worker_resident", "worker_processes"},
    "request": set(),
    "close": set(),
}


@pytest.mark.parametrize("sensor", BROKEN)
def test_failing_sensor_costs_its_fields(sensor: str) -> None:
    sample = sampler(sensor).sample()
    fields = MachineSample.__dataclass_fields__
    missing = {name for name in fields if getattr(sample, name) is None} - {"gpu_status"}
    assert missing == BROKEN[sensor]


def test_no_limit_but_the_hosts() -> None:
    sample = sampler("limits").sample()
    assert (sample.limit_total, sample.limit_used) == (64 * GIB, 4 * GIB)
    assert sample.limit_source == "host"


def test_nothing_works(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    machine = sampler(*BROKEN, "newest", "oom_kills", run_path=missing)
    assert machine.sample() == MachineSample(time=1000, gpu_status="the GPU sensor failed")
    assert machine.oom_kills() is None
    machine.close()


def test_kills() -> None:
    assert sampler().oom_kills() == 3


def test_roots_that_raise(tmp_path: Path) -> None:
    def roots() -> list[int]:
        raise ProcessLookupError

    fake = Fake()
    sample = MachineSampler(roots=roots, run_path=tmp_path, gpu=fake).sample()
    assert sample.worker_cpu is None
    assert sample.gpus == (GpuSample(index=0, used=4 * GIB),), "whose use it is nobody knows"
    assert sample.memory_total is not None


def test_clock_that_jumps_labels_and_does_no_more(tmp_path: Path) -> None:
    times = iter([2e9, 1.0, -5.0])
    machine = MachineSampler(
        roots=lambda: [os.getpid()], run_path=tmp_path, gpu=Fake(), clock=lambda: next(times)
    )
    samples = [machine.sample() for _ in range(3)]
    assert [sample.time for sample in samples] == [2e9, 1.0, -5.0]
    for sample in samples[1:]:
        assert sample.worker_cpu is not None
        assert sample.worker_cpu >= 0


def test_this_machine(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    machine = MachineSampler(roots=lambda: [os.getpid()], run_path=tmp_path)
    first = machine.sample()
    assert (first.cpu, first.cores, first.worker_cpu) == (None, (), None)
    for _ in range(20):  # until a tick has passed
        sum(range(300_000))
        second = machine.sample()
        if second.cpu is not None:
            break
    machine.close()
    assert second.cpu is not None
    assert 0 <= second.cpu <= 1
    assert len(second.cores) >= 1
    assert second.memory_total
    assert second.limit_total
    assert second.disk_free
    assert second.gpus or second.gpu_status
    assert capfd.readouterr() == ("", "")


def test_limits_of_this_machine() -> None:
    assert memory_limits()[0].source == "host"


# ------------------------------------------------------------------------------- the host


def _cpu_line(name: str, *ticks: int) -> str:
    return " ".join([name, *map(str, ticks)]) + "\n"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "meminfo").write_text("MemTotal:  100 kB\nMemFree: 1 kB\nMemAvailable:   40 kB\n")
    (tmp_path / "loadavg").write_text("0.75 0.5 0.25 2/300 4242\n")
    return tmp_path


def _stat(proc: Path, *lines: str) -> None:
    (proc / "stat").write_text("".join(lines) + "intr 99 0 0\nctxt 5\nbtime 1700000000\n")


def test_cpu_between_two_readings(proc: Path) -> None:
    host = Host(str(proc))
    _stat(proc, _cpu_line("cpu", *[1000] * 10), _cpu_line("cpu0", *[500] * 10))
    assert host.cpu() is None
    _stat(
        proc,
        _cpu_line("cpu", 1050, 1000, 1010, 1030, 1010, 1000, 1000, 1000, 1050, 1000),
        _cpu_line("cpu0", 510, 500, 500, 530, 500, 500, 500, 500, 510, 500),
    )
    load = host.cpu()
    assert load is not None
    assert load.busy == pytest.approx(0.6), "guest time is part of user time"
    assert load.iowait == pytest.approx(0.1)
    assert load.cores == pytest.approx((0.25,))


def test_core_that_is_switched_on(proc: Path) -> None:
    host = Host(str(proc))
    _stat(proc, _cpu_line("cpu", *[0] * 8), _cpu_line("cpu0", *[0] * 8))
    host.cpu()
    _stat(
        proc,
        _cpu_line("cpu", 10, 0, 0, 10, 0, 0, 0, 0),
        _cpu_line("cpu0", 5, 0, 0, 5, 0, 0, 0, 0),
        _cpu_line("cpu1", 5, 0, 0, 5, 0, 0, 0, 0),
    )
    load = host.cpu()
    assert load is not None
    assert load.cores == (0.5,)


def test_counters_that_step_back(proc: Path) -> None:
    """Idle and iowait are the kernel's estimates; the whole shrinks as a core is switched off."""
    host = Host(str(proc))
    _stat(proc, _cpu_line("cpu", 0, 0, 0, 100, 50, 0, 0, 0))
    host.cpu()
    _stat(proc, _cpu_line("cpu", 40, 0, 0, 99, 49, 0, 0, 0))
    load = host.cpu()
    assert load is not None
    assert (load.busy, load.iowait) == (1.0, 0.0)
    _stat(proc, _cpu_line("cpu", 1, 0, 0, 1, 0, 0, 0, 0))
    assert host.cpu() is None


def test_memory_and_load(proc: Path) -> None:
    host = Host(str(proc))
    assert host.memory() == Memory(total=100 * 1024, available=40 * 1024)
    assert host.load1() == 0.75


def test_cpu_lines_end_where_others_begin() -> None:
    lines = parse_cpu(b"cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 2 3 4\nintr 5\ncpu1 1 2 3 4 5 6 7 8\n")
    assert list(lines) == [b"cpu"]
    assert lines[b"cpu"].total == 36


def test_space_of_a_folder(tmp_path: Path) -> None:
    here = space(tmp_path)
    assert 0 < here.used + here.free <= here.total
