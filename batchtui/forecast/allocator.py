"""PyTorch's CUDA caching allocator, replayed without a GPU: sizes and addresses, no memory.

The rules are those of c10/cuda/CUDACachingAllocator.cpp: best fit within a pool of a stream,
splitting, coalescing, and what happens when the device refuses a segment. `expandable.py` has
the variant with expandable segments. Sizes and addresses are bytes.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable

from batchtui.forecast.settings import (
    MIN_BLOCK,
    SMALL_REQUEST,
    UNLIMITED,
    AllocatorSettings,
    segment_size,
)

_SHIFT = 48  # a free list is ordered by size, then address: one integer holds both


class OutOfDeviceMemory(Exception):
    """The device is full, and releasing what is cached did not help."""


class Block:
    """A stretch of a segment, in use or free; neighbours are linked."""

    __slots__ = ("address", "born", "free", "mapped", "next", "pool", "prev", "request", "size")

    def __init__(self, address: int, size: int, pool: Pool) -> None:
        self.address = address
        self.size = size
        self.pool = pool
        self.prev: Block | None = None
        self.next: Block | None = None
        self.free = False
        self.mapped = True  # only an expandable segment has unmapped parts
        self.request = 0
        self.born = 0  # the pool's clock when the block became free: its age for the collector


class Pool:
    """Free blocks of one stream, of small or of large requests, in the order of best fit."""

    __slots__ = ("blocks", "clock", "keys", "small", "stream", "unmapped")

    def __init__(self, stream: int, small: bool) -> None:
        self.stream = stream
        self.small = small
        self.keys: list[int] = []
        self.blocks: dict[int, Block] = {}
        self.clock = 0
        self.unmapped: list[tuple[int, Block]] = []  # by address; expandable segments only

    def insert(self, block: Block) -> None:
        """Take a block that is free now."""
        block.free = True
        key = (block.size << _SHIFT) | block.address
        insort(self.keys, key)
        self.blocks[key] = block
        block.born = self.clock

    def remove(self, block: Block) -> None:
        key = (block.size << _SHIFT) | block.address
        del self.keys[bisect_left(self.keys, key)]
        del self.blocks[key]

    def ordered(self) -> list[Block]:
        """Return the free blocks, smallest first; safe against changes meanwhile."""
        return [self.blocks[key] for key in self.keys]


class Allocator:
    """One device's allocator. `place(size)` gives a new segment's address, for replays of
    recorded traces; by default segments lie one after the other.
    """

    def __init__(
        self,
        settings: AllocatorSettings | None = None,
        capacity: int | None = None,
        place: Callable[[int], int] | None = None,
    ) -> None:
        self.settings = settings or AllocatorSettings()
        self.capacity = UNLIMITED if capacity is None else capacity
        self.place = place or self._place
        self.allocated = self.reserved = 0
        self.peak_allocated = self.peak_reserved = 0
        self.retries = 0
        self.pools: dict[tuple[int, bool], Pool] = {}
        self._round = self.settings.round
        self._rounds = bool(self.settings.roundup_power2_divisions)
        self._max_split = self.settings.max_split_size
        self._collects = (
            self.settings.garbage_collection_threshold > 0
            and self.settings.memory_fraction is not None
        )
        if self.settings.memory_fraction is not None and capacity is not None:
            self.capacity = int(capacity * self.settings.memory_fraction)
        self._end = 1 << 21

    # ------------------------------------------------------------------ what a program does

    def malloc(self, request: int, stream: int = 0) -> Block:
        """Allocate `request` > 0 bytes.

        Raises:
            OutOfDeviceMemory: as torch.OutOfMemoryError would be.
        """
        size = self._round(request) if self._rounds else max((request + 511) & -512, MIN_BLOCK)
        small = size <= SMALL_REQUEST
        pool = self.pools.get((stream, small))
        if pool is None:
            pool = self.pools[stream, small] = Pool(stream, small)
        block = self._search(pool, size) or self._extend(pool, size)
        rest = block.size - size
        if rest and self._splits(small, size, rest):
            upper = Block(block.address + size, rest, pool)
            upper.prev = block
            upper.next = following = block.next
            if following is not None:
                following.prev = upper
            block.next = upper
            block.size = size
            pool.insert(upper)
        block.free = False
        block.request = request
        self.allocated += block.size
        if self.allocated > self.peak_allocated:
            self.peak_allocated = self.allocated
        return block

    def free(self, block: Block) -> None:
        """Return a block to its pool, merged with its free neighbours."""
        self.allocated -= block.size
        pool = block.pool
        other = block.prev
        if other is not None and other.free and other.mapped:
            pool.remove(other)
            block.address = other.address
            block.size += other.size
            block.prev = before = other.prev
            if before is not None:
                before.next = block
        other = block.next
        if other is not None and other.free and other.mapped:
            pool.remove(other)
            block.size += other.size
            block.next = after = other.next
            if after is not None:
                after.prev = block
        pool.insert(block)

    def empty_cache(self) -> None:
        """Give every segment that holds nothing back to the device."""
        for pool in self.pools.values():
            for block in pool.ordered():
                if block.prev is None and block.next is None:
                    self._release(block)

    # ------------------------------------------------------------------ how it finds memory

    def _splits(self, small: bool, size: int, rest: int) -> bool:
        if small:
            return rest >= MIN_BLOCK
        return rest > SMALL_REQUEST and size < self._max_split

    def _search(self, pool: Pool, size: int) -> Block | None:
        """Take the smallest free block that holds `size`, at the lowest address."""
        pool.clock += 1
        keys = pool.keys
        index = bisect_left(keys, size << _SHIFT)
        if index == len(keys):
            return None
        key = keys[index]
        if self._max_split != UNLIMITED and not self._suits(size, key >> _SHIFT):
            return None
        del keys[index]
        return pool.blocks.pop(key)

    def _suits(self, size: int, available: int) -> bool:
        """Refuse blocks that max_split_size_mb keeps from being split or wasted."""
        if size < self._max_split:
            return available < self._max_split
        return available < size + self.settings.max_non_split_rounding

    def _extend(self, pool: Pool, size: int) -> Block:
        """Get a block from the device, releasing cached ones if it refuses."""
        if self._collects:
            self._collect()
        block = self._new(pool, size)
        if block is None and self._release_available(pool, size):
            block = self._new(pool, size)
        if block is None:
            self.retries += 1
            self.empty_cache()
            block = self._new(pool, size)
        if block is None:
            raise OutOfDeviceMemory
        return block

    def _new(self, pool: Pool, size: int) -> Block | None:
        segment = segment_size(size)
        if self.reserved + segment > self.capacity:
            return None
        self._grow(segment)
        return Block(self.place(segment), segment, pool)

    def _grow(self, size: int) -> None:
        self.reserved += size
        if self.reserved > self.peak_reserved:
            self.peak_reserved = self.reserved

    def _place(self, size: int) -> int:
        self._end += size
        return self._end - size

    # ------------------------------------------------------------------- what it gives back

    def _release(self, block: Block) -> None:
        block.pool.remove(block)
        self.reserved -= block.size

    def _release_available(self, pool: Pool, size: int) -> bool:
        """With max_split_size_mb set: release one oversize block, or the largest ones."""
        if self._max_split == UNLIMITED:
            return False
        wanted = max(size, self._max_split)
        index = bisect_left(pool.keys, wanted << _SHIFT)
        if index < len(pool.keys):
            self._release(pool.blocks[pool.keys[index]])
            return True
        released = 0
        while released < wanted and pool.keys:
            block = pool.blocks[pool.keys[-1]]
            if block.size < self._max_split:
                break
            released += block.size
            self._release(block)
        return released >= wanted

    def _collect(self) -> None:
        """Release unsplit large blocks of at least mean age, down to the threshold."""
        threshold = int(self.settings.garbage_collection_threshold * self.capacity)
        target, released = self.reserved - threshold, 0
        whole = [
            block
            for pool in self.pools.values()
            if not pool.small
            for block in pool.ordered()
            if block.prev is None and block.next is None
        ]
        ages = {id(block): block.pool.clock - block.born for block in whole}
        while released < target and whole:
            mean = sum(ages[id(block)] for block in whole) / len(whole)
            kept = []
            for block in whole:
                if ages[id(block)] >= mean:
                    released += block.size
                    self._release(block)
                else:
                    kept.append(block)
            if len(kept) == len(whole):
                break
            whole = kept
