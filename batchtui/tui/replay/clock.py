"""The clock of a replay: a moment of the run that moves on at a speed, or is held."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from batchtui.tui.view import Replay

WHOLE_S = 60.0  # what a replay takes at the speed it begins with, at most
SLOWEST, FASTEST = 0.1, 1e6
_JUMP = 0.05  # of the whole


def usual_speed(length: float) -> float:
    """Return the speed at which a run of so many seconds is over within a minute, at least 1."""
    return 1.0 if length <= WHOLE_S else next_speed(length / WHOLE_S / 1.001)


def next_speed(speed: float) -> float:
    """Return the next of …, 1, 2, 5, 10, 20, 50, … above a speed."""
    power = 10.0 ** math.floor(math.log10(speed) + 1e-9)
    step = next(step for step in (2, 5, 10) if step * power > speed * (1 + 1e-9))
    return min(FASTEST, step * power)


def last_speed(speed: float) -> float:
    """Return the next of them below."""
    return max(SLOWEST, 1 / next_speed(1 / speed))


class ReplayClock:
    """To be asked in one thread and set in another. Moments are Unix seconds."""

    def __init__(
        self,
        start: float,
        end: float,
        speed: float | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin at the start with the first look; without a speed it takes about a minute."""
        self.start, self._end = start, max(start, end)
        self._speed = usual_speed(self._end - start) if speed is None else speed
        self._now = now
        self._lock = threading.Lock()
        self._held = self._grows = False
        self._moment = start
        self._since: float | None = None

    def read(self) -> Replay:
        """Return where the replay is."""
        with self._lock:
            self._go_on()
            at_end = self._moment >= self._end and not (self._held and self._grows)
            return Replay(self._moment, self._speed, self._held, at_end, self.start, self._end)

    def lengthen(self, end: float) -> None:
        """Take a later end, that of a run that goes on; at the end the moment goes with it."""
        with self._lock:
            if self._since is not None:
                self._go_on()
            if end <= self._end:
                return
            if self._moment >= self._end and not self._held:
                self._moment = end
            self._end, self._grows = end, True

    def hold(self) -> None:
        """Hold the moment, or go on; at the end of a run that has ended go back to the start."""
        with self._lock:
            self._go_on()
            if self._moment >= self._end and not self._held and not self._grows:
                self._moment = self.start
            else:
                self._held = not self._held

    def change_speed(self, direction: int) -> None:
        """Go on faster (1) or slower (-1)."""
        with self._lock:
            self._go_on()
            self._speed = next_speed(self._speed) if direction > 0 else last_speed(self._speed)

    def jump(self, direction: int) -> None:
        """Go a twentieth of the whole ahead (1) or back (-1)."""
        self.go_to(self.read().moment + direction * _JUMP * (self._end - self.start))

    def go_to(self, moment: float) -> None:
        """Go to a moment; to the nearest one there is."""
        with self._lock:
            if self._since is not None:
                self._go_on()
            self._moment = min(self._end, max(self.start, moment))

    def _go_on(self) -> None:
        now = self._now()
        if not self._held and self._since is not None:
            self._moment = min(self._end, self._moment + (now - self._since) * self._speed)
        self._since = now
