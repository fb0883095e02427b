"""Configurations that train in a blink, and what is left of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from batchtui.config.schema import Config, Data, DataLoaders, Model, Optimizer, Training
from batchtui.records import LaunchSpec, Step
from batchtui.train.journal import Journal
from batchtui.train.launch import Launched, Ranks
from batchtui.train.stop import StopRequest


class StopAfter(StopRequest):
    """A stop that is asked for once the loop has looked `looks` times."""

    def __init__(self, looks: int) -> None:
        super().__init__(self._never)
        self.looks = looks

    def __bool__(self) -> bool:
        self.looks -= 1
        return self.looks < 0

    @staticmethod
    def _never(reason: str) -> None:
        raise AssertionError(reason)


def tiny(
    *,
    batch_size: int = 8,
    epochs: int = 2,
    workers: int = 0,
    samples: int = 30,
    model: str = "tests.train.tiny.linear",
    model_args: dict[str, Any] | None = None,
    optimizer: Optimizer | None = None,
    training: dict[str, Any] | None = None,
    **sections: Any,
) -> Config:
    """Return a configuration that trains in a blink."""
    data = Data(target="tests.train.tiny:points", args={"samples": samples})
    return Config(
        **{
            "name": "tiny",
            "device": "cpu",
            "model": Model(target=model, args=model_args or {}),
            "data": data,
            "dataloaders": DataLoaders(batch_size=batch_size, num_workers=workers),
            "optimizer": optimizer or Optimizer(args={"lr": 0.05, "momentum": 0.9}),
            "training": Training(epochs=epochs, **(training or {})),
            **sections,
        }
    )


def launched(
    folder: Path, config: Config, stop: StopRequest | None = None, resume: Path | None = None
) -> Launched:
    """Return the surroundings of a training in `folder`."""
    spec = LaunchSpec(
        run=folder.name,
        config={},
        cwd=str(folder),
        python="python",
        resume_from=str(resume) if resume else None,
    )
    stop = StopAfter(10**9) if stop is None else stop  # its truth is the question
    journal = Journal(folder / "journal")
    return Launched(folder, spec, config, Ranks(), journal, stop)


def records(folder: Path, kind: str | None = None, rank: int = 0) -> list[dict[str, Any]]:
    """Return the journal of a run, or its records of one kind."""
    lines = []
    for path in sorted((folder / "journal").glob(f"rank-{rank}*.jsonl")):
        lines += [json.loads(line) for line in path.read_text().splitlines()]
    unknown = dict.fromkeys(Step.__dataclass_fields__) | {"nonfinite": False}
    return [
        {**unknown, **line} if kind == "step" else line
        for line in lines
        if kind in (None, line["kind"])
    ]


def newest(folder: Path) -> Path:
    """Return the newest checkpoint of a run."""
    return sorted((folder / "checkpoints").glob("step-*.pt"))[-1]
