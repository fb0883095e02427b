"""The program as a user has it: a folder, a configuration, the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from batchtui.commands.look import known
from batchtui.runs.directory import RunDirectory
from batchtui.runs.reader import RunReader

CONFIG = """\
name: tiny
device: cpu
model: {target: tiny.Net, args: {}}
data: {target: "tiny:data"}
dataloaders: {batch_size: 16, num_workers: 0}
optimizer: {target: torch.optim.SGD, args: {lr: 0.05}}
training: {epochs: 1000, checkpoint_every: 50}
"""


class Workplace:
    """A folder with `tiny.yaml` in it, and ways to run batchtui there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "tiny.yaml"
        self.config.write_text(CONFIG)
        shutil.copy(Path(__file__).parent / "tiny.py", folder)
        self.environment = {
            key: value for key, value in os.environ.items() if not key.startswith("BATCHTUI_")
        } | {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder / "cache")}

    @property
    def root(self) -> Path:
        return self.folder / "runs"

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `batchtui words…` without a terminal, to its end."""
        return subprocess.run(
            [sys.executable, "-m", "batchtui", *words],
            cwd=self.folder,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def start(self, *words: str) -> str:
        """Start a run of tiny.yaml in the background and return its name."""
        answer = self.run("start", "tiny.yaml", "--json", *words)
        assert answer.returncode == 0, answer.stderr
        return json.loads(answer.stdout)["run"]

    def show(self, run: str) -> dict[str, Any]:
        answer = self.run("show", run, "--json")
        assert answer.returncode == 0, answer.stderr
        return json.loads(answer.stdout)

    def look(self, run: str) -> dict[str, Any]:
        """Return what `show --json` would, without the cost of a process."""
        directory = RunDirectory(self.root / run)
        return known(RunReader(directory), directory)

    def wait(self, run: str, until: str, seconds: float = 60) -> dict[str, Any]:
        """Wait until `until`, an expression over what `show --json` tells, is true."""
        deadline = time.monotonic() + seconds
        while True:
            seen = self.look(run)
            if eval(until, {}, seen):
                return seen
            assert time.monotonic() < deadline, f"{until}: {seen}"
            time.sleep(0.1)

    def processes(self) -> list[psutil.Process]:
        """Return every process that belongs to a run of this folder."""
        found = []
        for process in psutil.process_iter():
            try:
                words = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if str(self.root) in words and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        return found

    def left(self, seconds: float = 20) -> list[psutil.Process]:
        """Return the processes that are still there after a while: a supervisor closes its run."""
        deadline = time.monotonic() + seconds
        while (found := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def end(self) -> None:
        for process in self.processes():
            try:
                process.kill()
            except psutil.Error:
                pass


@pytest.fixture
def workplace(tmp_path: Path) -> Iterator[Workplace]:
    place = Workplace(tmp_path)
    yield place
    place.end()
