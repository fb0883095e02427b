"""A journal is read whole, whatever is written to it and in whatever pieces."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchtui.records import Note, Record, Step
from batchtui.runs import journal
from batchtui.runs.journal import MAX_LINE, JournalTail, Position
from tests.runs.samples import start, step


def line(record: Record, **more: object) -> bytes:
    """Return a record as a worker writes it."""
    return json.dumps({"kind": record.kind, **asdict(record), **more}).encode() + b"\n"


def everything(tail: JournalTail) -> list[Record]:
    """Read until nothing comes."""
    found: list[Record] = []
    while True:
        found += tail.read()
        if tail.caught_up:
            return found


def append(path: Path, data: bytes) -> None:
    with open(path, "ab") as file:
        file.write(data)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The first journal file of rank 0."""
    return tmp_path / "rank-0.jsonl"


GARBAGE = [
    b"",
    b" \t",
    b"{",
    b"null",
    b"[1, 2]",
    b"\xff\xfe\x00\x01",
    b"\0" * 4096,
    b'{"kind": 3}',
    b'{"kind": "step"}',
    b'{"kind": "step", "time": NaN, "step": 1, "samples": 1, "epoch": 1, "batch": 1}',
    b'{"kind": "step", "time": 1, "step": -1, "samples": 1, "epoch": 1, "batch": 1}',
    b'{"kind": "step", "time": 1, "step": 1e30, "samples": 1, "epoch": 1, "batch": 1}',
    b'{"kind": "step", "time": 1, "step": 99999999999999999999, "samples": 1, "epoch": 1}',
    b'{"kind": "step", "time": 1, "step": 1, "samples": 1, "epoch": 1, "batch": 9007199254740992}',
    b'{"kind": "step", "time": 1, "step": 1, "samples": 1, "epoch": 1, "batch": 1, "loss": "x"}',
    b'{"kind": "note", "time": 1, "message": "\xff"}',
    b'{"kind": "note", "time": 1, "message": "\\ud800"}',
    b'{"kind": "note", "time": 1, "message": "cut sh',
    b'{"kind": ' + b"[" * 50_000,
]
PASSED_OVER = [
    b"",
    b"\r",
    b'{"kind": "of the future", "time": 1}',
    b'{"kind": "future", "time": {"nested": [1]}}',
    b'{"time": 1, "kind": "also-unknown"}',
]


def test_every_kind_of_record_comes_back_equal(path: Path) -> None:
    records: list[Record] = [
        start(device="cuda:0", torch="2.6"),
        step(1, loss=0.5, variance=0.25, allocated=1 << 35, nonfinite=True),
        Note(time=1.0, message="½ [/] \x1b[31m \0 \n"),
        journal.RECORD_TYPES[1](time=1.0, phase="evaluating"),
        journal.RECORD_TYPES[3](time=1.0, step=1, samples=64, epoch=1, accuracy=0.5),
        journal.RECORD_TYPES[4](time=1.0, step=1, samples=64, epoch=1, file="x.pt", bytes=3),
        journal.RECORD_TYPES[6](time=1.0, status="finished", step=1, samples=64),
    ]
    assert {type(record) for record in records} == set(journal.RECORD_TYPES)
    append(path, b"".join(map(line, records)))
    tail = JournalTail(path.parent, 0)
    assert tail.read() == records
    assert tail.read() == []
    assert tail.bad_lines == 0


def test_other_spellings_of_json_are_records_too(path: Path) -> None:
    append(path, b'{"kind":"note","time":1,"message":"a"}\r\n')
    append(path, b'  { "time": 1, "message": "b", "kind" : "note" }\n')
    append(path, b'{"kind": "note", "time": 1, "message": "c", "more": {"kind": "step"}}\n')
    tail = JournalTail(path.parent, 0)
    assert [record.message for record in tail.read() if isinstance(record, Note)] == ["a", "b", "c"]
    assert tail.bad_lines == 0


@pytest.mark.parametrize("junk", GARBAGE)
def test_garbage_costs_itself_alone(path: Path, junk: bytes) -> None:
    append(path, line(step(1)) + junk + b"\n" + line(step(2)))
    tail = JournalTail(path.parent, 0)
    assert tail.read() == [step(1), step(2)]
    assert tail.bad_lines == bool(junk.strip())


@pytest.mark.parametrize("unknown", PASSED_OVER)
def test_what_a_newer_writer_says_is_passed_over(path: Path, unknown: bytes) -> None:
    append(path, unknown + b"\n" + line(step(1), invented_later=3))
    tail = JournalTail(path.parent, 0)
    assert tail.read() == [step(1)]
    assert tail.bad_lines == 0


def test_a_line_without_its_newline_waits(path: Path) -> None:
    tail = JournalTail(path.parent, 0)
    assert tail.read() == []  # no file yet
    whole = line(step(1))
    for cut in range(0, len(whole) - 1, 7):
        append(path, whole[:-1][cut : cut + 7])
        assert tail.read() == []
        assert tail.position == Position(1, 0)
    append(path, b"\n")
    assert tail.read() == [step(1)]


def test_a_torn_line_that_a_second_writer_continued_loses_only_itself(path: Path) -> None:
    append(path, line(step(1)) + line(step(2))[:-30] + line(step(3)) + line(step(4)))
    tail = JournalTail(path.parent, 0)
    assert tail.read() == [step(1), step(3), step(4)]
    assert tail.bad_lines == 1


def test_a_quoted_record_is_not_a_record(path: Path) -> None:
    note = Note(time=1.0, message=line(step(9)).decode())
    append(path, line(note)[:-5] + b"\n" + line(note))
    tail = JournalTail(path.parent, 0)
    assert tail.read() == [note]
    assert tail.bad_lines == 1


def test_a_line_of_a_megabyte_is_read_and_one_without_end_is_skipped(path: Path) -> None:
    note = Note(time=1.0, message="x" * (1 << 20))
    append(path, line(step(1)) + line(note) + line(step(2)))
    tail = JournalTail(path.parent, 0)
    assert everything(tail) == [step(1), note, step(2)]

    begin = tail.position
    for _ in range(12):
        append(path, b"y" * (MAX_LINE // 4))
        assert tail.read() == []
    assert len(tail._torn) <= MAX_LINE
    assert tail.position == begin
    append(path, b"\n" + line(step(3)))
    assert everything(tail) == [step(3)]
    assert tail.bad_lines == 1
    assert everything(JournalTail(path.parent, 0, begin)) == [step(3)]


def test_reads_are_bounded_in_records_and_seconds(path: Path) -> None:
    append(path, b"".join(line(step(number)) for number in range(1, 20_001)))
    tail = JournalTail(path.parent, 0)
    assert [record.step for record in tail.read(3)] == [1, 2, 3]  # type: ignore[union-attr]
    assert len(tail.read(7)) == 7
    assert not tail.caught_up
    assert 0 < len(tail.read(max_seconds=0)) <= 500
    assert len(tail.read(max_records=100_000, max_seconds=0.001)) < 19_000
    assert everything(tail)[-1] == step(20_000)


def test_rotation(tmp_path: Path, path: Path) -> None:
    tail = JournalTail(tmp_path, 0)
    append(path, line(step(1)))
    assert tail.read() == [step(1)]
    append(path, line(step(2)))
    append(tmp_path / "rank-0.0002.jsonl", line(step(3)))
    append(tmp_path / "rank-1.jsonl", line(step(99)))
    append(tmp_path / "rank-0.0003.jsonl.tmp", line(step(99)))
    assert everything(tail) == [step(2), step(3)]
    tail.delete_ingested()
    assert not path.exists()
    assert (tmp_path / "rank-1.jsonl").exists()
    append(tmp_path / "rank-0.0002.jsonl", line(step(4)))
    assert tail.read() == [step(4)]
    assert JournalTail(tmp_path, 0).read() == [step(3), step(4)]  # the first file is gone
    (tmp_path / "rank-0.0002.jsonl").rename(tmp_path / "rank-0.10000.jsonl")
    assert everything(tail) == [step(3), step(4)]
    assert tail.position.file == 10_000


@pytest.mark.parametrize("cut", [1, 10])
def test_a_file_left_behind_torn(tmp_path: Path, path: Path, cut: int) -> None:
    """Nobody completes a line once a later file exists; without its newline alone it is whole."""
    append(path, line(step(1)) + line(step(2))[:-cut])
    append(tmp_path / "rank-0.0002.jsonl", line(step(3)))
    tail = JournalTail(tmp_path, 0)
    expected = [step(1), step(2), step(3)] if cut == 1 else [step(1), step(3)]
    assert everything(tail) == expected
    assert tail.bad_lines == (cut != 1)


def test_a_position_continues_where_another_tail_ended(tmp_path: Path, path: Path) -> None:
    append(path, b"".join(line(step(number)) for number in range(1, 11)) + line(step(11))[:-1])
    append(tmp_path / "rank-0.0002.jsonl", line(step(12)))
    whole = everything(JournalTail(tmp_path, 0))
    position, found = None, []
    while True:
        tail = JournalTail(tmp_path, 0, position)
        records = tail.read(max_records=1)
        if not records:
            break
        found += records
        position = tail.position
    assert found == whole


def test_a_file_that_shrank_is_read_anew(path: Path) -> None:
    append(path, line(step(1)) + line(step(2)))
    tail = JournalTail(path.parent, 0)
    assert len(tail.read()) == 2
    path.write_bytes(line(step(7)))
    assert tail.read() == [step(7)]


def test_what_cannot_be_read_is_said_not_raised(tmp_path: Path) -> None:
    (tmp_path / "rank-0.jsonl").mkdir()
    tail = JournalTail(tmp_path, 0)
    assert tail.read() == []
    assert tail.trouble is not None
    assert "Is a directory" in tail.trouble
    file = tmp_path / "file"
    file.write_text("")
    assert JournalTail(file, 0).read() == []


_finite = st.floats(allow_nan=False, allow_infinity=False)
_count = st.integers(0, journal.MAX_INTEGER - 1)
_steps = st.builds(
    Step,
    time=_finite,
    step=_count,
    samples=_count,
    epoch=_count,
    batch=_count,
    loss=st.none() | _finite,
    nonfinite=st.booleans(),
    allocated=st.none() | _count,
)
_notes = st.builds(Note, time=_finite, message=st.text(st.characters(codec="utf-8")))
_chunks = st.one_of(
    (_steps | _notes).map(lambda record: (line(record), record)),
    st.sampled_from([junk + b"\n" for junk in [*GARBAGE[:17], *PASSED_OVER]]).map(
        lambda junk: (junk, None)
    ),
    st.binary(max_size=40)
    .filter(lambda junk: b"{" not in junk)
    .map(lambda junk: (junk.replace(b"\n", b"") + b"\n", None)),
)


@settings(max_examples=150, deadline=None)
@given(
    written=st.lists(_chunks, max_size=25),
    cuts=st.lists(st.integers(1, 400), min_size=1, max_size=60),
    rotations=st.sets(st.integers(0, 24)),
    limit=st.integers(1, 30),
    restarts=st.sets(st.integers(0, 60)),
)
def test_any_writing_in_any_pieces_is_read_whole(
    tmp_path_factory: pytest.TempPathFactory,
    written: list[tuple[bytes, Record | None]],
    cuts: list[int],
    rotations: set[int],
    limit: int,
    restarts: set[int],
) -> None:
    """Records arrive in order, each once, none half, while files grow, rotate and readers die."""
    folder = tmp_path_factory.mktemp("journal")
    tail = JournalTail(folder, 0)
    found: list[Record] = []
    piece, number, files = 0, 1, folder / "rank-0.jsonl"
    for index, (data, _) in enumerate(written):
        while data:
            cut = cuts[piece % len(cuts)]
            append(files, data[:cut])
            data = data[cut:]
            if piece in restarts:
                tail = JournalTail(folder, 0, tail.position)
            records = tail.read(limit)
            assert len(records) <= limit
            found += records
            piece += 1
        if index in rotations:
            number += 1
            files = folder / f"rank-0.{number:04d}.jsonl"
    found += everything(tail)
    assert found == [record for _, record in written if record is not None]
