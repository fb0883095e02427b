"""Undoing a recorded allocator's events, and replaying them: exact to the byte."""

from __future__ import annotations

import random
from typing import Any

import pytest

from batchtui.forecast.allocator import Allocator, Block, OutOfDeviceMemory, Pool
from batchtui.forecast.expandable import ExpandableAllocator
from batchtui.forecast.settings import MIB, AllocatorSettings
from benchmarks.snapshots import reduced, replay_snapshot, settings_of, start_of


class Recorder:
    """Writes what an allocator does with the device as PyTorch's history does."""

    def __init__(self) -> None:
        self.events: list[list[Any]] = []
        self.recording = False

    def note(self, action: str, address: int, size: int, stream: int) -> None:
        if self.recording:
            self.events.append([action, address, size, stream])


class Segmented(Allocator):
    """Segments lie below one another, as a driver may put them."""

    def __init__(self, text: str, recorder: Recorder, capacity: int | None) -> None:
        self.recorder = recorder
        self.lowest = 1 << 40
        self.held: dict[int, int] = {}
        super().__init__(AllocatorSettings.parse(text), capacity)

    def _new(self, pool: Pool, size: int) -> Block | None:
        block = super()._new(pool, size)
        if block is not None:
            self.held[block.address] = block.size
            self.recorder.note("segment_alloc", block.address, block.size, pool.stream)
        return block

    def _place(self, size: int) -> int:
        self.lowest -= size
        return self.lowest

    def _release(self, block: Block) -> None:
        del self.held[block.address]
        self.recorder.note("segment_free", block.address, block.size, block.pool.stream)
        super()._release(block)


class Paged(ExpandableAllocator):
    """Ranges lie far from one another."""

    def __init__(self, text: str, recorder: Recorder, capacity: int | None) -> None:
        self.recorder = recorder
        super().__init__(AllocatorSettings.parse(text), capacity)

    def _map(self, block: Block, size: int) -> bool:
        at, reserved = block.address, self.reserved
        mapped = super()._map(block, size)
        if mapped:
            self.recorder.note("segment_map", at, self.reserved - reserved, block.pool.stream)
        return mapped

    def unmap(self, block: Block) -> None:
        """Note the pages within the block, which its unmapped neighbours take in."""
        reserved, stream = self.reserved, block.pool.stream
        super().unmap(block)
        if reserved > self.reserved:
            page = 2 * MIB if block.pool.small else 20 * MIB
            base = self._base(block)
            at = base + -(-(self.freed - base) // page) * page
            self.recorder.note("segment_unmap", at, reserved - self.reserved, stream)

    def empty_cache(self) -> None:
        for pool in self.pools.values():
            for block in pool.ordered():
                self.freed = block.address
                self.unmap(block)


def record(
    seed: int, before: int, during: int, text: str = "", capacity: int | None = None
) -> dict[str, Any]:
    """Run a random program, and record its second part as PyTorch's snapshot does."""
    dice = random.Random(seed)
    recorder = Recorder()
    kind = Paged if "expandable" in text else Segmented
    allocator = kind(text, recorder, capacity)
    live: list[Block] = []
    for step in range(before + during):
        recorder.recording = step >= before
        if live and dice.random() < 0.48:
            block = live.pop(dice.randrange(len(live)))
            for action in ("free_requested", "free_completed"):
                recorder.note(action, block.address, block.request, block.pool.stream)
            allocator.free(block)
            if dice.random() < 0.05:
                allocator.empty_cache()
        else:
            size = dice.choice((700, 40_000, 900_000, 3 * MIB, 9 * MIB, 12 * MIB, 33 * MIB))
            stream = dice.choice((0, 0, 7))
            try:
                block = allocator.malloc(int(size * dice.uniform(0.4, 1)) or 1, stream)
            except OutOfDeviceMemory:
                recorder.note("oom", 0, size, stream)
                continue
            live.append(block)
            recorder.note("alloc", block.address, block.request, stream)
    return {"events": recorder.events, "segments": segments_of(allocator, live)}


def segments_of(allocator: Allocator, live: list[Block]) -> list[dict[str, Any]]:
    """List what is reserved: segments or, of expandable ones, the stretches that are mapped."""
    free = [block for pool in allocator.pools.values() for block in pool.ordered()]
    segments: list[dict[str, Any]] = []
    end = None
    for block in sorted([*free, *live], key=lambda block: block.address):
        joined = block.prev is not None and block.prev.mapped and block.address == end
        if not joined:
            segments.append(
                {
                    "address": block.address,
                    "total_size": 0,
                    "stream": block.pool.stream,
                    "type": "small" if block.pool.small else "large",
                    "blocks": [],
                }
            )
        state = "inactive" if block.free else "active_allocated"
        segments[-1]["total_size"] += block.size
        segments[-1]["blocks"].append([state, block.size, block.request])
        end = block.address + block.size
    return segments


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(
    ("text", "capacity"),
    [
        ("", None),
        ("", 120 * MIB),
        ("roundup_power2_divisions:4", None),
        ("max_split_size_mb:25", None),
        ("expandable_segments:True", None),
        ("expandable_segments:True", 120 * MIB),
    ],
)
def test_a_recorded_program_is_replayed_to_the_byte(
    seed: int, text: str, capacity: int | None
) -> None:
    snapshot = record(seed, 60, 120, text, capacity)
    if "split" in text:  # the others show in blocks and events
        snapshot["allocator_settings"] = {"PYTORCH_CUDA_ALLOC_CONF": text}
    assert settings_of(snapshot) == AllocatorSettings.parse(text)
    outcome = replay_snapshot(snapshot)
    assert outcome.exact, outcome
    assert outcome.moved == 0
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


def test_pytorchs_own_form_is_read_too() -> None:
    plain = record(3, 40, 60)
    raw = {
        "device_traces": [
            [],
            [
                {"action": action, "addr": address, "size": size, "stream": stream, "frames": []}
                for action, address, size, stream in plain["events"]
            ]
            + [{"action": "snapshot", "addr": 0, "size": 0, "stream": 0}],
        ],
        "segments": [
            {
                **segment,
                "device": 1,
                "segment_type": segment["type"],
                "allocated_size": 0,
                "blocks": [
                    {"state": state, "size": size, "requested_size": request}
                    for state, size, request in segment["blocks"]
                ],
            }
            for segment in plain["segments"]
        ]
        + [{"device": 0, "address": 7}],
        "allocator_settings": {"PYTORCH_CUDA_ALLOC_CONF": "", "expandable_segments": False},
    }
    assert replay_snapshot(reduced(raw)) == replay_snapshot(plain)
