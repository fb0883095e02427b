"""Whose memory it is: processes on a card, in and out of containers; stand-ins for pynvml."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from batchtui.records import GpuSample
from batchtui.sampling.gpu import GpuSampler, host_pid_namespace, share, summarize, worker_gpus
from batchtui.sampling.nvml import Nvml, Row
from tests.nvml.build import GIB, Gpu
from tests.sampling.conftest import Driver


def _row(processes: dict[int, int | None] | None, used: int | None = 4 * GIB) -> Row:
    return Row(GpuSample(index=0, used=used), processes)


def test_on_the_host() -> None:
    gpu = share(_row({10: GIB, 11: GIB, 99: GIB}), {10, 11}, same_ids=True)
    assert (gpu.worker_used, gpu.others_used) == (2 * GIB, 2 * GIB)


def test_nothing_held_on_the_host() -> None:
    gpu = share(_row({99: GIB}), {10}, same_ids=True)
    assert (gpu.worker_used, gpu.others_used) == (0, 4 * GIB)


def test_hidden_size() -> None:
    gpu = share(_row({10: None, 11: GIB}), {10, 11}, same_ids=True)
    assert (gpu.worker_used, gpu.others_used) == (None, None)


def test_hidden_size_of_another() -> None:
    assert share(_row({10: GIB, 99: None}), {10}, same_ids=True).others_used == 3 * GIB


def test_card_that_hides_its_use() -> None:
    gpu = share(_row({10: GIB}, used=None), {10}, same_ids=True)
    assert (gpu.worker_used, gpu.others_used) == (GIB, None)


def test_list_refused() -> None:
    assert share(_row(None), {10}, same_ids=True).worker_used is None


def test_list_and_total_read_a_moment_apart() -> None:
    assert share(_row({10: 5 * GIB}), {10}, same_ids=True).others_used == 0


def test_container_with_its_own_numbers(tmp_path: Path) -> None:
    (tmp_path / "10").mkdir()
    row = _row({10: GIB, 0: GIB})  # 0: a process outside of the container
    assert share(row, {10}, same_ids=False, proc=str(tmp_path)).worker_used == GIB


def test_container_with_the_hosts_numbers(tmp_path: Path) -> None:
    """Process 10 of the host is not process 10 here; 345123, which is not here, tells."""
    (tmp_path / "10").mkdir()
    row = _row({10: GIB, 345123: GIB})
    assert share(row, {10}, same_ids=False, proc=str(tmp_path)).worker_used is None


@pytest.mark.parametrize("processes", [{}, {345123: GIB}])
def test_container_where_none_of_ours_is_listed(
    tmp_path: Path, processes: dict[int, int | None]
) -> None:
    (tmp_path / "10").mkdir()
    row = _row(processes)
    assert share(row, {10}, same_ids=False, proc=str(tmp_path)).worker_used is None


def test_namespace_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "self/ns/pid").mkdir(parents=True)
    assert not host_pid_namespace(str(tmp_path))
    assert not host_pid_namespace(str(tmp_path / "nowhere"))


def test_process_in_both_lists_counts_once(driver: Driver) -> None:
    me = os.getpid()
    driver.set(Gpu(used=3 * GIB, processes={me: GIB}, lines=(f"graphics {me} {GIB}",)))
    gpu = driver.one(me)
    assert (gpu.worker_used, gpu.others_used) == (GIB, 2 * GIB)


def test_process_whose_size_the_driver_hides(driver: Driver) -> None:
    me = os.getpid()
    driver.set(Gpu(used=3 * GIB, processes={me: "unknown"}))
    assert driver.one(me).worker_used is None


def test_cards_of_a_training() -> None:
    gpus = [
        GpuSample(index=0, uuid="GPU-AA", worker_used=0),
        GpuSample(index=1, uuid="GPU-bb", worker_used=GIB),
        GpuSample(index=2, uuid=None),
    ]
    assert [gpu.index for gpu in worker_gpus(gpus, ["GPU-aa"])] == [0]
    assert [gpu.index for gpu in worker_gpus(gpus, ["aa"])] == [0]
    assert [gpu.index for gpu in worker_gpus(gpus, [])] == [1], "by its processes"
    assert [gpu.index for gpu in worker_gpus(gpus, ["GPU-cc"])] == [1]
    assert worker_gpus(gpus[:1], []) == ()


# --------------------------------------------------------------- other versions of pynvml


def _pynvml(**functions: Any) -> SimpleNamespace:
    """Build a pynvml of the barest kind: one card, and only what is given."""
    barest = {
        "nvmlInit": lambda: None,
        "nvmlDeviceGetCount": lambda: 1,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
    }
    return SimpleNamespace(**(barest | functions))


class CodedError(Exception):
    """As pynvml's own: the return code in `value`."""

    def __init__(self, value: int) -> None:
        self.value = value
        super().__init__(f"code {value}")


def test_bytes_and_one_argument_of_an_older_pynvml() -> None:
    memory = SimpleNamespace(total=GIB, used=1, free=GIB - 1)
    module = _pynvml(
        nvmlDeviceGetName=lambda handle: b"Tesla K80",
        nvmlDeviceGetUUID=lambda handle: b"GPU-\xff",
        nvmlDeviceGetMemoryInfo=lambda handle: memory,
        nvmlDeviceGetTemperature=lambda handle, sensor: 40,
    )
    (row,) = Nvml(module).read().rows
    assert (row.gpu.name, row.gpu.uuid) == ("Tesla K80", "GPU-\ufffd")
    assert (row.gpu.used, row.gpu.total, row.gpu.temperature_c) == (1, GIB, 40)


def test_pynvml_that_offers_nothing() -> None:
    assert Nvml(SimpleNamespace()).read().status == "NVML: Function Not Found"


@pytest.mark.parametrize("code", [0, 2, 3, 6, 10, 17, 999, -1])
def test_any_code_from_any_sensor(code: int) -> None:
    def refuse(*args: Any) -> None:
        raise CodedError(code)

    names = (
        "nvmlDeviceGetName",
        "nvmlDeviceGetUUID",
        "nvmlDeviceGetMemoryInfo",
        "nvmlDeviceGetMigMode",
        "nvmlDeviceGetUtilizationRates",
        "nvmlDeviceGetTemperature",
        "nvmlDeviceGetPowerUsage",
        "nvmlDeviceGetComputeRunningProcesses_v3",
    )
    reading = Nvml(_pynvml(**dict.fromkeys(names, refuse))).read()
    assert reading.status is None
    assert len(reading.rows) == 1


def test_answers_of_the_wrong_kind_do_not_end_the_thread() -> None:
    sampler = GpuSampler(nvml=_pynvml(nvmlDeviceGetCount=lambda: "many"))
    for _ in range(2):
        sampler.request()
        assert "TypeError" in (sampler.newest(10.0).status or "")
    sampler.close()


def test_close_does_not_wait_for_a_hung_driver() -> None:
    forever = threading.Event()
    sampler = GpuSampler(nvml=_pynvml(nvmlInit=forever.wait))
    sampler.request()
    sampler.close()
    forever.set()


def test_summary_does_not_wait_for_a_hung_driver() -> None:
    forever = threading.Event()
    summary = summarize(nvml=_pynvml(nvmlInit=forever.wait), timeout_s=0.05)
    forever.set()
    assert summary.gpus == ()
    assert "no answer" in (summary.status or "")
