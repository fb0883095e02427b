"""A table of ticks stops growing, and what it forgot is still there in larger buckets."""

from __future__ import annotations

import dataclasses
import sqlite3
from contextlib import closing
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from batchtui.runs import rollups, schema
from batchtui.runs.store import RunStore
from tests.runs.samples import sample

KEEP = 32
TABLE = dataclasses.replace(rollups.MACHINE, keep=KEEP)


def fill(batches: list[int]) -> tuple[sqlite3.Connection, int]:
    """Write ticks 1, 2, … in batches, tick n with the time 1000 + n and a load of n."""
    db = sqlite3.connect(":memory:")
    schema.create(db)
    newest = None
    tick = 0
    for batch in batches:
        ticks = range(tick + 1, tick + batch + 1)
        db.executemany(
            "INSERT INTO machine (tick, time, load1) VALUES (?, ?, ?)",
            [(one, 1000.0 + one, float(one)) for one in ticks],
        )
        rollups.update(db, TABLE, ticks, newest)
        rollups.forget(db, TABLE, newest, ticks[-1])
        newest = tick = ticks[-1]
    return db, tick


batches = st.lists(st.integers(1, 40), min_size=1, max_size=120)


@settings(deadline=None, max_examples=60)
@given(batches=batches)
def test_every_level_keeps_a_bounded_number_of_rows(batches: list[int]) -> None:
    db, newest = fill(batches)
    for level in (0, *rollups.LEVELS):
        name, _ = TABLE.at(level)
        (rows,) = db.execute(f"SELECT count(*) FROM {name}").fetchone()
        assert rows <= KEEP + 2 * rollups.FANOUT
    (kept,) = db.execute("SELECT count(*) FROM machine").fetchone()
    assert kept >= min(newest, KEEP)


@settings(deadline=None, max_examples=60)
@given(batches=batches, place=st.floats(0, 1))
def test_the_finest_buckets_that_are_left_tell_of_every_tick(
    batches: list[int], place: float
) -> None:
    db, newest = fill(batches)
    size = rollups.finest(TABLE, int(place * newest), newest)
    first = int(place * newest) // size * size
    rows = list(rollups.window(db, TABLE, ("load1",), first, newest + 1, size))
    assert sum(row[1] for row in rows) == newest + 1 - max(1, first)
    assert min(row[2] for row in rows) == max(1, first)
    assert max(row[3] for row in rows) == newest


@settings(deadline=None, max_examples=60)
@given(batches=batches, place=st.floats(0, 1))
def test_a_time_is_found_within_the_bucket_that_is_left_of_it(
    batches: list[int], place: float
) -> None:
    db, newest = fill(batches)
    tick = max(1, int(place * newest))
    found = rollups.first_since(db, TABLE, 1000.0 + tick, newest)
    size = rollups.finest(TABLE, found, newest)
    if size == 1:
        assert found == (tick if tick > 1 else 0)
    else:
        # The tick before lies in that bucket: this one may be the first of the next.
        assert found < tick <= found + size


def test_the_store_forgets_in_the_commit_that_makes_a_tick_too_old(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    keep = rollups.MACHINE.keep
    assert keep is not None
    store = RunStore(path)
    store.add_sample(sample(1.0, gpus=2))
    store.close()
    with closing(sqlite3.connect(path)) as db:  # as if it had gone on for all those hours
        last = keep + 2 * rollups.FANOUT - 1
        db.execute("INSERT INTO machine (tick, time) VALUES (?, 2.0)", [last])
        db.commit()
    store = RunStore(path)
    store.add_sample(sample(3.0, gpus=2))
    store.close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT tick FROM machine").fetchall() == [(last,), (last + 1,)]
        assert db.execute("SELECT DISTINCT tick FROM gpu").fetchall() == [(last + 1,)]
