"""The journal's writer: whole lines, whatever the disk does."""

from __future__ import annotations

import json
import math
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchtui.records import Evaluation, Note, Step
from batchtui.runs.journal import JournalTail
from batchtui.train.journal import Journal, encode, encode_steps


def step(number: int, **fields: object) -> Step:
    return Step(time=1e9 + number, step=number, samples=8 * number, epoch=1, batch=8, **fields)


def lines(folder: Path) -> list[str]:
    return [line for path in sorted(folder.iterdir()) for line in path.read_text().splitlines()]


def test_a_record_is_a_line_that_begins_with_its_kind(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.phase("importing torch")
    journal.note("5 € — NaN", "warning")
    journal.close()
    first, second = lines(tmp_path)
    assert first.startswith('{"kind":"phase","time":')
    assert json.loads(second)["message"] == "5 € — NaN"
    assert journal.current_phase == "importing torch"


FULL = {
    "loss": 0.123456789, "variance": 2.5e-9, "lr": 1e-300, "grad_norm": 1e20, "step_s": 0.02,
    "data_s": 0.0, "transfer_s": 1e-7, "forward_s": 0.005, "backward_s": 0.01, "optimizer_s": 1e-3,
}  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [
        FULL,
        {**FULL, "allocated": 1, "reserved": 1 << 40, "peak": 1 << 39},
        {**FULL, "peak": 5},
        {**FULL, "variance": None},
        {**FULL, "loss": None, "nonfinite": True},
        {**FULL, "nonfinite": True},
        {},
    ],
)
def test_steps_written_by_hand_say_what_json_says(fields: dict[str, float]) -> None:
    """encode_steps formats numbers itself, to seven digits."""
    one = step(1, **fields)
    by_hand, exact = json.loads(encode_steps([one])), json.loads(encode(one))
    exact_flag = exact.pop("nonfinite")
    assert by_hand.pop("nonfinite", False) == exact_flag
    assert by_hand.pop("kind") == exact.pop("kind") == "step"
    assert by_hand == pytest.approx(exact, rel=1e-6, abs=0)
    assert by_hand["time"] == pytest.approx(exact["time"], abs=1e-6)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_not_a_number_is_not_written(value: float) -> None:
    (line,) = encode_steps([step(1, loss=0.5, grad_norm=value)]).splitlines()
    assert json.loads(line).get("grad_norm") is None
    assert json.loads(line)["loss"] == 0.5
    record = Evaluation(time=1.0, step=1, samples=8, epoch=1, loss=value)
    assert "loss" not in json.loads(encode(record))


def test_the_supervisor_reads_what_the_worker_writes(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    written = [step(n, loss=n / 4, variance=None, step_s=0.02) for n in range(1, 8)]
    written += [step(8, **{**FULL, "loss": 0.25, "grad_norm": 1.5})]
    for record in written:
        journal.write(record)
    journal.close()
    tail = JournalTail(tmp_path, 0)
    assert tail.read(100, 1.0) == written
    assert tail.bad_lines == 0


def test_quick_steps_share_a_write_and_keep_their_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number in range(1, 6):
        journal.write(step(number))
    assert len(lines(tmp_path)) < 5  # the first went at once, the others wait for a quarter second
    journal.note("after them")
    kinds = [json.loads(line)["kind"] for line in lines(tmp_path)]
    assert kinds == ["step"] * 5 + ["note"]


def test_a_full_file_is_followed_by_the_next(tmp_path: Path) -> None:
    journal = Journal(tmp_path, rank=3, rotate_bytes=1000)
    for number in range(40):
        journal.note(f"note {number} " + "x" * 50)
    journal.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[:2] == ["rank-3.0002.jsonl", "rank-3.0003.jsonl"]
    assert names[-1] == "rank-3.jsonl"
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
    Journal(tmp_path, rank=3).note("goes on in the newest")
    assert "goes on" in (tmp_path / names[-2]).read_text()


@pytest.fixture
def _small_disk() -> Iterator[None]:
    """Let files grow to 400 bytes: writes are cut short there, then refused."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("_small_disk")
def test_a_full_disk_is_counted_and_survived(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    journal = Journal(tmp_path)
    for number in range(8):
        journal.note(f"note {number} " + "x" * 50)
    dropped = journal.dropped
    assert 0 < dropped < 8
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # somebody made room
    journal.note("room again")
    assert journal.dropped == dropped
    tail = JournalTail(tmp_path, 0)
    read = tail.read(100, 1.0)
    assert isinstance(read[-1], Note)
    assert read[-1].message == "room again"
    assert len(read) == 8 - dropped + 1
    assert tail.bad_lines == 1  # the record that the disk took half of
    assert capfd.readouterr().err.count("cannot be written") == 1


def test_a_folder_that_cannot_be_made_costs_records_not_the_training(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "journal").write_text("a file")
    journal = Journal(tmp_path / "journal")
    journal.note("lost")
    journal.write(step(1))
    journal.close()
    assert journal.dropped == 2
    assert capfd.readouterr().err.count("cannot be written") == 1
