"""What a restart goes by and comes to, out of a view; loaded with its dialog."""

from __future__ import annotations

from batchtui import units
from batchtui.advise.restart import Facts, Plan
from batchtui.errors import UsageError
from batchtui.records import Status
from batchtui.tui.view import View


def facts_of(view: View) -> Facts:
    """Return what a plan needs to know, as far as the view has it.

    Raises:
        UsageError: the training has finished.
    """
    if view.status is Status.FINISHED:
        raise UsageError("the training has finished: nothing is left to train")
    batch = view.batch
    return Facts(
        batch_size=batch.size or 1,
        accumulate=batch.accumulate,
        world_size=batch.world_size,
        optimizer=batch.optimizer,
        lr=batch.lr,
        rule=batch.lr_rule,
        train_samples=batch.train_samples,
        epochs=view.progress.epochs,
        samples=batch.samples,
        step=view.progress.step or 0,
        kept=batch.kept,
    )


def rows_of(view: View, plan: Plan, typed: str | None) -> list[tuple[str, str]]:
    """Return labels and values; `typed` is a learning rate that is still being typed."""
    after = units.number(plan.lr_after) if typed is None else f"{typed}_"
    batches = f"  {plan.accumulate} batches a step" if plan.accumulate > 1 else ""
    left = units.MISSING
    if plan.samples_left is not None:
        steps = f"{units.count(plan.steps_left)} step{'s' * (plan.steps_left != 1)}"
        left = f"{units.count(plan.samples_left)} samples left, in {steps}"
    step = units.count(plan.checkpoint_step)
    alive = view.status.alive
    saved = f"after the present step; {step} so far" if alive else f"the last one, of step {step}"
    before, then = units.count(plan.global_before), units.count(plan.global_after)
    return [
        ("learning rate", f"{units.number(plan.lr_before)} → {after}"),
        ("global batch", f"{before} → {then}{batches}"),
        ("checkpoint", saved),
        (f"epoch {units.count(plan.epoch)}", left),
    ]
