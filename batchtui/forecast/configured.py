"""Trace the training of a configuration: batchtui.train's own loop, on fake tensors.

The loop that trains is the loop that is traced: its model, loss, optimizer and step, with a
meter that tells the recorder which part of the step it is in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from batchtui.config.schema import Config
from batchtui.errors import BatchtuiError
from batchtui.forecast import resident
from batchtui.forecast.events import Trace
from batchtui.forecast.fake_device import FakeDevice
from batchtui.forecast.recorder import Recorder
from batchtui.forecast.rehearsal import bucket_sizes, mark_state, use_foreach
from batchtui.forecast.trace import TraceError, one_line, trace_steps
from batchtui.records import Step
from batchtui.train import build, data, evaluate, meters
from batchtui.train.device import MemoryReading
from batchtui.train.launch import Progress, Ranks
from batchtui.train.learner import Learner
from batchtui.train.loop import EpochTally, Trainer
from batchtui.train.parallel import Alone
from batchtui.train.sampler import Group

_SAMPLES = 16  # looked at for the longest
_LOOK_SECONDS = 2.0
_STEPS = 2


def trace_config(
    config: Config,
    device: str,
    *,
    batch_sizes: tuple[int, int] | None = None,
    time_limit: float | None = None,
    fingerprint: str = "",
) -> tuple[Trace, int]:
    """Trace two training steps and one evaluation batch of a configuration.

    Returns the trace, and the resident bytes of a process that has loaded model code and data
    and not yet trained.

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
    return trace, base


@dataclass(frozen=True)
class BatchForm:
    """What a batch of a data set looks like, at any size.

    Attributes:
        leaves: of each tensor its dtype, and of each dimension (constant, a sample's share).
    """

    structure: Any
    leaves: list[tuple[torch.dtype, list[tuple[int, int]]] | Any]

    @classmethod
    def of(cls, dataset: Any, notes: list[str]) -> BatchForm:
        """Look at a few samples and take the longest.

        Raises:
            TraceError: the samples cannot be put together.
        """
        from torch.utils import _pytree as pytree

        try:
            sample = _longest(dataset, notes)
            two, structure = pytree.tree_flatten(default_collate([sample] * 2))
            three, _ = pytree.tree_flatten(default_collate([sample] * 3))
        except BatchtuiError:
            raise
        except Exception as error:
            raise TraceError(f"the data give no batch: {one_line(error)}") from error
        leaves = [
            (a.dtype, [(3 * x - 2 * y, y - x) for x, y in zip(a.shape, b.shape, strict=True)])
            if isinstance(a, Tensor)
            else a
            for a, b in zip(two, three, strict=True)
        ]
        return cls(structure, leaves)

    def make(self, batch_size: int) -> Any:
        """Make a batch on the CPU; without values where a fake mode is on."""
        from torch.utils import _pytree as pytree

        return pytree.tree_unflatten(
            [
                torch.empty([a + b * batch_size for a, b in leaf[1]], dtype=leaf[0])
                if isinstance(leaf, tuple)
                else leaf
                for leaf in self.leaves
            ],
            self.structure,
        )


def _longest(dataset: Any, notes: list[str]) -> Any:
    from torch.utils import _pytree as pytree

    def size(sample: Any) -> int:
        return sum(leaf.nbytes for leaf in pytree.tree_leaves(sample) if isinstance(leaf, Tensor))

    count = len(dataset)
    end = time.monotonic() + _LOOK_SECONDS
    samples: list[Any] = []
    for position in range(min(count, _SAMPLES)):
        samples.append(dataset[position * count // min(count, _SAMPLES)])
        if time.monotonic() > end:
            break
    sizes = [size(sample) for sample in samples]
    if min(sizes) != max(sizes):
        notes.append(f"samples differ in size: a batch of the longest of {len(samples)} looked at")
    return samples[sizes.index(max(sizes))]


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

    def finish(self, step: Step, values: Tensor) -> None:
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
