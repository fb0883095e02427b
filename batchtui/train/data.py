"""The samples: a data set by name or by target, its held-out split, and the loaders."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils.data import DataLoader

from batchtui.config.schema import Config, Data
from batchtui.errors import ConfigError
from batchtui.train.launch import Progress, Ranks
from batchtui.train.sampler import BatchDraws, Plan, Seeded, mix
from batchtui.train.stop import Shielded, obey_parent

_LOOKED_AT, _MANY = 16, 1024  # samples, for the longest: these, and where they differ
_LOOK_SECONDS = 2.0


class Splits(NamedTuple):
    """Two map-style data sets of (input, target): one to train on, one kept for evaluation."""

    training: Any
    held_out: Any | None


def load(config: Data, seed: int, own: Callable[..., Any] | None = None) -> Splits:
    """Return the data set of a configuration; `own` is what its target resolved to.

    Raises:
        ConfigError: no such folder, nothing in it, a library that is missing, a target that raises.
    """
    if own is not None:
        return _checked(_call_own(own, config), str(config.target))
    # Each name imports what it needs, and only that.
    if config.name == "imagefolder":
        from batchtui.train.pictures import load_pictures

        return Splits(*load_pictures(config, seed))
    from batchtui.train import datasets

    load_named = {
        "digits": datasets.load_digits,
        "fake": datasets.load_fake,
        "cifar10": datasets.load_cifar10,
    }[str(config.name)]
    return Splits(*load_named(config, seed))


def check_batch_size(batch_size: int, world_size: int, samples: int) -> None:
    """Refuse a batch that the data set cannot fill.

    Raises:
        ConfigError: naming both sizes.
    """
    if batch_size * world_size > samples:
        each = f" on each of {world_size} processes" if world_size > 1 else ""
        raise ConfigError(
            f"dataloaders.batch_size: {batch_size}{each} is larger than the data set, "
            f"which has {samples:,} samples"
        )


def training_batches(
    dataset: Any, config: Config, device: torch.device, plan: Plan, progress: Progress
) -> Iterator[Any]:
    """Return one iterator over the micro-batches of the whole rest of the training.

    One for all epochs: loader processes start once, and fetch ahead over the end of an epoch.
    """
    training = config.training
    loader = ShieldedLoader(
        Seeded(dataset, training.seed),
        batch_sampler=BatchDraws(plan, training.epochs, progress.epoch, progress.epoch_samples),
        **_loader_options(config, device),
    )
    return iter(loader)


def evaluation_loader(
    dataset: Any, config: Config, device: torch.device, ranks: Ranks
) -> Iterable[Any]:
    """Return the loader of this rank's share of the held-out samples, for any number of passes."""
    # Epoch 0 is never trained: a held-out sample looks the same in every pass.
    draws = [(0, index) for index in range(ranks.rank, len(dataset), ranks.world_size)]
    return ShieldedLoader(
        Seeded(dataset, config.training.seed),
        batch_size=config.dataloaders.batch_size,
        sampler=draws,
        persistent_workers=config.dataloaders.num_workers > 0,
        **_loader_options(config, device),
    )


class Longest(NamedTuple):
    """The longest of the samples that were looked at."""

    place: int
    sample: Any
    size: int  # bytes of its tensors
    looked_at: int
    differ: bool  # whether they are of several sizes


def longest(dataset: Any) -> Longest:
    """Look at samples from all over a data set, for at most a moment: at many if they differ."""
    end = time.monotonic() + _LOOK_SECONDS
    found = _look(dataset, min(len(dataset), _LOOKED_AT), end)
    if found.differ:
        more = _look(dataset, min(len(dataset), _MANY), end)
        found = max(found, more, key=lambda each: each.size)._replace(looked_at=more.looked_at)
    return found


def _look(dataset: Any, count: int, end: float) -> Longest:
    """Look at `count` samples, evenly spread, or at as many as there is time for."""
    best: Longest | None = None
    smallest = math.inf
    for looked_at in range(1, count + 1):
        place = (looked_at - 1) * len(dataset) // count
        sample = dataset[place]
        size = sum(x.nbytes for x in pytree.tree_leaves(sample) if isinstance(x, Tensor))
        smallest = min(smallest, size)
        if best is None or size > best.size:
            best = Longest(place, sample, size, 0, False)
        if time.monotonic() > end:
            break
    assert best is not None
    return best._replace(looked_at=looked_at, differ=smallest < best.size)


class ShieldedLoader(DataLoader[Any]):
    """A loader whose processes leave a stop to the training."""

    def __iter__(self) -> Any:
        """Start a pass."""
        with Shielded():
            return super().__iter__()


def _loader_options(config: Config, device: torch.device) -> dict[str, Any]:
    loaders = config.dataloaders
    pinned = loaders.pin_memory
    if pinned == "auto":
        pinned = device.type not in ("cpu", "mps")  # Apple's memory is shared
    return {
        "num_workers": loaders.num_workers,
        "prefetch_factor": loaders.prefetch_factor if loaders.num_workers else None,
        "pin_memory": pinned,
        "worker_init_fn": obey_parent,
        # A loader draws a seed when it starts; from its own generator, or a resumed training
        # would no longer draw the dropout of one that never stopped.
        "generator": torch.Generator().manual_seed(mix(config.training.seed)),
    }


def _call_own(own: Callable[..., Any], config: Data) -> Any:
    from batchtui.train.targets import call, check_arguments

    check_arguments(own, config.args, "data.args")
    return call(own, "data.target", **config.args)


def _checked(found: Any, target: str) -> Splits:
    """Accept `(training, held-out)`, held-out or both halves of it optional."""
    training, held_out = found if isinstance(found, tuple) and len(found) == 2 else (found, None)
    for split in (training, held_out):
        if split is not None and not (hasattr(split, "__len__") and hasattr(split, "__getitem__")):
            raise ConfigError(
                f"data.target: {target} returned a {type(split).__name__}; it has to return "
                "(training, held-out), two map-style data sets with a length, or None for held-out"
            )
    if not len(training):
        raise ConfigError(f"data.target: {target} returned an empty data set")
    return Splits(training, held_out if held_out is not None and len(held_out) else None)
