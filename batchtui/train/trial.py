"""A trial: the real loop on little data, to see what a batch size takes.

The loop, the loaders, the optimizer and the evaluation are those of any training. Only the data
are cut: a few whole batches, of the longest sample where samples differ.
"""

from __future__ import annotations

import math
from typing import Any

from torch.utils.data import Subset

from batchtui.config.schema import Config
from batchtui.train import data
from batchtui.train.data import Splits
from batchtui.train.journal import Journal


def cut(splits: Splits, config: Config, steps: int, world_size: int, journal: Journal) -> Splits:
    """Return what fills `steps` steps in all epochs, and held-out batches for a few more.

    A data set that is too small is gone through several times. The held-out batches are as
    many as the loaders fetch ahead: while they are evaluated, all of them lie in memory.
    """
    loaders, training = config.dataloaders, config.training
    batch = loaders.batch_size * world_size
    an_epoch = math.ceil(steps / training.epochs) * batch * training.accumulate
    ahead = loaders.num_workers * loaders.prefetch_factor + 1
    held_out = splits.held_out
    if held_out is not None:
        held_out = _pick(held_out, min(len(held_out), ahead * batch), "evaluation", journal)
    return Splits(_pick(splits.training, an_epoch, "training", journal), held_out)


def _pick(dataset: Any, count: int, what: str, journal: Journal) -> Any:
    """Return `count` samples from all over a data set; of the longest alone where they differ."""
    longest = data.longest(dataset)
    if longest.differ:
        journal.note(
            f"{what} samples differ in size: each batch is of the longest of {longest.looked_at} "
            "that were looked at"
        )
        return Subset(dataset, [longest.place] * count)
    size = len(dataset)
    return Subset(
        dataset, [place * size // count if count < size else place % size for place in range(count)]
    )
