"""Turn a forecast into an interval, and an interval into a verdict.

The interval holds the measured peak for nine rows in ten. Its width comes from residuals of
held-out models: what a step takes beyond its tensors (workspaces of convolutions, chosen anew
for each size) grows with the batch, while parameters and their like are known to the byte.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from batchtui.forecast.fit import REACH, Estimate

FITS, TIGHT, WILL_NOT_FIT = "fits", "tight", "will not fit"

# Quantiles 5 and 95 % of measured / forecast − 1; the first per byte that grows with the batch.
CONVOLUTIONAL = (0.060, 0.070)
OTHERS = (0.010, 0.014)
ON_CPU_TENSORS = (0.095, 0.070)  # traced for CUDA on CPU tensors: too much, up to 12 %
RESIDENT = (0.05, 0.06)  # of a CPU process: malloc keeps some of what was freed
FITTED = (0.03, 0.03)  # a line through measured runs, within its reach
REPEATED = 0.023  # runs of one configuration and size differ by so much
WIDEST = 0.095  # of the forecast, either side


@dataclass(frozen=True, slots=True)
class Interval:
    """Where nine of ten measured peaks lie, in bytes."""

    low: float
    high: float


def interval(
    estimate: Estimate,
    *,
    scaling: float,
    spread: float = 0.0,
    kind: tuple[float, float] = CONVOLUTIONAL,
) -> Interval:
    """Put an interval around an estimate.

    Args:
        scaling: fraction of the peak that depends on the batch size.
        spread: half the range, in bytes, of the replays at neighbouring batch sizes.
        kind: CONVOLUTIONAL, OTHERS (transformers hold no such surprise), RESIDENT, or FITTED
            where there is no trace; always where a run contradicts it.
    """
    peak = estimate.peak
    if estimate.nearest == 0.0:
        return Interval(peak * (1 - REPEATED), peak * (1 + REPEATED))
    if estimate.contradicted is not None:
        kind = FITTED
    below, above = kind
    if kind is CONVOLUTIONAL:
        below, above = below * max(scaling, 0.3), above * max(scaling, 0.3)
    if kind is FITTED and math.isfinite(estimate.nearest):
        stretch = max(1.0, estimate.nearest / REACH)
        below, above = below * stretch, above * stretch
    elif estimate.runs > 1:
        # One run says too little of its neighbours: a convolution may choose anew. Two agree.
        narrowed = 1 - 0.5 * 0.5 ** (estimate.nearest / REACH)
        below, above = below * narrowed, above * narrowed
    low = min(peak, estimate.least) - max(min(below * peak, WIDEST * peak), 0.0)
    high = peak + min(max(above * peak, spread, estimate.excess), WIDEST * peak)
    return Interval(min(low, peak - min(spread, WIDEST * peak)), high)


def kind_of(*, convolutional: bool, on_cpu_tensors: bool) -> tuple[float, float]:
    """Return the residuals to expect of a trace replayed for a GPU."""
    if on_cpu_tensors:
        return ON_CPU_TENSORS
    return CONVOLUTIONAL if convolutional else OTHERS


def verdict(
    needed: float, high: float, available: float | None, *, killed: bool = False
) -> str | None:
    """Say whether a step that needs `needed` bytes, at most `high`, fits into `available`.

    `killed`: a run at this size or a smaller one died of it. None: nobody knows what there is.
    """
    if killed:
        return WILL_NOT_FIT
    if available is None:
        return None
    if needed > available:
        return WILL_NOT_FIT
    return TIGHT if high > available else FITS
