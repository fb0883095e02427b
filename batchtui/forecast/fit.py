"""Correct a forecast by what runs of the same configuration measured.

A residual of one run is carried over in part only: on convolutional networks it is made by
workspaces that another batch size need not take. Two runs and more are an affine fit of their
own, which counts the more the nearer they lie. A run that took far more than the trace says is
believed in its place. Runs of another configuration never come here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from batchtui.errors import BatchtuiError

FULL = 0.97  # of the capacity: such a run was squeezed, and took less than it would have
CARRIED = 0.7  # part of one run's residual that holds at other sizes too
TRUSTED = 0.05  # a residual beyond this part of the forecast is an accident of that size
GROSS = 0.3  # a residual beyond this part contradicts the trace; the largest that was seen: 0.21
REACH = math.log(2)  # a factor of this in batch size, and a run's word counts half

Predict = Callable[[int], float]  # batch size → bytes


@dataclass(frozen=True, slots=True)
class Measured:
    """One run's peak, or its death: sizes in bytes."""

    batch_size: int
    peak: int | None = None  # most reserved; None: not measured
    out_of_memory: bool = False
    capacity: int | None = None  # what its allocator could have had
    allocated: int | None = None  # most in tensors
    whole: bool = False  # the peak counts the device's context too: nvidia-smi's view
    run: str = ""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A corrected forecast in bytes, and how many runs stand behind it."""

    peak: float
    runs: int
    nearest: float  # |log| of the size ratio to the nearest run; inf without one
    excess: float = 0.0  # bytes of residual that were not carried over, upwards
    contradicted: Measured | None = None  # by this run, which took far more than the trace says
    least: float = math.inf  # bytes that it may be as well, where so


def usable(runs: Sequence[Measured]) -> list[Measured]:
    """Return the runs whose peak says what a step takes; batch 1 only if there is no other."""
    kept = [
        run
        for run in runs
        if run.peak
        and not run.out_of_memory
        and not (run.capacity and run.peak > FULL * run.capacity)
    ]
    return [run for run in kept if run.batch_size > 1] or kept


def killed_at(runs: Sequence[Measured], capacity: int | None) -> int | None:
    """Return the smallest batch size that ran out of memory in no less than `capacity`."""
    sizes = [
        run.batch_size
        for run in runs
        if run.out_of_memory
        and (capacity is None or run.capacity is None or run.capacity * 1.01 >= capacity)
    ]
    return min(sizes, default=None)


def corrected(predict: Predict | None, runs: Sequence[Measured], batch_size: int) -> Estimate:
    """Forecast a peak from a replay (`predict`), from measured runs, or from both.

    Raises:
        BatchtuiError: neither says anything about another batch size.
    """
    runs = usable(runs)
    if predict is None:
        return _fitted(runs, batch_size)
    peak = predict(batch_size)
    if not runs:
        return Estimate(peak, 0, math.inf)
    nearest = min(_distance(run, batch_size) for run in runs)
    witness = min(reversed(runs), key=lambda run: _distance(run, batch_size))
    if _contradicts(witness, predict):
        return _measured_alone(predict, runs, witness, batch_size)
    residuals = [_measured(run) - predict(run.batch_size) for run in runs]
    weights = [0.5 ** (2 * _distance(run, batch_size) / REACH) for run in runs]
    carried = excess = 0.0
    for run, residual, weight in zip(runs, residuals, weights, strict=True):
        share = weight / sum(weights)
        if run.whole:  # most of it is the context, which is the same at every size
            carried += share * residual
            continue
        limit = TRUSTED * predict(run.batch_size)
        trusted = max(-limit, min(limit, residual)) * CARRIED
        carried += share * trusted
        excess = max(excess, residual - trusted)
    replayed = peak + carried
    same = [_measured(run) for run in runs if run.batch_size == batch_size]
    if same:
        return Estimate(sum(same) / len(same), len(runs), 0.0)
    if len({run.batch_size for run in runs}) < 2:
        return Estimate(replayed, len(runs), nearest, excess * 0.5 ** (nearest / REACH))
    base, slope = _affine(runs, weights)
    share = 0.5 ** (1 + nearest / REACH)
    fitted = base + slope * batch_size
    return Estimate(share * fitted + (1 - share) * replayed, len(runs), nearest)


def _contradicts(run: Measured, predict: Predict) -> bool:
    """Whether a run took far more than the trace says, so that the trace misses something.

    A whole card or process holds more, and that is carried over whole in any case.
    """
    return not run.whole and _measured(run) > (1 + GROSS) * predict(run.batch_size)


def _measured_alone(
    predict: Predict, runs: Sequence[Measured], witness: Measured, batch_size: int
) -> Estimate:
    """Go by the runs: a line through them or, from one size, the worse of two readings.

    What the trace misses may grow like all the rest, or not at all.
    """
    if len({run.batch_size for run in runs}) > 1 or witness.batch_size == batch_size:
        return replace(_fitted(runs, batch_size), contradicted=witness)
    measured, there, here = _measured(witness), predict(witness.batch_size), predict(batch_size)
    readings = measured * here / there, measured + here - there
    distance = _distance(witness, batch_size)
    return Estimate(max(readings), len(runs), distance, contradicted=witness, least=min(readings))


def _fitted(runs: Sequence[Measured], batch_size: int) -> Estimate:
    """Fit a line through the runs alone."""
    if not runs:
        raise BatchtuiError("nothing to forecast from: no trace, and no finished run to fit")
    nearest = min(_distance(run, batch_size) for run in runs)
    same = [_measured(run) for run in runs if run.batch_size == batch_size]
    if same:
        return Estimate(sum(same) / len(same), len(runs), 0.0)
    if len({run.batch_size for run in runs}) < 2:
        raise BatchtuiError(
            f"nothing to forecast from: no trace, and finished runs at batch size "
            f"{runs[0].batch_size} alone; a second size would do"
        )
    weights = [0.5 ** (2 * _distance(run, batch_size) / REACH) for run in runs]
    base, slope = _affine(runs, weights)
    return Estimate(base + slope * batch_size, len(runs), nearest)


def _affine(runs: Sequence[Measured], weights: Sequence[float]) -> tuple[float, float]:
    """Weighted least squares of peak against batch size; memory never shrinks with it."""
    total = sum(weights)
    x = sum(w * run.batch_size for w, run in zip(weights, runs, strict=True)) / total
    y = sum(w * _measured(run) for w, run in zip(weights, runs, strict=True)) / total
    over = sum(
        w * (run.batch_size - x) * (_measured(run) - y)
        for w, run in zip(weights, runs, strict=True)
    )
    under = sum(w * (run.batch_size - x) ** 2 for w, run in zip(weights, runs, strict=True))
    slope = max(over / under, 0.0)
    return y - slope * x, slope


def _distance(run: Measured, batch_size: int) -> float:
    return abs(math.log(batch_size / run.batch_size))


def _measured(run: Measured) -> float:
    return float(run.peak or 0)
