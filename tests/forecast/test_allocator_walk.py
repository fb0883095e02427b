"""The allocator against a walk over plain lists that follows its documented rules one by one."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from batchtui.forecast.allocator import Allocator, Block, OutOfDeviceMemory
from batchtui.forecast.settings import MIB, AllocatorSettings


@dataclass
class Piece:
    """A block of a segment."""

    at: int
    size: int
    free: bool = True


@dataclass
class Segment:
    """What the device gave in one piece."""

    stream: int
    small: bool
    pieces: list[Piece]


@dataclass
class Walk:
    """Looks through everything at each request, and keeps no order."""

    capacity: int
    max_split: int | None = None
    divisions: int = 0
    segments: list[Segment] = field(default_factory=list)
    end: int = 2 * MIB

    @property
    def reserved(self) -> int:
        return sum(piece.size for segment in self.segments for piece in segment.pieces)

    def rounded(self, request: int) -> int:
        if request < 512:
            return 512
        if self.divisions > 1 and request > 512 * self.divisions:
            power = 1
            while power * 2 <= request:
                power *= 2
            step = power // self.divisions
            return (request + step - 1) // step * step
        return (request + 511) // 512 * 512

    def take(self, request: int, stream: int) -> Piece | None:
        """Return the block; None: out of memory."""
        size = self.rounded(request)
        small = size <= MIB
        found = self.best(size, small, stream) or self.ask(size, small, stream)
        if found is None:
            self.release_all()
            found = self.ask(size, small, stream)
        if found is None:
            return None
        segment, piece = found
        rest = piece.size - size
        below = self.max_split is None or size < self.max_split
        if (small and rest >= 512) or (not small and below and rest > MIB):
            index = segment.pieces.index(piece)
            segment.pieces.insert(index + 1, Piece(piece.at + size, rest))
            piece.size = size
        piece.free = False
        return piece

    def best(self, size: int, small: bool, stream: int) -> tuple[Segment, Piece] | None:
        fitting = [
            (piece.size, piece.at, segment, piece)
            for segment in self.segments
            if (segment.stream, segment.small) == (stream, small)
            for piece in segment.pieces
            if piece.free and piece.size >= size
        ]
        if not fitting:
            return None
        length, _, segment, piece = min(fitting, key=lambda each: each[:2])
        if self.max_split is not None:
            if size < self.max_split <= length:
                return None
            if size >= self.max_split and length >= size + 20 * MIB:
                return None
        return segment, piece

    def ask(self, size: int, small: bool, stream: int) -> tuple[Segment, Piece] | None:
        length = 2 * MIB if small else 20 * MIB
        if size >= 10 * MIB:
            length = (size + 2 * MIB - 1) // (2 * MIB) * 2 * MIB
        if self.reserved + length > self.capacity:
            return None
        piece = Piece(self.end, length)
        self.end += length
        segment = Segment(stream, small, [piece])
        self.segments.append(segment)
        return segment, piece

    def release_all(self) -> None:
        self.segments = [
            segment
            for segment in self.segments
            if len(segment.pieces) > 1 or not segment.pieces[0].free
        ]

    def give(self, address: int) -> None:
        for segment in self.segments:
            for piece in segment.pieces:
                if piece.at == address:
                    piece.free = True
                    merged: list[Piece] = []
                    for each in segment.pieces:
                        if merged and merged[-1].free and each.free:
                            merged[-1].size += each.size
                        else:
                            merged.append(each)
                    segment.pieces = merged
                    return


# Around every bound of the rules, and few enough of them to meet again.
SIZES = st.one_of(
    st.sampled_from([24 * MIB, 40 * MIB, 44 * MIB, 60 * MIB]),
    st.builds(
        lambda whole, rest: whole * MIB + rest,
        st.sampled_from([1, 2, 10, 11, 12, 20, 23, 24, 40, 43, 44, 60]),
        st.sampled_from([-512, -511, 0, 0, 0, 1]),
    ),
    st.sampled_from([1, 511, 512, 513, 2048, MIB // 2, 3 * MIB]),
    st.integers(1, 64 * MIB),
)
PROGRAMS = st.lists(
    st.one_of(st.tuples(SIZES, st.integers(0, 1)), st.tuples(st.just(0), st.integers(0, 99))),
    max_size=100,
)


@settings(max_examples=200, deadline=None)
@given(
    PROGRAMS,
    st.sampled_from([1 << 50, 300 * MIB, 120 * MIB]),
    st.sampled_from([None, 24, 40]),
    st.sampled_from([0, 2, 4]),
)
def test_every_block_lies_where_the_walk_puts_it(
    program: list[tuple[int, int]], capacity: int, max_split: int | None, divisions: int
) -> None:
    if max_split is not None:
        capacity = 1 << 50  # what a refusal releases first, with a limit, is tested by itself
    parts = [f"max_split_size_mb:{max_split}"] if max_split else []
    parts += [f"roundup_power2_divisions:{divisions}"] if divisions else []
    ours = Allocator(AllocatorSettings.parse(",".join(parts)), capacity)
    walk = Walk(capacity, max_split and max_split * MIB, divisions)
    live: list[Block] = []
    for size, number in program:
        if not size:
            if live:
                block = live.pop(number % len(live))
                walk.give(block.address)
                ours.free(block)
            continue
        expected = walk.take(size, number)
        if expected is None:
            try:
                ours.malloc(size, number)
            except OutOfDeviceMemory:
                return
            raise AssertionError("survives where the walk does not")
        live.append(ours.malloc(size, number))
        assert (live[-1].address, live[-1].size) == (expected.at, expected.size)
        assert ours.reserved == walk.reserved
