"""The thread that writes to the terminal, and the only one that a stalled terminal stops."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable

from batchtui.tui.driver.pace import Pace

_SETTLE = 0.004  # seconds in which the writes of one frame come together
_CHUNK = 4096  # bytes
_URGENT = 0.3  # seconds after a key in which what it does is drawn
_START = 2.0  # seconds in which frames are not held back: the first ones are awaited


class Output(threading.Thread):
    """Takes the newest bytes whenever the line has room for them, `gap` seconds apart.

    `take` returns what there is to send now. What it says of later frames it can leave out of
    this one: it is asked again.
    """

    def __init__(self, descriptor: int, take: Callable[[], bytes], gap: float, pace: Pace) -> None:
        super().__init__(daemon=True, name="batchtui-output")
        self._descriptor, self._take, self._gap, self._pace = descriptor, take, gap, pace
        self._wanted = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._ended = False
        self._urgent_until = time.monotonic() + _START
        self._keys = 0
        self.bytes_sent = 0

    # From the event loop; none of these waits.

    def want(self) -> None:
        """Say that there is something to send."""
        self._idle.clear()
        self._wanted.set()

    def hurry(self) -> None:
        """Send the next frames without a gap: a key was pressed."""
        self._keys += 1
        self._urgent_until = time.monotonic() + _URGENT

    @property
    def urgency(self) -> int:
        """0, or the number of the key that was pressed a moment ago."""
        return self._keys if time.monotonic() < self._urgent_until else 0

    def end(self, timeout: float) -> None:
        """Send what is left if the terminal takes it in time, and end."""
        self._idle.wait(timeout)
        self._ended = True
        self._pace.end(0.0)
        self._wanted.set()
        self.join(timeout)

    # In this thread.

    def run(self) -> None:
        last = 0.0
        while not self._ended:
            self._wanted.wait()
            self._settle(last)
            self._pace.wait()
            self._wanted.clear()
            data = self._take()
            if data:
                last = time.monotonic()
                if not self._send(data):
                    self._idle.set()
                    return
            if not self._wanted.is_set():
                self._idle.set()

    def _settle(self, last: float) -> None:
        """Wait for the frame to be complete, and out the gap unless somebody types."""
        until = last + self._gap
        time.sleep(_SETTLE)
        while not self._ended:
            now = time.monotonic()
            if now >= until or now < self._urgent_until:
                return
            time.sleep(min(0.02, until - now))

    def _send(self, data: bytes) -> bool:
        rest = memoryview(data)
        while rest:
            try:
                select.select([], [self._descriptor], [])
                written = os.write(self._descriptor, rest[:_CHUNK])
            except BlockingIOError:
                continue
            except (OSError, ValueError):
                return False  # the terminal is gone; SIGHUP ends the program
            self.bytes_sent += written
            rest = rest[written:]
        return True
