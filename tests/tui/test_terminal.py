"""The whole program on a pseudo-terminal: what really reaches a terminal, and how it is left."""

from __future__ import annotations

import os
import re
import signal
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.tui.terminal import Terminal

SHOWN = "● training"
ASK = b"\x1b[6n"


@contextmanager
def showing(scenario: str = "still", refresh: str = "0.2", **more: object) -> Iterator[Terminal]:
    terminal = Terminal(["-m", "tests.tui.show_fake", scenario, refresh], **more)  # type: ignore[arg-type]
    try:
        assert terminal.wait_for_text(SHOWN), terminal.output[-2000:]
        yield terminal
    finally:
        terminal.close()


def assert_restored(terminal: Terminal) -> None:
    # A last frame may stand between what is turned off first and the main screen.
    left = terminal.output[terminal.output.rindex(b"\x1b[?1049h") :]
    assert b"\x1b[?1049l" in left
    for mode in (b"\x1b[?25h", b"\x1b[?1000l", b"\x1b[?2004l", b"\x1b[?1004l", b"\x1b[?7h"):
        assert mode in left
    now = termios.tcgetattr(terminal.descriptor)
    assert now[3] & termios.ECHO
    assert now[3] & termios.ICANON
    assert now[:4] == terminal.attributes[:4]


def test_d_leaves_and_restores() -> None:
    with showing() as terminal:
        terminal.press(b"d")
        assert terminal.wait_for(terminal.ended)
        terminal.read(0.2)
        assert terminal.status == 0
        assert_restored(terminal)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_signals_restore_the_terminal(number: signal.Signals) -> None:
    with showing("moving") as terminal:
        terminal.signal(number)
        assert terminal.wait_for(terminal.ended, 5)
        terminal.read(0.2)
        assert terminal.status == 128 + number
        assert_restored(terminal)
        assert b"Traceback" not in terminal.output


def test_a_signal_ends_a_loop_that_hangs() -> None:
    with showing("hang") as terminal:
        terminal.press(b"p")
        time.sleep(0.5)
        terminal.signal(signal.SIGTERM)
        assert terminal.wait_for(terminal.ended, 8)
        terminal.read(0.2)
        assert terminal.status == 128 + signal.SIGTERM
        assert_restored(terminal)


def test_a_crash_is_one_line_and_a_file(tmp_path: object) -> None:
    with showing("crash", TMPDIR=str(tmp_path)) as terminal:
        terminal.press(b"p")
        assert terminal.wait_for(terminal.ended, 8)
        terminal.read(0.2)
        assert terminal.status == 1
        assert_restored(terminal)
        after = terminal.output[terminal.output.rindex(b"\x1b[?1004l") :].decode()
        told = re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", after).strip().splitlines()
        assert len(told) == 1
        assert "the training goes on (ZeroDivisionError: division by zero)" in told[0]
        path = told[0].rpartition(" ")[2]
        assert "ZeroDivisionError" in Path(path).read_text()


@pytest.mark.parametrize("answers", [False, True])
def test_ctrl_z_suspends_and_fg_draws_all_of_it_again(answers: bool) -> None:
    with showing("moving", answers=answers) as terminal:
        terminal.answers = False  # from now on: a question is under way
        terminal.press(b"\x1a")
        assert terminal.wait_for(lambda: b"\x1b[?1049l" in terminal.output)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            if os.waitpid(terminal.pid, os.WNOHANG | os.WUNTRACED) != (0, 0):
                break
            time.sleep(0.02)
        terminal.screen.reset()
        terminal.answers = answers
        terminal.signal(signal.SIGCONT)
        assert terminal.wait_for_text(SHOWN, 5)
        assert any("Advisor" in line for line in terminal.screen.display)
        terminal.press(b"d")
        assert terminal.wait_for(terminal.ended, 5)


def test_no_color_means_not_one_colour_code() -> None:
    with showing("moving", NO_COLOR="1") as terminal:
        for keys, text in (
            (b"q", "attach again"),
            (b"?", "focus a pane"),
            (b"/x", "enter keep"),
            (b"\x10", "Search"),
            (b"4z", "Closer"),
        ):
            terminal.press(keys)
            assert terminal.wait_for_text(text), "\n".join(terminal.screen.display)
            terminal.press(b"\x1b")
            assert terminal.wait_for(
                lambda text=text: not any(text in line for line in terminal.screen.display)  # type: ignore[misc]
            )
        terminal.press(b"d")
        assert terminal.wait_for(terminal.ended, 5)
        for codes in re.findall(rb"\x1b\[([\d;:]*)m", terminal.output):
            for code in re.split(rb"[;:]", codes):
                assert int(code or 0) in {0, 1, 2, 3, 4, 7, 22, 23, 24, 27}, codes


@pytest.mark.parametrize(("depth", "codes"), [("16", rb"3[0-7]|9[0-7]"), ("256", rb"38;5;")])
def test_fewer_colours(depth: str, codes: bytes) -> None:
    term = {"16": "xterm-16color", "256": "xterm-256color"}[depth]
    with showing(TERM=term, COLORTERM="") as terminal:
        assert b"38;2;" not in terminal.output
        assert re.search(codes, terminal.output)


@pytest.mark.parametrize("environment", [{"LC_ALL": "C"}, {"TERM": "linux", "COLORTERM": ""}])
def test_a_terminal_without_the_characters_gets_ascii(environment: dict[str, str]) -> None:
    terminal = Terminal(["-m", "tests.tui.show_fake", "still", "0.2"], **environment)
    try:
        assert terminal.wait_for_text("* training")
        terminal.press(b"\x10")
        terminal.read(0.5)
        assert terminal.output.isascii()
    finally:
        terminal.close()


@pytest.mark.parametrize("answers", [False, True])
def test_a_stalled_terminal_catches_up_with_the_newest_frame(answers: bool) -> None:
    """Nobody reads for a while: the loop goes on, and afterwards the picture is right."""
    with showing("moving", "0.1", answers=answers) as terminal:
        time.sleep(4)
        started = time.monotonic()
        terminal.read(0.5)
        terminal.press(b"?")
        assert terminal.wait_for_text("detach: leave", 3)
        terminal.press(b"\x1b")
        terminal.read(0.5)
        assert time.monotonic() - started < 6
        step = re.search(r"step (\S+)", terminal.screen.display[0])
        assert step is not None
        assert int(step[1].replace(",", "")) > 1000 + 7 * 25


def test_a_stalled_terminal_does_not_hold_up_the_exit() -> None:
    with showing("moving", "0.1") as terminal:
        time.sleep(3)  # nobody reads: the line is full by now
        terminal.signal(signal.SIGTERM)
        began = time.monotonic()
        while not terminal.ended() and time.monotonic() < began + 8:
            time.sleep(0.05)
        assert terminal.status == 128 + signal.SIGTERM


@pytest.mark.parametrize("answers", [False, True])
def test_a_resize_storm_ends_in_the_right_picture(answers: bool) -> None:
    with showing(answers=answers) as terminal:
        for width, height in ((80, 24), (200, 60), (60, 16), (119, 35), (100, 30)):
            terminal.resize(width, height)
            terminal.read(0.05)

        def right() -> bool:
            shown = terminal.screen.display
            return shown[0].startswith(" ◆ batchtui") and shown[29].strip().endswith("Quit")

        assert terminal.wait_for(right, 5), "\n".join(terminal.screen.display)
        assert all(len(line) == 100 for line in terminal.screen.display)


def test_a_terminal_that_does_not_answer_is_asked_once() -> None:
    with showing("moving", "0.1") as terminal:
        terminal.press(b"?")
        assert terminal.wait_for_text("detach: leave")
        assert terminal.output.count(ASK) == 1


def test_answers_are_no_keys_wherever_they_come() -> None:
    """Some are lost, doubled, split or in the midst of keys: the picture goes on all the same."""
    with showing("moving", "0.1", answers=True) as terminal:
        terminal.answers = False
        asked = terminal.output.count(ASK)
        assert terminal.wait_for(lambda: terminal.output.count(ASK) > asked + 1)
        first, rest = terminal.screen.answers[:3], terminal.screen.answers[3:]
        terminal.press(first)
        time.sleep(0.02)
        terminal.press(rest + b"/" + 2 * terminal.screen.answers + b"saved")
        terminal.screen.answers = b""
        terminal.answers = True
        assert terminal.wait_for_text("/saved")
        terminal.press(b"\x1b" + b"\x1b[2;1R")
        assert terminal.wait_for(
            lambda: not any("/saved" in row for row in terminal.screen.display)
        )
        asked = terminal.output.count(ASK)
        assert terminal.wait_for(lambda: terminal.output.count(ASK) > asked + 5)
        terminal.press(b"d")
        assert terminal.wait_for(terminal.ended)
        terminal.read(0.2)
        assert_restored(terminal)
        assert b"^[" not in terminal.output  # an answer echoed after the end
