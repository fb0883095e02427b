"""Trace the training of a configuration: batchtui.train's own loop, on fake tensors.

The loop that trains is the loop that is traced: its model, loss, optimizer and step, with a
meter that tells the recorder which part of the step it is in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from batchtui.config.schema import Config
from batchtui.forecast import resident
from batchtui.forecast.batches import BatchForm
from batchtui.forecast.events import Trace
from batchtui.forecast.fake_device import FakeDevice
from batchtui.forecast.recorder import Recorder
from batchtui.forecast.rehearsal import bucket_sizes, mark_state, use_foreach
from batchtui.forecast.trace import trace_steps
from batchtui.records import Step
from batchtui.train import build, data, evaluate, meters
from batchtui.train.device import MemoryReading
from batchtui.train.launch import Progress, Ranks
from batchtui.train.learner import Learner
from batchtui.train.loop import EpochTally, Trainer
from batchtui.train.meters import Values
from batchtui.train.parallel import Alone
from batchtui.train.sampler import Group

_STEPS = 2


class Traced(NamedTuple):
    """A trace, and what had to be loaded for it."""

    trace: Trace
    base: int  # resident bytes of a process that has loaded model code and data, untrained
    samples: int  # to train on in an epoch


def trace_config(
    config: Config,
    device: str,
    *,
    batch_sizes: tuple[int, int] | None = None,
    time_limit: float | None = None,
    fingerprint: str = "",
) -> Traced:
    """Trace two training steps and one evaluation batch of a configuration.

    Args:
        device: what to forecast for, "cuda" or "cpu".
        batch_sizes, time_limit: as for `trace_steps`.

    Raises:
        TraceError: it cannot be traced, and why.
        ConfigError: the configuration names what is not there.
    """
    training = config.training
    targets = build.resolve_all(config)
    splits = data.load(config.data, training.seed, targets.data)
    notes: list[str] = []
    batches = BatchForm.of(splits.training, notes)
    held_out = None
    if splits.held_out is not None and training.evaluate_every:
        held_out = BatchForm.of(splits.held_out, notes)
    if training.compile:
        notes.append("traced as the uncompiled module; torch.compile may take less or more")
    if config.launch.processes > 1:
        notes.append("DistributedDataParallel's gradient buckets are added; NCCL's own are not")
    where = torch.device(device)

    def wants_channels_last(module: torch.nn.Module) -> bool:
        return build.wants_channels_last(module, training, where)

    def rehearse(
        module: torch.nn.Module, fake: FakeDevice, recorder: Recorder, size: int, target: str
    ) -> None:
        learner = _learner(config, targets, module, fake, wants_channels_last(module))
        rehearsal = _Rehearsal(config, learner, fake, recorder, batches, size)
        if target == "cuda" and fake.kind != "cuda":
            use_foreach(learner.optimizer)
        rehearsal.train()
        if held_out is not None:
            rehearsal.evaluate(held_out)
        recorder.close()

    base = resident.now()
    trace = trace_steps(
        lambda: build.build_model(targets.model, config.model.args),
        rehearse,
        channels_last=wants_channels_last,
        batch_sizes=batch_sizes,
        device=device,
        time_limit=time_limit,
        fingerprint=fingerprint,
        resident=True,
    )
    trace.assumptions = (*notes, *trace.assumptions)
    return Traced(trace, base, len(splits.training))


def _learner(
    config: Config,
    targets: build.Targets,
    module: torch.nn.Module,
    fake: FakeDevice,
    channels_last: bool,
) -> Learner:
    half = config.training.amp == "fp16"
    return Learner(
        model=module,
        network=module,
        loss=build.PerSampleLoss(targets.loss, config.loss).to(fake.device),
        optimizer=build.build_optimizer(targets.optimizer, config.optimizer, module, fused=half),
        scaler=torch.amp.GradScaler(fake.kind, enabled=half),
        device=fake.device,
        amp=config.training.amp,
        channels_last=channels_last,
    )


class _Rehearsal:
    """The trainer's surroundings, as far as its steps notice them."""

    def __init__(
        self,
        config: Config,
        learner: Learner,
        fake: FakeDevice,
        recorder: Recorder,
        batches: BatchForm,
        batch_size: int,
    ) -> None:
        self._config = config
        self._learner = learner
        self._recorder = recorder
        self._batches = batches
        self._batch_size = batch_size
        self._nodes = fake.accumulators(learner.parameters)
        if config.launch.processes > 1:
            for size in bucket_sizes(learner.parameters):
                recorder.reserve(size, "ddp bucket", "gradients")

    def train(self) -> None:
        """Go through two whole steps."""
        self._learner.model.train()
        trainer = Trainer(
            learner=self._learner,
            schedule=_Nothing(),  # type: ignore[arg-type]
            plan=_Nothing(),  # type: ignore[arg-type]
            batches=self._made(self._batches),
            config=self._config.training,
            team=Alone(Ranks()),
            meter=_PhaseMeter(self._recorder, self._learner),
            memory=_Nothing(),  # type: ignore[arg-type]
            journal=_Nothing(),  # type: ignore[arg-type]
            stop=_Nothing(),  # type: ignore[arg-type]
            progress=Progress(),
            milestones=_NoMilestones(),
        )
        size, parts = self._batch_size, self._config.training.accumulate
        group = Group(1, size * parts, [list(range(size)) for _ in range(parts)], size * parts)
        for _ in range(_STEPS):
            trainer.step(group)

    def evaluate(self, batches: BatchForm) -> None:
        """Go through one held-out batch."""
        self._recorder.phase = "evaluation"
        source = self._made(batches)
        evaluate.evaluate(self._learner, [next(source)], _Judge(Ranks()), lambda: False)

    def _made(self, batches: BatchForm) -> Iterator[Any]:
        while True:
            if self._recorder.phase != "evaluation":
                self._recorder.phase = "inputs"
            yield batches.make(self._batch_size)


class _PhaseMeter:
    """A meter that tells the recorder where in the step the trainer is."""

    _next = {  # noqa: RUF012  # a table, not a default
        meters.DATA: "inputs",
        meters.TRANSFER: "forward",
        meters.FORWARD: "backward",
        meters.BACKWARD: "optimizer",
        meters.OPTIMIZER: "optimizer",
    }

    def __init__(self, recorder: Recorder, learner: Learner) -> None:
        self._recorder = recorder
        self._learner = learner

    def restart(self) -> None:
        """Do nothing."""

    def begin(self) -> None:
        """Say that a batch comes next."""
        self._recorder.phase = "inputs"

    def mark(self, part: int) -> None:
        """Say what comes after the part that ended."""
        if part == meters.BACKWARD:
            for parameter in self._learner.parameters:
                self._recorder.mark(parameter.grad, "gradients")
        elif part == meters.OPTIMIZER:
            mark_state(self._learner.optimizer, self._recorder)
        self._recorder.phase = self._next[part]

    def finish(self, step: Step, values: Values) -> None:
        """Do nothing."""

    def finished(self) -> list[Step]:
        """Return no record."""
        return []

    def wait(self) -> list[Step]:
        """Return no record."""
        return []


class _Judge(Alone):
    """A team whose sums hold no values to be read."""

    def total(self, numbers: Tensor) -> Any:
        """Return what the pass ends with."""
        return _NoSamples()


class _NoSamples:
    def tolist(self) -> list[float]:
        return [0.0] * 5


class _NoMilestones:
    def end_epoch(self, tally: EpochTally) -> bool:
        return True

    def save(self) -> None:
        """Do nothing."""


class _Nothing:
    """Stands for schedule, journal and memory: takes every call and answers nothing."""

    def read(self) -> MemoryReading:
        return MemoryReading()

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None
