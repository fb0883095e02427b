"""Run directories and records to fill them with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from batchtui.records import LaunchSpec
from batchtui.runs.directory import RunDirectory


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[..., RunDirectory]:
    """Make a run directory with its launch.json."""

    def make(name: str = "digits-001", parent: str | None = None, created: float = 1.0):
        run = RunDirectory(tmp_path / name)
        run.path.mkdir()
        run.journals.mkdir()
        run.write_launch(
            LaunchSpec(
                run=name, config={}, cwd="/", python="python", parent=parent, created=created
            )
        )
        return run

    return make


@pytest.fixture
def run(new_run: Callable[..., RunDirectory]) -> RunDirectory:
    """One empty run."""
    return new_run()
