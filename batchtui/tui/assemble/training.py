"""Step time, loss, noise and batch size: the parts of a view that come from the steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from batchtui import units
from batchtui.advise import noise
from batchtui.records import Status, Step
from batchtui.text import clean
from batchtui.tui.assemble.memory import headroom
from batchtui.tui.assemble.windows import RECENT_S
from batchtui.tui.facts import Facts
from batchtui.tui.view import (
    BatchView,
    LossView,
    Mark,
    MemoryView,
    Part,
    Points,
    Startup,
    StepsView,
)

if TYPE_CHECKING:
    from batchtui.advise.kept import Kept

_PARTS = (
    ("data wait", "data_s", "d"),
    ("to device", "transfer_s", "other"),
    ("forward", "forward_s", "a"),
    ("backward", "backward_s", "b"),
    ("optimizer", "optimizer_s", "c"),
)
# What a worker says it is doing before its first step, in this order (train/main.py, work.py).
_STARTING = (
    "importing torch", "looking up the model", "building the model", "loading the data",
    "first batch",
)  # fmt: skip
# One step that took so many times the 95th percentile does not flatten all others.
_CLIP = 6.0
_STALE_S = 30.0


def number_of(facts: Facts, key: str) -> float | None:
    """Return a number of the run's meta table."""
    value = facts.meta.get(key)
    return float(value) if isinstance(value, (int, float)) else None


def steps_view(facts: Facts, alive: bool) -> StepsView:
    """Show the recent step times, their quantiles and what a step is made of."""
    points = facts.near.step_s
    recent = [step for step in facts.recent if step.step_s is not None]
    if not points.x:
        return StepsView(reason=_nothing(facts, alive), startup=_startup(facts, alive))
    p50, p95 = _quantiles(facts, recent)
    highest = max((value for value in points.high if value is not None), default=None)
    ceiling = None
    if p95 is not None and highest is not None and highest > _CLIP * p95:
        ceiling = _CLIP / 2 * p95
    return StepsView(
        course=facts.near,
        p50=p50,
        p95=p95,
        now=recent[-1].step_s if recent else None,
        ceiling=ceiling,
        highest=highest,
        samples_per_s=facts.summary.samples_per_s,
        parts=step_parts(recent),
    )


def _quantiles(facts: Facts, recent: Sequence[Step]) -> tuple[float | None, float | None]:
    """Return median and 95th percentile of the step times that the chart shows.

    The supervisor's are of more steps: those of fast ones, of which `recent` has but the end.
    """
    shown = sorted(step.step_s or 0.0 for step in recent if step.time > recent[-1].time - RECENT_S)
    if len(shown) == len(recent):
        return number_of(facts, "step_time_p50_s"), number_of(facts, "step_time_p95_s")
    return shown[len(shown) // 2], shown[min(len(shown) - 1, len(shown) * 95 // 100)]


def step_parts(recent: Sequence[Step]) -> tuple[Part, ...]:
    """Return what the recent steps were made of, as shares of their whole time."""
    whole = sum(step.step_s or 0.0 for step in recent)
    if whole <= 0:
        return ()
    parts: list[Part] = []
    left = whole
    for label, column, role in _PARTS:
        values = [getattr(step, column) for step in recent]
        if all(value is None for value in values):
            continue
        value = min(left, sum(value or 0.0 for value in values))
        left -= value
        parts.append(Part(label, value, value / whole, role))
    if parts:
        parts.append(Part("other", left, left / whole, "rest"))
    return tuple(parts)


def batches_of(facts: Facts) -> list[noise.Batch]:
    """Return what the recent steps say of the noise; a loss that is not finite says nothing."""
    return [
        noise.Batch(step.step, step.batch, None if step.nonfinite else step.loss, step.variance)
        for step in facts.recent
    ]


def loss_view(
    facts: Facts, alive: bool, batches: Sequence[noise.Batch], variance: noise.Estimate
) -> LossView:
    """Show loss and variance over all steps, their noise, and the held-out accuracy."""
    loss, spread = facts.whole.loss, facts.whole.variance
    measured = [e for e in facts.evaluations if e.accuracy is not None]
    best = max(measured, key=lambda e: e.accuracy or 0.0, default=None)
    nonfinite = int(number_of(facts, "nonfinite_steps") or 0)
    if not loss.x:
        return LossView(reason="no step was recorded" if not alive else "no loss yet")
    total = number_of(facts, "total_samples")
    trend_free = noise.trend_free_variance(batches)
    ratio = noise.ratio(trend_free, variance, batches[-1].size if batches else None)
    stale = _stale(facts, alive)
    last = [b.loss for b in batches[-16:] if b.loss is not None and math.isfinite(b.loss)]
    floor, lowest = _floor(loss, spread)
    last_evaluation = facts.evaluations[-1] if facts.evaluations else None
    return LossView(
        course=facts.whole,
        total_steps=_last_step(facts, total),
        total_samples=total,
        wide=_wide(loss, spread),
        floor=floor,
        lowest=lowest,
        latest=sum(last) / len(last) if last else None,
        latest_variance=variance.value,
        variance_end=_end(spread),
        trend_free=None if stale else trend_free.value,
        ratio=None if stale else ratio.value,
        noise_reason=stale or trend_free.reason or ratio.reason,
        dynamics=not stale and (ratio.value or 0.0) > noise.DYNAMICS_RATIO,
        accuracy=measured[-1].accuracy if measured else None,
        best_accuracy=best.accuracy if best else None,
        best_epoch=best.epoch if best else None,
        held_out_loss=None if measured or last_evaluation is None else last_evaluation.loss,
        evaluation_reason=None if measured else "no evaluation yet" if alive else "no evaluation",
        nonfinite=nonfinite,
        alarm=_alarm(facts, nonfinite),
    )


def _last_step(facts: Facts, total: float | None) -> float | None:
    """Return at which step the training will end, at the present batch size from here on."""
    each = facts.summary.global_batch_size
    if not total or not each:
        return None
    return facts.summary.steps + max(0.0, total - facts.summary.samples) / each


def _end(points: Points) -> float | None:
    """Return about where a curve ends: the median of its last values."""
    last = sorted(value for value in points.mean[-8:] if value is not None)
    return last[len(last) // 2] if last else None


def _stale(facts: Facts, alive: bool) -> str | None:
    if not alive or not facts.recent:
        return None
    age = facts.now - facts.recent[-1].time
    usual = number_of(facts, "step_time_p50_s") or 0.0
    return f"no step for {units.duration(age)}" if age > max(_STALE_S, 30 * usual) else None


def _alarm(facts: Facts, nonfinite: int) -> str | None:
    recent = facts.recent
    if recent and recent[-1].nonfinite:
        return f"NaN or inf loss at step {units.count(recent[-1].step)}"
    if nonfinite:
        steps = "step" if nonfinite == 1 else "steps"
        return f"{units.count(nonfinite)} {steps} with a NaN or inf loss"
    finite = [step.loss for step in recent if step.loss is not None]
    return "loss spikes" if noise.spiking(finite[-128:]) else None


def _wide(*curves: Points) -> bool:
    """Whether the curves span so much that only a logarithmic scale shows all of it."""
    values = [v for curve in curves for v in curve.mean if v is not None and v > 0]
    return bool(values) and max(values) > 50 * min(values)


def _floor(*curves: Points) -> tuple[float | None, float | None]:
    """Return where a logarithmic axis may end, and the lowest value if that lies below.

    A loss of almost nothing in a batch here and there would else take most of the decades. The
    axis holds all but 5 % of each curve's means and where the curves end, with half a decade to
    spare.
    """
    floors, lowest = [], []
    for curve in curves:
        means = sorted(value for value in curve.mean if value is not None and value > 0)
        end = _end(curve)
        if means:
            floors.append(min(means[len(means) // 20], end or means[-1]) / 3)
            lowest += [value for value in curve.low if value is not None and value > 0]
    if not floors or min(lowest, default=math.inf) >= min(floors):
        return None, None
    return min(floors), min(lowest)


def marks(facts: Facts) -> tuple[Mark, ...]:
    """Return where the runs after the first take over; the batch size is told where it changes."""
    found = []
    for before, run in pairwise(facts.chain):
        changed = run.batch_size != before.batch_size
        found.append(Mark(run.step, units.count(run.batch_size) if changed else ""))
    return tuple(found)


def _startup(facts: Facts, alive: bool) -> Startup | None:
    """Return how far a worker is that has not trained yet."""
    phase = facts.meta.get("phase")
    if not alive or phase not in _STARTING:
        return None
    since = facts.phase_since
    return Startup(
        _STARTING, _STARTING.index(phase), None if since is None else max(0.0, facts.now - since)
    )


def batch_view(
    facts: Facts, status: Status, memory: MemoryView, variance: noise.Estimate
) -> BatchView:
    """Gather what the advisor needs to say about another batch size."""
    samples = number_of(facts, "train_samples")
    left, limit = headroom(memory, facts.meta)
    return BatchView(
        size=facts.summary.batch_size,
        global_size=facts.summary.global_batch_size,
        train_samples=int(samples) if samples else None,
        variance=variance.value,
        variance_reason=variance.reason,
        headroom=left,
        limit=limit,
        others=memory.others,
        peak=facts.summary.peak_bytes,
        samples_per_s=facts.summary.samples_per_s,
        alive=status.alive,
        accumulate=int(number_of(facts, "accumulate") or 1),
        world_size=int(number_of(facts, "world_size") or 1),
        samples=facts.summary.samples,
        kept=None if status.alive else _kept(facts),
        started=facts.summary.started,
        config_path=str(facts.meta["config_path"]) if facts.meta.get("config_path") else None,
        **_configured(facts),
    )


def _kept(facts: Facts) -> Kept:
    """Return where an ended run can go on."""
    from batchtui.advise.kept import kept  # the first frame of one that is alive needs none

    return kept(facts.checkpoints, facts.meta)


def _configured(facts: Facts) -> dict[str, Any]:
    """Return what the configuration says of the learning rate."""
    config = facts.meta.get("config")
    if not isinstance(config, dict) or "optimizer" not in config:
        return {}
    optimizer, training = config["optimizer"], config.get("training") or {}
    lr = (optimizer.get("args") or {}).get("lr")
    return {
        "optimizer": str(optimizer.get("target")),
        "lr": float(lr) if isinstance(lr, (int, float)) else None,
        "lr_rule": str(training.get("lr_rule", "auto")),
    }


def _nothing(facts: Facts, alive: bool) -> str:
    """Say why there is no step, and what the worker does instead."""
    if not alive:
        return "no step was recorded"
    phase = facts.meta.get("phase")
    return f"no step yet: {clean(str(phase), 40)}" if phase else "no step yet"
