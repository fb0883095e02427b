"""The real pynvml on the stand-in: cards that are lost, slow or divided."""

from __future__ import annotations

import os
import time

import pytest

from batchtui.sampling.gpu import worker_gpus
from tests.nvml.build import GIB, Gpu
from tests.sampling.conftest import Driver

BUSY = Gpu(used=18 * GIB, utilization=97, temperature=61, power=312_500)


# ---------------------------------------------------------------------------- a lost card


@pytest.mark.parametrize(("code", "words"), [(15, "GPU is lost"), (16, "GPU requires restart")])
def test_lost_card_stays_in_the_list_and_the_others_work(
    driver: Driver, code: int, words: str
) -> None:
    driver.set(Gpu(0), Gpu(1, used=GIB))
    driver.sample()
    driver.set(Gpu(0, lines=(f"fail * {code}",)), Gpu(1, used=2 * GIB))
    for _ in range(3):
        (lost, well), status = driver.sample()
        assert (lost.error, lost.name, lost.uuid, lost.used) == (words, *_identity(0), None)
        assert (well.error, well.used, status) == (None, 2 * GIB, None)


def _identity(number: int) -> tuple[str, str]:
    return Gpu(number).name, Gpu(number).uuid


def test_card_that_is_lost_from_the_start(driver: Driver) -> None:
    driver.set(Gpu(0, lines=("fail * 15",)), Gpu(1))
    (lost, _), _ = driver.sample()
    assert (lost.index, lost.error, lost.name) == (0, "GPU is lost", None)
    driver.set(Gpu(0, used=GIB), Gpu(1))
    driver.pass_time(11)
    driver.sample()
    (found, _), _ = driver.sample()
    assert (found.error, found.name, found.used) == (None, Gpu().name, GIB)


def test_lost_card_is_asked_again_rarely(driver: Driver) -> None:
    """Seen by what the library prints each time it is asked."""
    driver.set(Gpu(0, lines=("fail * 15", "print * asked")))
    for _ in range(30):
        driver.sample()
        driver.pass_time(1)
    tries = driver.stderr.read_text().count("asked")
    assert 2 <= tries <= 4, "at 0, 10 and 30 s"


def test_lost_card_that_comes_back(driver: Driver) -> None:
    driver.set(BUSY)
    driver.one()
    driver.set(Gpu(lines=("fail * 15",)))
    assert driver.one().error == "GPU is lost"
    driver.set(BUSY)
    assert driver.one().error == "GPU is lost", "asked again at once"
    driver.pass_time(11)
    gpu = driver.one()
    assert (gpu.error, gpu.used) == (None, BUSY.used)


# --------------------------------------------------------------------------- a slow driver


def test_hung_call_holds_no_one_up(driver: Driver) -> None:
    driver.set(BUSY)
    driver.one()
    driver.set(BUSY, lines=("delay nvmlDeviceGetPowerUsage 60000",))
    for _ in range(3):
        answer = driver.ask("sample", tree=[], wait=0.02)
        assert answer["seconds"] < 1
    assert answer["gpus"][0]["used"] == BUSY.used, "the reading before, while it is fresh"
    driver.pass_time(4)
    (gpu,), _ = driver.sample(wait=0.02)
    assert (gpu.used, gpu.name) == (None, BUSY.name)
    assert gpu.error is not None
    assert gpu.error.startswith("no answer for ")
    driver.set(Gpu(used=GIB))  # and it goes on
    deadline = time.monotonic() + 10
    while driver.sample(wait=1.0)[0][0].used != GIB:
        assert time.monotonic() < deadline


def test_driver_that_never_answered(driver: Driver) -> None:
    driver.set(BUSY, lines=("delay nvmlInitWithFlags 60000",))
    assert driver.sample(wait=0.02) == ([], "NVIDIA driver: waiting for an answer")
    driver.pass_time(7)
    assert driver.sample(wait=0.02) == ([], "NVIDIA driver: no answer for 7 s")


def test_calls_never_overlap(driver: Driver) -> None:
    driver.set(BUSY)
    driver.one()
    memory = "nvmlDeviceGetMemoryInfo_v2"
    driver.set(BUSY, lines=(f"print {memory} asked", "delay nvmlDeviceGetPowerUsage 60000"))
    for _ in range(50):
        driver.sample(wait=0.01)
    assert driver.stderr.read_text().count("asked") == 1


def test_sampler_that_rested_shows_no_old_values_and_blames_no_one(driver: Driver) -> None:
    driver.set(BUSY)
    driver.one()
    driver.pass_time(60)
    driver.set(BUSY, lines=("delay nvmlDeviceGetPowerUsage 1000",))
    (gpu,), _ = driver.sample(wait=0.0)
    assert (gpu.used, gpu.error) == (None, None)


# ------------------------------------------------------------------------------- MIG slices


def _slice(number: int, used: int) -> tuple[str, ...]:
    return (
        f"slice {number}",
        f"name {Gpu().name} MIG 3g.40gb",
        f"uuid MIG-6b2f0000-0000-4000-8000-{number:012x}",
        f"total {40 * GIB}",
        f"used {used}",
    )


def test_divided_card_is_shown_as_its_slices(driver: Driver) -> None:
    me = os.getpid()
    lines = (*_slice(0, 2 * GIB), f"process {me} {GIB}", *_slice(1, 3 * GIB))
    driver.set(Gpu(0, lines=lines), Gpu(1))
    (first, second, whole), status = driver.sample(me)
    assert status is None
    assert [first.index, second.index, whole.index] == [100, 101, 1]
    assert first.name == f"{Gpu().name} MIG 3g.40gb"
    assert (first.used, first.total, first.worker_used) == (2 * GIB, 40 * GIB, GIB)
    assert (first.utilization, first.temperature_c, first.power_w, first.error) == (None,) * 4
    assert second.used == 3 * GIB
    assert worker_gpus([first, second, whole], ["GPU-6b2f0000-0000-4000-8000-000000000001"]) == (
        second,
    )


def test_slice_that_is_removed(driver: Driver) -> None:
    driver.set(Gpu(lines=(*_slice(0, GIB), *_slice(1, GIB))))
    driver.sample()
    driver.set(Gpu(lines=_slice(0, GIB)))
    driver.sample()
    gpus, _ = driver.sample()
    assert [gpu.index for gpu in gpus] == [100]


def test_card_that_is_divided_later_is_noticed(driver: Driver) -> None:
    driver.set(Gpu())
    driver.one()
    driver.set(Gpu(lines=_slice(0, GIB)))
    driver.pass_time(61)
    assert driver.one().index == 100
