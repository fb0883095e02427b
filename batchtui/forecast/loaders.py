"""What data loaders hold of the host's memory: batches fetched ahead, and their own processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchtui.forecast.events import Trace, peak_by_category

_SMALL_SHM = 64 << 20  # Docker's default
_PROCESS = 40 << 20  # what a loader process holds besides its batches, in bytes


@dataclass(frozen=True, slots=True)
class Loaders:
    """The loaders of a training, all ranks together; sizes in bytes."""

    processes: int
    batches: int  # in /dev/shm at the same time
    trace: Trace

    @classmethod
    def of(cls, config: Mapping[str, Any], trace: Trace, ranks: int = 1) -> Loaders:
        """Return those of a configuration."""
        loaders = config["dataloaders"]
        workers = loaders["num_workers"]
        # Those of the training stay while the evaluation has its own.
        passes = ranks * (2 if config["training"]["evaluate_every"] else 1)
        return cls(passes * workers, passes * batches_ahead(config), trace)

    def held(self, batch_size: int) -> int:
        """Return what they hold at a batch size."""
        return self.processes * _PROCESS + self.batches * _inputs(self.trace, batch_size)

    def __str__(self) -> str:
        return f"{self.processes} data loaders with {self.batches} batches fetched ahead"


def batches_ahead(config: Mapping[str, Any]) -> int:
    """Return how many batches one pass over the data holds: exact in 4 of 4 that were measured."""
    loaders = config["dataloaders"]
    workers = loaders["num_workers"]
    return workers * int(loaders["prefetch_factor"]) + 1 if workers else 0


def host_note(config: Mapping[str, Any], traces: Sequence[Trace]) -> str | None:
    """Say what the loaders of a training on an accelerator take of the host's memory."""
    size, pinned = config["dataloaders"]["batch_size"], config["dataloaders"]["pin_memory"]
    trace = next((trace for trace in traces if trace.covers(size)), None)
    batches = batches_ahead(config)
    each = _inputs(trace, size) if trace is not None else 0
    if batches * each <= _SMALL_SHM:
        return None
    where = "/dev/shm or pinned" if pinned else "/dev/shm"
    return (
        f"the host holds {batches} batches in {where}, {each / size / 1024:.0f} KiB a sample "
        f"(a container's /dev/shm is {_SMALL_SHM >> 20} MiB unless it is given more)"
    )


def _inputs(trace: Trace, batch_size: int) -> int:
    return peak_by_category(trace.at(batch_size))[1]["inputs"]
