"""When a training that says nothing counts as lost.

How long a silence is normal depends on what the worker does: steps come at their own pace, while
importing torch, evaluating or writing a checkpoint takes what it takes.
"""

from __future__ import annotations

from batchtui.records import Note, Phase, Record, Start
from batchtui.runs.progress import TRAINING
from batchtui.supervise.patience import Patience
from batchtui.units import duration


class Silence:
    """Measures how long the worker has said nothing. Times are the caller's monotonic seconds."""

    def __init__(self, patience: Patience, now: float) -> None:
        """Begin to wait for a worker that has just been started."""
        self._patience = patience
        self._heard = now
        self._phase: str | None = "starting"

    def heard(self, record: Record, now: float) -> None:
        """Take note of a sign of life, and of what the worker does after it."""
        self._heard = now
        if isinstance(record, Phase):
            self._phase = None if record.phase == TRAINING else record.phase
        elif isinstance(record, Start):
            self._phase = "before the first step"
        elif not isinstance(record, Note):
            self._phase = None

    def excuse(self, now: float) -> None:
        """Begin anew, where nobody could listen."""
        self._heard = now

    def overdue(self, slow_step: float | None, now: float) -> str | None:
        """Return how silent the worker is, in words, once that is too long; else None.

        `slow_step` is the 95th percentile of the step time in seconds, None if unknown.
        """
        silent = now - self._heard
        if silent <= self._limit(slow_step):
            return None
        what = f" ({self._phase})" if self._phase else ""
        return f"no sign of life for {duration(silent)}{what}"

    def _limit(self, slow_step: float | None) -> float:
        if self._phase is not None:
            return self._patience.phase
        return max(self._patience.silence, self._patience.silence_steps * (slow_step or 0.0))
