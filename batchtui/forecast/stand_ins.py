"""Stand in for what PyTorch would ask a driver, or a real tensor, where there is neither."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.overrides import TorchFunctionMode


class Replacing(TorchFunctionMode):
    """Call other functions in the place of some of PyTorch's."""

    def __init__(self, replacements: dict[Any, Callable[..., Any]]) -> None:
        super().__init__()
        self.replacements = replacements

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        return self.replacements.get(func, func)(*args, **(kwargs or {}))


def moves_to(device: torch.device) -> dict[Any, Callable[..., Any]]:
    """Let `.cuda()` and `.to("cuda")` mean `device`, without asking which is the current one."""

    def meant(value: Any) -> Any:
        named = isinstance(value, str | torch.device)
        return device if named and str(value).startswith("cuda") else value

    def to(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        return tensor.to(*map(meant, args), **{key: meant(value) for key, value in kwargs.items()})

    def cuda(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        return tensor.to(device)

    return {torch.Tensor.to: to, torch.Tensor.cuda: cuda}


@contextlib.contextmanager
def no_driver_asked() -> Iterator[None]:
    """Let code that says "cuda" outright get to the modes, which know what to make of it."""
    cuda: Any = torch.cuda
    stand_ins: dict[str, Any] = {
        "_lazy_init": lambda: None,
        "synchronize": lambda device=None: None,
        "current_device": lambda: 0,
    }
    originals = {name: getattr(cuda, name) for name in stand_ins}
    for name, stand_in in stand_ins.items():
        setattr(cuda, name, stand_in)
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(cuda, name, original)


@contextlib.contextmanager
def foreach_takes_fake_tensors() -> Iterator[None]:
    """Let optimizers and clipping choose foreach for fake tensors as they would for real ones."""
    import torch.optim.optimizer as optimizer
    import torch.utils._foreach_utils as foreach

    lists: list[Any] = [optimizer._foreach_supported_types, foreach._foreach_supported_types]
    for types in lists:
        types.append(FakeTensor)
    try:
        yield
    finally:
        for types in lists:
            types.remove(FakeTensor)


@contextlib.contextmanager
def amp_is_available() -> Iterator[None]:
    """Let autocast and the gradient scaler work for CUDA where there is none."""
    import torch.cuda.amp.common as common

    cuda: Any = torch.cuda
    originals = common.amp_definitely_not_available, cuda.is_bf16_supported
    common.amp_definitely_not_available = lambda: False
    cuda.is_bf16_supported = lambda *args, **kwargs: True
    try:
        yield
    finally:
        common.amp_definitely_not_available, cuda.is_bf16_supported = originals
