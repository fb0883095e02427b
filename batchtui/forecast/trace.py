"""Trace training steps on fake tensors: every allocation, in order, without a GPU.

    trace = trace_model(task, plan, batch_sizes=(8, 32), device="cuda")

Runs in a process of its own (`tracer.py` is its command) with PyTorch and the standard library
alone. A step for CUDA is traced on fake CUDA tensors, failing that on fake CPU tensors, which
is an over-estimate and said so. Memory that no tensor shows is part of the trace: a cuBLAS
workspace at the first product of the forward and of the backward pass, in category "workspace".
"""

from __future__ import annotations

import contextlib
import functools
import gc
import time
import warnings
from collections.abc import Callable, Sequence

import torch

from batchtui.errors import BatchtuiError, ConfigError
from batchtui.forecast.events import ALLOCATE, CATEGORIES, PHASES, Trace
from batchtui.forecast.fake_device import FakeDevice
from batchtui.forecast.hollow import HollowModel, unfilled
from batchtui.forecast.ladder import ladder, one_line
from batchtui.forecast.recorder import Recorder, TraceTimeout
from batchtui.forecast.recording import Recording, canonical, curves, merged, superlinear
from batchtui.forecast.rehearsal import Plan, Task, rehearse
from batchtui.forecast.workspaces import MeasuredWorkspaces, ResidentWorkspaces

DEFAULT_SIZES = (8, 32)
_CPU_SIZES = (64, 32, 16, 8, 4)  # on a CPU convolutions run for real: the largest affordable
_ONE_SIZE = "the operations depend on the batch size: traced at this one alone"
_NO_CURVE = "memory grows faster than the batch: traced at this size alone"
_CPU_WORK = 60e9  # floating-point operations spent on them, about a second on two cores


# (module, device, recorder, batch size, the device forecast for): train it, two whole steps.
Rehearsal = Callable[[torch.nn.Module, FakeDevice, Recorder, int, str], None]


class TraceError(BatchtuiError):
    """A model that cannot be traced, and why, in one line."""


def trace_model(
    task: Task,
    plan: Plan,
    *,
    batch_sizes: tuple[int, int] | None = None,
    device: str = "cuda",
    time_limit: float | None = None,
    fingerprint: str = "",
    resident: bool = False,
) -> Trace:
    """Trace a task in the generic loop; see `trace_steps`."""
    return trace_steps(
        task.model,
        functools.partial(rehearse, task, plan),
        channels_last=plan.channels_last,
        batch_sizes=batch_sizes,
        device=device,
        time_limit=time_limit,
        fingerprint=fingerprint,
        resident=resident,
    )


def trace_steps(
    build: Callable[[], torch.nn.Module],
    rehearsal: Rehearsal,
    *,
    channels_last: bool | Callable[[torch.nn.Module], bool] = False,
    batch_sizes: tuple[int, int] | None = None,
    device: str = "cuda",
    time_limit: float | None = None,
    fingerprint: str = "",
    resident: bool = False,
) -> Trace:
    """Trace training steps at two batch sizes, which stand for every other size.

    Args:
        build: makes the module, on ordinary CPU tensors.
        rehearsal: trains it once its parameters are fake.
        channels_last: the layout of its weights, or what tells it of the module.
        batch_sizes: the sizes traced, by default what is affordable. Equal, or where the
            operations differ between them, the trace holds for the second size only.
        device: what is forecast for, "cuda" or "cpu".
        time_limit: seconds after which to give up.
        resident: on a CPU, count the pages that convolutions touch instead of what they ask for.

    Raises:
        TraceError: neither kind of fake tensor gets through the step.
        ConfigError: the model does not take its arguments.
    """
    started = time.monotonic()
    deadline = None if time_limit is None else started + time_limit
    notes: list[str] = []
    failure: TraceError | None = None

    def built() -> HollowModel:
        with unfilled(device):
            return HollowModel(build())

    try:
        model = built()
    except ConfigError as error:
        # Arguments that it does not take, or no module at all: it cannot train either.
        if error.__cause__ is None or isinstance(error.__cause__, TypeError):
            raise
        raise TraceError(f"the model cannot be built: {error}") from error
    except Exception as error:
        raise TraceError(f"the model cannot be built: {one_line(error)}") from error
    if callable(channels_last):
        channels_last = channels_last(model.module)
    for kind in ladder(device, notes):
        attempt = list(notes)
        tracer = _Tracer(rehearsal, model, channels_last, kind, device, attempt, deadline, built)
        if device == "cpu":
            tracer.workspaces = ResidentWorkspaces() if resident else MeasuredWorkspaces()
        try:
            trace = tracer.trace(batch_sizes or tracer.affordable_sizes())
        except TraceTimeout:
            raise TraceError(
                f"tracing the model takes longer than {time_limit:.0f} s (`batchtui forecast "
                "--time-limit` gives it more)"
            ) from None
        except Exception as error:
            failure = failure or TraceError(f"the model cannot be traced: {one_line(error)}")
            notes.append(f"fake {kind} tensors failed: {one_line(error)}")
            continue
        trace.fingerprint = fingerprint
        trace.seconds = time.monotonic() - started
        return trace
    assert failure is not None
    raise failure


class _Tracer:
    """Rehearse a task on one kind of fake tensors."""

    def __init__(
        self,
        rehearsal: Rehearsal,
        model: HollowModel,
        channels_last: bool,
        kind: str,
        target: str,
        notes: list[str],
        deadline: float | None,
        rebuild: Callable[[], HollowModel],
    ) -> None:
        self._rebuild = rebuild
        self._rehearsal = rehearsal
        self._model = model
        self._channels_last = channels_last
        self._kind = kind
        self._target = target
        self._notes = notes
        self._deadline = deadline
        # One fake mode for all sizes: a tensor that the model keeps to itself stays valid.
        self._device = FakeDevice(kind)
        self._recordings: dict[int, Recording] = {}
        self.workspaces: MeasuredWorkspaces | None = None

    def trace(self, batch_sizes: tuple[int, int]) -> Trace:
        """Trace at both sizes, at the second alone if the two do not match."""
        first, second = batch_sizes
        high = self._record(second)
        low = high if first == second else self._record(first)
        fixed = first == second
        if fixed:
            self._notes.append(_ONE_SIZE)
        if not fixed and low.sequence() != high.sequence():
            # The first pass may have filled a cache in the model, which stays: a new model fills
            # it again. One that outlives the model is there on a second pass.
            with contextlib.suppress(Exception):
                self._model = self._rebuild()
            low = self._record(first, again=True)
            if low.sequence() != high.sequence():
                high = self._record(second, again=True)
                low = self._record(first, again=True)
            if low.sequence() != high.sequence():
                fixed = True
                self._notes.append(_ONE_SIZE)
        squares: dict[int, float] | None = {}
        if not fixed and superlinear(low, high, (first, second)):
            between = (first + second) // 2, (first + 3 * second) // 4
            more = {size: self._record(size) for size in between}
            squares = curves({first: low, second: high, **more}) if len(more) == 2 else None
            if squares is None:
                fixed = True
                self._notes.append(_NO_CURVE)
        if fixed:
            low, first = high, second
        if self.workspaces is not None:
            left = None if self._deadline is None else self._deadline - time.monotonic()
            self.workspaces.measure(None if left is None else time.monotonic() + left / 2)
            if self.workspaces.skipped:
                self._notes.append(
                    f"what {self.workspaces.skipped} convolutions take beside their results "
                    "was not measured"
                )
        return Trace(
            device=self._target,
            batch_sizes=(first, second),
            method=f"fake {self._kind}",
            events=[*self._kept(), *merged(low, high)],
            assumptions=(*self._notes, *self._standing_notes()),
            torch=torch.__version__,
            squares=squares or {},
        )

    def affordable_sizes(self) -> tuple[int, int]:
        """Choose the sizes to trace; on a CPU as large as the convolutions' cost allows."""
        if self.workspaces is None:
            return DEFAULT_SIZES
        largest = _CPU_SIZES[0]
        self._record(largest)
        cost = self.workspaces.cost() / largest
        for size in _CPU_SIZES:
            if cost * size * 1.5 <= _CPU_WORK:  # the half size is run too
                break
        if size != largest:
            self.workspaces.forget()
        return size // 2, size

    def _kept(self) -> list[Sequence[int]]:
        """Return what convolutions leave behind for good, as an event before all others."""
        kept = getattr(self.workspaces, "kept", 0)
        category, phase = CATEGORIES.index("workspace"), PHASES.index("build")
        return [(ALLOCATE, -1, kept, kept, category, phase)] if kept else []

    def _standing_notes(self) -> list[str]:
        if self._target == "cuda" and self._kind == "cpu":
            return ["traced on CPU tensors: CUDA's choice of operators takes up to 12 % less"]
        return []

    def _record(self, batch_size: int, *, again: bool = False) -> Recording:
        if again or batch_size not in self._recordings:
            self._recordings[batch_size] = self._rehearse(batch_size)
        return self._recordings[batch_size]

    def _rehearse(self, batch_size: int) -> Recording:
        recorder = Recorder(
            self._kind,
            self._deadline,
            products=self._target == "cuda",
            workspaces=self.workspaces,
        )
        collecting = gc.isenabled()
        gc.disable()  # a collection at a random moment would differ between the sizes
        try:
            with (
                warnings.catch_warnings(),
                torch.random.fork_rng(devices=[]),
                self._device.context(self._notes, recorder),
            ):
                warnings.simplefilter("ignore")
                self._model.put_on(
                    self._device,
                    lambda tensor, category: recorder.add(tensor, "module", category),
                    self._channels_last,
                )
                self._rehearsal(
                    self._model.module, self._device, recorder, batch_size, self._target
                )
        finally:
            recorder.close()
            if collecting:
                gc.enable()
        return Recording(canonical(recorder.events))
