"""A run as of a moment, where clocks jump and samples are kept together; and what it may cost."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest

from batchtui.records import Event
from batchtui.runs import rollups
from batchtui.runs.directory import RunDirectory
from batchtui.runs.levels import memory_level
from batchtui.runs.moment import MomentReader
from batchtui.runs.reader import RunReader
from batchtui.runs.store import RunStore
from tests.runs.samples import sample, start, step

NewRun = Callable[..., RunDirectory]
BEGAN = 1.7e9
TICKS = 90_000  # a day and an hour: of the first seven hours single ticks are gone


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run whose n-th tick was n seconds after its begin, and has n bytes resident."""
    run = RunDirectory(tmp_path_factory.mktemp("long") / "a-001")
    run.path.mkdir()
    store = RunStore(run.database)
    store.set_meta(run=run.name, status="finished", started=BEGAN, ended=BEGAN + TICKS)
    store.add_start(start(time=BEGAN + 1))
    store.close()
    with closing(sqlite3.connect(run.database)) as db:
        newest = None
        for first in range(1, TICKS, 10_000):
            ticks = range(first, first + 10_000)
            db.executemany(
                "INSERT INTO machine (tick, time, load1, worker_resident, limit_total) "
                "VALUES (?, ?, ?, ?, 100)",
                [(tick, BEGAN + tick, float(tick), tick) for tick in ticks],
            )
            rollups.update(db, rollups.MACHINE, ticks, newest)
            rollups.forget(db, rollups.MACHINE, newest, ticks[-1])
            newest = ticks[-1]
        db.commit()
    return run


@pytest.mark.parametrize("at", [20, 100, 1000, 9_999, 20_000, 24_000, 24_500, 50_000, 89_999])
def test_samples_that_are_kept_together_tell_nothing_of_what_follows(
    long: RunDirectory, at: int
) -> None:
    reader = MomentReader(long, BEGAN + at + 0.5)
    machine = reader.latest_machine()
    assert machine is not None
    size = 1 if at >= rollups.MACHINE.kept_from(0, TICKS) else rollups.FANOUT
    last = at if size == 1 else at // size * size - 1  # of the last bucket that is over
    assert machine.time == BEGAN + last
    assert machine.load1 == pytest.approx(last - (min(size, last) - 1) / 2)
    assert isinstance(machine.worker_resident, int)
    assert reader.meta()["peak_bytes"] == last
    assert reader.meta()["heartbeat"] == BEGAN + last
    series = reader.machine_series(("load1",), BEGAN + at - 300)
    assert max(value for value in series.columns["load1"].high if value is not None) == last
    assert sum(series.count) == pytest.approx(min(300, at), abs=3 * rollups.FANOUT)


def test_before_the_first_sample_there_is_none(long: RunDirectory) -> None:
    reader = MomentReader(long, BEGAN + 0.5)
    assert reader.latest_machine() is None
    assert reader.summary().status == "starting"
    assert reader.summary().peak_bytes is None
    assert reader.machine_series(("load1",)).x == []


def test_a_clock_that_was_set_back_hides_no_step_that_was_there(new_run: NewRun) -> None:
    run = new_run()
    store = RunStore(run.database)
    times = [10, 20, 30, 5, 15, 25, 35]
    store.add_steps([step(n, time=BEGAN + time) for n, time in enumerate(times, start=1)])
    store.close(final=True)
    for moment, last in ((4, 0), (7, 4), (12, 4), (17, 5), (27, 6), (40, 7)):
        reader = MomentReader(run, BEGAN + moment)
        assert [one.step for one in reader.recent_steps(9)] == list(range(1, last + 1)), moment
        assert sum(reader.step_series(()).count) == last


def test_the_end_of_time_is_what_everybody_reads(new_run: NewRun) -> None:
    run = new_run()
    store = RunStore(run.database)
    store.set_meta(run=run.name, status="finished", started=BEGAN, ended=BEGAN + 100)
    store.add_start(start())
    store.add_steps([step(number, loss=1 / number, step_s=0.01) for number in range(1, 3000)])
    store.add_sample(sample(BEGAN + 3, gpus=2))
    store.close(final=True)
    reader, whole = MomentReader(run), RunReader(run)
    assert reader.extent() == (BEGAN, BEGAN + 100, True)
    assert reader.recent_steps(100) == whole.recent_steps(100)
    assert reader.step_series(("loss",)) == whole.step_series(("loss",))
    assert reader.latest_machine() == whole.latest_machine()
    assert reader.machine_series(("cpu",)) == whole.machine_series(("cpu",))


def test_the_newest_steps_are_not_read_to_find_early_ones(new_run: NewRun) -> None:
    run = new_run()
    store = RunStore(run.database)
    store.add_start(start())
    for first in range(1, 80_000, 20_000):
        store.add_steps([step(number, loss=1.0) for number in range(first, first + 20_000)])
        store.commit()
    store.close(final=True)

    def work(moment: float) -> int:
        """Count what SQLite does for a look, in thousands of its instructions."""
        reader, count = MomentReader(run, moment), 0

        def busy() -> int:
            nonlocal count
            count += 1
            return 0

        with reader.open():
            assert reader._db is not None
            reader._db.set_progress_handler(busy, 1000)
            reader.summary()
            reader.recent_steps(512)
            reader.step_series(("loss", "variance"), None, None, 256)
        return count

    early, middle, late = (work(BEGAN + at) for at in (2_000, 40_000, 79_000))
    assert max(early, middle, late) < 2 * min(early, middle, late) + 500


def test_a_level_that_fell_by_one_is_told_by_the_sample() -> None:
    def event(level: str, full: int, more: str = "") -> Event:
        message = f"GPU 1 is {full}% full: 1 GiB of 2 GiB{more}"
        return Event(time=0.0, level=level, kind="memory", message=message)

    gpu = sample(0.0, gpus=2)
    for card in gpu.gpus:
        card.used, card.total = 92, 100
    rose = [event("warning", 91), event("error", 97)]
    assert memory_level(rose, None) == ("critical", "GPU 1")
    assert memory_level(rose, gpu) == ("warning", "GPU 1")
    assert memory_level([*rose, event("info", 80, ": below")], gpu) == (None, None)
    other = Event(time=0.0, level="error", kind="memory", message="the kernel killed a process")
    assert memory_level([other], gpu) == (None, None)
