"""Starting a supervisor that stays when its starter goes, and what keeps it from starting."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest

from batchtui.errors import SuperviseError
from batchtui.runs.directory import RunDirectory
from batchtui.supervise.control import is_supervised, request
from batchtui.supervise.daemon import launch
from tests.supervise.conftest import Training, write_launch


def test_a_detached_supervisor_survives_its_starter(training: Training) -> None:
    """The starter ends, with its session, as when a terminal is closed."""
    program = (
        "import sys, pathlib\n"
        "from batchtui.supervise.daemon import launch\n"
        "from batchtui.runs.directory import RunDirectory\n"
        "launch(RunDirectory(pathlib.Path(sys.argv[1])), sys.argv[2:])\n"
        "print('launched', flush=True)\n"
        "import os, signal; os.killpg(0, signal.SIGHUP)\n"
    )
    words = [sys.executable, "-c", program, str(training.run.path), *training.worker()]
    starter = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True)
    out, _ = starter.communicate(timeout=15)
    assert (out, starter.returncode) == ("launched\n", -signal.SIGHUP)
    training.until_steps(5)
    supervisor = psutil.Process(training.meta()["supervisor_pid"])
    assert supervisor.terminal() is None
    assert os.getsid(supervisor.pid) != supervisor.pid
    assert supervisor.cwd() == "/"
    request(training.run, {"op": "stop"})
    assert training.end()["status"] == "stopped"


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda run: run.launch.write_text("{"), "launch.json: damaged"),
        (lambda run: run.launch.unlink(), "launch.json: No such file"),
        (lambda run: run.database.write_text("torn"), "has been started before"),
        (lambda run: run.log.mkdir(), "worker.log: Is a directory"),
        (lambda run: run.supervisor_log.mkdir(), "supervisor.log: Is a directory"),
    ],
)
def test_why_a_launch_fails(run: RunDirectory, prepare, reason: str) -> None:
    prepare(run)
    with pytest.raises(SuperviseError, match=reason) as failure:
        launch(run, [sys.executable, "-c", "pass"])
    assert "\n" not in str(failure.value)
    assert not is_supervised(run)


def test_a_launch_whose_folder_is_gone(run: RunDirectory) -> None:
    gone = run.path.parent / "gone"
    gone.mkdir()
    spec = run.read_launch()
    spec.cwd = str(gone)
    run.write_launch(spec)
    gone.rmdir()
    with pytest.raises(SuperviseError, match="gone: No such file or directory"):
        launch(run, [sys.executable, "-c", "pass"])


def test_a_launch_without_an_interpreter(run: RunDirectory) -> None:
    write_launch(run)
    spec = run.read_launch()
    spec.python = "/no/python"
    run.write_launch(spec)
    with pytest.raises(SuperviseError, match=f"cannot start {run.name}: the worker cannot be"):
        launch(run)
