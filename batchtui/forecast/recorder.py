"""Record the life of every storage that an operator allocates on the traced device."""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode

from batchtui.forecast.answers import storage_of
from batchtui.forecast.events import ALLOCATE, FREE

# cuBLAS gets its workspace at the first product a handle computes; the backward pass runs in
# a thread of its own, which has a handle of its own. Size on everything but sm90 (32 MiB).
CUBLAS_WORKSPACE = 8_519_680
_PRODUCTS = frozenset(
    f"aten::{name}"
    for name in (
        [
            "mm",
            "addmm",
            "bmm",
            "baddbmm",
            "addbmm",
            "mv",
            "addmv",
            "dot",
            "vdot",
            "_addmm_activation",
        ]
    )
)


class TraceTimeout(BaseException):
    """The trace took longer than it may; no error that a model might swallow."""


@dataclass(slots=True)
class Storage:
    """One allocation: its size in bytes, why it was made, and when it lived."""

    number: int
    size: int
    operator: str
    phase: str
    category: str | None = None
    freed: str | None = None  # phase in which it was freed


class Workspaces(Protocol):
    """Who finds out what operators take for a moment, beside their results."""

    operators: frozenset[str]

    def want(self, func: Any, args: Any, kwargs: Any, storage: Storage) -> None:
        """Have the size of `storage` set later to what this call takes."""


class Recorder(TorchDispatchMode):
    """Note allocations and frees on one kind of device, in order.

    Attributes:
        events: (ALLOCATE or FREE, the storage, the phase at that moment).
        phase: set by who runs the step; one of events.PHASES.

    Args:
        kind: device type to watch, "cuda" or "cpu".
        deadline: `time.monotonic()` after which an operator raises TraceTimeout.
        products: whether matrix products take cuBLAS workspaces.
        workspaces: gets the calls whose workspace is to be measured.
    """

    def __init__(
        self,
        kind: str,
        deadline: float | None = None,
        *,
        products: bool = False,
        workspaces: Workspaces | None = None,
    ) -> None:
        super().__init__()
        self.events: list[tuple[int, Storage, str]] = []
        self.phase = "build"
        self._kind = kind
        self._deadline = deadline
        self._products = products
        self._workspaces = workspaces
        self._count = 0
        self._live: dict[int, tuple[Storage, Any]] = {}
        self._handles: set[str] = set()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func.namespace == "prim":
            return func(*args, **(kwargs or {}))
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise TraceTimeout
        name = func._schema.name
        if self._products and name in _PRODUCTS:
            self._product()
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            self.add(tensor, name)
        if self._workspaces is not None and name in self._workspaces.operators:
            entry = self._begin(0, name, "workspace")
            self._free(entry)
            self._workspaces.want(func, args, kwargs or {}, entry)
        return result

    def add(self, tensor: torch.Tensor, operator: str, category: str | None = None) -> None:
        """Record the tensor's storage unless it is known or lies elsewhere."""
        if not isinstance(tensor, FakeTensor) or tensor.fake_device.type != self._kind:
            return
        if tensor.layout is not torch.strided:
            return  # a sparse tensor is made of others, recorded when they were made
        storage = storage_of(tensor)
        key, size = storage._cdata, storage.nbytes()
        known = self._live.get(key)
        if known is not None:
            if known[0].size == size:
                known[0].category = known[0].category or category
                return
            self._end(key)  # resized: the old memory goes, new memory comes
        entry = self._begin(size, operator, category)
        # The storage's Python object lives as long as the storage itself.
        self._live[key] = (entry, weakref.ref(storage, lambda _: self._end(key)))

    def mark(self, tensor: torch.Tensor | None, category: str) -> None:
        """Say what the storage of `tensor` is for."""
        if isinstance(tensor, FakeTensor) and tensor.layout is torch.strided:
            known = self._live.get(storage_of(tensor)._cdata)
            if known is not None and known[0].category is None:
                known[0].category = category

    def reserve(self, size: int, operator: str, category: str) -> None:
        """Record memory that no tensor shows and that stays: a workspace, a bucket."""
        if size:
            self._begin(size, operator, category)

    def close(self) -> None:
        """Stop recording: what is freed from now on is the tracer's own doing."""
        self._live.clear()

    def _product(self) -> None:
        handle = "backward" if self.phase == "backward" else "main"
        if handle not in self._handles:
            self._handles.add(handle)
            self.reserve(CUBLAS_WORKSPACE, "cublas", "workspace")

    def _begin(self, size: int, operator: str, category: str | None) -> Storage:
        entry = Storage(self._count, size, operator, self.phase, category)
        self._count += 1
        self.events.append((ALLOCATE, entry, self.phase))
        return entry

    def _end(self, key: int) -> None:
        known = self._live.pop(key, None)
        if known is not None:
            self._free(known[0])

    def _free(self, entry: Storage) -> None:
        entry.freed = self.phase
        self.events.append((FREE, entry, self.phase))


def category_of(storage: Storage) -> str:
    """Say what a storage is for: as marked, else by when it was made and freed."""
    if storage.category is not None:
        return storage.category
    if storage.phase == "inputs":
        return "inputs"
    if storage.phase == "forward" and storage.freed != "forward":
        return "activations"
    return "activations" if storage.phase == "evaluation" else "temporaries"


def _tensors(result: Any) -> Iterator[torch.Tensor]:
    if isinstance(result, torch.Tensor):
        yield result
    elif isinstance(result, Iterable) and not isinstance(result, str | bytes):
        for item in result:
            yield from _tensors(item)
