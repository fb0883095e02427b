from __future__ import annotations

import os
import shutil
import socket
import time
from pathlib import Path

import pytest

from batchtui.records import Checkpoint, Evaluation, Event, GpuSample, MachineSample, Step
from batchtui.runs.directory import RunDirectory
from batchtui.runs.identity import Identity
from batchtui.runs.store import RunStore
from batchtui.tui.app import BatchtuiApp
from batchtui.tui.axes import along, near_window
from batchtui.tui.source import RunSource
from batchtui.tui.view import Window
from tests.tui.fake import stop
from tests.tui.screen import has, lines, settle

GIB = 1 << 30
START = 1_800_000_000.0


def steps(count: int, first: int = 1) -> list[Step]:
    return [
        Step(
            time=START + 0.1 * number, step=number, samples=64 * number, epoch=1, batch=64,
            loss=2.0 / number, variance=0.5, step_s=0.1 + 0.5 * (number == 700), forward_s=0.04,
            backward_s=0.05, allocated=GIB, reserved=3 * GIB, peak=2 * GIB,
        )
        for number in range(first, first + count)
    ]  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "digits-001")
    directory.path.mkdir()
    return directory


def fill(run: RunDirectory, count: int, gpus: tuple[GpuSample, ...] = ()) -> RunStore:
    store = RunStore(run.database)
    store.set_meta(
        run=run.name, status="finished", batch_size=64, global_batch_size=64, steps=count,
        samples=64 * count, samples_per_s=640.0, total_samples=128_000, epochs=4,
        train_samples=32_000, device="cuda:0" if gpus else "cpu", step_time_p50_s=0.1,
        step_time_p95_s=0.11, started=START, ended=START + 60,
        config={"limits": {"memory": "6GiB"}},
    )  # fmt: skip
    store.add_steps(steps(count))
    for second in range(60):
        store.add_sample(
            MachineSample(
                time=START + second, cpu=0.5, cores=(0.25, 0.75), limit_total=8 * GIB,
                limit_used=4 * GIB, limit_source="host", worker_resident=2 * GIB, gpus=gpus,
                gpu_status=None if gpus else "no NVIDIA driver",
            )
        )  # fmt: skip
    store.add_evaluation(Evaluation(time=START, step=500, samples=32_000, epoch=1, accuracy=0.93))
    store.add_checkpoint(Checkpoint(time=START, step=500, samples=32_000, epoch=1, file="a.pt"))
    store.add_event(Event(time=START, level="info", kind="started", message="worker started"))
    store.commit()
    return store


def test_a_run_on_the_cpu(run: RunDirectory) -> None:
    fill(run, 1000).close(final=True)
    run.log.write_text("hello\n")
    os.utime(run.log, (START + 1, START + 1))
    view = RunSource(run).read()
    assert (view.run, view.word) == ("digits-001", "finished")
    assert view.progress.fraction == 0.5
    assert view.memory.title == "Memory · no GPU"
    assert view.memory.limit == 6 * GIB
    assert view.memory.used == 4 * GIB
    assert [role for role, _ in view.memory.history.layers] == ["a", "other"]
    assert view.loss.accuracy == 0.93
    assert len(view.loss.course.loss.x) >= 256
    assert view.loss.course.loss.x[0] == 1.0
    assert view.cpu.history.layers[-1][1].mean[0] == pytest.approx(1.0)  # half of two cores
    assert max(value or 0 for value in view.steps.course.step_s.high) == pytest.approx(0.6)
    assert view.steps.p50 == 0.1
    assert view.batch.variance == pytest.approx(0.5)
    assert [line.text for line in view.log.lines] == ["worker started", "hello"]


def test_a_run_on_a_gpu(run: RunDirectory) -> None:
    gpu = GpuSample(index=0, name="A100", used=5 * GIB, total=8 * GIB, worker_used=4 * GIB,
                    others_used=GIB)  # fmt: skip
    fill(run, 100, (gpu,)).close(final=True)
    view = RunSource(run).read()
    assert view.memory.title == "GPU memory · A100"
    assert [part.label for part in view.memory.parts] == [
        "allocated", "peak", "reserved", "context", "others"
    ]  # fmt: skip
    role, own = view.memory.history.layers[0]
    assert role == "a"
    assert own.mean[-1] == 4 * GIB


def test_after_minutes_a_window_stands_still_from_look_to_look(run: RunDirectory) -> None:
    """One that slid along would be drawn anew each second: twice the bytes of all the rest."""
    store = fill(run, 4000)  # 400 s
    store.set_meta(step_time_p50_s=0.14)  # the last ones are slower

    def sampled(seconds: range) -> None:
        for second in seconds:
            store.add_sample(
                MachineSample(time=START + second, cpu=0.5, worker_cpu=1.0, cores=(1,))
            )
        store.commit()

    def windows() -> tuple[Window, Window]:
        view = source.read()
        points = along(view.steps.course.step_s, view.steps.course, "clock")
        return near_window("clock", points.x[0], points.x[-1]), view.cpu.history.window

    sampled(range(60, 400))
    source = RunSource(run)
    before = windows()
    for second in range(400, 410):
        store.add_steps(steps(10, first=1 + 10 * second))
        sampled(range(second, second + 1))
        assert windows() == before
    assert [round(window.end - window.start) for window in before] == [300, 300]
    store.close()


def test_events_come_once_and_new_ones_are_found(run: RunDirectory) -> None:
    store = fill(run, 10)
    source = RunSource(run)
    assert [line.text for line in source.read().log.lines] == ["worker started"]
    store.add_event(Event(time=START + 9, level="warning", kind="memory", message="memory at 91 %"))
    store.commit()
    lines = source.read().log.lines
    assert [(line.text, line.level) for line in lines] == [
        ("worker started", "info"), ("memory at 91 %", "warning")
    ]  # fmt: skip
    store.close(final=False)


def test_before_there_is_a_database_the_log_is_shown(run: RunDirectory) -> None:
    run.log.write_text("ImportError: no torch\n")
    view = RunSource(run).read()
    assert view.word == "starting"
    assert view.trouble
    assert view.log.lines[0].level == "error"


def test_a_database_that_breaks_leaves_the_last_numbers(run: RunDirectory) -> None:
    fill(run, 100).close(final=True)
    source = RunSource(run)
    assert source.read().trouble is None
    run.database.write_bytes(b"junk" * 5000)
    view = source.read()
    assert view.trouble
    assert "\n" not in view.trouble
    assert view.progress.step == 100


async def test_a_directory_that_is_removed_under_the_screen_is_told_of(run: RunDirectory) -> None:
    fill(run, 100).close(final=True)
    app = BatchtuiApp(RunSource(run), stop, refresh=0.1)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot, lambda: "finished" in lines(app)[0])
        shutil.rmtree(run.path)
        await settle(pilot, lambda: "▲ run.db: gone, with" in lines(app)[0])
        await pilot.press("4", "z", "left", "x", "question_mark", "escape", "z", "plus")
        assert has(app, "64 → 72", "loss ")


def test_an_ended_run_is_read_again_only_if_its_files_changed(run: RunDirectory) -> None:
    store = fill(run, 100)
    source = RunSource(run)
    view = source.read()
    assert source.read() is view
    run.log.write_text("one more line\n")
    longer = source.read()
    assert [line.text for line in longer.log.lines] == ["worker started", "one more line"]
    assert source.read() is longer
    source.span = (10, 20)
    assert source.read().close_up is not None
    store.set_meta(status="running", heartbeat=time.time())
    store.commit()
    alive = source.read()
    assert alive.status.alive
    assert source.read() is not alive
    store.close(final=False)


def test_a_long_run_is_read_in_bounded_time(run: RunDirectory) -> None:
    store = fill(run, 1)
    for first in range(2, 200_000, 20_000):
        store.add_steps(steps(20_000, first))
        store.commit()
    source = RunSource(run)
    source.read()
    began = time.perf_counter()
    view = source.read()
    assert time.perf_counter() - began < 0.3
    assert 256 <= len(view.loss.course.loss.x) <= 512
    assert view.close_up is None
    source.span = (100_000, 100_300)
    close_up = source.read().close_up
    assert close_up is not None
    assert list(close_up.loss.x) == [float(step) for step in range(100_000, 100_301)]
    assert close_up.time[0] == START + 10_000.0
    store.close(final=False)


def test_a_supervisor_that_cannot_write_for_a_full_disk_is_told(run: RunDirectory) -> None:
    store = fill(run, 10)
    me = Identity.of(os.getpid())
    assert me is not None
    store.set_meta(status="running", heartbeat=time.time() - 60, host=socket.gethostname())
    store.set_meta(supervisor_pid=me.pid, supervisor_start=me.start, boot_id=me.boot)
    store.commit()
    store.close(final=True)
    view = RunSource(run, free=lambda folder: 0).read()
    assert view.trouble == "the disk is full: nothing recorded for 1m00s"
    assert RunSource(run).read().trouble is None  # there is room: a clock that differs
