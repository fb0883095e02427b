"""The worker's writer, the tail and the store together: what was trained is what is kept."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchtui.records import Note, Record, Step
from batchtui.runs.directory import RunDirectory
from batchtui.runs.journal import JournalTail
from batchtui.runs.reader import RunReader
from batchtui.runs.store import RunStore
from batchtui.train.journal import Journal
from tests.runs.samples import noisy_step, step


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    bursts=st.lists(st.integers(1, 40), min_size=1, max_size=20),
    rotate_bytes=st.sampled_from([1, 1000, 20_000]),
    limit=st.integers(1, 200),
)
def test_rotated_and_deleted_under_way_nothing_is_lost(
    seed: int,
    bursts: list[int],
    rotate_bytes: int,
    limit: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    source = random.Random(seed)
    journal = Journal(folder, 0, rotate_bytes)
    tail = JournalTail(folder, 0)
    written: list[Record] = []
    found: list[Record] = []
    number = 0
    for burst in bursts:
        for _ in range(burst):
            number += 1
            record = noisy_step(number, source)
            journal.write(record)
            written.append(record)
        if source.random() < 0.5:
            note = Note(time=1.0, message="½\n" * source.randrange(1000))
            journal.write(note)
            written.append(note)
        if source.random() < 0.5:
            found += tail.read(limit)
            tail.delete_ingested()
        if source.random() < 0.3:
            tail = JournalTail(folder, 0, tail.position)
    journal.close()
    while True:
        found += tail.read(limit)
        tail.delete_ingested()
        if tail.caught_up:
            break
    assert found == written
    assert journal.dropped == tail.bad_lines == 0
    assert len(list(folder.iterdir())) == 1


def test_not_a_number_is_not_measured(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 0)
    nan, infinity = float("nan"), float("inf")
    journal.write(step(1, loss=nan, nonfinite=True, grad_norm=infinity, lr=-infinity, step_s=0.5))
    journal.close()
    assert JournalTail(tmp_path, 0).read() == [step(1, nonfinite=True, step_s=0.5)]


def test_a_worker_killed_while_it_writes(run: RunDirectory) -> None:
    """kill -9 between any two bytes; a second worker goes on in the same file."""
    code = """
        import sys
        from pathlib import Path
        from batchtui.train.journal import Journal
        from tests.runs.samples import step
        journal = Journal(Path(sys.argv[1]), 0)
        journal._written = -1e9
        number = int(sys.argv[2])
        print("ready", flush=True)
        while True:
            journal.write(step(number))
            journal.flush()
            number += 1
    """
    store = RunStore(run.database)
    tail = JournalTail(run.journals, 0)
    found: list[Step] = []

    def ingest() -> None:
        records = [record for record in tail.read(700) if isinstance(record, Step)]
        found.extend(records)
        store.add_steps(records)
        store.set_position(0, tail.position)
        store.commit()

    for _ in range(3):
        first = len(found) + 1
        worker = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), str(run.journals), str(first)],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
        )
        assert worker.stdout is not None
        worker.stdout.readline()
        while len(found) < first + 3000:
            ingest()
        worker.send_signal(signal.SIGKILL)
        worker.communicate()
        ingest()
        while not tail.caught_up:
            ingest()
    store.close(final=True)
    assert [one.step for one in found] == list(range(1, len(found) + 1))
    assert sum(RunReader(run).step_series(["loss"]).count) == len(found)
