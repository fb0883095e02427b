"""What a forecast is told of the device, and the row it answers with."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from batchtui import units
from batchtui.forecast.events import Trace, evaluation_peaks
from batchtui.forecast.fit import Estimate
from batchtui.forecast.loaders import Loaders
from batchtui.forecast.settings import MIB, AllocatorSettings

CUDA_CONTEXT = 410 * MIB  # context and loaded kernels, where nothing was measured
CPU_PROCESS = 370 * MIB  # Python with PyTorch imported, before its first step
TORCHRUN = 270 * MIB  # its own process, beside the ranks
_PARTS = ("parameters", "gradients", "optimizer", "activations", "inputs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What surrounds the step on its device; sizes in bytes."""

    settings: AllocatorSettings = field(default_factory=AllocatorSettings)
    overhead: int | None = None  # CUDA context, or a CPU process before its first step: measured
    kernels: int = 0  # code loaded during the step: seen by nvidia-smi, not by the allocator
    cublas_workspace: int | None = None  # of a handle; see settings.cublas_workspace
    others: int = 0  # held by other processes on the device
    ranks: int = 1  # processes that share a CPU's limit
    loaders: Loaders | None = None  # on a CPU, where they live in the limit, too
    convolutional: bool | None = None  # None: as the trace says
    low_memory: bool = False  # device cpu: malloc settings of limits.low_memory

    def notes(self, device: str, capacity: int | None) -> list[str]:
        """Say what of a device's capacity was taken to be somebody else's."""
        lines = []
        if device != "cpu" and capacity is not None and self.overhead is None:
            lines.append(f"{units.gib(CUDA_CONTEXT)} of the device go to the CUDA context")
        if device == "cpu" and self.overhead is None:
            lines.append(f"{units.gib(CPU_PROCESS)} go to the process before its first step")
        if self.others:
            whose = "limit" if device == "cpu" else "device"
            lines.append(f"{units.gib(self.others)} of the {whose} belong to other processes")
        if self.ranks > 1:
            lines.append(f"the peak is that of all {self.ranks} processes and torchrun together")
        if self.loaders and self.loaders.processes:
            lines.append(f"{self.loaders} are in the peak, under other")
        return lines


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
    verdict: str | None  # None: the capacity is unknown
    method: str
    assumptions: list[str]
    breakdown: dict[str, int | None]

    def to_dict(self) -> dict[str, Any]:
        """Return the row as `forecast --json` prints it."""
        return asdict(self)


def breakdown(held: dict[str, int] | None, peak: int) -> dict[str, int | None]:
    """Part a peak into what tensors hold at it, by category, and the rest; None: unknown."""
    if held is None:
        return dict.fromkeys((*_PARTS, "other"))
    parts: dict[str, int | None] = {part: held[part] for part in _PARTS}
    return parts | {"other": max(peak - sum(held[part] for part in _PARTS), 0)}


def how(traced: str | None, estimate: Estimate) -> str:
    """Say in a few words how a forecast was obtained; `traced` tells of the trace, if any."""
    told = "1 measured run" if estimate.runs == 1 else f"{estimate.runs} measured runs"
    if math.isfinite(estimate.least):
        return f"{told}, carried over by the trace ({traced})"
    if traced is None or estimate.contradicted is not None:
        return f"fit over {told}"
    return f"{traced}, corrected by {told}" if estimate.runs else traced


def findings(
    trace: Trace | None, batch_size: int, killed: int | None, estimate: Estimate
) -> list[str]:
    """Say what a reader would not expect; `killed` is the smallest size that died."""
    notes = []
    if trace is not None and evaluation_peaks(trace.at(batch_size)):
        notes.append("the evaluation takes the most, not the training")
    if (run := estimate.contradicted) is not None:
        notes.append(
            f"{run.run or 'a run'} took {units.gib(run.peak)} at batch size {run.batch_size}, far "
            "more than its trace says: the measurement counts, and the excess may grow with the "
            "batch or not"
        )
    if killed is not None:
        notes.append(f"a run at batch size {killed} ran out of memory")
    return notes
