"""Build a model without filling it, and replace its weights by fake ones.

Constructors run on ordinary CPU tensors, since many read a value or two and would fail on fake
ones. What would take their time and memory is left out: large tensors are reserved and never
touched, so that a model of 16 GB costs address space alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from batchtui.forecast.fake_device import FakeDevice
from batchtui.forecast.stand_ins import Replacing, moves_to, no_driver_asked

_LARGE = 4096  # elements; smaller tensors hold what constructors read: schedules, ratios
_FILLS = frozenset(
    f"aten::{name}_"
    for name in (
        *("normal", "uniform", "fill", "zero", "copy", "random", "bernoulli", "exponential"),
        *("log_normal", "cauchy", "geometric", "erfinv", "clamp", "clamp_min", "clamp_max"),
        *("add", "sub", "mul", "div", "tril", "triu"),
    )
)
_FACTORIES = frozenset(f"aten::{name}" for name in ["zeros", "ones", "full", "rand", "randn"])


class _Unfilled(TorchDispatchMode):
    """Skip what would only write to a large tensor, and keep all of them on the CPU."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if (device := kwargs.get("device")) is not None and device.type == "cuda":
            kwargs = {**kwargs, "device": torch.device("cpu")}  # it is moved after it is built
        name = func._schema.name
        if name in _FILLS and isinstance(args[0], torch.Tensor) and args[0].numel() >= _LARGE:
            return args[0]
        if name in _FACTORIES and torch.Size(args[0]).numel() >= _LARGE:
            if name == "aten::full" and kwargs.get("dtype") is None:
                return func(*args, **kwargs)  # its type follows the value
            options = {k: v for k, v in kwargs.items() if k in ("dtype", "device", "layout")}
            return torch.empty(args[0], **options)
        return func(*args, **kwargs)


@contextlib.contextmanager
def unfilled(device: str) -> Iterator[None]:
    """Run a constructor without initialising what it makes.

    Args:
        device: what is forecast for; on "cuda" a constructor may move its parts there itself.
    """
    init: Any = torch.nn.init
    originals = {
        name: function
        for name, function in vars(init).items()
        if name.endswith("_") and not name.startswith("_") and callable(function)
    }

    def leave(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        return tensor

    for name in originals:
        setattr(init, name, leave)
    try:
        with contextlib.ExitStack() as stack:
            if device == "cuda":
                stack.enter_context(no_driver_asked())
                stack.enter_context(Replacing(moves_to(torch.device("cpu"))))
            stack.enter_context(_Unfilled())
            yield
    finally:
        for name, function in originals.items():
            setattr(init, name, function)


class HollowModel:
    """A module whose parameters and buffers can be swapped for fake ones, again and again."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module
        self._own = {
            id(part): (part, dict(part._parameters), dict(part._buffers))
            for part in module.modules()
        }

    def put_on(
        self,
        device: FakeDevice,
        made: Callable[[torch.Tensor, str], None],
        channels_last: bool = False,
    ) -> None:
        """Give the module fresh fake parameters and buffers, in the order `Module.to` moves them.

        Args:
            made: called with each new tensor and its category.
        """
        twins: dict[int, torch.Tensor] = {}  # tied parameters stay tied

        def twin(tensor: torch.Tensor, parameter: bool) -> Any:
            if id(tensor) not in twins:
                fake = device.empty_like(_laid_out(tensor, channels_last))
                made(fake, "parameters" if parameter else "buffers")
                if parameter:
                    fake = torch.nn.Parameter(fake, requires_grad=tensor.requires_grad)
                    fake.__dict__.update(tensor.__dict__)
                twins[id(tensor)] = fake
            return twins[id(tensor)]

        def visit(part: torch.nn.Module) -> None:
            if id(part) in visited:
                return
            visited.add(id(part))
            for child in part._modules.values():
                if child is not None:
                    visit(child)
            _, parameters, buffers = self._own[id(part)]
            for name, parameter in parameters.items():
                part._parameters[name] = None if parameter is None else twin(parameter, True)
            for name, buffer in buffers.items():
                part._buffers[name] = None if buffer is None else twin(buffer, False)

        visited: set[int] = set()
        visit(self.module)
        for part in self.module.modules():
            if isinstance(part, torch.nn.RNNBase):
                part._flat_weights = [getattr(part, name) for name in part._flat_weights_names]


def _laid_out(tensor: torch.Tensor, channels_last: bool) -> torch.Tensor:
    """Give the shape and strides the moved tensor has, as a tensor without memory."""
    meta = torch.empty_strided(
        tuple(tensor.shape), tensor.stride(), dtype=tensor.dtype, device="meta"
    )
    if channels_last and tensor.is_floating_point() and tensor.dim() in (4, 5):
        layout = torch.channels_last if tensor.dim() == 4 else torch.channels_last_3d
        meta = meta.to(memory_format=layout)
    return meta
