"""How much of the loss's jitter is sampling noise, from what one run records anyway.

s² is the unbiased variance of the per-sample losses within a batch. The mean over a batch of B
then has the variance s²/B, and so has the mean over any other batch size: one run forecasts the
noise of every other.

V estimates the variance of the batch mean from the losses alone, free of their trend: second
differences cancel a straight line, and their mean square is six times the variance of white
noise. R = V / (s²/B) is about 1 where the jitter is sampling noise; above 2 for long it is the
dynamics of the training (mostly the learning rate), which a larger batch does not smooth.

No function answers with a number it cannot stand for: `Estimate.reason` says why there is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

MIN_STEPS = 32  # steps for V
MAX_RELATIVE_ERROR = 0.25  # of s²
DYNAMICS_RATIO = 2.0
SPIKE_Z = 6.0
_SPAN = 64  # steps: span of the exponential weights of s² and V
_KEEP = 1 - 2 / (_SPAN + 1)


class Estimate(NamedTuple):
    """A value, or the reason why there is none."""

    value: float | None = None
    reason: str | None = None


class Batch(NamedTuple):
    """What one step contributes: its number, batch mean and within-batch variance."""

    step: int
    size: int
    loss: float | None
    variance: float | None


def pooled_variance(batches: Sequence[Batch]) -> Estimate:
    """Return s² pooled over the newest steps, each weighted by its degrees of freedom.

    Older steps fade with the weights that V has, so that both speak of the same stretch of a loss
    that falls. Only variance within batches is pooled, so the fall itself adds nothing. The
    relative standard error is that of the spread from step to step, with the trend taken out by
    first differences; for one batch of n it would be sqrt((κ−1)/n).
    """
    # Beyond four spans the weights are below 0.1 %.
    known = [b for b in batches[-4 * _SPAN :] if b.variance is not None and b.size > 1]
    if not known:
        return Estimate(reason="no per-sample losses recorded")
    fading = [_KEEP ** (len(known) - 1 - index) for index in range(len(known))]
    weights = [(b.size - 1) * fade for b, fade in zip(known, fading, strict=True)]
    values = [b.variance or 0.0 for b in known]
    pooled = sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
    if len(known) < 4:
        return Estimate(reason=f"not enough data: {len(known)} of 4 steps")
    if pooled <= 0:
        return Estimate(value=0.0)
    jumps = [fade * (b - a) ** 2 for (a, b), fade in zip(pairwise(values), fading[1:], strict=True)]
    steps = sum(fading) ** 2 / sum(fade * fade for fade in fading)  # as many equal weights
    relative = math.sqrt(sum(jumps) / (2 * sum(fading[1:])) / steps) / pooled
    if relative > MAX_RELATIVE_ERROR:
        within = 5 * math.ceil(20 * relative)  # in fives: it is no number that should tremble
        return Estimate(reason=f"not enough data: s² known to ±{within}%")
    return Estimate(value=pooled)


def trend_free_variance(batches: Sequence[Batch]) -> Estimate:
    """Return V: the exponentially weighted mean of (L_t − 2·L_{t−1} + L_{t−2})² / 6.

    A gap in the step numbers, or a loss that is not finite, breaks the chain of differences.
    """
    squares: list[float] = []
    losses: list[float] = []
    before: int | None = None
    usable = 0
    for batch in batches:
        loss = batch.loss
        if loss is None or not math.isfinite(loss):
            losses, before = [], None
            continue
        if before is not None and batch.step != before + 1:
            losses = []
        before = batch.step
        usable += 1
        losses = [*losses[-2:], loss]
        if len(losses) == 3:
            squares.append((losses[2] - 2 * losses[1] + losses[0]) ** 2 / 6)
    if usable < MIN_STEPS or len(squares) < MIN_STEPS - 2:
        return Estimate(reason=f"not enough data: {usable} of {MIN_STEPS} steps")
    total = weight = 0.0
    for square in squares:
        total, weight = _KEEP * total + square, _KEEP * weight + 1
    return Estimate(value=total / weight)


def ratio(trend_free: Estimate, variance: Estimate, batch_size: float | None) -> Estimate:
    """Return R = V / (s²/B); B counts the samples of one optimizer step on which s² was taken."""
    if trend_free.value is None:
        return Estimate(reason=trend_free.reason)
    if variance.value is None:
        return Estimate(reason=variance.reason)
    if not batch_size or variance.value <= 0:
        return Estimate(reason="no spread within the batches")
    return Estimate(value=trend_free.value * batch_size / variance.value)


def batch_mean_deviation(
    variance: float | None, batch_size: float | None, population: float | None = None
) -> float | None:
    """Return the standard deviation of a batch's mean loss: sqrt(s²/B · (1 − B/N)).

    `population` is N, the size of the training split: a batch drawn without replacement from few
    samples varies less.
    """
    if variance is None or variance < 0 or not batch_size or batch_size <= 0:
        return None
    rest = 1.0
    if population and population > 0:
        rest = max(0.0, 1 - batch_size / population)
    return math.sqrt(variance / batch_size * rest)


def spiking(losses: Sequence[float]) -> bool:
    """Whether two of the last three losses stand out: detrended z > 6 by the median deviation."""
    if len(losses) < MIN_STEPS:
        return False
    history, last = losses[:-3], losses[-3:]
    slope = _slope(history)
    middle = (len(history) - 1) / 2
    flat = [value - slope * (index - middle) for index, value in enumerate(history)]
    centre = median(flat)
    # 1.4826 makes the median absolute deviation comparable with a standard deviation.
    deviation = 1.4826 * median(abs(value - centre) for value in flat)
    if deviation <= 0:
        return False
    expected = [centre + slope * (len(history) + index - middle) for index in range(3)]
    high = sum((a - b) / deviation > SPIKE_Z for a, b in zip(last, expected, strict=True))
    return high >= 2


def _slope(values: Sequence[float]) -> float:
    """Return the median slope between halves: two outliers do not move it."""
    half = len(values) // 2
    if half < 1:
        return 0.0
    rises = [values[index + half] - values[index] for index in range(len(values) - half)]
    return median(rises) / half
