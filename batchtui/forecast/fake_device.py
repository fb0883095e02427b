"""Let a training step run on CUDA tensors that do not exist, on a machine without a GPU.

PyTorch's fake tensors carry shapes and a device, and no data. Their forward pass works for a
CUDA device nobody has; their backward pass fails, because autograd's engine notes the device of
every value it will differentiate and then asks the CUDA driver for that device's streams. The
engine is told "cpu" here, it alone: operators are still chosen for CUDA, so that what is
allocated is what a GPU would allocate.

Call `hide_devices` before torch is imported; nothing here works beside a real GPU.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from batchtui.forecast.answers import ReplacementMode, ValueMode
from batchtui.forecast.stand_ins import (
    amp_is_available,
    foreach_takes_fake_tensors,
    no_driver_asked,
)

_CPU = torch.device("cpu")
_READ_DEVICE = torch.ops.prim.device.default


def hide_devices() -> None:
    """Make this process see no GPU; has an effect before CUDA is first used."""
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
        os.environ[name] = ""


class _Engine:
    """What the two modes below know of autograd at this moment."""

    def __init__(self) -> None:
        self.backward = False  # the engine itself runs, no Python code called by it
        self.custom_functions = 0  # depth of torch.autograd.Function.apply
        self.fresh: dict[int, torch.Tensor] = {}  # outputs whose device autograd reads next

    def reads(self, tensor: torch.Tensor) -> bool:
        """Whether the device of `tensor` is asked for on autograd's behalf."""
        return (
            self.backward
            or (self.custom_functions > 0 and torch.is_grad_enabled())
            or self.fresh.pop(id(tensor), None) is not None
        )

    def accumulators(self, tensors: Iterable[Any]) -> list[Any]:
        """Make the leaves' AccumulateGrad nodes, which note a device too; keep the list alive."""
        nodes = []
        before, self.backward = self.backward, True
        try:
            with torch.enable_grad(), torch._C.DisableTorchFunction():
                for tensor in tensors:
                    if tensor.requires_grad and tensor.is_leaf:
                        view = torch._C.TensorBase.view_as(tensor, tensor)
                        assert view.grad_fn is not None
                        nodes.append(view.grad_fn.next_functions[0][0])
        finally:
            self.backward = before
        return nodes


class _CallMode(TorchFunctionMode):
    """See calls from Python: they tell the engine's own work from what it calls back.

    Python code that runs inside the backward pass (a recomputed forward, a custom function)
    must see CUDA again; backward called there starts the engine anew.
    """

    def __init__(self, engine: _Engine) -> None:
        super().__init__()
        self._engine = engine

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if isinstance(func, torch._ops.OpOverload):  # by a handler of the modes: no new call
            return func(*args, **(kwargs or {}))
        engine = self._engine
        engine.fresh.clear()
        # Parameters have their nodes; others become leaves as the step goes, as a checkpoint's do.
        leaves = [value for value in _tensors(args) if not isinstance(value, torch.nn.Parameter)]
        nodes = engine.accumulators(leaves)
        before, engine.backward = engine.backward, False
        try:
            return func(*args, **(kwargs or {}))
        finally:
            engine.backward = before
            del nodes


def _tensors(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


class _DeviceMode(TorchDispatchMode):
    """Answer autograd's reads of a fake tensor's device with cpu, everybody else's truly.

    C++ learns a fake tensor's device by dispatching `prim.device`. The first such read after
    an operator, for one of its differentiable outputs, is autograd's own note.
    """

    def __init__(self, engine: _Engine, device: torch.device) -> None:
        super().__init__()
        self._engine = engine
        self._device = device

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        engine = self._engine
        if func is _READ_DEVICE:
            return _CPU if engine.reads(args[0]) else func(*args, **kwargs)
        before, engine.backward = engine.backward, False
        engine.fresh.clear()
        if before and (device := kwargs.get("device")) is not None and device.type == "cpu":
            # A tensor the engine makes after one it was told is on the CPU.
            kwargs = {**kwargs, "device": self._device}
        try:
            result = func(*args, **kwargs)
        finally:
            engine.backward = before
        if torch.is_grad_enabled():
            self._expect_reads(func, args, result)
        return result

    def _expect_reads(self, func: Any, args: tuple[Any, ...], result: Any) -> None:
        fresh = self._engine.fresh
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, torch.Tensor) and value.dtype.is_floating_point:
                fresh[id(value)] = value
        if func._schema.is_mutable and args and isinstance(args[0], torch.Tensor):
            with torch._C.DisableTorchFunction():
                if args[0]._is_view():  # writing to a view rewrites its base's history too
                    for written in (args[0]._base, args[0]):
                        if written is not None:
                            fresh[id(written)] = written


class FakeDevice:
    """A device of that kind made of fake tensors; `context` is where code runs on it.

    Args:
        kind: "cuda" or "cpu".
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.device = torch.device(kind, 0) if kind == "cuda" else torch.device(kind)
        # Fallback kernels would run operators on real memory to learn their output's shape.
        self.mode = FakeTensorMode(allow_fallback_kernels=False, allow_non_fake_inputs=True)
        self._engine = _Engine()

    @contextlib.contextmanager
    def context(
        self, notes: list[str], recorder: TorchDispatchMode | None = None
    ) -> Iterator[None]:
        """Run code on this device; `recorder` sees its operators, `notes` gets the assumptions."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.mode)
            if self.kind == "cuda":
                # Backward threads are per device, and this one has none.
                stack.enter_context(torch.autograd.set_multithreading_enabled(False))
                stack.enter_context(no_driver_asked())
                stack.enter_context(_custom_functions_counted(self._engine))
                stack.enter_context(_DeviceMode(self._engine, self.device))
            stack.enter_context(ValueMode(notes))
            if recorder is not None:
                stack.enter_context(recorder)
            modes: list[TorchFunctionMode] = [ReplacementMode(notes, self.device)]
            if self.kind == "cuda":
                stack.enter_context(amp_is_available())
                modes.append(_CallMode(self._engine))
            stack.enter_context(_backward_told(self._engine, modes))
            for mode in modes:
                stack.enter_context(mode)
            stack.enter_context(foreach_takes_fake_tensors())
            yield

    def empty_like(self, tensor: torch.Tensor) -> torch.Tensor:
        """Make the fake tensor that stands for `tensor` on this device."""
        with self.mode:
            return torch.empty_strided(
                tuple(tensor.shape), tensor.stride(), dtype=tensor.dtype, device=self.device
            )

    def accumulators(self, tensors: Iterable[torch.Tensor]) -> list[Any]:
        """Prepare leaves for the backward pass, while the list is kept."""
        return self._engine.accumulators(tensors)


@contextlib.contextmanager
def _custom_functions_counted(engine: _Engine) -> Iterator[None]:
    """Know when a torch.autograd.Function runs: its outputs get their history at its end."""
    function: Any = torch.autograd.Function
    original = function.__dict__["apply"]

    def apply(cls: type, *args: Any, **kwargs: Any) -> Any:
        engine.custom_functions += 1
        try:
            return original.__get__(None, cls)(*args, **kwargs)
        finally:
            engine.custom_functions -= 1

    function.apply = classmethod(apply)
    try:
        yield
    finally:
        function.apply = original


@contextlib.contextmanager
def _backward_told(engine: _Engine, modes: list[TorchFunctionMode]) -> Iterator[None]:
    """Know when autograd's engine runs, and have the modes on for what it calls back.

    A mode is off while its handler runs, and the engine runs inside those of backward().
    """
    autograd: Any = torch.autograd
    original = autograd._engine_run_backward

    def run(*args: Any, **kwargs: Any) -> Any:
        before, engine.backward = engine.backward, True
        try:
            with contextlib.ExitStack() as stack:
                for mode in modes:
                    stack.enter_context(mode)
                return original(*args, **kwargs)
        finally:
            engine.backward = before

    autograd._engine_run_backward = run
    try:
        yield
    finally:
        autograd._engine_run_backward = original
