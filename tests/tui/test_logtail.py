from __future__ import annotations

import os
import time
from pathlib import Path

from batchtui.records import Event
from batchtui.tui import logtail
from batchtui.tui.logtail import LogTail


def texts(tail: LogTail, now: float = 100.0, events: tuple[Event, ...] = ()) -> list[str]:
    return [line.text for line in tail.read(now, events).lines]


def test_lines_come_once_and_a_line_without_end_grows(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    tail = LogTail(log)
    assert texts(tail) == []
    log.write_bytes(b"one\ntw")
    assert texts(tail) == ["one", "tw"]
    with open(log, "ab") as file:
        file.write(b"o\nthree\n")
    view = tail.read(200.0)
    assert [(line.number, line.text) for line in view.lines] == [
        (0, "one"), (1, "two"), (2, "three")
    ]  # fmt: skip
    assert view.lines[-1].time == 200.0


def test_of_a_progress_bar_the_last_state_stays(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_bytes(b"  1%|\r 50%|####\r 99%|########")
    tail = LogTail(log)
    assert texts(tail) == [" 99%|########"]
    with open(log, "ab") as file:
        file.write(b"\r100%|#########\n")
    assert texts(tail) == ["100%|#########"]


def test_terminal_sequences_and_bad_bytes_do_not_pass(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_bytes(b"\x1b]52;c;aGk=\x07\x1b[31mred\x1b[0m \xff\xfe [/] \xc2\x9b2J\n\n \n")
    (text,) = texts(LogTail(log))
    assert text.isprintable()
    assert "red" in text
    assert "[/]" in text


def test_levels_are_told_by_words(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    lines = {
        "fine": "info",
        "test error 3.2%": "info",
        "UserWarning: x": "warning",
        "[WARN] low": "warning",
        "Traceback (most recent call last):": "error",
        "torch.OutOfMemoryError: y": "error",
        "error: no such file": "error",
    }
    log.write_text("\n".join(lines) + "\n")
    assert {line.text: line.level for line in LogTail(log).read(0.0).lines} == lines


def test_a_flood_is_read_in_bounded_pieces_and_counted(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_bytes(b"")
    tail = LogTail(log)
    tail.read(0.0)
    with open(log, "ab") as file:
        for number in range(400_000):
            file.write(b"line %d of a flood\n" % number)
    started = time.perf_counter()
    view = tail.read(1.0)
    assert time.perf_counter() - started < 0.5
    assert view.lines[-1].text == "line 399999 of a flood"
    assert len(view.lines) <= logtail.KEEP
    assert view.skipped == "8 MiB not shown"
    assert tail.read(2.0).lines[-1].text == "line 399999 of a flood"


def test_lines_of_a_megabyte_are_cheap(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_bytes(b"x" * 1_000_000 + b"\n" + b"y" * 1_000_000)
    lines = LogTail(log).read(0.0).lines
    assert len(lines[-1].text) <= 1000
    assert set(lines[-1].text) <= {"y", "…"}


def test_a_log_that_was_cut_or_replaced_is_read_from_its_start(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_text("a long first line\n")
    tail = LogTail(log)
    tail.read(0.0)
    log.write_text("short\n")
    assert texts(tail)[-1] == "short"
    other = tmp_path / "other"
    other.write_text("a line of the same length or longer\n")
    os.replace(other, log)
    assert texts(tail)[-1] == "a line of the same length or longer"


def test_events_come_between_the_lines(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_text("hello\n")
    written = log.stat().st_mtime
    early = Event(time=written - 5, level="info", kind="started", message="started")
    late = Event(time=written + 5, level="error", kind="ended", message="failed", step=1200)
    view = LogTail(log).read(written + 9, (late, early))
    assert [line.text for line in view.lines] == ["started", "hello", "failed · step 1,200"]
    assert [line.event for line in view.lines] == [True, False, True]
    assert view.lines[1].time is None  # when it was written is not known


def test_lines_of_a_later_look_stand_where_the_log_was_last_written(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_text("hello\n")
    tail = LogTail(log)
    tail.read(90.0)
    with log.open("a") as file:
        file.write("resnet18 on cpu\n")
    os.utime(log, (100.0, 100.0))
    before = Event(time=99.0, level="info", kind="phase", message="training")
    after = Event(time=101.0, level="info", kind="phase", message="evaluating")
    lines = tail.read(102.0, (after, before)).lines[1:]
    assert [line.text for line in lines] == ["training", "resnet18 on cpu", "evaluating"]
    assert [line.time for line in lines] == [99.0, 100.0, 101.0]
