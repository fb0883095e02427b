"""A traced training step: what is allocated and freed, in order, at any batch size.

A trace is made once, at two batch sizes, by `batchtui.forecast.trace`; each event's bytes are
affine in the batch size while the operations stay the same (a few lie on a parabola, which four
sizes show), so that every other size follows from it in a millisecond. Fitting the *peaks*
instead is 1.5–2 % low, the unsafe side.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from batchtui.errors import BatchtuiError
from batchtui.forecast.settings import CUBLAS_WORKSPACE

VERSION = 1
ALLOCATE, FREE = 1, -1
CATEGORIES = (
    "parameters",
    "gradients",
    "optimizer",
    "activations",
    "inputs",
    "temporaries",
    "workspace",
    "buffers",
)
PHASES = ("build", "inputs", "forward", "backward", "optimizer", "evaluation")
EVALUATION = PHASES.index("evaluation")
WORKSPACE = CATEGORIES.index("workspace")

Event = tuple[int, int, int, int, int]  # action, storage, bytes, category, phase


@dataclass(slots=True)
class Trace:
    """What the tracer process found out; `events` are
    [action, storage, bytes at the first size, bytes at the second, category, phase].
    """

    device: str  # cuda or cpu
    batch_sizes: tuple[int, int]
    method: str  # "fake cuda" or "fake cpu"
    events: list[Sequence[int]]
    assumptions: tuple[str, ...] = ()
    torch: str = ""
    fingerprint: str = ""
    seconds: float = 0.0
    version: int = VERSION
    peak_event: int | None = None
    convolutional: bool = True  # whether it convolves: that takes workspaces no tensor shows
    # Storages that grow with the square of the batch (pairs of samples): bytes a squared sample.
    squares: dict[int, float] = field(default_factory=dict)
    _last: tuple[int, list[Event]] | None = field(default=None, repr=False, compare=False)

    @property
    def scales(self) -> bool:
        """Whether it holds for all sizes; else only for the one that was traced."""
        return self.batch_sizes[0] != self.batch_sizes[1]

    def covers(self, batch_size: int) -> bool:
        """Whether the trace says something about this size: all, or the only one traced."""
        return self.scales or batch_size == self.batch_sizes[0]

    def with_workspaces(self, size: int) -> Trace:
        """Return the trace with cuBLAS workspaces of `size` bytes; convolutions' stay."""
        events = [
            [*event[:2], size, size, *event[4:]]
            if event[4] == WORKSPACE and event[2] == event[3] == CUBLAS_WORKSPACE
            else event
            for event in self.events
        ]
        return replace(self, events=events, _last=None)

    def at(self, batch_size: int) -> list[Event]:
        """Return the events at a batch size; bytes as requested, whole numbers.

        Raises:
            ValueError: the trace holds for one size, and this is another.
        """
        if self._last is not None and self._last[0] == batch_size:
            return self._last[1]
        first, second = self.batch_sizes
        if not self.covers(batch_size):
            raise ValueError(f"traced at batch size {first} only, not at {batch_size}")
        if first == second:
            events = [(a, s, low, c, p) for a, s, low, _, c, p in self.events]
        else:
            span, steps = second - first, batch_size - first
            half = span // 2
            events = [
                (a, s, low if low == high else low + ((high - low) * steps + half) // span, c, p)
                for a, s, low, high, c, p in self.events
            ]
            if self.squares:
                beyond = (batch_size - first) * (batch_size - second)
                events = [
                    (a, s, size + round(self.squares.get(s, 0) * beyond), c, p)
                    for a, s, size, c, p in events
                ]
        self._last = (batch_size, events)
        return events

    def to_json(self) -> str:
        """Write the trace as the one JSON object that `from_json` reads."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        del values["_last"]
        return json.dumps(values, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Trace:
        """Read a trace.

        Raises:
            BatchtuiError: not a trace, or one of another version.
        """
        try:
            return cls.from_dict(json.loads(text))
        except (ValueError, TypeError, KeyError) as error:
            raise BatchtuiError(f"this is no memory trace: {error}") from None

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Trace:
        """Build a trace from its JSON object; keys that are not known are left aside.

        Raises:
            ValueError: another version, or events of another form.
        """
        if values.get("version") != VERSION:
            raise ValueError(f"version {values.get('version')}, and {VERSION} is wanted")
        events = values["events"]
        if any(len(event) != 6 or event[0] not in (ALLOCATE, FREE) for event in events):
            raise ValueError("an event is not [±1, storage, bytes, bytes, category, phase]")
        first, second = values["batch_sizes"]
        return cls(
            device=values["device"],
            batch_sizes=(int(first), int(second)),
            method=values["method"],
            events=events,
            assumptions=tuple(values.get("assumptions", ())),
            torch=values.get("torch", ""),
            fingerprint=values.get("fingerprint", ""),
            seconds=float(values.get("seconds", 0.0)),
            peak_event=values.get("peak_event"),
            convolutional=bool(values.get("convolutional", True)),
            squares={int(k): float(v) for k, v in values.get("squares", {}).items()},
        )


def peak_by_category(events: Sequence[Event]) -> tuple[int, dict[str, int]]:
    """Find the most bytes that live tensors hold at once, and of what they are.

    Returns the peak and the bytes of each category at it.
    """
    peak, at = _peak(events)
    held = [0] * len(CATEGORIES)
    live: dict[int, tuple[int, int]] = {}
    for action, storage, size, category, _ in events[: at + 1]:
        if action > 0:
            live[storage] = (category, size)
        else:
            live.pop(storage, None)
    for category, size in live.values():
        held[category] += size
    return peak, dict(zip(CATEGORIES, held, strict=True))


def evaluation_peaks(events: Sequence[Event]) -> bool:
    """Whether the most bytes are held in the evaluation, and not in a training step."""
    return bool(events) and events[_peak(events)[1]][4] == EVALUATION


def _peak(events: Sequence[Event]) -> tuple[int, int]:
    """Return the most bytes that live tensors hold, and the place of the event that reaches it."""
    sizes: dict[int, int] = {}
    now = peak = at = 0
    for index, (action, storage, size, _, _) in enumerate(events):
        if action > 0:
            sizes[storage] = size
            now += size
            if now > peak:
                peak, at = now, index
        else:
            now -= sizes.pop(storage, 0)
    return peak, at
