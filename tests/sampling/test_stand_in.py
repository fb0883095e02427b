"""The stand-in for NVIDIA's library as a person uses it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.nvml.build import Gpu, compile_library
from tests.sampling.conftest import REPOSITORY, Driver


def _build(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.nvml.build", *arguments],
        cwd=REPOSITORY,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_command_compiles_and_animates(tmp_path: Path) -> None:
    done = _build(str(tmp_path), "--gpus", "8", "--animate", "--seconds", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"LD_LIBRARY_PATH={tmp_path} FAKE_NVML={tmp_path}/gpus.txt\n"
    assert (tmp_path / "libnvidia-ml.so.1").exists()
    first = (tmp_path / "gpus.txt").read_text()
    assert first.count("\ngpu ") == 8
    _build(str(tmp_path), "--gpus", "8", "--animate", "--seconds", "1")
    assert (tmp_path / "gpus.txt").read_text() == first, "the same seed, the same values"


def test_without_a_compiler(tmp_path: Path) -> None:
    done = _build(str(tmp_path), CC="no-such-compiler")
    assert done.returncode == 1
    assert "needs a C compiler" in done.stderr


def test_compiler_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "false")
    with pytest.raises(RuntimeError, match=r"false -shared"):
        compile_library(tmp_path)


def test_comments_and_blanks(driver: Driver) -> None:
    driver.set(Gpu())
    text = driver.control.read_text().replace("used 0", "used 5 # bytes")
    driver.control.write_text("# all\n\n" + text.replace("80GB", "80GB   # a name"))
    gpu = driver.one()
    assert (gpu.used, gpu.name) == (5, Gpu().name)


def test_first_child_of_who_asks(driver: Driver) -> None:
    """The process that asks has none: nobody is listed."""
    driver.set(Gpu(used=7, processes={"child": 7}))
    gpu = driver.one(1, 2)
    assert (gpu.worker_used, gpu.others_used) == (0, 7)


def test_whole_pass_with_a_child_at_work(driver: Driver, tmp_path: Path) -> None:
    """A supervisor's view: its first child is the worker, and holds memory on the card."""
    script = (
        "import json, os, subprocess, sys\n"
        "from batchtui.sampling.machine import MachineSampler\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        "machine = MachineSampler(roots=lambda: [os.getpid()], run_path='.')\n"
        "gpus = ()\n"
        "while not gpus: gpus = machine.sample().gpus\n"
        "child.kill()\n"
        "machine.close()\n"
        "print(gpus[0].worker_used, gpus[0].others_used)\n"
    )
    driver.set(Gpu(used=7, processes={"child": 5, 1: 2}))
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=REPOSITORY,
        env=driver.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("5 2\n", "")
