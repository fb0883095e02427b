"""How long a supervisor waits for what."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """All in seconds, on the monotonic clock."""

    tick: float = 1.0  # between two samples
    silence: float = 30.0  # of a training, at least
    silence_steps: float = 20.0  # … and at least so many of its slow steps (p95)
    phase: float = 600.0  # silence in everything but training steps
    stop: float = 60.0  # for the last checkpoint: then what is left is killed
    stop_now: float = 3.0  # … when no checkpoint is wanted
    orphans: float = 1.5  # for what the worker leaves behind to end when told to
    store: float = 5.0  # for the last commit, where the first tries fail
    unkillable: float = 30.0  # for killed processes to be gone
