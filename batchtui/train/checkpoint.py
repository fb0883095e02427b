"""Checkpoints: one plain file each, complete or not there, loaded without running code.

The file is what `torch.save` makes of a dictionary of tensors, numbers and text; random number
generators are stored as such too, since `torch.load(weights_only=True)` takes nothing else.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import nn

from batchtui.errors import ConfigError
from batchtui.train.schedule import Schedule

VERSION = 1
# The keys of a parameter group that hold a learning rate; the others belong to schedulers.
_RATES = ("lr", "initial_lr", "max_lr", "min_lr")


class Checkpoints:
    """A run's folder of checkpoints: written whole, the oldest deleted."""

    def __init__(self, folder: Path, keep: int) -> None:
        """Create the folder, and clear what a killed process left half written."""
        self._folder = folder
        self._keep = keep
        self._proven = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for leftover in folder.glob(".*.tmp"):
                leftover.unlink(missing_ok=True)
        except OSError:
            pass  # the first checkpoint says it again, where it is heard

    def save(self, state: Mapping[str, Any]) -> Path:
        """Write the checkpoint of `state["step"]` and return its path.

        Raises:
            OSError: it could not be written; the older ones are still there.
        """
        path = self._folder / f"step-{state['step']:08d}.pt"
        temporary = self._folder / f".{path.name}.{os.getpid()}.tmp"
        try:
            with open(temporary, "wb") as file:
                _write(state, file)
                file.flush()
                os.fsync(file.fileno())
            if not self._proven:  # a user's optimizer may keep what could never be loaded again
                torch.load(temporary, map_location="cpu", weights_only=True, mmap=True)
                self._proven = True
            os.replace(temporary, path)
            _sync_folder(self._folder)
        finally:
            temporary.unlink(missing_ok=True)
        self._delete_old(path)
        return path

    def _delete_old(self, newest: Path) -> None:
        others = sorted(path for path in self._folder.glob("step-*.pt") if path != newest)
        for path in others[: max(0, len(others) - self._keep + 1)]:
            path.unlink(missing_ok=True)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint.

    Raises:
        ConfigError: it is missing, damaged, not ours, or from a newer version.
    """
    try:
        with open(path, "rb") as file:
            state = _load(file, path)
    except OSError as error:
        raise ConfigError(f"the checkpoint {path} cannot be read: {error.strerror}") from error
    if not isinstance(state, dict) or "version" not in state or "samples" not in state:
        raise ConfigError(f"{path} is not a checkpoint of batchtui")
    if state["version"] > VERSION:
        raise ConfigError(f"{path} was written by a newer version of batchtui; upgrade to go on")
    return state


def _load(file: BinaryIO, path: Path) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # torch's readers of zip, tar and pickle fail in many ways
        raise ConfigError(f"{path} is no checkpoint, or a damaged one") from error


def check_same(path: Path, state: Mapping[str, Any], expected: Mapping[str, object]) -> None:
    """Refuse a checkpoint of a training that differs in what a resumed one cannot change.

    `expected` maps the state's keys to this training's values.

    Raises:
        ConfigError: naming both values.
    """
    for key, here in expected.items():
        there = state.get(key)
        if there != here:
            raise ConfigError(
                f"{path.name} cannot be resumed: {key.replace('_', ' ')} was {there}, is {here} "
                "now; set it back, or start a new training"
            )


def load_model(path: Path, state: Mapping[str, Any], model: nn.Module) -> None:
    """Give a model the checkpoint's weights.

    Raises:
        ConfigError: they belong to a different model.
    """
    there, here = state["model"], model.state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in here.items()}
    known = {name: tuple(tensor.shape) for name, tensor in there.items()}
    differing = [name for name in {**shapes, **known} if shapes.get(name) != known.get(name)]
    if differing:
        first = differing[0]
        raise ConfigError(
            f"{path.name} is of a different model, {state.get('model_target')}: of its tensors "
            f"{len(differing)} differ; {first} is {known.get(first, 'missing')} in the checkpoint "
            f"and {shapes.get(first, 'missing')} in the model"
        )
    model.load_state_dict(there)


def hyperparameters(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """Return the parameter groups without their parameters, as they are now."""
    return [
        {key: value for key, value in group.items() if key != "params"}
        for group in optimizer.param_groups
    ]


def load_optimizer(
    path: Path,
    state: Mapping[str, Any],
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    fresh: list[dict[str, Any]],
) -> None:
    """Give optimizer and schedule the checkpoint's state, and the user's changes since.

    `fresh` are this launch's hyperparameters before any schedule. A learning rate that differs
    from the checkpoint's launch scales the scheduled one, anything else replaces.

    Raises:
        ConfigError: they belong to a different optimizer.
    """
    kind = type(optimizer).__qualname__
    if state["optimizer_class"] != kind or len(state["hyperparameters"]) != len(fresh):
        raise ConfigError(
            f"{path.name} is of a different optimizer: {state['optimizer_class']}, here {kind}"
        )
    try:
        optimizer.load_state_dict(state["optimizer"])
    except ValueError as error:
        raise ConfigError(f"{path.name} is of a different optimizer: {error}") from error
    schedule.load_state_dict(state["schedule"])
    pairs = zip(state["hyperparameters"], fresh, strict=True)
    for number, (before, now) in enumerate(pairs):
        group = optimizer.param_groups[number]
        for key in now.keys() & before.keys():
            if now[key] == before[key]:
                continue
            if key == "lr" and before[key]:
                ratio = now[key] / before[key]
                group.update({rate: group[rate] * ratio for rate in _RATES if rate in group})
                schedule.rescale(number, ratio)
            else:
                group[key] = now[key]


def random_state(device: torch.device) -> dict[str, Any]:
    """Return the state of every random number generator of this process."""
    state: dict[str, Any] = {"torch": torch.get_rng_state(), "python": random.getstate()}
    if device.type != "cpu":
        state[device.type] = getattr(torch, device.type).get_rng_state()
    if (numpy := sys.modules.get("numpy")) is not None:
        kind, keys, *rest = numpy.random.get_state()
        state["numpy"] = (str(kind), torch.tensor(keys.tolist()), *rest)
    return state


def restore_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Put the generators back; one that the checkpoint does not know stays as it is."""
    torch.set_rng_state(state["torch"])
    random.setstate(state["python"])
    if device.type in state:
        getattr(torch, device.type).set_rng_state(state[device.type])
    if "numpy" in state and (numpy := sys.modules.get("numpy")) is not None:
        kind, keys, *rest = state["numpy"]
        numpy.random.set_state((kind, keys.numpy().astype("uint32"), *rest))


def _write(state: Mapping[str, Any], file: BinaryIO) -> None:
    """Write a state. torch ends its archive after an error too, and fails again, of that."""
    try:
        torch.save(dict(state), file)  # synchronises: the weights come to the host
    except RuntimeError as error:
        cause = error.__context__
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__context__
        raise cause or error from None


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
