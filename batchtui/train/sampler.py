"""Who is trained when: the order of the samples, cut into steps, ranks and micro-batches.

Everything here follows from the seed, the epoch and the number of samples trained in it. A
training that goes on at another batch size therefore meets each sample of the epoch exactly once.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch.utils.data import Dataset, get_worker_info

Draw = tuple[int, int]  # epoch, index in the data set


class Group(NamedTuple):
    """The samples of one optimizer step."""

    epoch: int  # counts from 1
    samples: int  # on all ranks
    micro_batches: list[list[int]]  # this rank's indices; at least one, for the ranks' sake
    share: int  # this rank's samples; 0: its one micro-batch stands in, with weight 0


class Plan:
    """The steps of an epoch from any position in it."""

    def __init__(
        self,
        size: int,
        seed: int,
        batch_size: int,
        accumulate: int = 1,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """`size` samples a pass; `batch_size` is per rank and micro-batch."""
        self.size = size
        self.global_batch = batch_size * accumulate * world_size
        self._seed = seed
        self._batch_size = batch_size
        self._rank = rank
        self._world_size = world_size

    def epoch(self, epoch: int, trained: int = 0) -> Iterator[Group]:
        """Yield the steps that are left once `trained` samples of the epoch are done."""
        order = permutation(self.size, self._seed, epoch)[trained:]
        start = 0
        for samples in split(len(order), self.global_batch):
            group = order[start : start + samples].tolist()
            start += samples
            mine = group[self._rank :: self._world_size]
            batches, begin = [], 0
            for length in split(len(mine), self._batch_size):
                batches.append(mine[begin : begin + length])
                begin += length
            yield Group(epoch, samples, batches or [group[:1]], len(mine))

    def draws(self, epochs: int, epoch: int, trained: int) -> Iterator[list[Draw]]:
        """Yield the micro-batches of the whole rest of the training, for a loader."""
        while epoch <= epochs:
            for group in self.epoch(epoch, trained):
                for indices in group.micro_batches:
                    yield [(epoch, index) for index in indices]
            epoch, trained = epoch + 1, 0


def permutation(size: int, seed: int, epoch: int) -> torch.Tensor:
    """Return the order of the samples in an epoch."""
    generator = torch.Generator().manual_seed(mix(seed, epoch))
    return torch.randperm(size, generator=generator)


def split(count: int, size: int) -> list[int]:
    """Cut `count` samples into batches of `size`; the last is smaller, but not a single one.

    Batch normalisation cannot train on one sample, so the batch before gives it a second.
    """
    sizes = [size] * (count // size)
    rest = count % size
    if rest:
        sizes.append(rest)
    if rest == 1 and size > 2 and len(sizes) > 1:
        sizes[-2:] = [size - 1, 2]
    return sizes


def mix(*numbers: int) -> int:
    """Return a 63-bit seed that differs wherever one of the numbers does (splitmix64)."""
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state >> 1


class Seeded(Dataset[Any]):
    """A data set read by draws, each with its own seed.

    What a random augmentation does depends on the sample and the epoch: not on the number of
    loader processes, the batch size, or where the training was interrupted.
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        """Wrap a map-style data set."""
        self.dataset = dataset
        self.seed = seed

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.dataset)

    def __getitem__(self, draw: Draw) -> Any:
        """Return one sample."""
        return self.__getitems__([draw])[0]

    def __getitems__(self, draws: Sequence[Draw]) -> list[Any]:
        """Return the samples of a batch: what torch's loader asks for."""
        if get_worker_info() is not None:
            return [self._draw(epoch, index) for epoch, index in draws]
        before = _random_state()  # the training's own: it draws its dropout from it
        try:
            return [self._draw(epoch, index) for epoch, index in draws]
        finally:
            _restore(before)

    def _draw(self, epoch: int, index: int) -> Any:
        seed = mix(self.seed, epoch, index)
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reach for the GPU's
        random.seed(seed)
        if (numpy := sys.modules.get("numpy")) is not None:
            numpy.random.seed(seed & 0xFFFFFFFF)
        return self.dataset[index]


def _random_state() -> tuple[Any, Any, Any]:
    numpy = sys.modules.get("numpy")
    return torch.get_rng_state(), random.getstate(), numpy.random.get_state() if numpy else None


def _restore(state: tuple[Any, Any, Any]) -> None:
    torch.set_rng_state(state[0])
    random.setstate(state[1])
    if state[2] is not None:
        sys.modules["numpy"].random.set_state(state[2])


class BatchDraws:
    """A batch sampler over a plan: the loader's view of the rest of the training."""

    def __init__(self, plan: Plan, epochs: int, epoch: int, trained: int) -> None:
        """Begin in `epoch` once `trained` samples of it are done."""
        self._plan = plan
        self._start = (epochs, epoch, trained)

    def __iter__(self) -> Iterator[list[Draw]]:
        """Yield the draws of each micro-batch."""
        return self._plan.draws(*self._start)
