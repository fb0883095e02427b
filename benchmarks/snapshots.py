"""Recorded states of PyTorch's CUDA allocator, replayed: `forecast_gpu.py` checks every one.

A snapshot is the end: its segments with their blocks, and the events that led there. The start
is found by undoing the events from the end. Form of a file (gzipped JSON): `events` =
[action, address, bytes, stream] in order, `segments` = [{address, total_size, stream, type,
blocks: [[state, bytes, requested bytes], …]}, …] and, optionally, `allocator_settings` as PyTorch
gives them. PyTorch's own form (`device_traces`) is read as well, of the device with most events.
"""

from __future__ import annotations

import gzip
import json
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from batchtui.forecast.allocator import Allocator, Block, Pool
from batchtui.forecast.settings import MIN_BLOCK, SMALL_REQUEST, AllocatorSettings
from benchmarks.expandable_snapshots import RestoredRanges, ranges_of


class RestoredAllocator(Allocator):
    """An allocator that starts from segments as they were found."""

    def adopt(
        self, address: int, size: int, small: bool, stream: int, used: list[tuple[int, int, int]]
    ) -> dict[int, Block]:
        """Take over a segment as it was found: `used` = (address, bytes, request) in order.

        Returns the blocks in use by address.
        """
        pool = self.pools.setdefault((stream, small), Pool(stream, small))
        self._grow(size)
        found: dict[int, Block] = {}
        last: Block | None = None
        at = address
        for start, length, request in [*used, (address + size, 0, 0)]:
            for free, begin, end in ((True, at, start), (False, start, start + length)):
                if begin == end:
                    continue
                block = Block(begin, end - begin, pool)
                block.prev = last
                if last is not None:
                    last.next = block
                last = block
                block.free = free
                if free:
                    pool.insert(block)
                else:
                    block.request = request
                    self.allocated += block.size
                    found[begin] = block
            at = start + length
        self.peak_allocated = max(self.peak_allocated, self.allocated)
        return found

    def give_back(self, address: int) -> None:
        """Release the segment at an address, if it is held and nothing in it is in use."""
        for pool in self.pools.values():
            for block in pool.ordered():
                if block.address == address and block.prev is None and block.next is None:
                    self._release(block)


@dataclass(slots=True)
class Segment:
    """A segment and what is in use within it: address → (block bytes, requested bytes)."""

    address: int
    size: int
    small: bool
    stream: int
    used: dict[int, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Replayed against recorded, in bytes; `moved` counts blocks at another address."""

    peak: int
    final: int
    recorded_peak: int
    recorded_final: int
    moved: int

    @property
    def exact(self) -> bool:
        """Whether peak and final reserved are right to the byte."""
        return self.peak == self.recorded_peak and self.final == self.recorded_final


def load(path: Path) -> dict[str, Any]:
    """Read one snapshot."""
    with gzip.open(path) as file:
        return reduced(dict(json.load(file)))


def reduced(snapshot: dict[str, Any]) -> dict[str, Any]:
    """Take what a replay needs from PyTorch's own form; the reduced form stays as it is."""
    if "device_traces" not in snapshot:
        return snapshot
    traces = snapshot["device_traces"]
    device = max(range(len(traces)), key=lambda number: len(traces[number]))
    return {
        "events": [
            [event["action"], event.get("addr", 0), event.get("size", 0), event.get("stream", 0)]
            for event in traces[device]
        ],
        "segments": [
            {
                "address": segment["address"],
                "total_size": segment["total_size"],
                "allocated_size": segment["allocated_size"],
                "stream": segment["stream"],
                "type": segment["segment_type"],
                "blocks": [
                    [block["state"], block["size"], block.get("requested_size", block["size"])]
                    for block in segment["blocks"]
                ],
            }
            for segment in snapshot["segments"]
            if segment.get("device", device) == device
        ],
        "allocator_settings": snapshot.get("allocator_settings"),
    }


def start_of(snapshot: dict[str, Any], settings: AllocatorSettings) -> list[Segment]:
    """Undo the events from the end, and return the segments as they were before them."""
    state: dict[int, Segment] = {}
    for entry in snapshot["segments"]:
        segment = Segment(
            entry["address"], entry["total_size"], entry["type"] == "small", entry["stream"]
        )
        at = segment.address
        for kind, size, request in entry["blocks"]:
            if kind != "inactive":
                segment.used[at] = (size, request)
            at += size
        state[segment.address] = segment
    for action, address, size, stream in reversed(snapshot["events"]):
        if action == "segment_alloc":
            del state[address]
        elif action == "segment_free":
            state[address] = Segment(address, size, size == 2 << 20, stream)
        elif action == "alloc":
            segment = _segment_at(state, address)
            segment.used.pop(address, None)
            _settle(segment, address)
        elif action == "free_completed":
            segment = _segment_at(state, address)
            segment.used[address] = (_block_size(segment, address, size, settings), size)
            _settle(segment, address)
    return list(state.values())


def _segment_at(state: dict[int, Segment], address: int) -> Segment:
    starts = sorted(state)
    return state[starts[bisect_right(starts, address) - 1]]


def _block_size(segment: Segment, address: int, request: int, settings: AllocatorSettings) -> int:
    """Size of the block that served a request: with what was too little to split off."""
    size = settings.round(request)
    if size >= settings.max_split_size and address == segment.address:
        return segment.size
    end = min(
        (start for start in segment.used if start > address),
        default=segment.address + segment.size,
    )
    slack = end - address - size
    return size + slack if not segment.small and slack <= SMALL_REQUEST else size


def _settle(segment: Segment, address: int) -> None:
    """Give a gap too small to be a free block to the block before `address`: it is its slack."""
    before = max((start for start in segment.used if start < address), default=None)
    if segment.small or before is None:
        return
    size, request = segment.used[before]
    if 0 < address - before - size <= SMALL_REQUEST:
        segment.used[before] = (address - before, request)


class _Tape:
    """Gives the recorded addresses to the segments that a replay asks for."""

    def __init__(self, events: list[list[Any]]) -> None:
        self.recorded: dict[int, list[int]] = {}
        for action, address, size, _ in reversed(events):
            if action == "segment_alloc":
                self.recorded.setdefault(size, []).append(address)
        self.next = 1 << 46

    def place(self, size: int) -> int:
        if self.recorded.get(size):
            return self.recorded[size].pop()
        self.next += size
        return self.next - size


def replay_snapshot(snapshot: dict[str, Any], settings: AllocatorSettings | None = None) -> Outcome:
    """Replay a snapshot's events from its own start, and compare the reserved memory."""
    settings = settings or settings_of(snapshot)
    live: dict[int, Block] = {}
    allocator: RestoredAllocator | RestoredRanges
    if settings.expandable_segments:
        allocator = RestoredRanges(settings)
        for key, found in ranges_of(snapshot, settings).items():
            live |= allocator.adopt(key, found)
    else:
        allocator = RestoredAllocator(settings, place=_Tape(snapshot["events"]).place)
        for segment in start_of(snapshot, settings):
            used = [(address, *sizes) for address, sizes in sorted(segment.used.items())]
            kind = segment.small, segment.stream
            live |= allocator.adopt(segment.address, segment.size, *kind, used)
    reserved = recorded_peak = allocator.reserved
    moved = 0
    for action, address, size, stream in snapshot["events"]:
        if action == "alloc":
            block = live[address] = allocator.malloc(size, stream)
            moved += block.address != address
        elif action == "free_completed":
            allocator.free(live.pop(address))
        elif action in ("segment_alloc", "segment_map"):
            reserved += size
            recorded_peak = max(recorded_peak, reserved)
        elif action in ("segment_free", "segment_unmap"):
            reserved -= size
            allocator.give_back(address)
    return Outcome(
        peak=allocator.peak_reserved,
        final=allocator.reserved,
        recorded_peak=recorded_peak,
        recorded_final=sum(entry["total_size"] for entry in snapshot["segments"]),
        moved=moved,
    )


def settings_of(snapshot: dict[str, Any]) -> AllocatorSettings:
    """Return the settings that a snapshot was recorded with: as it says, or as it shows."""
    told = snapshot.get("allocator_settings") or {}
    settings = AllocatorSettings.parse(told.get("PYTORCH_CUDA_ALLOC_CONF"))
    maps = any(event[0] in ("segment_map", "segment_unmap") for event in snapshot["events"])
    if maps or told.get("expandable_segments"):
        return replace(settings, expandable_segments=True)
    if told:
        return settings
    blocks = [
        (size, request)
        for entry in snapshot["segments"]
        for kind, size, request in entry["blocks"]
        if kind == "active_allocated"
    ]
    rounding = (AllocatorSettings(roundup_power2_divisions=(n,) * 16) for n in (2, 4, 8, 16, 32))
    for settings in (AllocatorSettings(), *rounding):
        if all(size - settings.round(request) in _slack(size) for size, request in blocks):
            return settings
    return AllocatorSettings()


def _slack(size: int) -> range:
    """Return what a block of that size may have beyond its request."""
    return range(MIN_BLOCK if size <= SMALL_REQUEST else SMALL_REQUEST + 1)
