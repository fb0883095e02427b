"""Model, loss and optimizer, from what their targets resolved to."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from batchtui.config.schema import Config, Loss, Optimizer, Training
from batchtui.errors import ConfigError
from batchtui.train.targets import call, check_arguments, resolve


@dataclass(frozen=True)
class Targets:
    """What a configuration's targets name: looked up all at once, before anything is built."""

    model: Callable[..., Any]
    loss: Callable[..., Any]
    optimizer: Callable[..., Any]
    scheduler: Callable[..., Any] | None
    data: Callable[..., Any] | None


def resolve_all(config: Config) -> Targets:
    """Import every target and compare its arguments with its signature.

    Raises:
        ConfigError: the first that does not fit.
    """
    scheduler, data = config.scheduler, config.data
    targets = Targets(
        model=resolve(config.model.target, "model.target"),
        loss=resolve(config.loss.target, "loss.target"),
        optimizer=resolve(config.optimizer.target, "optimizer.target"),
        scheduler=resolve(scheduler.target, "scheduler.target") if scheduler else None,
        data=resolve(data.target, "data.target") if data.target else None,
    )
    check_arguments(targets.model, config.model.args, "model.args")
    check_arguments(targets.optimizer, config.optimizer.args, "optimizer.args", positional=1)
    if targets.data is not None:
        check_arguments(targets.data, data.args, "data.args")
    if targets.scheduler is not None and scheduler is not None:
        check_arguments(targets.scheduler, scheduler.args, "scheduler.args", positional=1)
        _check_scheduler(targets.scheduler, scheduler.target)
    step = getattr(targets.optimizer, "step", None)
    closure = step and inspect.signature(step).parameters.get("closure")
    if closure and closure.default is inspect.Parameter.empty:
        raise ConfigError(
            f"optimizer.target: {config.optimizer.target} evaluates the model several times a "
            "step, which this loop does not do; choose another"
        )
    return targets


def build_model(target: Callable[..., Any], arguments: dict[str, Any]) -> nn.Module:
    """Return the network, on the CPU, ready to train.

    Raises:
        ConfigError: the target raises, returns no module, or one with nothing to train.
    """
    model = call(target, "model.target", **arguments)
    if not isinstance(model, nn.Module):
        kind = type(model).__name__
        raise ConfigError(f"model.target: returned a {kind}, not a torch.nn.Module")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError("model.target: the model has no parameter to train")
    return model.train()


def to_device(model: nn.Module, device: torch.device, channels_last: bool) -> nn.Module:
    """Move a model to its device and memory format, in place."""
    if channels_last:
        return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model.to(device)


def wants_channels_last(model: nn.Module, training: Training, device: torch.device) -> bool:
    """Return whether pictures go through the model channels last.

    `auto` says yes where tensor cores gain by it: convolutions in half precision on a GPU.
    """
    if training.channels_last != "auto":
        return bool(training.channels_last)
    convolves = any(isinstance(module, nn.Conv2d) for module in model.modules())
    return device.type == "cuda" and training.amp != "off" and convolves


class PerSampleLoss:
    """A loss called so that it tells each sample's own, where it can."""

    def __init__(self, target: Callable[..., Any], config: Loss) -> None:
        """`target` is a module's class, or a function of (output, target).

        Raises:
            ConfigError: an argument that it does not have, or it raises.
        """
        arguments = dict(config.args)
        if "reduction" not in arguments and _takes(target, "reduction"):
            arguments["reduction"] = "none"
        if inspect.isclass(target):
            check_arguments(target, arguments, "loss.args")
            self.function = call(target, "loss.target", **arguments)
        else:
            check_arguments(target, arguments, "loss.args")
            self.function = functools.partial(target, **arguments)

    def to(self, device: torch.device) -> PerSampleLoss:
        """Move what the loss may hold, such as class weights."""
        if isinstance(self.function, nn.Module):
            self.function.to(device)
        return self

    def __call__(self, output: Any, target: Any, samples: int) -> Tensor:
        """Return a loss for each of `samples`, shape (samples,), or their mean as a scalar.

        What comes back with more dimensions, a loss for each pixel or token, is averaged
        within the sample: the sample is what was drawn.
        """
        loss = self.function(output, target)
        if loss.dim() and loss.shape[0] == samples:
            return loss if loss.dim() == 1 else loss.flatten(1).mean(1)
        return loss.mean()


def build_optimizer(
    target: Callable[..., Any], config: Optimizer, model: nn.Module, fused: bool
) -> torch.optim.Optimizer:
    """Return the optimizer of the parameters that train.

    `fused` asks for the kernel that takes the gradient scaler's verdict on the device.

    Raises:
        ConfigError: the target raises, or returns something else.
    """
    arguments = dict(config.args)
    if fused and _takes(target, "fused") and not {"fused", "foreach"} & set(arguments):
        arguments["fused"] = True
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = call(target, "optimizer.target", parameters, **arguments)
    if not isinstance(optimizer, torch.optim.Optimizer):
        kind = type(optimizer).__name__
        raise ConfigError(f"optimizer.target: returned a {kind}, not a torch.optim.Optimizer")
    return optimizer


def _check_scheduler(target: Callable[..., Any], name: str) -> None:
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau
    if inspect.isclass(target) and issubclass(target, plateau):
        raise ConfigError(f"scheduler.target: {name} follows a measured loss, not the samples")
    if inspect.isclass(target) and not issubclass(target, LRScheduler):
        raise ConfigError(f"scheduler.target: {name} is no torch.optim.lr_scheduler.LRScheduler")


def _takes(function: Callable[..., Any], argument: str) -> bool:
    try:
        return argument in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
