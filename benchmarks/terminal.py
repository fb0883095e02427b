"""What the screen costs a connection and a machine, beside what one would keep open instead.

First frame, the time from a key to what it shows, processor time, memory and bytes a second at
120x40: batchtui on a live run with eight simulated GPUs, a Textual program that does nothing,
nvitop and btop. Each runs alone in a pty that is read as fast as it writes.
`python -m benchmarks.terminal [--seconds 30] [--json]`
"""

from __future__ import annotations

import argparse
import fcntl
import json
import math
import os
import pty
import random
import re
import select
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyte

from benchmarks.live_run import live_run
from tests.nvml.build import compile_library, environment

ROWS, COLUMNS = 40, 120
_BARE = """
from textual.app import App
from textual.widgets import Static
class Bare(App):
    def compose(self):
        yield Static("ready")
Bare().run()
"""
# Beside the program's own start nothing may run; the screen has settled after this.
_SETTLE_S = 6.0
_FIRST_FRAME_ROUNDS = 15
# The first screen of a configuration has its model traced, once and for all, beside it.
_TRACING, _TRACE_S = "tracing", 180.0
_PRESSES = 120
# A start that writes nothing for this long is over; the screen looks again a second later.
_PAUSE_S = 0.5
_ASKED = re.compile(rb"(?:\x1b\[(\d+)H)?\x1b\[6n")


@dataclass(frozen=True, slots=True)
class Program:
    """A command, and a text that stands on its first complete screen."""

    name: str
    command: list[str]
    marker: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What a program cost over the time it was watched."""

    cpu_percent: float  # of one core
    memory_mib: float  # resident, at the end
    bytes_per_s: float


@contextmanager
def terminal(command: list[str], extra: dict[str, str]) -> Iterator[tuple[int, psutil.Process]]:
    """Run a command in a pty of its own; yield the terminal's side and the process."""
    pid, descriptor = pty.fork()
    if pid == 0:
        # Installed programs have their bytecode; whoever forbids it would time the compiler.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ.update(extra, TERM="xterm-256color", COLORTERM="truecolor", LANG="C.UTF-8")
        os.execvp(command[0], command)
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    try:
        yield descriptor, psutil.Process(pid)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(descriptor)


def first_frame(program: Program, extra: dict[str, str]) -> float:
    """Return the seconds from the start of a program until its marker is on the screen.

    What came when is noted first and drawn afterwards: the emulator, which is slower than any
    terminal, would otherwise hold up the program that it times.
    """
    started = time.perf_counter()
    received: list[tuple[float, bytes]] = []
    with terminal(program.command, extra) as (descriptor, _):
        while not received or select.select([descriptor], [], [], _PAUSE_S)[0]:
            raw = _read(descriptor)
            received.append((time.perf_counter() - started, raw))
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    for seconds, raw in received:
        stream.feed(raw)
        if program.marker in "\n".join(screen.display):
            return seconds
    raise RuntimeError(f"{program.name} never showed {program.marker!r}")


def key_effects(program: Program, extra: dict[str, str]) -> list[float]:
    """Return the seconds from each of many key presses until the screen shows what it did.

    Half of them hold the view still and let it go, half give a chart the whole screen and take it
    back, at random moments of a screen that is at work. As for the first frame, what came is drawn
    afterwards.
    """
    chance = random.Random(0)
    presses: list[tuple[float, str, bool]] = []  # when, the text to look for, whether it comes
    received: list[tuple[float, bytes]] = []
    with terminal(program.command, extra) as (descriptor, _):

        def read(seconds: float) -> None:
            deadline = time.perf_counter() + seconds
            while (left := deadline - time.perf_counter()) > 0:
                if select.select([descriptor], [], [], left)[0]:
                    received.append((time.perf_counter(), _read(descriptor)))

        read(_SETTLE_S)
        os.write(descriptor, b"3")  # the chart of step times gets the keys
        for key, text in ((b" ", "paused"), (b"z", "Closer")):
            for index in range(_PRESSES // 2):
                read(chance.uniform(0.2, 0.5))
                presses.append((time.perf_counter(), text, index % 2 == 0))
                os.write(descriptor, key)
        read(1.0)
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    effects, pending = [], iter(presses)
    pressed, text, comes = next(pending)
    for seconds, raw in received:
        stream.feed(raw)
        if seconds > pressed and comes == any(text in line for line in screen.display):
            effects.append(seconds - pressed)
            pressed, text, comes = next(pending, (math.inf, "", False))
    if len(effects) < len(presses):
        raise RuntimeError(f"{program.name} showed {len(effects)} of {len(presses)} key presses")
    return effects


def wait_for_trace(program: Program, extra: dict[str, str]) -> None:
    """Show a run until its forecast stands, so that no later start makes or awaits a trace."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    deadline = time.perf_counter() + _TRACE_S
    with terminal(program.command, extra) as (descriptor, _):
        while time.perf_counter() < deadline:
            if select.select([descriptor], [], [], _PAUSE_S)[0]:
                stream.feed(_read(descriptor))
            elif program.marker in (shown := "\n".join(screen.display)) and _TRACING not in shown:
                return
    raise RuntimeError(f"{program.name} was still tracing after {_TRACE_S:.0f} s")


def cost(program: Program, extra: dict[str, str], seconds: float) -> Cost:
    """Watch a program that has settled for a while."""
    with terminal(program.command, extra) as (descriptor, process):
        _drain(descriptor, _SETTLE_S)
        before = _cpu(process)
        started = time.perf_counter()
        received = _drain(descriptor, seconds)
        elapsed = time.perf_counter() - started
        used = _cpu(process) - before
        memory = process.memory_info().rss
    return Cost(100 * used / elapsed, memory / 2**20, received / elapsed)


def _drain(descriptor: int, seconds: float) -> int:
    """Read whatever comes for a while; return the number of bytes."""
    received = 0
    deadline = time.perf_counter() + seconds
    while (left := deadline - time.perf_counter()) > 0:
        if select.select([descriptor], [], [], left)[0]:
            received += len(_read(descriptor))
    return received


def _read(descriptor: int) -> bytes:
    """Read what has come; tell where the cursor is to a program that asks, as terminals do."""
    raw = os.read(descriptor, 1 << 16)
    for question in _ASKED.finditer(raw):
        os.write(descriptor, b"\x1b[%s;1R" % (question[1] or b"1"))
    return raw


def _cpu(process: psutil.Process) -> float:
    # Without children: the forecast's trace, once a configuration, is no cost of the screen.
    times = process.cpu_times()
    return times.user + times.system


@contextmanager
def simulated_run(here: Path, gpus: int) -> Iterator[tuple[str, dict[str, str]]]:
    """Keep a run alive in `here`/runs on simulated GPUs; yield its name and the environment."""
    extra = environment(compile_library(here / "nvml"), here / "nvml" / "gpus.txt")
    words = ["--gpus", str(gpus), "--animate"]
    cards = subprocess.Popen(
        [sys.executable, "-m", "tests.nvml.build", str(here / "nvml"), *words],
        stdout=subprocess.DEVNULL,
    )
    while not (here / "nvml" / "gpus.txt").exists():
        time.sleep(0.05)  # a run that begins without GPUs would show none
    try:
        with live_run(here / "runs", extra) as run:
            yield run, extra
    finally:
        cards.kill()
        cards.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30, help="to watch each program")
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        with simulated_run(here, options.gpus) as (run, extra):
            report = measure(run, here / "runs", extra, options.seconds)
    if options.json:
        print(json.dumps(report))
    else:
        _print(report)
    return 0


def measure(run: str, root: Path, extra: dict[str, str], seconds: float) -> dict[str, object]:
    """Measure all programs in one go, first frames interleaved."""
    script = Path(sys.executable).with_name("batchtui")  # what a user types
    command = [str(script)] if script.exists() else [sys.executable, "-m", "batchtui"]
    attach = [*command, "attach", run, "--runs", str(root)]
    ours = Program("batchtui", attach, "Step time")
    bare = Program("bare Textual", [sys.executable, "-c", _BARE], "ready")
    slow = Program("batchtui --refresh 5", [*attach, "--refresh", "5"], "Step time")
    peers = []
    if path := shutil.which("nvitop") or shutil.which("nvitop", path=Path(sys.executable).parent):
        peers.append(Program("nvitop", [path, "--monitor", "full"], "MEM"))
    if path := shutil.which("btop"):
        peers.append(Program("btop", [path, "--utf-force"], "proc"))
    wait_for_trace(ours, extra)
    frames: dict[str, list[float]] = {"ours": [], "bare": []}
    for _ in range(_FIRST_FRAME_ROUNDS):
        frames["bare"].append(first_frame(bare, extra))
        frames["ours"].append(first_frame(ours, extra))
    effects = sorted(1e3 * effect for effect in key_effects(ours, extra))
    mine = cost(ours, extra, seconds)
    others = {}
    for program in (slow, bare, *peers):
        paid = cost(program, extra, seconds)
        others[program.name] = {
            "cpu_percent": paid.cpu_percent,
            "memory_mib": paid.memory_mib,
            "bytes_per_s": paid.bytes_per_s,
        }
    return {
        "first_frame_s": statistics.median(frames["ours"]),
        "bare_textual_s": statistics.median(frames["bare"]),
        "key_ms": {
            "p50": effects[len(effects) // 2],
            "p95": effects[round(0.95 * (len(effects) - 1))],
            "worst": effects[-1],
        },
        "cpu_percent": mine.cpu_percent,
        "memory_mib": mine.memory_mib,
        "bytes_per_s": mine.bytes_per_s,
        "peers": others,
    }


def _print(report: dict[str, object]) -> None:
    frame, bare = report["first_frame_s"], report["bare_textual_s"]
    print(f"first frame  batchtui {frame:.2f} s, bare Textual {bare:.2f} s: × {frame / bare:.2f}")
    key: dict[str, float] = report["key_ms"]  # type: ignore[assignment]
    shown = ", ".join(f"{name} {value:.0f} ms" for name, value in key.items())
    print(f"key to screen  {shown}, of {_PRESSES} presses")
    print(f"{'':22} {'CPU %':>7} {'MiB':>6} {'bytes/s':>9}")
    rows = {"batchtui": report, **report["peers"]}  # type: ignore[dict-item]
    for name, row in rows.items():
        print(
            f"{name:22} {row['cpu_percent']:7.1f} {row['memory_mib']:6.0f} "
            f"{row['bytes_per_s']:9.0f}"
        )


if __name__ == "__main__":
    sys.exit(main())
