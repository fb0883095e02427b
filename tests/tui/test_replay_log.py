"""The worker's lines in a replay: none before it was written, and none lost that is still there."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from batchtui.records import Event
from batchtui.runs.directory import RunDirectory
from batchtui.runs.moment import MomentReader
from batchtui.runs.store import MAX_LOG_SIZES, RunStore
from batchtui.supervise.log import LogTrimmer
from batchtui.tui.replay.log import PastLog
from batchtui.tui.view import LogView

BEGAN = 1_800_000_000.0


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory(tmp_path / "a-001")
    run.path.mkdir()
    return run


def read(run: RunDirectory, moment: float, *events: Event) -> LogView:
    reader = MomentReader(run, moment)
    return PastLog(run.log, reader.log_sizes).read(moment, events)


def numbers(view: LogView) -> list[int]:
    return [int(found[1]) for line in view.lines if (found := re.match(r"line (\d+)", line.text))]


@pytest.mark.parametrize("seed", range(2))
def test_no_line_comes_early_and_a_cut_log_tells_what_it_still_has(
    run: RunDirectory, seed: int
) -> None:
    chance = random.Random(seed)
    store, trimmer = RunStore(run.database), LogTrimmer(run.log)
    run.log.touch()
    written = [0]  # lines up to each second
    whole: list[bool] = []  # whether the last of them had its end
    for second in range(1, 60):
        with open(run.log, "ab") as log:
            count = chance.choice([0, 1, 1, 3, 20, 4000, 4000])
            if whole and not whole[-1] and count:
                log.write(b" and its end\n")
            for line in range(written[-1] + 1, written[-1] + 1 + count):
                ended = line < written[-1] + count or chance.random() < 0.8
                log.write(f"line {line} {'x' * chance.randrange(600)}".encode() + b"\n" * ended)
            whole.append(ended if count else not whole or whole[-1])
        written.append(written[-1] + count)
        if (size := trimmer.grown()) is not None:
            store.add_log_size(BEGAN + second, size)
        trimmer.trim()
    assert trimmer.left_out > 0
    store.close(final=True)
    kept = set(map(int, re.findall(r"^line (\d+) ", run.log.read_text(), re.MULTILINE)))
    for second in range(1, 60):
        shown = numbers(read(run, BEGAN + second + 0.5))
        assert shown == sorted(shown)
        if written[second]:
            there = [line for line in kept if line <= written[second]]
            assert shown[-1] == max(there)
            assert set(range(shown[0], shown[-1] + 1)) & kept <= set(shown)
        for line in read(run, BEGAN + second + 0.5).lines:
            if found := re.match(r"line (\d+)", line.text):
                first = next(s for s, last in enumerate(written) if last >= int(found[1]))
                assert line.time is not None
                assert BEGAN + first <= line.time <= BEGAN + second  # as late as its end


def test_events_stand_between_the_lines_and_numbers_stay(run: RunDirectory) -> None:
    store = RunStore(run.database)
    run.log.write_bytes(b"one\ntwo\nthree\n")
    for second, size in ((1, 4), (3, 8), (5, 14)):
        store.add_log_size(BEGAN + second, size)
    store.close(final=True)
    happened = [
        Event(time=BEGAN + at, level="info", kind="note", message=f"at {at}") for at in (0, 2, 4, 6)
    ]
    view = read(run, BEGAN + 9, *happened)
    texts = ["at 0", "one", "at 2", "two", "at 4", "three", "at 6"]
    assert [line.text for line in view.lines] == texts
    assert [line.time for line in view.lines if not line.event] == [BEGAN + s for s in (1, 3, 5)]
    assert view.skipped is None
    earlier = read(run, BEGAN + 3, *happened[:2])
    assert earlier.lines == view.lines[:4]
    ascending = [line.number for line in view.lines]
    assert ascending == sorted(set(ascending))


def test_notes_are_bounded_and_old_runs_have_none(run: RunDirectory) -> None:
    run.log.write_bytes(b"one\n")
    store = RunStore(run.database)
    store.commit()
    assert read(run, BEGAN).lines == ()
    assert read(run, BEGAN).skipped == "worker's lines have no time: see the end"
    for second in range(MAX_LOG_SIZES + 500):
        store.add_log_size(BEGAN + second, second)
        if second % 500 == 0:
            store.commit()
    store.commit()
    assert store._db.execute("SELECT count(*) FROM log_sizes").fetchone() == (MAX_LOG_SIZES,)
    store._db.execute("DROP TABLE log_sizes")
    store.close(final=True)
    assert read(run, BEGAN).lines == ()
