"""The training loop. It writes records and knows nothing of who reads them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from batchtui.config.schema import Training
from batchtui.records import Step
from batchtui.train.device import Memory
from batchtui.train.journal import Journal
from batchtui.train.launch import Progress
from batchtui.train.learner import Learner
from batchtui.train.meters import BACKWARD, DATA, FORWARD, OPTIMIZER, TRANSFER, Meter
from batchtui.train.parallel import Alone
from batchtui.train.sampler import Group, Plan
from batchtui.train.schedule import Schedule
from batchtui.train.statistics import LossStatistics
from batchtui.train.stop import StopRequest


@dataclass
class EpochTally:
    """What is said of an epoch when it ends."""

    loss: float = 0.0  # sum over samples
    samples: int = 0
    seconds: float = 0.0  # in steps


class Milestones(Protocol):
    """What happens between steps."""

    def end_epoch(self, tally: EpochTally) -> bool:
        """Evaluate; return False where a stop came in between."""

    def save(self) -> None:
        """Write a checkpoint, or say why not."""


@dataclass
class Trainer:
    """A training in progress."""

    learner: Learner
    schedule: Schedule
    plan: Plan
    batches: Iterator[Any]  # the plan's micro-batches, in its order
    config: Training
    team: Alone
    meter: Meter
    memory: Memory
    journal: Journal
    stop: StopRequest
    progress: Progress
    milestones: Milestones
    tally: EpochTally = field(default_factory=EpochTally)
    saw_nonfinite: bool = False

    def run(self) -> str:
        """Train what is left; return "finished", or "stopped" where someone asked for it."""
        progress, every = self.progress, self.config.checkpoint_every
        self.meter.restart()
        while progress.epoch <= self.config.epochs:
            for group in self.plan.epoch(progress.epoch, progress.epoch_samples):
                self.step(group)
                if self.team.any(bool(self.stop)):
                    self.report(self.meter.wait())  # synchronises: the training ends here
                    self.milestones.save()
                    return "stopped"
                within = progress.epoch_samples < self.plan.size
                if every and progress.step % every == 0 and within:
                    self.milestones.save()
                    self.meter.restart()
            self.report(self.meter.wait())  # synchronises, once an epoch
            if not self.milestones.end_epoch(self.tally):
                self.milestones.save()
                return "stopped"
            progress.epoch, progress.epoch_samples = progress.epoch + 1, 0
            self.tally = EpochTally()
            self.milestones.save()
            self.meter.restart()
        return "finished"

    def step(self, group: Group) -> None:
        """Train on one global batch: forward, backward, update, record."""
        losses = LossStatistics(self.learner.device)
        self.memory.reset_peak()
        for indices in group.micro_batches:
            last = indices is group.micro_batches[-1]
            # Gradients of several micro-batches are averaged over the ranks once, at the end.
            with nullcontext() if last else self.team.own_gradients(self.learner.network):
                self.micro_batch(group, len(indices), losses)
        scaler, optimizer = self.learner.scaler, self.learner.optimizer
        scaler.unscale_(optimizer)
        norm = self.learner.clip(self.config.clip_grad_norm)
        scaler.step(optimizer)  # skips the update where gradients overflowed
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        self.meter.mark(OPTIMIZER)
        self.record(group, losses, norm)

    def micro_batch(self, group: Group, samples: int, losses: LossStatistics) -> None:
        """Add the gradients of the next micro-batch."""
        self.meter.begin()
        batch = next(self.batches)
        self.meter.mark(DATA)
        inputs, targets = self.learner.place(batch)
        self.meter.mark(TRANSFER)
        with self.learner.autocast():
            output = self.learner.network(inputs)
            loss = self.learner.loss(output, targets, samples)
        self.meter.mark(FORWARD)
        # Every sample of the global batch weighs the same, however it was cut; the ranks'
        # gradients will be averaged, hence the world size. A scalar speaks for all its samples.
        weight = self.team.world_size / group.samples if group.share else 0.0
        weights = torch.full_like(loss, weight if loss.dim() else weight * samples)
        loss.backward(self.learner.scaler.scale(weights))
        self.meter.mark(BACKWARD)
        if group.share:
            losses.add(loss, samples)

    def record(self, group: Group, losses: LossStatistics, norm: Tensor) -> None:
        """Advance the clock by the group and note its step."""
        progress = self.progress
        progress.step += 1
        progress.samples += group.samples
        progress.epoch_samples += group.samples
        allocated, reserved, peak = self.memory.read()
        step = Step(
            time=0.0,  # the meter knows when
            step=progress.step,
            samples=progress.samples,
            epoch=progress.epoch,
            batch=group.share,
            lr=float(self.learner.optimizer.param_groups[0]["lr"]),
            allocated=allocated,
            reserved=reserved,
            peak=peak,
        )
        self.schedule.advance(progress.samples)
        mean, variance = losses.result()
        self.meter.finish(step, (mean, variance, norm))
        self.report(self.meter.finished())

    def report(self, steps: list[Step]) -> None:
        """Write the records of steps that are complete."""
        for step in steps:
            self.journal.write(step)
            self.tally.samples += step.batch
            self.tally.loss += (step.loss or 0.0) * step.batch
            self.tally.seconds += step.step_s or 0.0
            if step.nonfinite and not self.saw_nonfinite:
                self.saw_nonfinite = True
                self.journal.note(f"the loss of step {step.step} is NaN or infinite", "warning")
