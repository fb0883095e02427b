"""Answer what a fake tensor cannot: questions about its values.

A model may look at its data: `.item()`, a boolean mask, `nonzero`. A fake tensor has none, so
the answer here is the one that costs the most memory where that is known (a mask selects
everything), else the harmless one. Each kind of answer is noted once, in words for the user.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as functional
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode

from batchtui.forecast.stand_ins import Replacing, moves_to

_ops = torch.ops.aten


class ValueMode(TorchDispatchMode):
    """Give operators that depend on values an answer; `notes` tells which.

    Attributes:
        notes: assumptions made, each once, in order.
    """

    def __init__(self, notes: list[str]) -> None:
        super().__init__()
        self.notes = notes
        # The storage of the gradient scaler's found_inf, and of the last `all()`; weak, since
        # a freed storage's address is soon another's.
        self._overflow: list[weakref.ref[torch.UntypedStorage]] = []
        self._all: weakref.ref[torch.UntypedStorage] | None = None

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is _ops._local_scalar_dense.default:
            return self._scalar(func, args[0])
        if func is _ops.index.Tensor and any(_is_mask(index) for index in args[1]):
            self._note("a boolean mask selects every element")
            return func(args[0], _full_indices(args[1]), *args[2:], **kwargs)
        if func is _ops.nonzero.default:
            self._note("nonzero() finds every element")
            (tensor,) = args
            return torch.empty(
                (tensor.numel(), tensor.dim()), dtype=torch.int64, device=tensor.device
            )
        if func is _ops.masked_select.default:
            self._note("masked_select() selects every element")
            shape = torch.broadcast_shapes(args[0].shape, args[1].shape)
            return args[0].new_empty((shape.numel(),))
        if func is _ops._unique2.default:
            self._note("unique() finds every element")
            tensor = args[0]
            every = tensor.new_empty(tensor.shape, dtype=torch.int64)
            return tensor.new_empty((tensor.numel(),)), every, every.new_empty((tensor.numel(),))
        name = func._schema.name
        if name.startswith("aten::_fused_") and not func._schema.returns:
            return None  # a fused optimizer updates in place; not all have fake kernels
        result = func(*args, **kwargs)
        if func is _ops.all.default:
            self._all = weakref.ref(storage_of(result))
        elif name == "aten::_amp_foreach_non_finite_check_and_unscale_":
            self._overflow.append(weakref.ref(storage_of(args[1])))
        return result

    def _scalar(self, func: Any, tensor: torch.Tensor) -> bool | int | float:
        if isinstance(tensor, FakeTensor) and tensor.constant is None:
            storage = storage_of(tensor)
            if any(known() is storage for known in self._overflow):
                return 0.0  # no overflow: the optimizer steps
            if tensor.device.type != "cpu":
                # What is read from the host's own counters (an optimizer's step) is no
                # property of the user's data.
                self._note(f"a value read from the device (.item()) is {_word(tensor.dtype)}")
            if tensor.dtype == torch.bool:
                # all() is asked of a mask to learn that there is no padding.
                return self._all is not None and self._all() is storage
            return 1.0 if tensor.dtype.is_floating_point else 1
        try:
            return func(tensor)
        except DataDependentOutputException:
            return 1

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def storage_of(tensor: torch.Tensor) -> torch.UntypedStorage:
    """Return a tensor's storage, the same object for all its views."""
    with torch._C.DisableTorchFunction():  # autograd's notes are told apart by calls
        return tensor.untyped_storage()


def _word(dtype: torch.dtype) -> str:
    return "false, or true for all()" if dtype == torch.bool else "1"


def _is_mask(index: Any) -> bool:
    return index is not None and index.dtype in (torch.bool, torch.uint8)


def _full_indices(indices: Iterable[Any]) -> list[Any]:
    """Replace boolean masks by the integer indices of all their elements."""
    full: list[Any] = []
    for index in indices:
        if _is_mask(index):
            every = torch.empty(index.numel(), dtype=torch.int64, device=index.device)
            full.extend([every] * index.dim())
        else:
            full.append(index)
    return full


class ReplacementMode(Replacing):
    """Replace the few Python-level functions that ask a real device or real values."""

    def __init__(self, notes: list[str], device: torch.device) -> None:
        super().__init__({torch.Tensor.tolist: self._to_list, torch.Tensor.numpy: self._to_numpy})
        self._notes = notes
        if device.type == "cuda":
            self.replacements |= moves_to(device)
            self.replacements[functional.scaled_dot_product_attention] = attention

    def _to_list(self, tensor: torch.Tensor) -> Any:
        self._note("values read by tolist() are 0")
        return _zeros(tuple(tensor.shape))

    def _to_numpy(self, tensor: torch.Tensor, *, force: bool = False) -> Any:
        import numpy

        self._note("values read by numpy() are 0")
        return numpy.zeros(tuple(tensor.shape))

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)


def _zeros(shape: tuple[int, ...]) -> Any:
    return [_zeros(shape[1:]) for _ in range(shape[0])] if shape else 0


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """Compute scaled_dot_product_attention by the operator CUDA would choose.

    Half precision without a mask goes to flash attention, the rest to the memory-efficient
    operator: a boolean mask becomes one of numbers, expanded to all heads without a copy.
    """
    if torch.is_autocast_enabled("cuda"):
        dtype = torch.get_autocast_dtype("cuda")
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    if enable_gqa and query.dim() == 4 and key.shape[1] != query.shape[1]:
        repeats = query.shape[1] // key.shape[1]
        key = key.repeat_interleave(repeats, dim=1)
        value = value.repeat_interleave(repeats, dim=1)
    if query.dim() != 4 or query.device.type != "cuda":
        return _plain_attention(query, key, value, attn_mask, dropout_p, is_causal, scale)
    half = query.dtype in (torch.float16, torch.bfloat16)
    if attn_mask is None and half and query.shape[-1] <= 256:
        flash = _ops._scaled_dot_product_flash_attention
        return flash(query, key, value, dropout_p, is_causal, False, scale=scale)[0]
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype)
        attn_mask = attn_mask.expand(*query.shape[:3], key.shape[2])
    return _ops._scaled_dot_product_efficient_attention(
        query,
        key,
        value,
        attn_mask,
        torch.is_grad_enabled(),  # compute the log-sum-exp the backward pass needs
        dropout_p,
        is_causal,
        scale=scale,
    )[0]


def _plain_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    dropout: float,
    causal: bool,
    scale: float | None,
) -> torch.Tensor:
    """Compute attention as the mathematical formula does, which CUDA falls back to."""
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    scores = (query * scale) @ key.transpose(-2, -1)
    if causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=query.device).tril()
    if mask is not None:
        scores = (
            scores.masked_fill(~mask, float("-inf"))
            if mask.dtype == torch.bool
            else (scores + mask)
        )
    weights = scores.softmax(-1)
    if dropout > 0:
        weights = functional.dropout(weights, dropout)
    return weights @ value
