"""Runs with a real supervisor and a worker that needs no torch, and a look at what they leave."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from batchtui.config.schema import Config, to_dict
from batchtui.errors import StoreError
from batchtui.records import Event, LaunchSpec
from batchtui.runs.directory import RunDirectory
from batchtui.runs.reader import RunReader
from batchtui.supervise.lock import is_held
from batchtui.supervise.shm import torch_files

WORKER = Path(__file__).parent / "workers" / "train.py"
REPOSITORY = Path(__file__).parents[2]
_MARK = "BATCHTUI_TEST_RUN"  # in the environment of everything that the worker starts


class Training:
    """One run, its supervisor and its worker."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self.reader = RunReader(run)
        self.host: subprocess.Popen[str] | None = None

    def worker(self, *options: str) -> list[str]:
        """Return the command of the worker that misbehaves as told."""
        return [sys.executable, str(WORKER), str(self.run.path), *options]

    def start(self, *options: str, prefix: tuple[str, ...] = (), **patience: float) -> str:
        """Start a supervisor in a process of our own; return its first line."""
        patience = {"tick": 0.1, "stop": 5.0, "stop_now": 1.0, "orphans": 1.0} | patience
        script = Path(__file__).parent / "host.py"
        words = [*prefix, sys.executable, str(script), str(self.run.path), json.dumps(patience)]
        with open(self.run.supervisor_log, "ab") as log:
            self.host = subprocess.Popen(
                [*words, "--", *self.worker(*options)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=REPOSITORY,
            )
        assert self.host.stdout is not None
        return self.host.stdout.readline().strip()

    def end(self, seconds: float = 15.0) -> dict[str, Any]:
        """Wait for the supervisor to end; return what run.db says."""
        if self.host is not None:
            self.host.wait(seconds)
        self.until(lambda: not is_held(self.run), seconds)
        return self.reader.meta()

    def meta(self) -> dict[str, Any]:
        with contextlib.suppress(StoreError):
            return self.reader.meta()
        return {}

    def until(self, true: Callable[[], object], seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, (self.meta(), self.supervisor_log())
            time.sleep(0.02)

    def until_steps(self, steps: int, seconds: float = 10.0) -> None:
        self.until(lambda: self.meta().get("steps", 0) >= steps, seconds)

    def until_status(self, status: str, seconds: float = 10.0) -> None:
        self.until(lambda: self.meta().get("status") == status, seconds)

    def events(self, kind: str | None = None) -> list[Event]:
        events = [event for _, event in self.reader.events(limit=1000)]
        return [event for event in events if kind in (None, event.kind)]

    def worker_pid(self) -> int:
        self.until(lambda: self.meta().get("worker_pid"))
        return int(self.meta()["worker_pid"])

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Signal the worker."""
        os.kill(self.worker_pid(), number)

    def supervisor_log(self) -> str:
        return self.run.supervisor_log.read_text() if self.run.supervisor_log.exists() else ""

    def processes(self) -> list[int]:
        """Return what is alive of the worker and all that it ever started."""
        mark = f"{_MARK}={self.run.path}".encode()
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError):
                    if mark in Path(f"/proc/{entry}/environ").read_bytes().split(b"\0"):
                        found.append(int(entry))
        return found

    def clean_up(self) -> None:
        """Leave nothing behind, however the test went."""
        if self.host is not None:
            self.host.kill()
            self.host.wait()
            assert self.host.stdout is not None
            self.host.stdout.close()
        pid = self.meta().get("supervisor_pid")
        if pid is not None and is_held(self.run):
            os.kill(pid, signal.SIGKILL)
        for pid in self.processes():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run directory as `start` makes it."""
    run = RunDirectory(tmp_path / "tiny-001")
    run.path.mkdir()
    write_launch(run)
    return run


def write_launch(run: RunDirectory, config: Config | None = None) -> None:
    run.write_launch(
        LaunchSpec(
            run=run.name,
            config=to_dict(config or Config()),
            cwd=str(run.path.parent),
            python=sys.executable,
            created=time.time(),
            environment={_MARK: str(run.path)},
        )
    )


@pytest.fixture
def training(run: RunDirectory) -> Iterator[Training]:
    """A run, and at the end the proof that nothing of it is left."""
    before = torch_files()
    training = Training(run)
    try:
        yield training
        left = training.processes()
        files = torch_files() - before
    finally:
        training.clean_up()
    assert left == [], "processes survived"
    assert not files, "files in /dev/shm survived"
