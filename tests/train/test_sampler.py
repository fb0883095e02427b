"""Who is trained when: every sample once an epoch, at any batch size, on any ranks."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from batchtui.train.sampler import BatchDraws, Plan, Seeded, mix, permutation, split
from tests.train.tiny import Points

sizes = st.integers(1, 70)
batches = st.integers(1, 20)


@given(count=st.integers(0, 500), size=st.integers(1, 40))
def test_a_split_loses_nothing_and_leaves_nobody_alone(count: int, size: int) -> None:
    parts = split(count, size)
    assert sum(parts) == count
    assert all(0 < part <= size for part in parts)
    assert len(parts) == -(-count // size)
    if size > 2 and count > 1:
        assert 1 not in parts


@settings(deadline=None)
@given(size=sizes, batch=batches, accumulate=st.integers(1, 4), world=st.integers(1, 4))
def test_an_epoch_is_every_sample_once(size: int, batch: int, accumulate: int, world: int) -> None:
    plans = [Plan(size, 5, batch, accumulate, rank, world) for rank in range(world)]
    seen: list[int] = []
    for groups in zip(*(plan.epoch(1) for plan in plans), strict=True):
        assert len({group.samples for group in groups}) == 1  # the ranks agree
        assert sum(group.share for group in groups) == groups[0].samples
        for group in groups:
            assert group.micro_batches  # each rank takes part in each step
            assert all(len(indices) <= batch for indices in group.micro_batches)
            if group.share:
                seen += [index for indices in group.micro_batches for index in indices]
    assert sorted(seen) == list(range(size))


@settings(deadline=None)
@given(size=sizes, first=batches, second=batches, steps=st.integers(0, 5))
def test_going_on_at_another_batch_size_meets_the_rest(
    size: int, first: int, second: int, steps: int
) -> None:
    done = [g for g, _ in zip(Plan(size, 0, first).epoch(3), range(steps), strict=False)]
    trained = [index for group in done for batch in group.micro_batches for index in batch]
    rest = [
        index
        for group in Plan(size, 0, second).epoch(3, len(trained))
        for batch in group.micro_batches
        for index in batch
    ]
    assert trained + rest == permutation(size, 0, 3).tolist()


@settings(deadline=None)
@given(size=sizes, batch=batches, steps=st.integers(0, 5))
def test_going_on_at_the_same_size_cuts_the_same_batches(size: int, batch: int, steps: int) -> None:
    whole = list(Plan(size, 0, batch).epoch(1))
    trained = sum(group.samples for group in whole[:steps])
    assert list(Plan(size, 0, batch).epoch(1, trained)) == whole[steps:]


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = [
        tuple(permutation(50, seed, epoch).tolist()) for seed in range(3) for epoch in range(3)
    ]
    assert len(set(orders)) == 9
    assert len({mix(a, b, c) for a in range(9) for b in range(9) for c in range(9)}) == 729


def test_the_loader_reads_the_rest_of_the_training_in_order() -> None:
    plan = Plan(10, 0, 4)
    draws = list(BatchDraws(plan, epochs=2, epoch=1, trained=4))
    expected = [
        [(epoch, index) for index in batch]
        for epoch, trained in ((1, 4), (2, 0))
        for group in plan.epoch(epoch, trained)
        for batch in group.micro_batches
    ]
    assert draws == expected


def read(workers: int, batch: int) -> dict[tuple[int, ...], Any]:
    plan = Plan(12, 0, batch)
    loader = DataLoader(
        Seeded(Points(12), 0),
        batch_sampler=BatchDraws(plan, epochs=2, epoch=1, trained=0),
        num_workers=workers,
    )
    found = {}
    draws = BatchDraws(plan, epochs=2, epoch=1, trained=0)
    for drawn, (inputs, _) in zip(draws, loader, strict=True):
        found.update({draw: tuple(row.tolist()) for draw, row in zip(drawn, inputs, strict=True)})
    return found


def test_an_augmentation_depends_on_sample_and_epoch_alone() -> None:
    alone = read(0, 4)
    assert alone == read(2, 5)
    assert alone[1, 3] != alone[2, 3]  # another epoch, another draw


def test_drawing_in_the_trainings_process_leaves_its_generators_alone() -> None:
    numpy = pytest.importorskip("numpy")
    torch.manual_seed(4)
    random.seed(4)
    numpy.random.seed(4)
    expected = torch.rand(2).tolist(), random.random(), float(numpy.random.rand())
    torch.manual_seed(4)
    random.seed(4)
    numpy.random.seed(4)
    data = Seeded(Points(12), 0)
    first = data.__getitems__([(1, 2), (1, 3)])
    assert (torch.rand(2).tolist(), random.random(), float(numpy.random.rand())) == expected
    assert torch.equal(data[1, 3][0], first[1][0])
