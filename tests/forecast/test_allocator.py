"""The caching allocator's replay: invariants on random programs, and PyTorch's own examples."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchtui.forecast.allocator import Allocator, Block, OutOfDeviceMemory
from batchtui.forecast.expandable import ExpandableAllocator
from batchtui.forecast.settings import MIB, AllocatorSettings

SIZES = st.one_of(
    st.integers(1, 4096),
    st.integers(1, 3 * MIB),
    st.integers(MIB - 1024, MIB + 1024),
    st.integers(MIB, 64 * MIB),
)
# A program: a size allocates, an index frees one of the live blocks.
PROGRAMS = st.lists(
    st.one_of(
        SIZES.map(lambda size: ("malloc", size)), st.integers(0, 99).map(lambda i: ("free", i))
    ),
    max_size=120,
)
CONFIGURATIONS = st.sampled_from(
    [
        "",
        "max_split_size_mb:40",
        "max_split_size_mb:20,max_non_split_rounding_mb:30",
        "roundup_power2_divisions:4",
        "roundup_power2_divisions:[64:8,128:2,256:2,512:2,1024:1,>:1]",
        "expandable_segments:True",
        "garbage_collection_threshold:0.5,per_process_memory_fraction:0.9",
    ]
)


def make(text: str = "", capacity: int | None = None) -> Allocator:
    parsed = AllocatorSettings.parse(text)
    return (ExpandableAllocator if parsed.expandable_segments else Allocator)(parsed, capacity)


def run(allocator: Allocator, program: list[tuple[str, int]]) -> list[Block]:
    live: list[Block] = []
    for action, value in program:
        if action == "malloc":
            try:
                live.append(allocator.malloc(value))
            except OutOfDeviceMemory:
                break
        elif live:
            allocator.free(live.pop(value % len(live)))
        check(allocator, live)
    return live


def check(allocator: Allocator, live: list[Block]) -> None:
    """Whatever happened, this holds."""
    spans = sorted((block.address, block.address + block.size) for block in live)
    for (_, end), (start, _) in itertools.pairwise(spans):
        assert end <= start, "live blocks overlap"
    assert all(block.size >= block.request for block in live)
    assert allocator.allocated == sum(block.size for block in live)
    assert allocator.allocated <= allocator.reserved <= allocator.peak_reserved
    assert allocator.reserved <= allocator.capacity
    assert allocator.reserved % (2 * MIB) == 0
    free = 0
    for pool in allocator.pools.values():
        assert pool.keys == sorted(pool.keys)
        for block in pool.ordered():
            free += block.size
            assert block.free
            assert block.mapped
            for other in (block.prev, block.next):
                # Free neighbours are one block, except where an unmapped stretch begins.
                assert other is None or not other.free or not other.mapped
    assert free + allocator.allocated == allocator.reserved


@settings(max_examples=150, deadline=None)
@given(PROGRAMS, CONFIGURATIONS)
def test_random_programs_keep_the_books(program: list[tuple[str, int]], text: str) -> None:
    run(make(text), program)


@settings(max_examples=150, deadline=None)
@given(PROGRAMS, CONFIGURATIONS, st.integers(1, 300))
def test_never_more_than_the_capacity(
    program: list[tuple[str, int]], text: str, capacity: int
) -> None:
    allocator = make(text, capacity * MIB)
    run(allocator, program)
    assert allocator.peak_reserved <= capacity * MIB


@settings(max_examples=100, deadline=None)
@given(PROGRAMS, CONFIGURATIONS)
def test_all_freed_is_all_cached_and_can_be_given_back(
    program: list[tuple[str, int]], text: str
) -> None:
    allocator = make(text)
    for block in run(allocator, program):
        allocator.free(block)
    check(allocator, [])
    for pool in allocator.pools.values():
        for block in pool.ordered():
            assert block.prev is None or not block.prev.mapped
            assert block.next is None or not block.next.mapped
    allocator.empty_cache()
    assert allocator.reserved == 0


@pytest.mark.parametrize(
    ("request_mib", "segment_mib"), [(0.0005, 2), (1, 2), (1.5, 20), (9.9, 20), (10, 10), (11, 12)]
)
def test_segment_sizes(request_mib: float, segment_mib: int) -> None:
    allocator = make()
    allocator.malloc(int(request_mib * MIB))
    assert allocator.reserved == segment_mib * MIB


def test_pytorch_documented_sizes() -> None:
    """What PyTorch's own test of the allocator settings expects of 84 MiB and 400 MiB."""
    for text, request, size in [
        ("", 84, 84),
        ("max_split_size_mb:40", 84, 84),
        ("roundup_power2_divisions:4", 84, 96),
        ("roundup_power2_divisions:[64:8,128:2,256:2,512:2,1024:1,>:1]", 84, 88),
        ("roundup_power2_divisions:[64:8,128:2,256:2,512:2,1024:1,>:1]", 400, 512),
        ("garbage_collection_threshold:0.5", 84, 84),
    ]:
        allocator = make(text)
        allocator.malloc(request * MIB)
        assert allocator.allocated == size * MIB, text


def test_best_fit_takes_the_smallest_then_the_lowest() -> None:
    allocator = make()
    blocks = [allocator.malloc(size * MIB) for size in (40, 30, 30, 50)]
    for block in blocks:
        allocator.free(block)
    assert allocator.malloc(25 * MIB).address == blocks[1].address
    assert allocator.malloc(29 * MIB).address == blocks[2].address
    assert allocator.malloc(31 * MIB).address == blocks[0].address


def test_a_large_block_keeps_what_is_too_little_to_split_off() -> None:
    allocator = make()
    allocator.free(allocator.malloc(12 * MIB))
    assert allocator.malloc(11 * MIB).size == 12 * MIB
    allocator = make()
    allocator.free(allocator.malloc(12 * MIB))
    assert allocator.malloc(11 * MIB - 512).size == 11 * MIB - 512


def test_oversize_blocks_are_not_split_and_not_wasted() -> None:
    allocator = make("max_split_size_mb:40")
    allocator.free(allocator.malloc(100 * MIB))
    small = allocator.malloc(30 * MIB)
    assert allocator.reserved == 130 * MIB  # the block of 100 is no use to a smaller request
    assert allocator.malloc(85 * MIB).size == 100 * MIB  # within 20 MiB: taken whole
    allocator.free(small)
    allocator.malloc(60 * MIB)
    assert allocator.reserved == 190 * MIB


def test_a_refusal_releases_what_is_cached_and_retries() -> None:
    allocator = make(capacity=100 * MIB)
    allocator.free(allocator.malloc(60 * MIB))
    assert allocator.malloc(80 * MIB).size == 80 * MIB
    assert allocator.reserved == 80 * MIB
    assert allocator.retries == 1
    with pytest.raises(OutOfDeviceMemory):
        allocator.malloc(30 * MIB)


def test_a_segment_in_part_use_is_not_released() -> None:
    allocator = make(capacity=100 * MIB)
    whole = allocator.malloc(60 * MIB)
    allocator.free(whole)
    allocator.malloc(20 * MIB)  # the lower third of it
    with pytest.raises(OutOfDeviceMemory):
        allocator.malloc(50 * MIB)


def test_expandable_segments_join_what_segments_keep_apart() -> None:
    fixed, expandable = make(), make("expandable_segments:True")
    for allocator in (fixed, expandable):
        for block in [allocator.malloc(30 * MIB) for _ in range(4)]:
            allocator.free(block)
        allocator.malloc(120 * MIB)
    assert fixed.reserved == 240 * MIB
    assert expandable.reserved == 120 * MIB


def test_expandable_segments_map_whole_pages() -> None:
    allocator = make("expandable_segments:True")
    allocator.malloc(1000)
    allocator.malloc(21 * MIB)
    assert allocator.reserved == 2 * MIB + 40 * MIB


def test_old_segments_are_collected_above_the_threshold() -> None:
    text = "garbage_collection_threshold:0.5,per_process_memory_fraction:1.0"
    allocator = make(text, 220 * MIB)
    older, newer = allocator.malloc(40 * MIB), allocator.malloc(20 * MIB)
    allocator.free(older)
    allocator.malloc(60 * MIB)
    allocator.free(newer)
    allocator.malloc(44 * MIB)
    assert allocator.reserved == (20 + 60 + 44) * MIB


def test_streams_do_not_share_blocks() -> None:
    allocator = make()
    allocator.free(allocator.malloc(30 * MIB, stream=1))
    allocator.malloc(30 * MIB, stream=2)
    assert allocator.reserved == 60 * MIB
