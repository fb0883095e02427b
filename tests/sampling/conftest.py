"""The stand-in for NVIDIA's library, compiled once a session, and a program that asks it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchtui.records import GpuSample
from tests.nvml.build import Gpu, compile_library, environment, write_control

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the library; without a compiler the tests that need it fail and say why."""
    return compile_library(tmp_path_factory.mktemp("nvml"))


class Driver:
    """A process with the real pynvml on the stand-in, and the control file of that."""

    def __init__(self, library: Path, folder: Path) -> None:
        """Take the library and a folder for files; the process starts when first asked."""
        self.control = folder / "gpus.txt"
        self.stderr = folder / "stderr.txt"
        self.environment = os.environ | environment(library, self.control)
        self._process: subprocess.Popen[str] | None = None

    def set(self, *gpus: Gpu, lines: tuple[str, ...] = ()) -> None:
        """Change what the library answers."""
        write_control(self.control, *gpus, lines=lines)

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Have the process do something, see `tests.sampling.ask_nvml`."""
        if self._process is None:
            with self.stderr.open("w") as stderr:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "tests.sampling.ask_nvml"],
                    cwd=REPOSITORY,
                    env=self.environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    text=True,
                )
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps({"command": command, **arguments}), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        assert line, f"the process ended: {self.stderr.read_text()}"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def sample(self, *tree: int, wait: float = 10.0) -> tuple[list[GpuSample], str | None]:
        """Return the cards' samples, with the share of the processes `tree`, and the status."""
        answer = self.ask("sample", tree=tree, wait=wait)
        return [GpuSample(**gpu) for gpu in answer["gpus"]], answer["status"]

    def one(self, *tree: int) -> GpuSample:
        """Return the sample of the only card."""
        (gpu,), status = self.sample(*tree)
        assert status is None
        return gpu

    def pass_time(self, seconds: float) -> None:
        """Let the sampler's clock jump."""
        self.ask("pass_time", seconds=seconds)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()


@pytest.fixture
def driver(nvml_library: Path, tmp_path: Path) -> Iterator[Driver]:
    """Offer a process on the stand-in."""
    driver = Driver(nvml_library, tmp_path)
    yield driver
    driver.close()
