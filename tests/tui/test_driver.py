from __future__ import annotations

import math
import queue
import time

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchtui.tui.driver.difference import Shown, move
from batchtui.tui.driver.model import Model
from batchtui.tui.driver.output import Output
from batchtui.tui.driver.pace import Pace
from batchtui.tui.driver.styles import Styles

WIDTH, HEIGHT = 24, 6


class Pair:
    """A model, and a terminal that gets nothing but the differences."""

    def __init__(self, colour: bool = True) -> None:
        self.styles = Styles(colour)
        self.controls: list[str] = []
        self.model = Model(WIDTH, HEIGHT, self.styles, self.controls.append)
        self.shown = Shown(self.styles)
        self.screen = pyte.Screen(WIDTH, HEIGHT)
        self.stream = pyte.Stream(self.screen)
        self.reference = pyte.Screen(WIDTH, HEIGHT)
        self.reference.reset_mode(pyte.modes.DECAWM)
        self.screen.reset_mode(pyte.modes.DECAWM)
        self.direct = pyte.Stream(self.reference)

    def draw(self, data: str) -> None:
        self.model.feed(data)
        self.direct.feed(data)

    def send(self, room: float = math.inf) -> str:
        sent = self.shown.update(self.model, room)
        self.stream.feed(sent)
        return sent

    def assert_same(self) -> None:
        for y in range(HEIGHT):
            for x in range(WIDTH):
                assert self.screen.buffer[y][x] == self.reference.buffer[y][x], (x, y)


sgr = st.sampled_from(
    ["", "0", "1", "3", "4", "7", "22", "23", "24", "27", "31", "39", "42", "49", "1;33",
     "38;2;10;20;30", "48;2;1;2;3", "38;5;120", "48;5;7", "0;1;4;38;2;9;9;9;48;5;1"]
)  # fmt: skip
text = st.text("ab─█⣿· x", min_size=1, max_size=WIDTH) | st.text("日本a", min_size=1, max_size=9)
piece = st.tuples(st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1), sgr, text)


def written(pieces: list[tuple[int, int, str, str]]) -> str:
    """Return pieces as Textual writes them: each cut so that no line is longer than the screen."""
    stream = ""
    for x, y, codes, what in pieces:
        room, kept = WIDTH - x, ""
        for character in what:
            room -= 2 if character in "日本" else 1
            if room < 0:
                break
            kept += character
        stream += f"\x1b[{y + 1};{x + 1}H\x1b[{codes}m{kept}\x1b[0m"
    return stream


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(piece, max_size=8), max_size=8), st.data())
def test_the_terminal_shows_what_textual_drew_however_many_frames_are_dropped(
    frames: list[list[tuple[int, int, str, str]]], data: st.DataObject
) -> None:
    pair = Pair()
    pair.draw("\x1b[2J")
    narrow = data.draw(st.booleans())
    for frame in frames:
        if narrow:
            frame = [p for p in frame if not set(p[3]) & set("日本")]
        else:
            # pyte keeps half of a wide character that is drawn over: whole rows it agrees on.
            frame = [(0, y, codes, (what + " " * WIDTH)[:WIDTH]) for _, y, codes, what in frame]
        pair.draw(written(frame))
        if data.draw(st.booleans()):
            pair.send(data.draw(st.sampled_from([1, 60, math.inf])))
    while pair.model.touched:
        pair.send(data.draw(st.sampled_from([1, 60, math.inf])))
    pair.assert_same()
    assert pair.send() == ""


def test_a_changed_digit_costs_a_few_bytes() -> None:
    pair = Pair()
    pair.draw("\x1b[2J\x1b[1;5H\x1b[1;31mstep 41\x1b[0m\x1b[2;5Hloss 0.41")
    pair.send()
    pair.draw("\x1b[1;5H\x1b[1;31mstep 42\x1b[0m\x1b[2;5Hloss 0.42")
    assert len(pair.send()) <= 24
    pair.assert_same()


def test_a_piece_is_whole_rows_and_those_of_the_last_key_come_first() -> None:
    pair = Pair()
    pair.draw("\x1b[2J")
    pair.send()
    pair.draw("\x1b[1;1Hone\x1b[2;1Htwo\x1b[3;1Hthree")
    pair.model.urgency = 1
    pair.draw("\x1b[4;1Hfour")
    pair.model.urgency = 2
    pair.draw("\x1b[5;1Hfive\x1b[3;1HTHREE")
    for text in ("five", "THREE", "four", "one", "two"):
        assert pair.send(1).endswith(text)
    pair.assert_same()


def test_after_forget_all_is_drawn_again() -> None:
    pair = Pair()
    pair.draw("\x1b[2J\x1b[3;3Habc")
    pair.send()
    pair.stream.feed("\x1b[1;1Hgarbage that somebody else wrote")
    pair.shown.forget()
    pair.send()
    pair.assert_same()


def test_controls_are_passed_on_in_order_and_lose_the_cursor() -> None:
    pair = Pair()
    pair.draw("\x1b[?1000h\x07\x1b]0;title\x07\x1b[2J\x1b[1;1Hx")
    assert pair.controls == ["\x1b[?1000h", "\x07", "\x1b]0;title\x07"]
    pair.send()
    pair.shown.lose_cursor()
    pair.draw("\x1b[1;2Hy")
    assert pair.send().startswith("\x1b[1;2H")


def test_a_sequence_that_the_model_cannot_follow_is_noticed() -> None:
    pair = Pair()
    pair.model.feed("\x1b[3K")
    assert pair.model.surprised
    assert pair.controls == ["\x1b[3K"]


def test_no_colour_means_no_colour_code() -> None:
    pair = Pair(colour=False)
    pair.model.feed("\x1b[1;38;2;1;2;3;48;5;9mx\x1b[0;31;42my")
    sent = pair.shown.update(pair.model)
    assert "38;" not in sent
    assert "31" not in sent
    assert "\x1b[1m" in sent or "\x1b[0;1m" in sent


@given(
    st.none() | st.tuples(st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1)),
    st.integers(0, WIDTH - 1),
    st.integers(0, HEIGHT - 1),
)
def test_moves_arrive(start: tuple[int, int] | None, x: int, y: int) -> None:
    screen = pyte.Screen(WIDTH, HEIGHT)
    stream = pyte.Stream(screen)
    if start is not None:
        stream.feed(f"\x1b[{start[1] + 1};{start[0] + 1}H")
    stream.feed(move(start, x, y))
    assert (screen.cursor.x, screen.cursor.y) == (x, y)


def test_a_stalled_terminal_stops_only_the_thread(tmp_path: object) -> None:
    import os

    reader, writer = os.pipe()
    frames: list[bytes] = []

    def take() -> bytes:
        frames.append(b"x" * 50_000)
        return frames[-1]

    output = Output(writer, take, 0.0, Pace())
    output.start()
    started = time.monotonic()
    for _ in range(1000):
        output.want()
        output.hurry()
    assert time.monotonic() - started < 0.5
    time.sleep(0.1)
    assert len(frames) <= 3  # the pipe is full: no frame is made that cannot be sent
    os.set_blocking(reader, False)
    received = 0
    end = time.monotonic() + 5
    while output.bytes_sent < sum(map(len, frames)) and time.monotonic() < end:
        try:
            received += len(os.read(reader, 1 << 20))
        except BlockingIOError:
            time.sleep(0.01)
    assert output.bytes_sent >= 50_000
    os.close(reader)
    output.end(0.5)
    os.close(writer)


def test_the_next_frame_waits_until_the_terminal_has_answered_for_the_last() -> None:
    import os

    reader, writer = os.pipe()
    taken: queue.Queue[int] = queue.Queue()
    pace = Pace()

    def take() -> bytes:
        row, question = pace.question(20_000, 24)
        taken.put(row)
        return question.encode()

    output = Output(writer, take, 0.0, pace)
    output.start()
    pace.begin()
    pace.answer(17)
    output.want()
    first = taken.get(timeout=5)
    output.want()
    with pytest.raises(queue.Empty):
        taken.get(timeout=0.15)
    pace.answer(first)
    second = taken.get(timeout=5)
    output.want()
    pace.answer(first)  # once more: it tells nothing of the second
    with pytest.raises(queue.Empty):
        taken.get(timeout=0.15)
    assert second != first
    output.end(0.2)
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("before", ["", "1", "2", "1;2", "4;31", "38;5;9;48;5;3", "7"])
@pytest.mark.parametrize("after", ["", "1", "2", "31", "4;38;2;1;2;3", "9;42"])
def test_changes_of_style_are_short_and_right(before: str, after: str) -> None:
    styles = Styles()
    first, second = styles.apply(0, before or "0"), styles.apply(0, after or "0")
    screen, reference = pyte.Screen(4, 1), pyte.Screen(4, 1)
    pyte.Stream(reference).feed(f"\x1b[{after}mx")
    code = styles.change(first, second)
    pyte.Stream(screen).feed(f"\x1b[{before}m{code}x")
    if "2" not in (before.split(";")[0], after.split(";")[0]):  # pyte knows no dim
        assert screen.buffer[0][0] == reference.buffer[0][0]
    assert len(code) <= len(styles.change(None, second))
