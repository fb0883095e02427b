"""A terminal for tests: a pseudo-terminal with a program on it, and pyte to see what it shows."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pyte

REPOSITORY = Path(__file__).parents[2]


class Screen(pyte.Screen):
    """What a terminal shows; it keeps its answers."""

    answers = b""

    def write_process_input(self, data: str) -> None:
        self.answers += data.encode()


class Terminal:
    """Runs a Python program on a pseudo-terminal of `width` × `height`.

    With `answers` it tells where its cursor is when it is asked.
    """

    def __init__(
        self,
        arguments: list[str],
        width: int = 120,
        height: int = 36,
        answers: bool = False,
        **environment: str,
    ) -> None:
        self.screen = Screen(width, height)
        self.answers = answers
        self._stream = pyte.ByteStream(self.screen)
        self.output = b""
        self.status: int | None = None
        self._home = tempfile.TemporaryDirectory(prefix="home-", ignore_cleanup_errors=True)
        environment = {
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "LANG": "C.UTF-8",
            "PATH": os.environ["PATH"],
            "HOME": self._home.name,
            "PYTHONPATH": str(REPOSITORY),
            **environment,
        }
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.chdir(REPOSITORY)
            os.execve(sys.executable, [sys.executable, *arguments], environment)
        self.resize(width, height)
        self.attributes = termios.tcgetattr(self.descriptor)

    def resize(self, width: int, height: int) -> None:
        size = struct.pack("HHHH", height, width, 0, 0)
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, size)
        self.screen.resize(height, width)

    def read(self, seconds: float) -> None:
        """Take in what comes within that time."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.descriptor], [], [], left)[0]:
                return
            try:
                data = os.read(self.descriptor, 65536)
            except OSError:  # the other end is closed
                return
            if not data:
                return
            self.output += data
            self._stream.feed(data)
            if self.answers and self.screen.answers:
                self.press(self.screen.answers)
                self.screen.answers = b""

    def wait_for(self, condition: Callable[[], bool], seconds: float = 15.0) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                return True
            self.read(0.05)
        return condition()

    def wait_for_text(self, text: str, seconds: float = 15.0) -> bool:
        return self.wait_for(lambda: any(text in line for line in self.screen.display), seconds)

    def press(self, keys: bytes) -> None:
        os.write(self.descriptor, keys)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def ended(self) -> bool:
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def close(self) -> None:
        if not self.ended():
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.status = -9
        os.close(self.descriptor)
        self._home.cleanup()
