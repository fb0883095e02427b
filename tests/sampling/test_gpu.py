"""The real pynvml on the stand-in: what cards say, and every way in which they do not say it."""

from __future__ import annotations

import os

import pytest

from batchtui.records import GpuSample
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
    driver.environment["LD_LIBRARY_PATH"] = "/nonexistent"
    gpus, status = driver.sample()
    if os.path.exists("/proc/driver/nvidia/version"):
        pytest.skip("this machine has a driver of its own")
    assert (gpus, status) == ([], "no NVIDIA driver")


def test_library_that_is_none(driver: Driver) -> None:
    folder = driver.control.parent / "broken"
    folder.mkdir()
    (folder / "libnvidia-ml.so.1").write_text("not a library")
    driver.environment["LD_LIBRARY_PATH"] = str(folder)
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
