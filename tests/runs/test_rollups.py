"""Whatever was written in whatever order: a chart shows the least and the greatest raw value."""

from __future__ import annotations

import math
import random
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchtui.records import LaunchSpec, Step
from batchtui.runs import rollups
from batchtui.runs.directory import RunDirectory
from batchtui.runs.reader import RunReader
from batchtui.runs.series import Series, bucket_size
from batchtui.runs.store import RunStore
from tests.runs.samples import noisy_step, sample, step

COLUMNS = ("time", "samples", "loss", "step_s", "nonfinite", "peak")


def make_run(folder: Path) -> RunDirectory:
    run = RunDirectory(folder)
    run.write_launch(LaunchSpec(run=run.name, config={}, cwd="/", python="python"))
    return run


def brute_force(steps: Iterable[Step], first: int, stop: int, width: int) -> dict[float, Any]:
    """Sum up raw steps in plain Python: {x: {column: (low, high, mean)} and the count}."""
    size = bucket_size(first, stop, width)
    buckets: dict[float, list[Step]] = {}
    for one in sorted(steps, key=lambda one: one.step):
        if first <= one.step < stop:
            buckets.setdefault(max(first, one.step // size * size), []).append(one)
    result = {}
    for x, inside in buckets.items():
        bands: dict[str, Any] = {"count": len(inside)}
        for column in COLUMNS:
            values = [v for one in inside if (v := getattr(one, column)) is not None]
            bands[column] = (
                (min(values), max(values), sum(values) / len(values)) if values else (None,) * 3
            )
        result[x] = bands
    return result


def assert_equal(series: Series, expected: dict[float, Any]) -> None:
    assert series.x == list(expected)
    assert series.count == [bands["count"] for bands in expected.values()]
    for column in COLUMNS:
        band = series.columns[column]
        assert band.low == [bands[column][0] for bands in expected.values()], column
        assert band.high == [bands[column][1] for bands in expected.values()], column
        for mean, bands in zip(band.mean, expected.values(), strict=True):
            if bands[column][2] is None:
                assert mean is None
            else:
                assert mean == pytest.approx(bands[column][2], rel=1e-9, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_window_of_any_history_is_true(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Gaps, missing values, replayed and late steps, a store reopened in the middle of a bucket."""
    run = make_run(tmp_path_factory.mktemp("run"))
    source = random.Random(data.draw(st.integers(0, 1 << 30)))
    truth: dict[int, Step] = {}
    newest = data.draw(st.sampled_from([0, 1, 15, 16, 4095, 10**6, 1 << 40]))
    store = RunStore(run.database)
    for _ in range(data.draw(st.integers(1, 6))):
        back = data.draw(st.sampled_from([0, 0, 0, 1, 7, 16, 300]))
        length = data.draw(st.sampled_from([1, 2, 15, 16, 17, 255, 256, 500, 5000]))
        gap = data.draw(st.sampled_from([0, 0, 1, 16, 300, 70_000]))
        density = data.draw(st.sampled_from([1.0, 1.0, 0.5, 0.01]))
        begin = max(0, newest + 1 + gap - back)
        batch = [
            noisy_step(number, source)
            for number in range(begin, begin + length)
            if density == 1.0 or source.random() < density
        ]
        if data.draw(st.booleans()):
            source.shuffle(batch)
        store.add_steps(batch)
        if data.draw(st.booleans()):
            store.commit()
        elif data.draw(st.booleans()):
            store.close()
            store = RunStore(run.database)
        truth |= {one.step: one for one in batch}
        newest = max([newest, *truth])
    store.commit()
    reader = RunReader(run)
    if not truth:
        assert reader.step_series(COLUMNS).x == []
        return
    oldest, newest = min(truth), max(truth)
    for _ in range(4):
        width = data.draw(st.sampled_from([1, 2, 10, 80, 200]))
        first = data.draw(st.none() | st.integers(oldest - 20, newest + 20))
        last = data.draw(st.none() | st.integers(oldest - 20, newest + 20))
        begin = oldest if first is None else max(oldest, first)
        stop = newest + 1 if last is None else min(newest, last) + 1
        series = reader.step_series(COLUMNS, first, last, width)
        assert_equal(series, brute_force(truth.values(), begin, stop, width))
    store.close()


@given(
    first=st.integers(0, 1 << 40),
    span=st.integers(1, 1 << 40),
    width=st.integers(1, 1000),
)
def test_a_window_has_width_to_twice_width_buckets(first: int, span: int, width: int) -> None:
    size = bucket_size(first, first + span, width)
    buckets = (first + span - 1) // size - first // size + 1
    assert buckets <= 2 * width
    assert buckets >= min(width, span)


@given(
    first=st.integers(0, 1 << 30),
    span=st.integers(0, 1 << 30),
    level=st.integers(0, rollups.LEVELS[-1]),
)
def test_a_cover_is_seamless_and_short(first: int, span: int, level: int) -> None:
    parts = rollups.cover(first, first + span, level)
    position = first
    for part, begin, end in parts:
        assert begin == position
        assert begin < end
        unit = rollups.FANOUT**part
        assert begin % unit == end % unit == 0
        if part < level:
            assert (end - begin) // unit <= 2 * rollups.FANOUT
        position = end
    assert position == first + span


def test_what_a_chart_reads_does_not_grow_with_the_run(tmp_path: Path) -> None:
    """Counted in SQLite's own steps, which don't depend on how busy the machine is."""
    work = []
    for length in (4_000, 130_000):
        folder = tmp_path / str(length)
        folder.mkdir()
        run = make_run(folder)
        store = RunStore(run.database)
        for begin in range(1, length + 1, 10_000):
            stop = min(begin + 10_000, length + 1)
            store.add_steps([step(number, loss=1.0) for number in range(begin, stop)])
            store.commit()
        reader = RunReader(run)
        with reader.open():
            count = 0

            def tick() -> int:
                nonlocal count
                count += 1
                return 0

            assert reader._db is not None
            reader._db.set_progress_handler(tick, 100)
            reader.step_series(["loss"], width=100)
        work.append(count)
        store.close()
    assert work[1] < 3 * work[0]


def test_values_at_the_edge_of_what_sqlite_holds(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    store = RunStore(run.database)
    huge = (1 << 62) + 1
    store.add_steps(
        [step(n, peak=huge, loss=math.inf if n % 2 else -math.inf) for n in range(1, 600)]
    )
    store.commit()
    store.close()
    series = RunReader(run).step_series(["peak", "loss"], width=10)
    assert set(series.columns["peak"].high) == {huge}
    assert series.columns["peak"].mean[0] == pytest.approx(huge)
    assert set(series.columns["loss"].low) == {-math.inf}
    assert series.columns["loss"].mean[0] is None  # no number, and no exception


def test_a_gpu_that_comes_and_goes(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    store = RunStore(run.database)
    for tick in range(1, 1001):
        gpus = 2 if tick <= 100 or tick > 900 else 1
        store.add_sample(sample(float(tick), gpus, cpu=tick / 1000))
        if tick % 7 == 0:
            store.commit()
        if tick in (57, 500):
            store.close()
            store = RunStore(run.database)
    store.close()
    reader = RunReader(run)
    for index, counts in ((0, 1000), (1, 200), (2, 0)):
        series = reader.gpu_series(index, ["used", "power_w"], width=20)
        assert sum(series.count) == counts
        assert set(series.columns["power_w"].mean) <= {200.5}
    series = reader.machine_series(["cpu"], width=20)
    assert series.x[0] == 1.0
    assert series.columns["cpu"].high[-1] == 1.0
    assert 20 <= len(series.x) <= 40


@settings(max_examples=25, deadline=None)
@given(
    jumps=st.lists(st.tuples(st.integers(1, 400), st.integers(-5000, 5000)), max_size=5),
    since=st.integers(-6000, 8000),
)
def test_since_means_after_the_last_earlier_sample(
    jumps: list[tuple[int, int]], since: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run = make_run(tmp_path_factory.mktemp("run"))
    store = RunStore(run.database)
    times: list[float] = []
    clock = 0.0
    for length, jump in jumps:
        times += [clock + second for second in range(length)]
        clock = times[-1] + jump
    for index, time in enumerate(times):
        store.add_sample(sample(time, load1=float(index)))
        if index % 500 == 499:
            store.commit()
    store.close()
    earlier = [index for index, time in enumerate(times) if time < since]
    expected = len(times) - (earlier[-1] + 1 if earlier else 0)
    series = RunReader(run).machine_series(["load1"], since=since, width=3)
    assert sum(series.count) == expected
    assert not expected or series.columns["load1"].high[-1] == len(times) - 1


def test_an_unknown_column_is_a_programming_error(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    RunStore(run.database).close()
    with pytest.raises(ValueError, match="'los' is no column of steps: time, samples"):
        RunReader(run).step_series(["los"])


def test_every_rollup_column_is_a_column(tmp_path: Path) -> None:
    RunStore(tmp_path / "run.db").close()
    db = sqlite3.connect(tmp_path / "run.db")
    for table in (rollups.STEPS, rollups.MACHINE, rollups.GPU):
        known = {row[1]: row[2] for row in db.execute(f"PRAGMA table_info({table.name})")}
        keys = {table.key, table.group, "cores"}
        assert set(known) - keys == set(table.columns)
        assert all(known[column] in ("REAL", "INTEGER") for column in table.columns)
    db.close()
