"""How a training is stopped: rung by rung, each a signal and its time."""

from __future__ import annotations

import signal
from collections.abc import Sequence

Rung = tuple[float, signal.Signals]
"""Seconds after the ladder's foot, and what is sent then."""

_SECOND_TERM_S = 1.2  # the worker takes what comes within a second for an echo of the first


def gently(grace: float) -> list[Rung]:
    """Ask for a checkpoint; kill what is left after `grace` seconds."""
    return [(0.0, signal.SIGTERM), (grace, signal.SIGKILL)]


def at_once(grace: float) -> list[Rung]:
    """Ask twice, which means: without a checkpoint; kill what is left after `grace` seconds."""
    return [
        (0.0, signal.SIGTERM),
        (_SECOND_TERM_S, signal.SIGTERM),
        (max(grace, _SECOND_TERM_S), signal.SIGKILL),
    ]


class Ladder:
    """A stop in progress."""

    def __init__(self, rungs: Sequence[Rung], foot: float) -> None:
        """Take the rungs in order, and the time of the foot on the caller's clock, in seconds."""
        self._rungs = [(foot + after, number) for after, number in rungs]

    def due(self, now: float) -> list[signal.Signals]:
        """Return what has to be sent by now, each once."""
        due = [number for when, number in self._rungs if when <= now]
        self._rungs = self._rungs[len(due) :]
        return due

    @property
    def next_at(self) -> float | None:
        """When the next rung is due; None: the top is reached."""
        return self._rungs[0][0] if self._rungs else None
