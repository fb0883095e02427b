"""Measure what CPU convolutions take beside their results.

oneDNN copies pictures and weights into layouts of its own, which depend on the processor and on
the version: no formula holds. So each distinct convolution of a trace is run once, for real, at
the small sizes that are traced.
"""

from __future__ import annotations

import bisect
import time
from collections.abc import Hashable, Iterator
from typing import Any

import torch
from torch.utils import _pytree as pytree

from batchtui.forecast import resident
from batchtui.forecast.recorder import Storage

Call = tuple[Any, Any, Any]  # operator, arguments, keyword arguments; tensors as their shapes

UNKNOWN = -1
_LABEL = "batchtui::"
_HALF = 30  # times slower half precision is where the processor has no instruction for it
_LARGEST = 1 << 30  # bytes of arguments: beyond, the measurement itself would be a burden


class MeasuredWorkspaces:
    """The convolutions of a trace, and what each takes for a moment, as tensors allocate it.

    A processor's choice may change with the batch size, so the sizes traced should be as large
    as can be afforded: `cost` tells.

    Attributes:
        skipped: how many were too large, or too slow, to be run.
    """

    operators = frozenset({"aten::convolution", "aten::convolution_backward"})

    def __init__(self) -> None:
        self._known: dict[Hashable, int] = {}
        self._wanted: dict[Hashable, tuple[Any, Any, Any, list[Storage]]] = {}
        self.skipped = 0

    def want(self, func: Any, args: Any, kwargs: Any, storage: Storage) -> None:
        """Have the size of `storage` set to what this call takes, by the next `measure`."""
        leaves, _ = pytree.tree_flatten((args, kwargs))
        key = (func, *(_signature(leaf) for leaf in leaves))
        if key in self._known:
            storage.size = self._known[key]
        elif key in self._wanted:
            self._wanted[key][-1].append(storage)
        else:
            args, kwargs = pytree.tree_map_only(torch.Tensor, _shape, (args, kwargs))
            self._wanted[key] = func, args, kwargs, [storage]

    def forget(self) -> None:
        """Want nothing more of what was not measured yet."""
        self._wanted = {}

    def cost(self) -> float:
        """Estimate the floating-point operations of what is wanted and not yet measured."""
        total = 0.0
        for func, args, _, _ in self._wanted.values():
            if func._schema.name == "aten::convolution_backward":
                result, weight = args[0], args[2]
                products = torch.Size(result.size).numel() * torch.Size(weight.size[1:]).numel()
                slow = 1 if result.dtype == torch.float32 else _HALF
                total += 6.0 * products * slow  # forward and two backward products, 2 each
        return total

    def measure(self, deadline: float | None = None) -> None:
        """Run each new convolution once and set the sizes that were wanted.

        Past the deadline (`time.monotonic()`) the rest is skipped; a skipped size is −1.
        """
        wanted, self._wanted = self._wanted, {}
        if not wanted:
            return
        taken = self._run([call[:3] for call in wanted.values()], deadline)
        for number, (key, (_, _, _, storages)) in enumerate(wanted.items()):
            size = self._known[key] = taken.get(number, UNKNOWN)
            self.skipped += size == UNKNOWN
            for storage in storages:
                storage.size = size

    def _run(self, calls: list[Call], deadline: float | None) -> dict[int, int]:
        from torch.profiler import ProfilerActivity, profile, record_function

        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            for number, func, args, kwargs in _affordable(calls, deadline):
                with record_function(f"{_LABEL}{number}"):
                    result = func(*args, **kwargs)
                del args, kwargs, result
        return _transients(profiler.profiler.kineto_results.events())


class ResidentWorkspaces(MeasuredWorkspaces):
    """The same as pages of memory that are really used, for a forecast of the resident peak.

    oneDNN reserves more than it touches, and keeps its generated code.

    Attributes:
        kept: bytes that all these calls together leave behind for good.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kept = 0

    def _run(self, calls: list[Call], deadline: float | None) -> dict[int, int]:
        if not resident.reset_peak():
            return super()._run(calls, deadline)
        taken = {}
        before = resident.now()
        for number, func, args, kwargs in _affordable(calls, deadline):
            func(*args, **kwargs)  # the first call also makes the code
            resident.reset_peak()
            result = func(*args, **kwargs)
            # The high-water mark is of all pages, those of libraries included.
            taken[number] = max(0, resident.peak() - resident.total())
            del args, kwargs, result
        self.kept += max(0, resident.now() - before)
        return taken


def _affordable(calls: list[Call], deadline: float | None) -> Iterator[tuple[int, Any, Any, Any]]:
    """Make each call's arguments, of those that are small enough and in time."""
    for number, (func, args, kwargs) in enumerate(calls):
        late = deadline is not None and time.monotonic() > deadline
        if not late and _bytes((args, kwargs)) <= _LARGEST:
            with torch.no_grad():
                yield number, func, *pytree.tree_map_only(_Shape, _zeros, (args, kwargs))


class _Shape:
    """A tensor's form: what is kept of an argument."""

    def __init__(self, size: tuple[int, ...], stride: tuple[int, ...], dtype: torch.dtype) -> None:
        self.size = size
        self.stride = stride
        self.dtype = dtype


def _shape(tensor: torch.Tensor) -> _Shape:
    return _Shape(tuple(tensor.shape), tensor.stride(), tensor.dtype)


def _zeros(shape: _Shape) -> torch.Tensor:
    return torch.empty_strided(shape.size, shape.stride, dtype=shape.dtype).zero_()


def _signature(leaf: Any) -> Hashable:
    if isinstance(leaf, torch.Tensor):
        return tuple(leaf.shape), leaf.stride(), leaf.dtype
    return leaf if isinstance(leaf, Hashable) else repr(leaf)


def _bytes(arguments: Any) -> int:
    shapes = [leaf for leaf in pytree.tree_leaves(arguments) if isinstance(leaf, _Shape)]
    return sum(torch.Size(shape.size).numel() * shape.dtype.itemsize for shape in shapes)


def _transients(events: Any) -> dict[int, int]:
    """Return for each labelled stretch its peak above what it leaves behind, in bytes."""
    changes: list[tuple[int, int]] = []
    stretches: dict[int, tuple[int, int]] = {}
    for event in events:
        name, start = event.name(), event.start_ns()
        if name == "[memory]":
            changes.append((start, event.nbytes()))
        elif name.startswith(_LABEL):
            stretches[int(name.removeprefix(_LABEL))] = start, start + event.duration_ns()
    changes.sort(key=lambda change: change[0])
    times = [time for time, _ in changes]
    taken = {}
    for number, (start, end) in stretches.items():
        now = peak = 0
        for _, size in changes[bisect.bisect_left(times, start) : bisect.bisect_right(times, end)]:
            now += size
            peak = max(peak, now)
        taken[number] = peak - max(now, 0)
    return taken
