"""A pass over the held-out split."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from batchtui.train.learner import Learner
from batchtui.train.parallel import Alone


class Result(NamedTuple):
    """Over all held-out samples of all ranks."""

    loss: float
    accuracy: float | None  # None: the outputs are no classes
    samples: int


def evaluate(
    learner: Learner, batches: Iterable[Any], team: Alone, stopped: Callable[[], bool]
) -> Result | None:
    """Return mean loss and top-1 accuracy, or None where a stop was asked for meanwhile.

    The sums stay on the device until the end.
    """
    model = learner.model
    team.share_buffers(model)
    sums = torch.zeros(
        5, device=learner.device
    )  # loss, right, samples, samples with classes, stopped
    model.eval()
    try:
        with torch.no_grad():
            for batch in batches:
                if stopped():
                    sums[4] = 1
                    break
                inputs, targets = learner.place(batch)
                count = _count(inputs)
                with learner.autocast():
                    output = model(inputs)
                    losses = learner.loss(output, targets, count)
                sums[0] += losses.float().mean() * count
                sums[2] += count
                if _are_classes(output, targets):
                    sums[1] += (output.argmax(1) == targets).sum()
                    sums[3] += count
    finally:
        model.train()
    total, right, samples, classified, stops = team.total(sums).tolist()  # synchronises: the end
    if stops or not samples:
        return None
    accuracy = right / samples if classified == samples else None
    return Result(total / samples, accuracy, int(samples))


def _are_classes(output: Any, targets: Any) -> bool:
    return (
        isinstance(output, Tensor)
        and isinstance(targets, Tensor)
        and output.dim() == 2
        and targets.dim() == 1
        and len(output) == len(targets)
        and not targets.is_floating_point()
    )


def _count(inputs: Any) -> int:
    """Return the number of samples in a batch, whatever its structure."""
    while not isinstance(inputs, Tensor):
        inputs = next(iter(inputs.values() if isinstance(inputs, dict) else inputs))
    return len(inputs)
