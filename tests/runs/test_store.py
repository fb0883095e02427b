"""The writer: what goes in comes out, once."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from batchtui.errors import StoreError
from batchtui.records import Checkpoint, Evaluation, Event, Step
from batchtui.runs import schema
from batchtui.runs.directory import RunDirectory
from batchtui.runs.journal import JournalTail, Position
from batchtui.runs.moment import MomentReader
from batchtui.runs.reader import RunReader
from batchtui.runs.rows import LogSize
from batchtui.runs.store import MAX_PENDING_SAMPLES, MAX_PENDING_STEPS, RunStore
from tests.runs.samples import noisy_step, sample, start, step


def test_everything_comes_back_equal(run: RunDirectory) -> None:
    source = random.Random(1)
    steps = [noisy_step(number, source) for number in range(1, 40)]
    evaluation = Evaluation(time=1.0, step=39, samples=2496, epoch=1, accuracy=0.5, eval_samples=9)
    checkpoint = Checkpoint(time=1.0, step=39, samples=2496, epoch=1, file="x.pt", bytes=1 << 40)
    failed = Checkpoint(time=2.0, step=39, samples=2496, epoch=1, error="disk full")
    event = Event(time=1.0, level="info", kind="started", message="[/] ½ \x1b[31m", step=3)
    store = RunStore(run.database)
    store.add_steps(steps)
    store.add_sample(sample(5.0, gpus=2))
    store.add_evaluation(evaluation)
    store.add_checkpoint(checkpoint)
    store.add_checkpoint(failed)
    store.add_event(event)
    store.add_start(start(device="cuda:0"))
    store.set_meta(status="running", config={"a": [1, None, "½"]}, loss=float("nan"))
    store.close()
    reader = RunReader(run)
    assert reader.recent_steps(1000) == steps
    assert reader.recent_steps(2) == steps[-2:]
    assert reader.latest_machine() == sample(5.0, gpus=2)
    assert reader.evaluations() == [evaluation]
    assert reader.checkpoints() == [checkpoint, failed]
    assert reader.checkpoints(limit=1) == [failed]
    assert reader.events() == [(1, event)]
    (rank,) = reader.ranks()
    assert (rank.start, rank.step) == (start(device="cuda:0"), 39)
    assert rank.peak == max(one.peak for one in steps if one.peak is not None)
    meta = reader.meta()
    assert meta["config"] == {"a": [1, None, "½"]}
    assert meta["loss"] is None


def test_events_are_paged(run: RunDirectory) -> None:
    store = RunStore(run.database)
    for number in range(10):
        store.add_event(Event(time=1.0, level="info", kind="note", message=str(number)))
    store.close()
    reader = RunReader(run)

    def messages(**choice: int) -> list[str]:
        return [event.message for _, event in reader.events(**choice)]

    assert messages(limit=3) == ["7", "8", "9"]
    assert messages(limit=3, after_id=0) == ["0", "1", "2"]
    assert messages(limit=3, after_id=3) == ["3", "4", "5"]
    assert messages(after_id=10) == []


def test_a_step_again_takes_the_place_of_the_first(run: RunDirectory) -> None:
    store = RunStore(run.database)
    store.add_steps([step(number, loss=9.0) for number in range(1, 100)])
    store.commit()
    store.add_steps([step(number, loss=1.0) for number in range(1, 100)])
    store.close()
    series = RunReader(run).step_series(["loss"], width=4)
    assert sum(series.count) == 99
    assert set(series.columns["loss"].high) == {1.0}


def test_other_ranks_leave_their_memory_and_progress(run: RunDirectory) -> None:
    store = RunStore(run.database)
    store.add_start(start(rank=0))
    store.add_start(start(rank=1, pid=77, device="cuda:1"))
    store.add_steps([step(1, peak=5, reserved=7), step(2, peak=3, reserved=9)], rank=1)
    store.commit()
    store.add_steps([step(3, peak=4), step(2)], rank=1)
    store.add_steps([step(9)], rank=2)  # never said who it is
    store.close()
    reader = RunReader(run)
    first, second = reader.ranks()
    assert (first.step, first.peak) == (None, None)
    assert (second.start.pid, second.step) == (77, 3)
    assert (second.allocated, second.reserved, second.peak) == (None, 9, 5)
    assert reader.recent_steps(10) == []


def test_what_did_not_change_is_not_written(run: RunDirectory) -> None:
    store = RunStore(run.database)
    store.set_meta(status="running", steps=1, config={"a": 1})
    store.commit()
    changes = store._db.total_changes
    store.set_meta(status="running", steps=2, config={"a": 1})
    store.commit()
    assert store._db.total_changes == changes + 1
    store.set_meta(steps=3)
    store.set_meta(steps=2)  # back to what is on disk
    store.commit()
    assert store._db.total_changes == changes + 1
    assert store.meta() == {"status": "running", "steps": 2, "config": {"a": 1}}
    store.close()


def test_positions_are_committed_with_the_records(run: RunDirectory) -> None:
    store = RunStore(run.database)
    assert store.position(0) is None
    store.set_position(0, Position(2, 77))
    assert store.position(0) is None  # not yet
    store.commit()
    assert store.position(0) == Position(2, 77)
    store.close()
    store = RunStore(run.database)
    assert store.position(0) == Position(2, 77)
    assert store.position(1) is None
    store.close()


def test_ticks_go_on_after_a_restart(run: RunDirectory) -> None:
    for _ in range(3):
        store = RunStore(run.database)
        store.add_sample(sample(1.0))
        store.add_sample(sample(2.0))
        store.close()
    assert RunReader(run).machine_series(["cpu"]).x == [1.0, 2.0] * 3


def test_what_waits_is_bounded_and_drops_are_counted(run: RunDirectory) -> None:
    store = RunStore(run.database)
    store.add_steps([step(number) for number in range(1, MAX_PENDING_STEPS + 11)])
    for number in range(MAX_PENDING_SAMPLES + 5):
        store.add_sample(sample(float(number)))
    assert store.dropped == 15
    assert store.pending_steps == MAX_PENDING_STEPS
    store.close()
    assert RunReader(run).step_series([]).x[0] == 11


def test_one_unstorable_record_does_not_block_the_rest(run: RunDirectory) -> None:
    store = RunStore(run.database)
    store.set_meta(status="running")
    store.add_steps([step(1, peak=1 << 70), step(2)])
    with pytest.raises(StoreError, match=r"run\.db: cannot store a record: [^\n]*\Z"):
        store.commit()
    assert store.dropped == 2
    store.add_steps([step(3)])
    store.add_event(Event(time=1.0, level="info", kind="note", message=os.fsdecode(b"caf\xe9")))
    store.set_meta(config_path=os.fsdecode(b"caf\xe9.yaml"))
    store.close()
    reader = RunReader(run)
    assert [one.step for one in reader.recent_steps(9)] == [3]
    assert reader.events()[0][1].message == "caf?"
    assert os.fsencode(reader.meta()["config_path"]) == b"caf\xe9.yaml"
    assert reader.meta()["status"] == "running"


@pytest.mark.parametrize("content", [b"just text, and more of it than a header " * 20, b"SQLite"])
def test_a_file_that_is_not_ours_is_refused_and_kept(run: RunDirectory, content: bytes) -> None:
    run.database.write_bytes(content)
    with pytest.raises(StoreError, match=r"run\.db: file is not a database\Z"):
        RunStore(run.database)
    assert run.database.read_bytes() == content


def test_a_newer_or_foreign_database_is_refused_and_kept(run: RunDirectory) -> None:
    db = sqlite3.connect(run.database)
    db.execute("CREATE TABLE t (x)")
    db.commit()
    before = run.database.read_bytes()
    with pytest.raises(StoreError, match="not a run of batchtui"):
        RunStore(run.database)
    assert run.database.read_bytes() == before
    db.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    db.commit()
    with pytest.raises(StoreError, match=r"newer batchtui \(format 2, this one knows 1\): upgrade"):
        RunStore(run.database)
    db.close()


def test_a_folder_that_is_missing_or_a_directory_in_place_is_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere" / "run.db", tmp_path):
        with pytest.raises(StoreError, match="unable to open database file"):
            RunStore(path)


def test_an_ended_run_is_one_plain_file(run: RunDirectory) -> None:
    store = RunStore(run.database)
    store.add_steps([step(number) for number in range(1, 1000)])
    store.commit()
    assert Path(f"{run.database}-wal").exists()
    store.close(final=True)
    assert [path.name for path in run.path.glob("run.db*")] == ["run.db"]
    db = sqlite3.connect(run.database)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    db.close()
    store = RunStore(run.database)  # and may be taken up again
    store.add_steps([step(1000)])
    store.close(final=True)
    assert RunReader(run).recent_steps(1) == [step(1000)]


def test_a_reader_that_stays_delays_the_end_and_does_not_spoil_it(
    run: RunDirectory,
) -> None:
    store = RunStore(run.database, leave_wal_within=0.2)
    store.add_steps([step(1)])
    store.commit()
    reader = RunReader(run)
    with reader.open():
        assert reader.recent_steps(1) == [step(1)]
        store.add_steps([step(2)])
        begin = time.monotonic()
        store.close(final=True)
        assert time.monotonic() - begin < 2.0
        assert reader.recent_steps(1) == [step(1)]  # one consistent look
    assert reader.recent_steps(1) == [step(2)]


def test_a_pending_record_is_not_shared_with_the_caller(run: RunDirectory) -> None:
    store = RunStore(run.database)
    steps: list[Step] = [step(1)]
    store.add_steps(steps)
    steps.append(step(2))
    store.close()
    assert RunReader(run).recent_steps(9) == [step(1)]


def test_a_tail_that_begins_anew_adds_nothing_twice(run: RunDirectory) -> None:
    text = "".join(json.dumps({"kind": "step", **asdict(step(n))}) + "\n" for n in range(1, 101))
    (run.journals / "rank-0.jsonl").write_text(text)
    store = RunStore(run.database)
    for _ in range(2):
        records = JournalTail(run.journals, 0).read()
        store.add_steps([record for record in records if isinstance(record, Step)])
        store.commit()
    store.close()
    assert RunReader(run).recent_steps(1000) == [step(n) for n in range(1, 101)]


def test_a_run_of_before_there_were_log_sizes_is_recorded_further(run: RunDirectory) -> None:
    RunStore(run.database).close()
    db = sqlite3.connect(run.database)
    db.execute("DROP TABLE log_sizes")
    db.close()
    store = RunStore(run.database)
    store.add_log_size(1.0, 10)
    store.add_steps([step(1)])
    store.commit()
    store.close()
    assert RunReader(run).recent_steps(1) == [step(1)]
    assert MomentReader(run).log_sizes(5) == [LogSize(1.0, 10)]
