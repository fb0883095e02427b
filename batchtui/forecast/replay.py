"""Replay a step's allocations through the caching allocator: what is reserved, what survives."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from batchtui.forecast.allocator import Allocator, Block, OutOfDeviceMemory
from batchtui.forecast.events import Event
from batchtui.forecast.expandable import ExpandableAllocator
from batchtui.forecast.settings import ROUND_LARGE, AllocatorSettings


@dataclass(frozen=True, slots=True)
class Replay:
    """What the allocator did; sizes in bytes."""

    peak_allocated: int
    peak_reserved: int
    final_reserved: int
    out_of_memory: bool
    retries: int = 0


def new_allocator(settings: AllocatorSettings, capacity: int | None = None) -> Allocator:
    """Make the allocator that these settings mean."""
    kind = ExpandableAllocator if settings.expandable_segments else Allocator
    return kind(settings, capacity)


def replay(
    events: Sequence[Event], settings: AllocatorSettings, capacity: int | None = None
) -> Replay:
    """Run the events through a fresh allocator; at an out-of-memory it ends there."""
    allocator = new_allocator(settings, capacity)
    malloc, free = allocator.malloc, allocator.free
    live: dict[int, Block] = {}
    out_of_memory = False
    try:
        for action, storage, size, _, _ in events:
            if action > 0:
                if size > 0:
                    live[storage] = malloc(size)
            else:
                block = live.pop(storage, None)
                if block is not None:
                    free(block)
    except OutOfDeviceMemory:
        out_of_memory = True
    return Replay(
        peak_allocated=allocator.peak_allocated,
        peak_reserved=allocator.peak_reserved,
        final_reserved=allocator.reserved,
        out_of_memory=out_of_memory,
        retries=allocator.retries,
    )


def smallest_capacity(
    events: Sequence[Event],
    settings: AllocatorSettings,
    *,
    free: Replay | None = None,
    first: int | None = None,
    deadline: float | None = None,
) -> int:
    """Find the least capacity, in bytes, with which the events do not run out of memory.

    The answer survives. Survival is not strictly monotone in the capacity: with 2 MiB less than
    the answer the step dies, with still less it may not.

    Args:
        free: the events' replay without a limit, where it is known.
        first: a capacity to try first; whether the answer is below it is sure even if late.
        deadline: `time.perf_counter()` after which the bisection ends where it stands.
    """
    free = free or replay(events, settings)
    good = free.peak_reserved  # never refused, hence a replay without a limit
    bad = (free.peak_allocated - 1) // ROUND_LARGE * ROUND_LARGE
    guesses = [bad + 8 * ROUND_LARGE]
    if first is not None:
        guesses.append(first // ROUND_LARGE * ROUND_LARGE)
    while good - bad > ROUND_LARGE:
        middle = guesses.pop() if guesses else (good + bad) // 2 // ROUND_LARGE * ROUND_LARGE
        if not bad < middle < good:
            continue
        attempt = replay(events, settings, middle)
        if attempt.out_of_memory:
            bad = middle
        else:  # what it reserved at most would have done as well
            good = min(middle, attempt.peak_reserved)
        if late(deadline):
            break
    return good


def late(deadline: float | None) -> bool:
    """Whether `time.perf_counter()` has passed a deadline; None: there is none."""
    return deadline is not None and time.perf_counter() > deadline
