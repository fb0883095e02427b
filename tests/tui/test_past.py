"""Memory and processor over the clock, from the runs before to this one."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchtui.records import GpuSample, LaunchSpec, MachineSample
from batchtui.runs.directory import RunDirectory
from batchtui.runs.store import RunStore
from batchtui.tui.source import RunSource
from batchtui.tui.view import Mark

START, GIB = 1_800_000_000.0, 1 << 30


def recorded(
    root: Path, number: int, began: float, seconds: int, size: int, **more: object
) -> Path:
    """Make a run that was sampled every second, its GPU holding `number` GiB."""
    run = RunDirectory(root / f"a-{number:03d}")
    run.path.mkdir()
    parent = f"a-{number - 1:03d}" if number > 1 else None
    run.write_launch(LaunchSpec(run=run.name, config={}, cwd="/", python="python", parent=parent))
    store = RunStore(run.database)
    meta = {"run": run.name, "status": "stopped", "host": "here", "started": START + began}
    store.set_meta(**(meta | {"batch_size": size, "device": "cuda:0"} | more))
    for second in range(seconds):
        gpu = GpuSample(index=0, used=number * GIB, worker_used=GIB, total=24 * GIB)
        store.add_sample(
            MachineSample(
                time=START + began + 1 + second, cpu=0.25 * number, cores=(0.5, 0.5),
                worker_cpu=0.5, limit_total=8 * GIB, limit_used=GIB, gpus=(gpu,),
            )
        )  # fmt: skip
    store.commit()
    store.close(final=True)
    return run.path


def used(path: Path) -> list[float | None]:
    """Return the memory in use over time, in GiB; None is a gap."""
    layers = dict(RunSource(RunDirectory(path)).read().memory.history.layers)
    sums = zip(layers["a"].mean, layers["other"].mean, strict=True)
    return [None if one is None or two is None else (one + two) / GIB for one, two in sums]


def test_a_restart_goes_on_with_the_charts_of_memory_and_processor(tmp_path: Path) -> None:
    recorded(tmp_path, 1, 0, 100, 64)
    recorded(tmp_path, 2, 110, 50, 128)
    last = recorded(tmp_path, 3, 170, 30, 128)
    view = RunSource(RunDirectory(last)).read()
    assert used(last) == [*[1.0] * 100, None, *[2.0] * 50, None, *[3.0] * 30]
    marks = (Mark(START + 110, "128"), Mark(START + 170, ""))
    assert view.memory.history.marks == view.cpu.history.marks == marks
    assert view.memory.history.window.start == START + 1
    busy = dict(view.cpu.history.layers)["other"].mean
    assert [busy[50], busy[120], busy[-1]] == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("more", [{"host": "elsewhere"}, {"started": START - 900}])
def test_what_lies_long_ago_or_elsewhere_is_another_chart(
    tmp_path: Path, more: dict[str, object]
) -> None:
    recorded(tmp_path, 1, -900, 100, 64, **more)
    last = recorded(tmp_path, 2, 10 if "started" in more else -790, 50, 128)
    assert used(last) == [2.0] * 50
    assert RunSource(RunDirectory(last)).read().memory.history.marks == ()


def test_a_parent_that_was_deleted_is_no_trouble(tmp_path: Path) -> None:
    last = recorded(tmp_path, 2, 10, 50, 128)
    assert used(last) == [2.0] * 50
