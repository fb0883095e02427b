"""The mean and variance of per-sample losses, against numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from batchtui.train.statistics import LossStatistics

CPU = torch.device("cpu")


def pooled(values: np.ndarray, cuts: list[int]) -> tuple[float, float]:
    statistics = LossStatistics(CPU)
    for part in np.split(values, cuts):
        statistics.add(torch.tensor(part), len(part))
    mean, variance = statistics.result()
    return mean.item(), variance.item()


@pytest.mark.parametrize("cuts", [[], [7], [1, 2, 40], [10, 20, 30, 40, 50]])
def test_pooled_over_micro_batches_is_the_variance_of_all(cuts: list[int]) -> None:
    values = np.random.default_rng(0).gamma(2.0, 0.5, 64).astype(np.float32)
    mean, variance = pooled(values, cuts)
    assert mean == pytest.approx(values.mean(), rel=1e-6)
    assert variance == pytest.approx(values.var(ddof=1), rel=1e-5)


def test_a_large_mean_does_not_swallow_a_small_variance() -> None:
    values = (10_000 + 0.1 * np.random.default_rng(0).standard_normal(512)).astype(np.float32)
    _, variance = pooled(values, [100, 101, 300])
    assert variance == pytest.approx(values.astype(np.float64).var(ddof=1), rel=0.01)


def test_one_sample_has_no_variance() -> None:
    mean, variance = pooled(np.array([3.0], dtype=np.float32), [])
    assert mean == 3.0
    assert math.isnan(variance)


def test_a_mean_alone_has_no_variance_but_weighs_by_its_samples() -> None:
    statistics = LossStatistics(CPU)
    statistics.add(torch.tensor(1.0), 3)
    statistics.add(torch.tensor(5.0), 1)
    mean, variance = statistics.result()
    assert mean.item() == 2.0
    assert math.isnan(variance.item())


def test_half_precision_losses_are_added_in_single() -> None:
    statistics = LossStatistics(CPU)
    for _ in range(300):
        statistics.add(torch.full((10,), 1.001, dtype=torch.float64).bfloat16(), 10)
    assert statistics.result()[0].dtype == torch.float32


def test_no_sample_no_number() -> None:
    mean, variance = LossStatistics(CPU).result()
    assert math.isnan(mean.item())
    assert math.isnan(variance.item())
