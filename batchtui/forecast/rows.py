"""What a forecast is told of the device, and the row it answers with."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from batchtui.forecast.settings import AllocatorSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What surrounds the step on its device; sizes in bytes."""

    settings: AllocatorSettings = field(default_factory=AllocatorSettings)
    overhead: int | None = None  # CUDA context, or a CPU process before its first step: measured
    kernels: int = 0  # code loaded during the step: seen by nvidia-smi, not by the allocator
    cublas_workspace: int | None = None  # of a handle; see settings.cublas_workspace
    others: int = 0  # held by other processes on the device
    loaders: int = 0  # of a CPU's limit: batches of the data loaders in /dev/shm
    convolutional: bool | None = None  # None: as the trace says
    low_memory: bool = False  # device cpu: malloc settings of limits.low_memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """One row; the fields are a public format."""

    batch_size: int
    device: str
    capacity_bytes: int | None
    peak_bytes: int
    low_bytes: int
    high_bytes: int
    reserved_bytes: int | None
    survives_bytes: int | None
    verdict: str
    method: str
    assumptions: list[str]
    breakdown: dict[str, int | None]

    def to_dict(self) -> dict[str, Any]:
        """Return the row as `forecast --json` prints it."""
        return asdict(self)
