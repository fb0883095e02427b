"""Recorded states of the allocator with expandable segments, replayed: see `snapshots.py`.

There a segment is an address range of a stream and a pool, and grows and shrinks by pages:
events `segment_map` and `segment_unmap`. A file's `segments` are the stretches that are mapped.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field
from typing import Any

from batchtui.forecast.allocator import Block, Pool
from batchtui.forecast.expandable import ExpandableAllocator
from batchtui.forecast.settings import SMALL_REQUEST, AllocatorSettings

_FURTHER = 1 << 44  # bytes of address space behind what was ever mapped

Key = tuple[int, bool]  # stream, whether of small requests


@dataclass(slots=True)
class Range:
    """What is mapped of an address range, and what is in use: address → (bytes, requested)."""

    pages: list[tuple[int, int]] = field(default_factory=list)  # (start, end), in order
    used: dict[int, tuple[int, int]] = field(default_factory=dict)
    first: int | None = None  # the lowest address that was ever mapped
    last: int = 0

    def reaches(self, start: int, end: int) -> None:
        """Note that the range has these addresses."""
        self.first = start if self.first is None else min(self.first, start)
        self.last = max(self.last, end)

    def distance(self, address: int) -> int:
        assert self.first is not None
        return max(self.first - address, address - self.last, 0)

    def map(self, start: int, end: int) -> None:
        """Add pages, joined with those they touch."""
        touching = [page for page in self.pages if page[0] <= end and start <= page[1]]
        kept = [page for page in self.pages if page not in touching]
        starts, ends = zip(*touching, (start, end), strict=True)
        self.pages = sorted([*kept, (min(starts), max(ends))])

    def unmap(self, start: int, end: int) -> None:
        pieces = []
        for low, high in self.pages:
            pieces += [(low, min(high, start)), (max(low, end), high)]
        self.pages = sorted((low, high) for low, high in pieces if low < high)


class RestoredRanges(ExpandableAllocator):
    """An allocator that starts from ranges as they were found."""

    def adopt(self, key: Key, found: Range) -> dict[int, Block]:
        """Take over a range; return the blocks in use by address."""
        pool = self.pools.setdefault(key, Pool(*key))
        live: dict[int, Block] = {}
        last: Block | None = None
        at = found.first or 0
        pieces = []  # (start, end, kind of block)
        for low, high in found.pages:
            pieces.append((at, low, "unmapped"))
            at = low
            for start, (size, _) in sorted(found.used.items()):
                if low <= start < high:
                    pieces += [(at, start, "free"), (start, start + size, "used")]
                    at = start + size
            pieces.append((at, high, "free"))
            at = high
        pieces.append((at, found.last + _FURTHER, "unmapped"))
        for start, end, kind in pieces:
            if start == end:
                continue
            block = Block(start, end - start, pool)
            block.prev = last
            if last is not None:
                last.next = block
            last = block
            block.free = kind != "used"
            block.mapped = kind != "unmapped"
            if kind == "unmapped":
                insort(pool.unmapped, (start, block))
                continue
            self._grow(block.size)
            if kind == "free":
                pool.insert(block)
            else:
                block.request = found.used[start][1]
                self.allocated += block.size
                live[start] = block
        self.peak_allocated = max(self.peak_allocated, self.allocated)
        return live

    def give_back(self, address: int) -> None:
        """Unmap the pages of the free block that holds the address."""
        for pool in self.pools.values():
            for block in pool.ordered():
                if block.address <= address < block.address + block.size:
                    self.unmap(block)


def ranges_of(snapshot: dict[str, Any], settings: AllocatorSettings) -> dict[Key, Range]:
    """Undo the events from the end, and return the ranges as they were before them."""
    ranges: dict[Key, Range] = {}

    def pool_of(stream: int, request: int) -> Range:
        return ranges.setdefault((stream, settings.round(request) <= SMALL_REQUEST), Range())

    for entry in snapshot["segments"]:
        found = ranges.setdefault((entry["stream"], entry["type"] == "small"), Range())
        at = entry["address"]
        found.map(at, at + entry["total_size"])
        found.reaches(at, at + entry["total_size"])
        for kind, size, request in entry["blocks"]:
            if kind != "inactive":
                found.used[at] = size, request
            at += size
    for action, address, size, stream in snapshot["events"]:
        if action in ("alloc", "free_completed"):
            pool_of(stream, size).reaches(address, address + size)
    for action, address, size, stream in reversed(snapshot["events"]):
        if action == "alloc":
            pool_of(stream, size).used.pop(address, None)
        elif action == "free_completed":
            pool_of(stream, size).used[address] = settings.round(size), size
        elif action in ("segment_map", "segment_unmap"):
            of_stream = [found for (number, _), found in ranges.items() if number == stream]
            found = min(of_stream, key=lambda each: each.distance(address))
            found.reaches(address, address + size)
            change = found.unmap if action == "segment_map" else found.map
            change(address, address + size)
    return ranges
