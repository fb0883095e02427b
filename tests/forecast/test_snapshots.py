"""Undoing a recorded allocator's events, and replaying them: exact to the byte."""

from __future__ import annotations

import random
from typing import Any

import pytest

from batchtui.forecast.allocator import Allocator, Block
from batchtui.forecast.settings import MIB, AllocatorSettings
from benchmarks.snapshots import replay_snapshot, start_of


def record(seed: int, before: int, during: int) -> dict[str, Any]:
    """Run a random program, and record its second part as PyTorch's snapshot does."""
    dice = random.Random(seed)
    events: list[list[Any]] = []
    segments: dict[int, tuple[int, bool]] = {}
    recording = False

    def place(size: int) -> int:
        address = (1 << 40) - sum(length for length, _ in segments.values()) - size
        segments[address] = (size, size == 2 * MIB)
        if recording:
            events.append(["segment_alloc", address, size, 0])
        return address

    allocator = Allocator(AllocatorSettings(), place=place)
    live: list[Block] = []
    for step in range(before + during):
        recording = step >= before
        if live and dice.random() < 0.48:
            block = live.pop(dice.randrange(len(live)))
            if recording:
                events.append(["free_requested", block.address, block.request, 0])
                events.append(["free_completed", block.address, block.request, 0])
            allocator.free(block)
        else:
            size = dice.choice((700, 40_000, 900_000, 3 * MIB, 9 * MIB, 12 * MIB, 33 * MIB))
            block = allocator.malloc(int(size * dice.uniform(0.4, 1)) or 1)
            live.append(block)
            if recording:
                events.append(["alloc", block.address, block.request, 0])
    return {
        "events": events,
        "segments": [_segment(allocator, live, *item) for item in segments.items()],
    }


def _segment(
    allocator: Allocator, live: list[Block], address: int, kind: tuple[int, bool]
) -> dict[str, Any]:
    size, small = kind
    free = [block for pool in allocator.pools.values() for block in pool.ordered()]
    within = sorted(
        (block.address, block.size, block.request, block.free)
        for block in [*free, *live]
        if address <= block.address < address + size
    )
    return {
        "address": address,
        "total_size": size,
        "stream": 0,
        "type": "small" if small else "large",
        "blocks": [
            ["inactive" if is_free else "active_allocated", length, request]
            for _, length, request, is_free in within
        ],
    }


@pytest.mark.parametrize("seed", range(12))
def test_a_recorded_program_is_replayed_to_the_byte(seed: int) -> None:
    outcome = replay_snapshot(record(seed, before=60, during=120))
    assert outcome.exact
    assert outcome.recorded_peak >= outcome.recorded_final


def test_a_gap_too_small_for_a_free_block_is_slack() -> None:
    start = 1 << 30
    segment = {
        "address": start,
        "total_size": 40 * MIB,
        "stream": 0,
        "type": "large",
        "blocks": [["inactive", 40 * MIB, 0]],
    }
    # The first block was given 12 MiB for a request of 11.5: the second began after them.
    events = [
        ["free_requested", start + 12 * MIB, 20 * MIB, 0],
        ["free_completed", start + 12 * MIB, 20 * MIB, 0],
        ["free_requested", start, 23 * MIB // 2, 0],
        ["free_completed", start, 23 * MIB // 2, 0],
    ]
    [found] = start_of({"events": events, "segments": [segment]}, AllocatorSettings())
    assert found.used == {
        start: (12 * MIB, 23 * MIB // 2),
        start + 12 * MIB: (20 * MIB, 20 * MIB),
    }
