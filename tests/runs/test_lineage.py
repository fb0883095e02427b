"""A resumed run continues its parent's step numbers: one chart, with marks where runs begin."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable

import pytest

from batchtui.records import Step
from batchtui.runs.directory import RunDirectory
from batchtui.runs.lineage import MAX_ANCESTORS
from batchtui.runs.reader import RunReader
from batchtui.runs.series import Boundary
from batchtui.runs.store import RunStore
from tests.runs.samples import step
from tests.runs.test_rollups import COLUMNS, assert_equal, brute_force

NewRun = Callable[..., RunDirectory]


def train(run: RunDirectory, first: int, last: int, batch_size: int = 64) -> list[Step]:
    """Train steps first…last in a run and end it."""
    steps = [
        step(number, loss=batch_size + number / 10, batch=batch_size)
        for number in range(first, last + 1)
    ]
    store = RunStore(run.database)
    store.set_meta(batch_size=batch_size, first_step=first - 1)
    store.add_steps(steps)
    store.close(final=True)
    return steps


@pytest.mark.parametrize("width", [1, 7, 50, 200, 5000])
def test_a_chain_is_one_series(new_run: NewRun, width: int) -> None:
    """What a parent trained beyond the checkpoint was trained again, and is not shown."""
    first, second, third = (
        new_run("a-001"),
        new_run("a-002", parent="a-001"),
        new_run("a-003", parent="a-002"),
    )
    steps = {one.step: one for one in train(first, 1, 1300, 32)}
    steps |= {one.step: one for one in train(second, 1001, 2700, 64)}
    steps |= {one.step: one for one in train(third, 2501, 4000, 128)}
    reader = RunReader(third)
    assert_equal(
        reader.step_series(COLUMNS, width=width), brute_force(steps.values(), 1, 4001, width)
    )
    for begin, end in ((900, 1100), (1, 1000), (1001, 2500), (2600, 2600), (1, 9999), (0, 1)):
        stop = min(end, 4000) + 1
        assert_equal(
            reader.step_series(COLUMNS, begin, end, width),
            brute_force(steps.values(), max(begin, 1), stop, width),
        )
    assert reader.step_series(["loss"], 5000, 6000).x == []
    assert reader.lineage() == [
        Boundary(1, "a-001", 32),
        Boundary(1001, "a-002", 64),
        Boundary(2501, "a-003", 128),
    ]
    assert [one.step for one in RunReader(second).recent_steps(1)] == [2700]


def test_before_its_first_step_a_run_shows_its_parents(new_run: NewRun) -> None:
    parent, run = new_run("a-001"), new_run("a-002", parent="a-001")
    train(parent, 1, 120)
    store = RunStore(run.database)
    store.close()
    assert sum(RunReader(run).step_series(["loss"]).count) == 120  # has not said where it begins
    store = RunStore(run.database)
    store.set_meta(first_step=100)
    store.close()
    reader = RunReader(run)
    assert sum(reader.step_series(["loss"]).count) == 100
    train(run, 101, 103)
    assert sum(reader.step_series(["loss"]).count) == 103


@pytest.mark.parametrize("rotten", ["{", '"x"'])
def test_a_parent_with_rotten_state_is_not_in_the_way(new_run: NewRun, rotten: str) -> None:
    parent, run = new_run("a-001"), new_run("a-002", parent="a-001")
    train(parent, 1, 10)
    train(run, 11, 20)
    db = sqlite3.connect(parent.database)
    db.execute("UPDATE meta SET value = ?", [rotten])
    db.commit()
    db.close()
    assert 11 in RunReader(run).step_series(["loss"], width=100).x


def test_a_missing_parent_is_not_shown(new_run: NewRun) -> None:
    grandparent = new_run("a-001")
    parent, run = new_run("a-002", parent="a-001"), new_run("a-003", parent="a-002")
    train(grandparent, 1, 10)
    train(parent, 11, 20)
    train(run, 21, 30)
    reader = RunReader(run)
    assert len(reader.lineage()) == 3
    shutil.rmtree(grandparent.path)
    assert reader.step_series(["loss"], width=100).x == list(range(11, 31))
    assert len(reader.lineage()) == 2
    parent.database.write_bytes(b"torn")
    assert reader.step_series(["loss"], width=100).x == list(range(21, 31))
    assert RunReader(run).lineage() == [Boundary(21, "a-003", 64)]


@pytest.mark.parametrize("parent", ["a-001", "../a-002", "", "/etc", "none-001", "."])
def test_a_parent_that_cannot_be(new_run: NewRun, parent: str) -> None:
    run = new_run("a-001", parent=parent)
    train(run, 1, 10)
    assert sum(RunReader(run).step_series(["loss"]).count) == 10
    assert len(RunReader(run).lineage()) == 1


def test_parents_of_each_other(new_run: NewRun) -> None:
    one, other = new_run("a-001", parent="a-002"), new_run("a-002", parent="a-001")
    train(one, 1, 10)
    train(other, 11, 20)
    assert sum(RunReader(other).step_series(["loss"]).count) == 20


def test_a_parent_that_counts_anew_is_shown_where_it_is_earlier(new_run: NewRun) -> None:
    parent, run = new_run("a-001"), new_run("a-002", parent="a-001")
    train(parent, 1, 50)
    train(run, 1, 10)
    assert len(RunReader(run).lineage()) == 1


def test_a_long_chain_is_cut(new_run: NewRun) -> None:
    total = MAX_ANCESTORS + 5
    for number in range(1, total + 1):
        run = new_run(f"a-{number:03d}", parent=f"a-{number - 1:03d}")
        train(run, 10 * number - 9, 10 * number)
    assert len(RunReader(run).lineage()) == MAX_ANCESTORS + 1
    series = RunReader(run).step_series(["loss"], width=2000)
    assert sum(series.count) == 10 * (MAX_ANCESTORS + 1)
    assert series.x[-1] == 10 * total
