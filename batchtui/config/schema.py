"""The configuration as Python sees it; `configs/default.yaml` documents every key.

Standard library only, since the worker reads it in the training's own environment. Checking a
user's file, with line numbers and nearest names, is `batchtui.config.load`.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Something importable, `package.module.name` or `package.module:name`, and its arguments."""

    target: str
    args: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The network: a class or function that returns a `torch.nn.Module`."""

    target: str = "torchvision.models.resnet18"
    args: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """The samples: a data set by name, or a function returning `(training, held-out)`."""

    name: Literal["digits", "fake", "cifar10", "imagefolder"] | None = None
    target: str | None = None
    args: dict[str, Any] = field(default_factory=dict)
    root: str = "data"  # where cifar10 is kept, where imagefolder's pictures lie
    image_size: int = 64
    held_out: float = 0.2  # fraction kept for evaluation where the data set has no split
    samples: int = 10_000  # fake: size of the data set
    classes: int = 10  # fake


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """The loss: a module or function of (output, target); per-sample losses give s²."""

    target: str = "torch.nn.CrossEntropyLoss"
    args: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataLoaders:
    """How batches are made; the batch size is per process."""

    batch_size: int = 64
    num_workers: int = 2
    prefetch_factor: int = 2
    pin_memory: bool | Literal["auto"] = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer:
    """The optimizer; `args` go to it after the parameters."""

    target: str = "torch.optim.SGD"
    args: dict[str, Any] = field(default_factory=lambda: {"lr": 0.1, "momentum": 0.9})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduler:
    """A `torch.optim.lr_scheduler`, stepped by samples trained."""

    target: str
    args: dict[str, Any] = field(default_factory=dict)
    unit: Literal["step", "epoch"] = "step"  # what one tick of it means, at the launch batch size


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """The loop."""

    epochs: int = 20
    amp: Literal["off", "bf16", "fp16"] = "off"
    accumulate: int = 1
    clip_grad_norm: float | None = None
    channels_last: bool | Literal["auto"] = "auto"
    compile: bool = False
    seed: int = 0
    deterministic: bool = False
    evaluate_every: int = 1  # epochs; 0: never
    checkpoint_every: int = 500  # steps; 0: only at the end of an epoch and on a stop
    keep_checkpoints: int = 2
    lr_rule: Literal["auto", "keep", "linear", "sqrt", "noise"] = "auto"  # at a restart


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When memory counts as full, and what to do then."""

    memory: float | str = 0.95  # a fraction of the limit found, or a size such as 20GiB
    on_exhaustion: Literal["stop", "warn"] = "stop"
    low_memory: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How the worker is started; more than one process goes through torchrun."""

    processes: int = 1
    nodes: int = 1
    python: str | None = None
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A whole configuration, checked."""

    name: str = "run"
    device: str = "auto"
    model: Model = field(default_factory=Model)
    data: Data = field(default_factory=lambda: Data(name="digits"))
    loss: Loss = field(default_factory=Loss)
    dataloaders: DataLoaders = field(default_factory=DataLoaders)
    optimizer: Optimizer = field(default_factory=Optimizer)
    scheduler: Scheduler | None = None
    training: Training = field(default_factory=Training)
    limits: Limits = field(default_factory=Limits)
    launch: Launch = field(default_factory=Launch)


def from_dict(values: dict[str, Any]) -> Config:
    """Rebuild a configuration that `to_dict` took apart; its values were checked before."""
    return typing.cast(Config, _build(Config, values))


def to_dict(config: Config) -> dict[str, Any]:
    """Take a configuration apart into plain dictionaries, ready for JSON or YAML."""
    return dataclasses.asdict(config)


def _build(kind: type, values: dict[str, Any]) -> object:
    hints = typing.get_type_hints(kind)
    return kind(
        **{
            key: _build(section, value)
            if isinstance(value, dict) and (section := _section(hints[key])) is not None
            else value
            for key, value in values.items()
        }
    )


def _section(hint: Any) -> type | None:
    """Return the section class of a field's type, also of `Section | None`."""
    for choice in choices(hint):
        if dataclasses.is_dataclass(choice) and isinstance(choice, type):
            return choice
    return None


def choices(hint: Any) -> tuple[Any, ...]:
    """Return the alternatives of a type: `A | B` → (A, B), `A` → (A,)."""
    # `Literal[…] | None` is a typing.Union even where `int | None` is a types.UnionType.
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return typing.get_args(hint)
    return (hint,)
