"""Memory levels and the decision to stop: samples in, changes out."""

from __future__ import annotations

import pytest

from batchtui.records import GpuSample, MachineSample
from batchtui.supervise.guard import Exhaustion, MemoryGuard

GIB = 1 << 30


def host(fraction: float, *, source: str = "host", worker: float = 1.0, **more: object):
    """A sample with the lowest limit that full, and the worker holding that share of it."""
    used = int(fraction * 10 * GIB)
    return MachineSample(
        time=1.0,
        limit_total=10 * GIB,
        limit_used=used,
        limit_source=source,
        worker_resident=int(worker * used),
        **more,  # type: ignore[arg-type]
    )


def levels(guard: MemoryGuard, *fractions: float) -> list[tuple[str | None, bool]]:
    return [
        (change.level, change.rose)
        for fraction in fractions
        for change in guard.feed(host(fraction))
    ]


def test_a_level_rises_once() -> None:
    guard = MemoryGuard()
    assert levels(guard, 0.5, 0.89, 0.91, 0.92, 0.94) == [("warning", True)]
    assert guard.worst == ("warning", "host memory")
    assert levels(guard, 0.96, 0.99, 0.951) == [("critical", True)]
    assert guard.worst == ("critical", "host memory")


def test_a_level_does_not_flap() -> None:
    guard = MemoryGuard()
    assert levels(guard, 0.90, 0.89, 0.905, 0.885, 0.91) == [("warning", True)]
    assert levels(guard, 0.87) == [(None, False)]
    assert levels(guard, 0.95, 0.94, 0.951, 0.935) == [("critical", True)]
    assert levels(guard, 0.92) == [("warning", False)]
    assert levels(guard, 0.5) == [(None, False)]
    assert guard.worst == (None, None)


def test_what_is_watched() -> None:
    guard = MemoryGuard()
    sample = host(
        0.97,
        source="cgroup /job",
        memory_total=100,
        memory_available=8,
        shm_total=100,
        shm_used=91,
        gpus=(GpuSample(index=0, used=10, total=100), GpuSample(index=1, used=96, total=100)),
    )
    changes = {change.reading.what: change.level for change in guard.feed(sample)}
    assert changes == {
        "cgroup /job": "critical",
        "host memory": "warning",
        "GPU 1": "critical",
        "/dev/shm": "warning",
    }
    assert guard.worst == ("critical", "cgroup /job")
    assert str(guard.feed(host(0.5, source="cgroup /job"))[0].reading) == (
        "cgroup /job is 50% full: 5.0 GiB of 10.0 GiB"
    )
    assert guard.worst == ("critical", "GPU 1")


def test_a_sensor_that_fails_leaves_the_level() -> None:
    guard = MemoryGuard()
    guard.feed(host(0.96))
    assert guard.feed(MachineSample(time=2.0)) == []
    assert guard.feed(MachineSample(time=2.0, gpus=(GpuSample(index=0, total=0, used=0),))) == []
    assert guard.worst[0] == "critical"


@pytest.mark.parametrize(
    ("limit", "samples", "stops"),
    [
        (0.95, [host(0.96)], False),
        (0.95, [host(0.96), host(0.96)], True),
        (0.95, [host(0.96), host(0.90), host(0.96)], False),
        (0.95, [host(0.96), MachineSample(time=1.0), host(0.97)], True),
        (0.95, [host(0.96, worker=0.4)] * 3, False),
        (0.95, [host(0.96, worker=0.4), host(0.96, worker=0.6)], True),
        (0.5, [host(0.6)] * 2, True),
        ("4GiB", [host(0.41)] * 2, True),
        ("4GiB", [host(0.39)] * 2, False),
    ],
)
def test_exhaustion(limit: float | str, samples: list[MachineSample], stops: bool) -> None:
    exhaustion = Exhaustion(limit)
    answers = [exhaustion.feed(sample) for sample in samples]
    assert answers[:-1] == [None] * (len(samples) - 1)
    assert (answers[-1] is not None) is stops


def test_exhaustion_says_why() -> None:
    exhaustion = Exhaustion(0.95)
    exhaustion.feed(host(0.96))
    assert exhaustion.feed(host(0.96)) == (
        "host memory is 96% full: 9.6 GiB of 10.0 GiB, over limits.memory (95%)"
    )
