"""The allocator with `expandable_segments:True`: address ranges into which pages are mapped.

One range per stream and pool, as large as 9/8 of the device; it grows by mapping pages of 2 MiB
(small pool) or 20 MiB (large pool), so that neighbouring blocks merge where separate segments
would stay apart. What the device refuses first costs all pages that hold nothing.
"""

from __future__ import annotations

from bisect import bisect_left, insort

from batchtui.forecast.allocator import Allocator, Block, Pool
from batchtui.forecast.settings import LARGE_SEGMENT, MIN_BLOCK, SMALL_SEGMENT, UNLIMITED

_RANGE = 1 << 44  # of a device without a stated capacity
_SHIFT = 48


def _room(block: Block) -> int:
    """Bytes the block could grow to: itself and the unmapped stretch behind it."""
    after = block.next
    return block.size + (after.size if after is not None and not after.mapped else 0)


class ExpandableAllocator(Allocator):
    """An `Allocator` whose segments are mapped page by page."""

    def _splits(self, small: bool, size: int, rest: int) -> bool:
        return rest >= MIN_BLOCK

    def _search(self, pool: Pool, size: int) -> Block | None:
        """Take the best fit, where the block before an unmapped stretch counts as large."""
        pool.clock += 1
        keys, blocks = pool.keys, pool.blocks
        index = bisect_left(keys, size << _SHIFT)
        if index == len(keys):
            return None
        while index + 1 < len(keys) and _room(blocks[keys[index + 1]]) < _room(blocks[keys[index]]):
            index += 1
        key = keys[index]
        if not self._suits(size, key >> _SHIFT):
            return None
        del keys[index]
        return blocks.pop(key)

    def _new(self, pool: Pool, size: int) -> Block | None:
        block = self._candidate(pool, size)
        if not block.mapped and not self._map(block, min(block.size, size)):
            return None
        while block.size < size:
            after = block.next
            assert after is not None
            if not self._map(after, min(size - block.size, after.size)):
                return None
            block = after  # the mapped page has taken in the free block before it
        pool.remove(block)
        return block

    def _candidate(self, pool: Pool, size: int) -> Block:
        """Find the lowest stretch of free and unmapped blocks that holds `size`."""
        for _, block in pool.unmapped:
            start = block
            if block.prev is not None and block.prev.free:
                start = block.prev
            room, at = 0, start
            while room < size:
                room += at.size
                if at.next is None or not at.next.free:
                    break
                at = at.next
            if room >= size:
                return start
        page = self._page(pool)
        length = _RANGE if self.capacity >= UNLIMITED // 2 else self.capacity * 9 // 8
        length = -(-max(length, size) // page) * page
        block = Block(self.place(length), length, pool)
        block.free, block.mapped = True, False
        insort(pool.unmapped, (block.address, block))
        return block

    @staticmethod
    def _page(pool: Pool) -> int:
        return SMALL_SEGMENT if pool.small else LARGE_SEGMENT

    def _map(self, block: Block, size: int) -> bool:
        """Map pages from the start of an unmapped block; what they make is free and mapped."""
        pool = block.pool
        page = self._page(pool)
        length = min(-(-size // page) * page, block.size)
        if self.reserved + length > self.capacity:
            return False
        self._grow(length)
        self._forget(block)
        if length < block.size:
            rest = Block(block.address + length, block.size - length, pool)
            rest.free, rest.mapped = True, False
            rest.prev, rest.next = block, block.next
            if block.next is not None:
                block.next.prev = rest
            block.next = rest
            block.size = length
            insort(pool.unmapped, (rest.address, rest))
        block.mapped = True
        self._merge(block)
        pool.insert(block)
        return True

    def _forget(self, block: Block) -> None:
        unmapped = block.pool.unmapped
        del unmapped[bisect_left(unmapped, (block.address,))]

    def _merge(self, block: Block) -> None:
        """Take in the free neighbours that are mapped, or unmapped, as the block is."""
        for other in (block.prev, block.next):
            if other is None or not other.free or other.mapped != block.mapped:
                continue
            if other.mapped:
                other.pool.remove(other)
            else:
                self._forget(other)
            block.size += other.size
            if other is block.prev:
                block.address = other.address
                block.prev = other.prev
                if block.prev is not None:
                    block.prev.next = block
            else:
                block.next = other.next
                if block.next is not None:
                    block.next.prev = block

    def empty_cache(self) -> None:
        """Unmap every page that holds nothing."""
        for pool in self.pools.values():
            for block in pool.ordered():
                self.unmap(block)

    def unmap(self, block: Block) -> None:
        """Unmap the whole pages within a free block."""
        page, pool = self._page(block.pool), block.pool
        base = self._base(block)
        first = base + -(-(block.address - base) // page) * page
        last = base + (block.address + block.size - base) // page * page
        if last <= first:
            return
        pool.remove(block)
        self.reserved -= last - first
        if block.address < first:
            before = Block(block.address, first - block.address, pool)
            before.free = True
            before.prev, before.next = block.prev, block
            if before.prev is not None:
                before.prev.next = before
            block.prev = before
            pool.insert(before)
        end = block.address + block.size
        if last < end:
            after = Block(last, end - last, pool)
            after.free = True
            after.prev, after.next = block, block.next
            if after.next is not None:
                after.next.prev = after
            block.next = after
            pool.insert(after)
        block.address, block.size, block.mapped = first, last - first, False
        self._merge(block)
        insort(pool.unmapped, (block.address, block))

    @staticmethod
    def _base(block: Block) -> int:
        """Address at which the block's range begins: pages count from there."""
        while block.prev is not None:
            block = block.prev
        return block.address
