"""Mean and variance of per-sample losses, on the device that made them.

The variance is the unbiased one over all samples of a step, pooled over its micro-batches by
Chan, Golub and LeVeque's update (1979): it subtracts means before it squares, so that a loss of
10,000 ± 0.1 keeps its ± in single precision.
"""

from __future__ import annotations

import torch
from torch import Tensor


class LossStatistics:
    """The losses of one step, as they come in."""

    def __init__(self, device: torch.device) -> None:
        """Begin with no sample."""
        self._device = device
        self.count = 0  # samples so far
        self._mean: Tensor | None = None
        self._squares: Tensor | None = None  # sum of squared deviations from the mean

    def add(self, losses: Tensor, samples: int) -> None:
        """Take a micro-batch: a loss for each of `samples`, or one number, their mean."""
        losses = losses.detach().float()
        if losses.dim() == 0:
            mean, squares = losses, torch.full_like(losses, torch.nan)
        else:
            variance, mean = torch.var_mean(losses, correction=0)
            squares = variance * samples
        if self._mean is None or self._squares is None:
            self._mean, self._squares = mean, squares
        else:
            total = self.count + samples
            delta = mean - self._mean
            self._mean = self._mean + delta * (samples / total)
            self._squares = self._squares + squares + delta * delta * (self.count * samples / total)
        self.count += samples

    def result(self) -> tuple[Tensor, Tensor]:
        """Return mean and unbiased variance as device scalars; NaN where it is not known."""
        if self._mean is None or self._squares is None:
            nothing = torch.full((), torch.nan, device=self._device)
            return nothing, nothing
        if self.count < 2:
            return self._mean, torch.full_like(self._mean, torch.nan)
        return self._mean, self._squares / (self.count - 1)
