"""How much memory a training may take: by --limit, and by what there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from batchtui import units
from batchtui.commands.forecast import Device
from batchtui.config.schema import Config
from batchtui.errors import UsageError, WillNotFit
from batchtui.forecast.rows import CUDA_CONTEXT
from batchtui.sampling.cgroup import MemoryLimit, tightest
from batchtui.sampling.machine import memory_limits

# What has to stay free on a machine while something is tried on it.
_RESERVE, _RESERVE_SHARE = 256 << 20, 0.01


@dataclass(frozen=True, slots=True)
class Room:
    """What a training may take, in bytes."""

    size: int  # of the limit, for the training
    budget: int  # … without what no batch size changes: on an accelerator its context
    source: str  # in words
    reserve: int = 0  # of the machine's memory, which a trial must leave free
    notes: list[str] = field(default_factory=list)

    @property
    def context(self) -> int:
        """What no batch size changes."""
        return self.size - self.budget

    def __str__(self) -> str:
        return f"{units.fine(self.size)} ({self.source})"


def room_for(
    config: Config,
    target: Device,
    limit: str | None,
    machine: Callable[[], Iterable[MemoryLimit]] = memory_limits,
) -> Room:
    """Return what a training on a device may take.

    Without --limit that is `limits.memory` of the device, less what others hold of it now;
    `machine` tells the limits of host memory.

    Raises:
        UsageError: the limit is no size, or nobody knows the device's.
        WillNotFit: others hold it all.
    """
    asked = _size("--limit", limit) if limit is not None else None
    if target.kind == "cpu":
        return _on_cpu(config, asked, tightest(machine()))
    return _on_card(config, target, asked)


def _on_cpu(config: Config, asked: int | None, machine: MemoryLimit | None) -> Room:
    if machine is None:
        if asked is None:
            raise UsageError("this machine does not tell its memory: give --limit, such as 20GiB")
        return Room(asked, asked, "--limit")
    reserve = min(_RESERVE, int(_RESERVE_SHARE * machine.total))
    free = machine.headroom - reserve
    if asked is None:
        free = min(free, _allowed(config, machine.total) - machine.used)
        held = f"{units.gib(machine.used)} of {units.gib(machine.total)} are in use"
        return _room(free, 0, f"limits.memory of {machine.source}, {held}", reserve)
    return _capped(asked, free, 0, machine.source, reserve)


def _on_card(config: Config, target: Device, asked: int | None) -> Room:
    context = f"{units.gib(CUDA_CONTEXT)} of the limit go to the CUDA context"
    if target.capacity is None:
        if asked is None:
            raise UsageError("nobody tells the size of the GPU here: give --limit, such as 20GiB")
        return Room(asked, asked - CUDA_CONTEXT, "--limit", notes=[context])
    if asked is None:
        free = _allowed(config, target.capacity) - target.others
        room = _room(free, CUDA_CONTEXT, f"limits.memory of {target.where}", 0)
    else:
        free = target.capacity - target.others
        room = _capped(asked, free, CUDA_CONTEXT, target.name or "the GPU", 0)
    room.notes.append(context)
    return room


def _capped(asked: int, free: int, context: int, where: str, reserve: int) -> Room:
    if asked <= free:
        return _room(asked, context, "--limit", reserve)
    room = _room(free, context, f"what is free now of {where}", reserve)
    room.notes.append(f"of --limit {units.gib(asked)} only {units.gib(free)} are free now")
    return room


def _room(size: int, context: int, source: str, reserve: int) -> Room:
    if size <= context:
        raise WillNotFit(f"there is no memory left to train in: {source}")
    return Room(size, size - context, source, reserve)


def _allowed(config: Config, total: int) -> int:
    """Return what `limits.memory` lets be used of a total."""
    limit = config.limits.memory
    return (
        min(_size("limits.memory", limit), total) if isinstance(limit, str) else int(limit * total)
    )


def _size(name: str, text: str) -> int:
    try:
        size = units.parse_size(text)
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None
    if size <= 0:
        raise UsageError(f"{name}: {text!r} leaves no memory at all")
    return size
