"""Find where a stopped training can go on."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchtui.config.schema import Config, to_dict
from batchtui.records import Status
from batchtui.runs.directory import RunDirectory
from batchtui.runs.reader import RunReader

# What may change between two parts of one training; everything else makes another training.
_FREE = (
    ("name",),
    ("device",),
    ("dataloaders",),
    ("limits",),
    ("launch",),
    ("data", "root"),
    ("training", "epochs"),
    ("training", "accumulate"),
    ("training", "compile"),
    ("training", "evaluate_every"),
    ("training", "checkpoint_every"),
    ("training", "keep_checkpoints"),
    ("training", "lr_rule"),
    ("optimizer", "args", "lr"),  # a restart may change it, and whoever resumes may too
)


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """A checkpoint of an ended run that a new run of the same training can start from."""

    parent: RunDirectory
    status: str
    step: int
    checkpoint: Path


def resume_point(runs: Sequence[RunDirectory], config: Config) -> ResumePoint | None:
    """Return where the newest of these runs that trained the same can go on, or None.

    A finished training has nowhere to go on to, and one that differs in model, data, loss,
    optimizer or seed is another training.
    """
    trained = _trained(to_dict(config))
    for run in reversed(runs):
        launch = run.read_launch()
        if _trained(launch.config) != trained:
            continue
        status = Status(RunReader(run).summary().status)
        epochs: int = launch.config["training"]["epochs"]  # type: ignore[index]
        if status is Status.FINISHED and config.training.epochs <= epochs:
            return None
        checkpoint = run.latest_checkpoint()
        if checkpoint is not None:
            step = int(checkpoint.stem.rpartition("-")[2])
            return ResumePoint(run, status.value, step, checkpoint)
    return None


def _trained(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration without what may change from one part of a training to the next."""
    kept = copy.deepcopy(config)
    for path in _FREE:
        section = kept
        for part in path[:-1]:
            section = section[part]
        section.pop(path[-1], None)
    return kept
