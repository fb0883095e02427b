"""What types cannot say about a configuration: ranges, and keys that exclude each other."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from typing import Any

from batchtui.config.document import Document
from batchtui.config.schema import Config
from batchtui.errors import ConfigError
from batchtui.units import parse_size

_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*)?\Z")
_DEVICE = re.compile(r"(auto|cpu|mps|(cuda|xpu|hpu|npu)(:\d+)?)\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")

# Above this no data set known to anyone has as many samples; below it the worker compares
# with the data set's own size.
_MOST_SAMPLES = 10**9 - 1

_RANGES: tuple[tuple[str, float, float, str], ...] = (
    ("dataloaders.batch_size", 1, _MOST_SAMPLES, "a whole number of samples from 1 to 999,999,999"),
    ("dataloaders.num_workers", 0, 512, "a whole number from 0 to 512"),
    ("dataloaders.prefetch_factor", 1, 1024, "a whole number from 1 to 1024"),
    ("data.image_size", 1, 8192, "pixels from 1 to 8192"),
    ("data.samples", 2, _MOST_SAMPLES, "a whole number from 2 to 999,999,999"),
    ("data.classes", 2, 10**6, "a whole number from 2 to 1,000,000"),
    ("training.epochs", 1, 10**7, "a whole number from 1 to 10,000,000"),
    ("training.accumulate", 1, 10**6, "a whole number from 1 to 1,000,000"),
    ("training.seed", 0, 2**63 - 1, "a whole number from 0"),
    ("training.evaluate_every", 0, 10**7, "a number of epochs; 0 for never"),
    ("training.checkpoint_every", 0, 10**9, "a number of steps; 0 for the end of each epoch"),
    ("training.keep_checkpoints", 1, 10**6, "a whole number from 1 to 1,000,000"),
    ("launch.processes", 1, 1024, "a whole number from 1 to 1024"),
    ("launch.nodes", 1, 4096, "a whole number from 1 to 4096"),
)


def check(config: Config, document: Document) -> None:
    """Refuse what cannot work.

    Raises:
        ConfigError: naming key, value, and what is valid.
    """

    def refuse(path: str, value: Any, valid: str) -> ConfigError:
        place = document.place(tuple(path.split(".")))
        return ConfigError(f"{path}: {value!r} is not {valid}", place)

    for path, low, high, valid in _RANGES:
        value: Any = config
        for part in path.split("."):
            value = getattr(value, part)
        if not low <= value <= high:
            raise refuse(path, value, valid)
    if not _NAME.match(config.name):
        raise refuse("name", config.name, "a name of letters, digits, '.', '_' and '-'")
    if not _DEVICE.match(config.device):
        raise refuse("device", config.device, "auto, cpu, cuda, cuda:N, mps or xpu")
    if not 0 < config.data.held_out < 1:
        raise refuse("data.held_out", config.data.held_out, "a fraction between 0 and 1")
    clip = config.training.clip_grad_norm
    if clip is not None and not clip > 0:
        raise refuse("training.clip_grad_norm", clip, "a number above 0")
    _check_data(config, document)
    _check_targets(config, refuse)
    _check_memory(config, refuse)
    _check_launch(config, refuse)


def _check_data(config: Config, document: Document) -> None:
    named, own = config.data.name, config.data.target
    if (named is None) == (own is None):
        reason = "both name and target are given" if named else "neither name nor target is given"
        raise ConfigError(f"data: {reason}; give one of them", document.place(("data",)))


def _check_targets(config: Config, refuse: Callable[[str, Any, str], ConfigError]) -> None:
    scheduler = config.scheduler
    targets = {
        "model.target": config.model.target,
        "data.target": config.data.target,
        "loss.target": config.loss.target,
        "optimizer.target": config.optimizer.target,
        "scheduler.target": scheduler.target if scheduler else None,
    }
    for path, target in targets.items():
        if target is not None and (
            "." not in target.replace(":", ".") or not _TARGET.match(target)
        ):
            raise refuse(path, target, "importable: package.module.name or package.module:name")


def _check_memory(config: Config, refuse: Callable[[str, Any, str], ConfigError]) -> None:
    limit = config.limits.memory
    valid = "a fraction above 0 and up to 1, or a size such as 20GiB"
    if isinstance(limit, str):
        try:
            parse_size(limit)
        except ValueError:
            raise refuse("limits.memory", limit, valid) from None
    elif not 0 < limit <= 1:
        raise refuse("limits.memory", limit, valid)


def _check_launch(config: Config, refuse: Callable[[str, Any, str], ConfigError]) -> None:
    python = config.launch.python
    if python is not None and shutil.which(os.path.expanduser(python)) is None:
        raise refuse("launch.python", python, "an interpreter that can be run")
    if config.launch.nodes > 1:
        raise refuse("launch.nodes", config.launch.nodes, "possible yet: one node only")
