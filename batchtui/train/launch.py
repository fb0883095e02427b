"""What this process is: its run directory, its place among the ranks, its orders."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from batchtui.config.schema import Config, from_dict
from batchtui.errors import ConfigError
from batchtui.records import LaunchSpec
from batchtui.train.journal import Journal
from batchtui.train.stop import StopRequest


@dataclass(frozen=True, slots=True)
class Ranks:
    """Which of the training's processes this one is; torchrun says it in the environment."""

    rank: int = 0
    local_rank: int = 0
    world_size: int = 1

    @classmethod
    def from_environment(cls) -> Ranks:
        """Read RANK, LOCAL_RANK and WORLD_SIZE."""
        names = ("RANK", "LOCAL_RANK", "WORLD_SIZE")
        rank, local, world = (os.environ.get(name) for name in names)
        return cls(int(rank or 0), int(local or 0), int(world or 1))


@dataclass(slots=True)
class Progress:
    """How far the training has come, its parents' part included."""

    step: int = 0
    samples: int = 0
    epoch: int = 1  # the one that is being trained
    epoch_samples: int = 0  # trained in it
    best_accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class Launched:
    """All that the training needs to know of its surroundings."""

    directory: Path
    spec: LaunchSpec
    config: Config
    ranks: Ranks
    journal: Journal
    stop: StopRequest
    progress: Progress = field(default_factory=Progress)

    @property
    def checkpoints(self) -> Path:
        """Return the folder of the run's checkpoints."""
        return self.directory / "checkpoints"


def read_launch(directory: Path) -> tuple[LaunchSpec, Config]:
    """Read launch.json.

    Raises:
        ConfigError: it is missing, or not what `batchtui start` writes.
    """
    path = directory / "launch.json"
    try:
        values = json.loads(path.read_text("utf-8"))
        spec = LaunchSpec(**values)
        return spec, from_dict(spec.config)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{path} is damaged: {error}") from error


def enter(spec: LaunchSpec) -> None:
    """Stand where the user stood, and import from there and from the configuration's folder."""
    try:
        os.chdir(spec.cwd)
    except OSError as error:
        raise ConfigError(f"the folder {spec.cwd} is gone: {error.strerror}") from error
    folders = [spec.cwd]
    if spec.config_path:
        folders.insert(0, os.path.dirname(spec.config_path))
    sys.path[:0] = [folder for folder in dict.fromkeys(folders) if folder not in sys.path]
