"""The real pynvml on the stand-in: what cards say, and every way in which they do not."""

from __future__ import annotations

import os
import time

import pytest

from batchtui.records import GpuSample
from batchtui.sampling.gpu import worker_gpus
from tests.nvml.build import GIB, Gpu
from tests.sampling.conftest import Driver

BUSY = Gpu(used=18 * GIB, utilization=97, temperature=61, power=312_500)


def test_card_at_work(driver: Driver) -> None:
    driver.set(BUSY)
    gpu = driver.one()
    assert (gpu.index, gpu.name, gpu.uuid) == (0, BUSY.name, BUSY.uuid)
    assert gpu.used == 18 * GIB
    assert gpu.total == BUSY.total - BUSY.reserved
    assert gpu.utilization == pytest.approx(0.97)
    assert (gpu.temperature_c, gpu.power_w, gpu.power_limit_w) == (61, 312.5, 400)
    assert gpu.error is None


def test_values_are_read_anew_each_time(driver: Driver) -> None:
    driver.set(Gpu(used=GIB))
    assert driver.one().used == GIB
    driver.set(Gpu(used=2 * GIB))
    assert driver.one().used == 2 * GIB


def test_cards_keep_their_order(driver: Driver) -> None:
    driver.set(*(Gpu(number, used=number) for number in range(8)))
    gpus, _ = driver.sample()
    assert [(gpu.index, gpu.used) for gpu in gpus] == [(number, number) for number in range(8)]


# ------------------------------------------------------------------------- no cards at all


def test_no_library(driver: Driver) -> None:
    driver._environment["LD_LIBRARY_PATH"] = "/nonexistent"
    gpus, status = driver.sample()
    if os.path.exists("/proc/driver/nvidia/version"):
        pytest.skip("this machine has a driver of its own")
    assert (gpus, status) == ([], "no NVIDIA driver")


def test_library_that_is_none(driver: Driver) -> None:
    folder = driver.control.parent / "broken"
    folder.mkdir()
    (folder / "libnvidia-ml.so.1").write_text("not a library")
    driver._environment["LD_LIBRARY_PATH"] = str(folder)
    assert driver.sample() == ([], "no NVIDIA driver")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (9, "NVIDIA driver not loaded"),
        (4, "no permission to use the NVIDIA driver"),
        (18, "NVIDIA driver and library differ in version: reboot"),
        (999, "NVML: Unknown Error"),
        (27, "NVML: b'Not Ready'"),  # a code that pynvml has no words for, and asks the library
    ],
)
def test_session_refused(driver: Driver, code: int, words: str) -> None:
    driver.set(BUSY, lines=(f"fail nvmlInitWithFlags {code}",))
    gpus, status = driver.sample()
    assert gpus == []
    assert status is not None
    assert status.replace("b'", "").rstrip("'") == words.replace("b'", "").rstrip("'")


def test_no_card(driver: Driver) -> None:
    driver.set()
    assert driver.sample() == ([], "no NVIDIA GPU")


def test_cards_of_others(driver: Driver) -> None:
    hidden = "fail nvmlDeviceGetHandleByIndex_v2 4"
    driver.set(Gpu(0, lines=(hidden,)), Gpu(1))
    gpus, _ = driver.sample()
    assert [gpu.index for gpu in gpus] == [1]


def test_no_card_of_ours(driver: Driver) -> None:
    driver.set(BUSY, lines=("fail nvmlDeviceGetHandleByIndex_v2 4",))
    assert driver.sample() == ([], "no permission to use the NVIDIA GPUs")


def test_driver_that_is_loaded_later_is_found_after_a_pause(driver: Driver) -> None:
    driver.set(BUSY, lines=("fail nvmlInitWithFlags 9",))
    driver.sample()
    driver.set(BUSY)
    assert driver.sample()[1] == "NVIDIA driver not loaded", "asked again at once"
    driver.pass_time(11)
    assert driver.one().used == BUSY.used


def test_pause_grows_while_the_driver_refuses(driver: Driver) -> None:
    driver.set(BUSY, lines=("fail nvmlInitWithFlags 9",))
    driver.sample()
    driver.pass_time(11)
    driver.sample()
    driver.set(BUSY)
    driver.pass_time(11)
    assert driver.sample()[0] == []
    driver.pass_time(10)
    assert driver.one().used == BUSY.used


def test_session_lost_and_opened_again(driver: Driver) -> None:
    driver.set(BUSY)
    driver.one()
    driver.set(BUSY, lines=("fail nvmlDeviceGetPowerUsage 1",))
    assert driver.sample() == ([], "NVML: Uninitialized")
    driver.set(BUSY)
    driver.pass_time(11)
    assert driver.one().power_w == 312.5


# ------------------------------------------------------------------------------- one sensor


@pytest.mark.parametrize(
    ("functions", "fields"),
    [
        ("nvmlDeviceGetName", {"name"}),
        ("nvmlDeviceGetUUID", {"uuid"}),
        ("nvmlDeviceGetUtilizationRates", {"utilization"}),
        ("nvmlDeviceGetTemperatureV nvmlDeviceGetTemperature", {"temperature_c"}),
        ("nvmlDeviceGetPowerUsage", {"power_w"}),
        ("nvmlDeviceGetEnforcedPowerLimit", {"power_limit_w"}),
        (
            "nvmlDeviceGetComputeRunningProcesses_v3 nvmlDeviceGetComputeRunningProcesses_v2",
            {"worker_used", "others_used"},
        ),
        ("nvmlDeviceGetGraphicsRunningProcesses_v3", set()),
        ("nvmlDeviceGetMigMode", set()),
        ("nvmlDeviceGetMemoryInfo_v2", set()),  # asked of the first version then
    ],
)
@pytest.mark.parametrize("code", [3, 13, 999, 27])
def test_failing_sensor_costs_its_field(
    driver: Driver, functions: str, fields: set[str], code: int
) -> None:
    me = os.getpid()
    faults = tuple(f"fail {function} {code}" for function in functions.split())
    driver.set(Gpu(used=GIB, processes={me: GIB}, lines=faults))
    gpu = driver.one(me)
    missing = {name for name in GpuSample.__dataclass_fields__ if getattr(gpu, name) is None}
    assert missing - {"error"} == fields
    assert gpu.error is None


def test_driver_with_the_older_temperature_alone(driver: Driver) -> None:
    driver.set(Gpu(temperature=61, lines=("fail nvmlDeviceGetTemperatureV 13",)))
    assert driver.one().temperature_c == 61


def test_driver_before_version_3_of_the_process_list(driver: Driver) -> None:
    me = os.getpid()
    missing = "fail nvmlDeviceGetComputeRunningProcesses_v3 13"
    driver.set(Gpu(used=GIB, processes={me: GIB}, lines=(missing,)))
    assert driver.one(me).worker_used == GIB


def test_memory_without_the_newer_call_counts_the_reserve(driver: Driver) -> None:
    driver.set(Gpu(used=GIB, lines=("fail nvmlDeviceGetMemoryInfo_v2 13",)))
    gpu = driver.one()
    assert (gpu.used, gpu.total) == (GIB + Gpu().reserved, Gpu().total)


def test_memory_that_fails_is_named(driver: Driver) -> None:
    refusals = tuple(f"fail nvmlDeviceGetMemoryInfo{form} 999" for form in ("", "_v2"))
    driver.set(Gpu(temperature=61, lines=refusals))
    gpu = driver.one()
    assert (gpu.used, gpu.total, gpu.error) == (None, None, "Unknown Error")
    assert gpu.temperature_c == 61


def test_memory_shared_with_the_host_is_no_error(driver: Driver) -> None:
    refusals = tuple(f"fail nvmlDeviceGetMemoryInfo{form} 3" for form in ("", "_v2"))
    driver.set(Gpu(lines=refusals))
    gpu = driver.one()
    assert (gpu.used, gpu.error) == (None, None)


def test_values_marked_as_not_available(driver: Driver) -> None:
    unknown = ("used", "utilization", "temperature", "power", "power_limit")
    driver.set(Gpu(lines=tuple(f"{name} unknown" for name in unknown)))
    gpu = driver.one()
    assert gpu.total == Gpu().total - Gpu().reserved
    assert [gpu.used, gpu.utilization, gpu.temperature_c, gpu.power_w, gpu.power_limit_w] == (
        [None] * 5
    )


def test_name_in_no_encoding(driver: Driver) -> None:
    driver.set(Gpu())
    text = driver.control.read_bytes().replace(b"A100", b"\xff\xfe")
    driver.control.write_bytes(text)
    gpu = driver.one()
    assert (gpu.name, gpu.used) == (None, 0)


def test_success_without_data(driver: Driver) -> None:
    driver.set(BUSY)
    answer = driver.ask("call", function="nvmlDeviceGetProcessUtilization")
    assert answer == {"code": 0, "text": "no data"}


def test_function_that_pynvml_does_not_have(driver: Driver) -> None:
    driver.set(BUSY)
    assert driver.ask("call", function="nvmlDeviceGetWhatever")["code"] == 13


def test_library_that_prints_harms_no_one(driver: Driver) -> None:
    driver.set(BUSY, lines=("print * \x1b[2Jlibrary speaking",))
    assert driver.one().used == BUSY.used
    assert "library speaking" in driver.stderr.read_text()


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


# ------------------------------------------------------------------------------------ doctor


def test_summary(driver: Driver) -> None:
    driver.set(BUSY)
    summary = driver.ask("summarize")
    assert (summary["driver"], summary["cuda"]) == ("570.86.15", "12.8")
    assert summary["gpus"][0]["name"] == BUSY.name


def test_summary_without_driver(driver: Driver) -> None:
    driver.set(lines=("fail nvmlInitWithFlags 9",))
    summary = driver.ask("summarize")
    assert (summary["gpus"], summary["status"]) == ([], "NVIDIA driver not loaded")
