"""Mean and variance of per-sample losses, on the device that made them."""

from __future__ import annotations

import torch
from torch import Tensor


class LossStatistics:
    """The losses of one step, as they come in.

    All of a step's losses are kept until its end and reduced by one operation, which subtracts
    the mean before it squares: a loss of 10,000 ± 0.1 keeps its ± in single precision.
    """

    def __init__(self, device: torch.device) -> None:
        """Begin with no sample."""
        self._device = device
        self._losses: list[Tensor] = []
        self._samples: list[int] = []

    def add(self, losses: Tensor, samples: int) -> None:
        """Take a micro-batch: a loss for each of `samples`, or one number, their mean."""
        self._losses.append(losses.detach().float())
        self._samples.append(samples)

    def result(self) -> tuple[Tensor, Tensor]:
        """Return mean and unbiased variance as device scalars; NaN where it is not known."""
        if len(self._losses) == 1 and self._losses[0].numel() > 1:
            variance, mean = torch.var_mean(self._losses[0])
            return mean, variance
        unknown = torch.full((), torch.nan, device=self._device)
        total = sum(self._samples)
        if not total:
            return unknown, unknown
        if total > 1 and all(losses.dim() for losses in self._losses):
            variance, mean = torch.var_mean(torch.cat(self._losses))
            return mean, variance
        parts = zip(self._losses, self._samples, strict=True)
        return torch.stack([losses.mean() * (n / total) for losses, n in parts]).sum(), unknown
