"""A reader that remembers says at each look what one that has just been opened says."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchtui.records import LaunchSpec
from batchtui.runs.directory import RunDirectory
from batchtui.runs.reader import RunReader
from batchtui.runs.remembered import Remembered
from batchtui.runs.store import RunStore
from tests.runs.samples import noisy_step, step

NewRun = Callable[..., RunDirectory]
COLUMNS = ("time", "loss", "peak")


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_look_at_a_run_that_grows(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A parent, gaps, buckets that double, windows that move back and forth."""
    folder = tmp_path_factory.mktemp("runs")
    parent, run = RunDirectory(folder / "a-001"), RunDirectory(folder / "a-002")
    source = random.Random(data.draw(st.integers(0, 1 << 30)))
    newest = data.draw(st.sampled_from([0, 3, 100, 1000]))
    for one, before in ((parent, None), (run, parent.name)):
        one.path.mkdir()
        spec = LaunchSpec(run=one.name, config={}, cwd="/", python="python", parent=before)
        one.write_launch(spec)
    store = RunStore(parent.database)
    store.add_steps([noisy_step(number, source) for number in range(1, newest + 5)])
    store.close(final=True)
    store = RunStore(run.database)
    reader = RunReader(run, remembered=Remembered())
    for _ in range(data.draw(st.integers(2, 5))):
        length = data.draw(st.sampled_from([0, 1, 3, 16, 17, 300]))
        gap = data.draw(st.sampled_from([0, 0, 0, 1, 40, 5000]))
        first = newest + 1 + gap
        store.add_steps([noisy_step(number, source) for number in range(first, first + length)])
        store.commit()
        newest = first + length - 1 if length else newest
        begin = data.draw(st.none() | st.integers(0, newest + 20))
        last = data.draw(st.none() | st.none() | st.integers(begin or 0, newest + 20))
        width = data.draw(st.sampled_from([4, 40, 200]))
        for window in ((None, None, 40), (begin, None, width), (begin, last, width)):
            seen, now = (one.step_series(COLUMNS, *window) for one in (reader, RunReader(run)))
            assert (seen.x, seen.count) == (now.x, now.count)
            for column in COLUMNS:
                ours, theirs = seen.columns[column], now.columns[column]
                assert (ours.low, ours.high) == (theirs.low, theirs.high)
                assert ours.mean == pytest.approx(theirs.mean, nan_ok=True)  # sums by other parts
        assert reader.recent_steps(50) == RunReader(run).recent_steps(50)
    store.close()


def test_another_run_of_that_name(new_run: NewRun) -> None:
    run = new_run("a-001")
    store = RunStore(run.database)
    store.add_steps([step(number, loss=1.0) for number in range(1, 401)])
    store.close(final=True)
    reader = RunReader(run, remembered=Remembered())
    assert sum(reader.step_series(["loss"], width=20).count) == 400
    run.database.unlink()
    store = RunStore(run.database)
    store.add_steps([step(number, loss=2.0) for number in range(1, 301)])
    store.close(final=True)
    series = reader.step_series(["loss"], width=20)
    assert set(series.columns["loss"].mean) == {2.0}
    assert [one.loss for one in reader.recent_steps(500)] == [2.0] * 300


def test_what_a_parent_said_stays_when_it_is_deleted(new_run: NewRun) -> None:
    parent, run = new_run("a-001"), new_run("a-002", parent="a-001")
    for one, numbers in ((parent, range(1, 11)), (run, range(11, 21))):
        store = RunStore(one.database)
        store.add_steps([step(number) for number in numbers])
        store.close(final=True)
    reader = RunReader(run, remembered=Remembered())
    assert len(reader.step_series(["loss"], width=100).x) == 20
    parent.database.unlink()
    assert len(reader.step_series(["loss"], width=100).x) == 20
