"""What a restart at another batch size will do: to the rate, the epoch, the global batch.

Pure arithmetic over what a run has recorded, for the dialog and for the command line.

The learning rate's rules, for a global batch that grows by the factor k: linear, k (Goyal et al.
2017, arXiv 1706.02677); square root, √k, for optimizers that divide by a running second moment
(Krizhevsky 2014, arXiv 1404.5997; Malladi et al. 2022, arXiv 2205.10287); noise scale,
(1 + Bn/B₁)/(1 + Bn/B₂), which is linear far below the gradient noise scale Bn and constant far
above it (McCandlish et al. 2018, arXiv 1812.06162).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from batchtui.advise.kept import Kept
from batchtui.errors import UsageError
from batchtui.records import RunSummary
from batchtui.units import count

RULES = ("keep", "linear", "sqrt", "noise")
# Optimizers whose step does not grow with the gradient.
_ADAPTIVE = ("adam", "rmsprop", "adagrad", "adadelta", "adafactor", "lion", "lamb", "novograd")


@dataclass(frozen=True, slots=True)
class Change:
    """What is asked for; None takes the configuration's word."""

    batch_size: int
    keep_global_batch: bool = False
    rule: str | None = None
    lr: float | None = None  # the configured rate to go on with, whatever the rule


@dataclass(frozen=True, slots=True)
class Facts:
    """Where a training stands; None is "not known"."""

    batch_size: int
    accumulate: int
    world_size: int
    optimizer: str  # its target
    lr: float | None  # as configured: what a schedule starts from
    rule: str = "auto"  # as configured
    noise_scale: float | None = None  # the gradient's, in samples
    train_samples: int | None = None
    epochs: int | None = None
    samples: int = 0
    step: int = 0
    kept: Kept | None = None  # where an ended run goes on; one that is alive saves where it is


class Rate(NamedTuple):
    """What a rule makes of the learning rate; without a factor, `reason` says why it cannot."""

    factor: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What will happen. Rates are the configured ones, which a schedule scales alike."""

    batch_size: int
    accumulate: int
    global_before: int
    global_after: int
    rule: str
    lr_before: float | None
    lr_after: float | None
    rates: Mapping[str, Rate]
    checkpoint_step: int
    epoch: int | None
    samples_left: int | None
    steps_left: int | None
    notes: tuple[str, ...]


def facts_of(summary: RunSummary, meta: Mapping[str, Any], kept: Kept | None) -> Facts:
    """Gather the facts from what run.db says of a run.

    Raises:
        UsageError: it never got as far as having a batch size.
    """
    config = meta.get("config")
    if summary.batch_size is None or not isinstance(config, dict):
        raise UsageError(f"{summary.run} has recorded nothing that could be restarted")
    lr = config["optimizer"]["args"].get("lr")
    return Facts(
        batch_size=summary.batch_size,
        accumulate=int(meta.get("accumulate") or 1),
        world_size=int(meta.get("world_size") or 1),
        optimizer=str(config["optimizer"]["target"]),
        lr=float(lr) if isinstance(lr, (int, float)) else None,
        rule=str(config["training"].get("lr_rule", "auto")),
        train_samples=meta.get("train_samples"),
        epochs=meta.get("epochs"),
        samples=summary.samples,
        step=summary.steps,
        kept=kept,
    )


def plan(facts: Facts, change: Change) -> Plan:
    """Work out a change.

    Raises:
        UsageError: it makes no sense; one line.
    """
    size = change.batch_size
    if size < 1:
        raise UsageError(f"batch size {size}: a batch size is a whole number above 0")
    if facts.train_samples is not None and size * facts.world_size > facts.train_samples:
        ranks = f" for each of {facts.world_size} processes" if facts.world_size > 1 else ""
        raise UsageError(
            f"batch size {size}{ranks}: the training split has only "
            f"{count(facts.train_samples)} samples"
        )
    total = (facts.epochs or 0) * (facts.train_samples or 0)
    begin = facts.kept or Kept(facts.step, facts.samples)
    if total and begin.samples >= total:
        raise UsageError(f"all {count(facts.epochs)} epochs are trained: nothing is left")
    accumulate, notes = _accumulation(facts, change)
    notes += _again(facts.step, begin.step)
    before = facts.batch_size * facts.accumulate * facts.world_size
    after = size * accumulate * facts.world_size
    rates = learning_rates(facts, before, after)
    rule, factor, more = _chosen(facts, change, rates)
    notes += more
    done = begin.samples % facts.train_samples if facts.train_samples else None
    left = facts.train_samples - done if facts.train_samples and done is not None else None
    lr_after = None if facts.lr is None else facts.lr * factor
    return Plan(
        batch_size=size,
        accumulate=accumulate,
        global_before=before,
        global_after=after,
        rule=rule,
        lr_before=facts.lr,
        lr_after=change.lr if change.lr is not None else lr_after,
        rates=rates,
        checkpoint_step=begin.step,
        epoch=begin.samples // facts.train_samples + 1 if facts.train_samples else None,
        samples_left=left,
        steps_left=None if left is None else math.ceil(left / after),
        notes=tuple(notes),
    )


def learning_rates(facts: Facts, before: int, after: int) -> dict[str, Rate]:
    """Return what each rule does to the learning rate when the global batch changes."""
    ratio = after / before
    scale = facts.noise_scale
    if scale is None:
        noise = Rate(None, "it takes gradients of half batches, which no run records yet")
    else:
        noise = Rate((1 + scale / before) / (1 + scale / after))
    return {
        "keep": Rate(1.0),
        "linear": Rate(ratio),
        "sqrt": Rate(math.sqrt(ratio)),
        "noise": noise,
    }


def is_adaptive(optimizer: str) -> bool:
    """Return whether an optimizer, named by its target, scales its step by itself."""
    name = optimizer.replace(":", ".").rpartition(".")[2].lower()
    return any(kind in name for kind in _ADAPTIVE)


def _again(trained: int, kept: int) -> list[str]:
    """Return what is to be said of the steps that no checkpoint has kept.

    Raises:
        UsageError: not one is kept.
    """
    lost = trained - kept
    if lost > 0 and not kept:
        raise UsageError(
            f"no checkpoint was written in {count(lost)} steps: start it anew, with --fresh"
        )
    return [f"{count(lost)} steps since the checkpoint are trained again"] if lost > 0 else []


def _accumulation(facts: Facts, change: Change) -> tuple[int, list[str]]:
    """Return how many micro-batches make a step, and what is to be said about it."""
    if not change.keep_global_batch:
        return facts.accumulate, []
    wanted = facts.batch_size * facts.accumulate
    accumulate = max(1, round(wanted / change.batch_size))
    got = change.batch_size * accumulate
    if got == wanted:
        return accumulate, []
    world = facts.world_size
    return accumulate, [
        f"the global batch becomes {count(got * world)}: {count(wanted * world)} does not divide "
        f"by {count(change.batch_size * world)}"
    ]


def _chosen(
    facts: Facts, change: Change, rates: Mapping[str, Rate]
) -> tuple[str, float, list[str]]:
    """Return the rule that applies, its factor, and what is to be said about it."""
    if change.lr is not None:
        if not (math.isfinite(change.lr) and change.lr > 0):
            raise UsageError(f"learning rate {change.lr}: a learning rate is a number above 0")
        return "as given", 1.0, []
    rule = change.rule or facts.rule
    if rule == "auto":
        adaptive = "sqrt" if is_adaptive(facts.optimizer) else "linear"
        rule = "noise" if rates["noise"].factor is not None else adaptive
    if rule not in rates:
        raise UsageError(f"rule {rule!r}: one of {', '.join(('auto', *RULES))}")
    factor = rates[rule].factor
    if factor is None:
        raise UsageError(f"rule {rule!r}: {rates[rule].reason}; choose another, or type a rate")
    if facts.lr is None and factor != 1.0:
        note = "the learning rate stays: optimizer.args.lr is not set, so what it was is not known"
        return "keep", 1.0, [note]
    return rule, factor, []
