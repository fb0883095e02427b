"""What a step took and what came out of it, read without making the device wait.

A host that asks a GPU for a number waits until the GPU has caught up, and the GPU then idles
until the host has queued the next work. So times are taken by events in the device's own queue,
and the numbers are copied to pinned memory by that queue; both are read when they are done, some
steps later.
"""

from __future__ import annotations

import functools
import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from batchtui.records import Step

DATA, TRANSFER, FORWARD, BACKWARD, OPTIMIZER = range(5)
# Steps that the host may be ahead of the device and still get their numbers; CUDA lets it queue
# about a thousand kernels, which is fewer steps than this.
AHEAD = 512
Values = tuple[Tensor, Tensor, Tensor]  # loss, variance, gradient norm: scalars on the device


class Meter(Protocol):
    """Measures one step after another.

    A step is: any number of `begin` and `mark(part)`, each mark giving the time since the one
    before it to a part; then `finish`. Its record is handed out by `finished`, oldest first.
    """

    def restart(self) -> None:
        """Forget the time since the last step: it was no training."""

    def begin(self) -> None:
        """Give the time since the last mark to no part."""

    def mark(self, part: int) -> None:
        """Give the time since the last mark to `part`."""

    def finish(self, step: Step, values: Values) -> None:
        """End the step."""

    def finished(self) -> list[Step]:
        """Return the records that became complete; never waits."""

    def wait(self) -> list[Step]:
        """Return the records of all steps so far: a synchronisation."""


class HostMeter:
    """The host's clock: right where the host does the work itself."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """`clock` counts seconds."""
        self._clock = clock
        self._done: list[Step] = []
        self._parts = [0.0] * 5
        self._start = self._last = clock()

    def restart(self) -> None:
        """Forget the time since the last step."""
        self._start = self._last = self._clock()

    def begin(self) -> None:
        """Give the time since the last mark to no part."""
        self._last = self._clock()

    def mark(self, part: int) -> None:
        """Give the time since the last mark to `part`."""
        now = self._clock()
        self._parts[part] += now - self._last
        self._last = now

    def finish(self, step: Step, values: Values) -> None:
        """End the step."""
        numbers = [value.item() for value in values]  # waits for an accelerator without events
        now = self._clock()
        _fill(step, now - self._start, self._parts, numbers)
        self._done.append(step)
        self._parts = [0.0] * 5
        self._start = now

    def finished(self) -> list[Step]:
        """Return the records of the steps since the last call."""
        done, self._done = self._done, []
        return done

    wait = finished


class Event(Protocol):
    """What the meter uses of `torch.Event`."""

    def record(self) -> object:
        """Enter the queue."""

    def query(self) -> bool:
        """Return whether the queue has come to it."""

    def synchronize(self) -> object:
        """Wait until the queue has come to it."""

    def elapsed_time(self, end: Event) -> float:
        """Return the milliseconds from this event to `end`; both must have happened."""


class _Pending(NamedTuple):
    step: Step
    start: Event
    marks: list[tuple[int | None, Event]]
    done: Event
    slot: int | None


class DeviceMeter:
    """Events in the device's queue, and a ring of pinned memory for its numbers."""

    def __init__(self, new_event: Callable[[], Event], ring: Tensor) -> None:
        """`ring` is a CPU tensor of shape (steps that may be pending, 3)."""
        self._new_event = new_event
        self._ring = ring
        self._free = list(range(len(ring)))
        self._pending: deque[_Pending] = deque()
        self._marks: list[tuple[int | None, Event]] = []
        self._start = self._record()

    def restart(self) -> None:
        """Forget the time since the last step."""
        self._start = self._record()

    def begin(self) -> None:
        """Give the time since the last mark to no part."""
        self._marks.append((None, self._record()))

    def mark(self, part: int) -> None:
        """Give the time since the last mark to `part`."""
        self._marks.append((part, self._record()))

    def finish(self, step: Step, values: Values) -> None:
        """End the step: queue the copy of its numbers, and an event behind it."""
        slot = self._free.pop() if self._free else None
        if slot is not None:
            self._ring[slot].copy_(torch.stack(values), non_blocking=True)
        done = self._record()
        self._pending.append(_Pending(step, self._start, self._marks, done, slot))
        self._marks, self._start = [], done

    def finished(self) -> list[Step]:
        """Return the records of the steps that the device has ended."""
        ended = []
        while self._pending and self._pending[0].done.query():
            ended.append(self._read(self._pending.popleft()))
        return ended

    def wait(self) -> list[Step]:
        """Return the records of all steps so far."""
        if self._pending:
            self._pending[-1].done.synchronize()  # synchronises: an epoch or the training ends
        return self.finished()

    def _record(self) -> Event:
        event = self._new_event()
        event.record()
        return event

    def _read(self, pending: _Pending) -> Step:
        parts = [0.0] * 5
        last = pending.start
        for part, event in pending.marks:
            if part is not None:
                parts[part] += last.elapsed_time(event) / 1e3
            last = event
        numbers = None
        if pending.slot is not None:
            numbers = self._ring[pending.slot].tolist()
            self._free.append(pending.slot)
        seconds = pending.start.elapsed_time(pending.done) / 1e3
        _fill(pending.step, seconds, parts, numbers)
        return pending.step


def make_meter(device: torch.device) -> Meter:
    """Return the meter for a device; the host's clock where the device has no timed events."""
    if device.type == "cpu":
        return HostMeter()
    new_event: Callable[[], Any] = functools.partial(torch.Event, device=device, enable_timing=True)
    try:
        first, second = new_event(), new_event()
        first.record()
        second.record()
        second.synchronize()  # once, before the first step
        first.elapsed_time(second)
    except (RuntimeError, NotImplementedError, TypeError):
        return HostMeter()
    try:
        ring = torch.empty(AHEAD, 3, pin_memory=True)
    except RuntimeError:  # Apple's memory is shared, there is nothing to pin
        ring = torch.empty(AHEAD, 3)
    return DeviceMeter(new_event, ring)


def _fill(step: Step, seconds: float, parts: list[float], numbers: list[float] | None) -> None:
    """Complete a record; a number that is not finite is not known."""
    step.time = time.time()
    step.step_s = seconds
    step.data_s, step.transfer_s, step.forward_s, step.backward_s, step.optimizer_s = parts
    if numbers is not None:
        loss, variance, norm = numbers
        step.loss = loss if math.isfinite(loss) else None
        step.nonfinite = step.loss is None and step.batch > 0
        step.variance = variance if math.isfinite(variance) else None
        step.grad_norm = norm if math.isfinite(norm) else None
