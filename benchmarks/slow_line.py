"""How soon a key shows over a slow line, and what is sent meanwhile.

The screen of a live run with eight simulated GPUs at 120x40, in a pty that is read at 300 and at
1,200 bytes a second; keys and the terminal's answers need 0.1 s back. Once before a terminal that
answers where its cursor is, as nearly all do, and once before one that answers nothing.
`python -m benchmarks.slow_line [--rates 300,1200] [--presses 6] [--json]`
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import select
import statistics
import sys
import tempfile
import time
from pathlib import Path

import pyte

from benchmarks.terminal import COLUMNS, ROWS, simulated_run, terminal

_DELAY_S = 0.1  # from the terminal to the program
_TICK_S = 0.02
_LONGEST_S = 180.0
_SETTLE_S = 10.0
_ASKED = b"\x1b[?2026$p"  # whether it has synchronized output
# Pressed in turns; what comes with the first key and goes with the second, at the top and last.
_ACTIONS = {
    "the view held": (b" ", b" ", "paused", "paused"),
    "a chart zoomed": (b"z", b"z", r"\A.*\n╭³ Step time", "Closer"),
    "the help": (b"?", b"\x1b", "─ Help ─", "leave: detach or stop"),
}


class Far(pyte.Screen):
    """A terminal that answers, or does not."""

    def __init__(self, answers: bool) -> None:
        super().__init__(COLUMNS, ROWS)
        self.answers = answers
        self.answered = ""

    def write_process_input(self, data: str) -> None:
        """Keep an answer for the way back."""
        if self.answers:
            self.answered += data


class Line:
    """A terminal at the end of a line of `rate` bytes a second."""

    def __init__(self, descriptor: int, rate: float, answers: bool) -> None:
        self._descriptor, self._rate = descriptor, rate
        self.screen = Far(answers)
        self._stream = pyte.ByteStream(self.screen)
        self._back: list[tuple[float, bytes]] = []
        self._last, self._room = time.monotonic(), 0.0
        self._tail = b""
        self.received = 0

    def press(self, key: bytes) -> None:
        """Send a key on its way."""
        self._back.append((time.monotonic() + _DELAY_S, key))

    def step(self) -> None:
        """Let a moment pass on the line."""
        time.sleep(_TICK_S)
        now = time.monotonic()
        self._room = min(self._room + self._rate * (now - self._last), 0.1 * self._rate)
        self._last = now
        if self._room >= 1 and select.select([self._descriptor], [], [], 0)[0]:
            data = os.read(self._descriptor, int(self._room))
            self._room -= len(data)
            self.received += len(data)
            self._stream.feed(data)
            seen = self._tail + data
            if self.screen.answers and _ASKED in seen:
                self.screen.answered += "\x1b[?2026;2$y" * seen.count(_ASKED)
                seen = b""
            self._tail = seen[-len(_ASKED) + 1 :]
        if self.screen.answered:
            self._back.append((now + _DELAY_S, self.screen.answered.encode()))
            self.screen.answered = ""
        while self._back and self._back[0][0] <= now:
            os.write(self._descriptor, self._back.pop(0)[1])

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.step()

    def until(self, text: str, comes: bool = True) -> float:
        """Return the seconds until the terminal shows a pattern, or shows it no more."""
        started = time.monotonic()
        while comes != bool(re.search(text, "\n".join(self.screen.display))):
            self.step()
            if time.monotonic() > started + _LONGEST_S:
                raise RuntimeError(f"{text!r} after {_LONGEST_S:.0f} s: not {comes}")
        return time.monotonic() - started


def watch(command: list[str], extra: dict[str, str], rate: float, answers: bool, presses: int):
    """Press keys at random moments; return what each action took and the bytes a second."""
    chance = random.Random(0)
    effects: dict[str, list[tuple[float, float]]] = {name: [] for name in _ACTIONS}
    with terminal(command, extra) as (descriptor, _):
        line = Line(descriptor, rate, answers)
        first = line.until("Step time")
        line.press(b"3")  # the chart of step times gets the keys
        line.wait(_SETTLE_S)
        before, started = line.received, time.monotonic()
        line.wait(_SETTLE_S)
        steady = (line.received - before) / (time.monotonic() - started)
        for name, (there, back, top, last) in _ACTIONS.items():
            for index in range(presses):
                line.wait(chance.uniform(2.0, 4.0))
                line.press(back if index % 2 else there)
                begun = line.until(top, comes=index % 2 == 0)
                effects[name].append((begun, begun + line.until(last, comes=index % 2 == 0)))
    return {"first": first, "bytes_per_s": steady, "effects": effects}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", default="300,1200", help="bytes a second")
    parser.add_argument("--presses", type=int, default=6, help="of each kind, an even number")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    script = Path(sys.executable).with_name("batchtui")
    command = [str(script)] if script.exists() else [sys.executable, "-m", "batchtui"]
    report = {}
    with tempfile.TemporaryDirectory() as folder, simulated_run(Path(folder), 8) as (run, extra):
        attach = [*command, "attach", run, "--runs", str(Path(folder) / "runs")]
        for rate in map(int, options.rates.split(",")):
            for answers in (True, False):
                name = f"{rate} bytes/s, {'answered' if answers else 'not answered'}"
                report[name] = watch(attach, extra, rate, answers, options.presses)
                if not options.json:
                    _print(name, report[name])
    if options.json:
        print(json.dumps(report))
    return 0


def _print(name: str, found: dict) -> None:
    print(f"{name}: first frame {found['first']:.1f} s, then {found['bytes_per_s']:.0f} bytes/s")
    for action, presses in found["effects"].items():
        told = []
        for what, seconds in zip(("begins", "whole"), zip(*presses, strict=True), strict=True):
            told.append(f"{what} {statistics.median(seconds):5.1f} s, worst {max(seconds):5.1f}")
        print(f"  {action:16} {'   '.join(told)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
