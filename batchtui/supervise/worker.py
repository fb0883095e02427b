"""The training's command, environment and birth."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import batchtui
from batchtui.config.schema import Config
from batchtui.errors import SuperviseError
from batchtui.records import LaunchSpec
from batchtui.runs.directory import RunDirectory

Command = Callable[[LaunchSpec, Config, RunDirectory], Sequence[str]]

_BOOTSTRAP = Path(batchtui.__file__).parent / "train" / "bootstrap.py"
# One arena, and big blocks straight from the kernel: memory that was freed goes back, and the
# peak follows the batch size. It costs some system time in each step.
_LOW_MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "131072",
    "MALLOC_TRIM_THRESHOLD_": "131072",
}
# How often a thread of libgomp, which PyTorch computes with on the CPU, looks for its next piece of
# work before it sleeps. By default some milliseconds: where another process wants the same cores,
# each step then waits for threads that cannot run while others spin. On two cores beside one busy
# process a step of 0.9 s took over 4 s, and 1 to 2 s with this; alone it takes the same.
_SPINS = "10000"
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
# Looked up here, because nothing may be loaded between fork and exec.
_prctl = ctypes.CDLL(None, use_errno=True).prctl


def processes(config: Config) -> int:
    """Return how many ranks the training has."""
    return config.launch.processes * config.launch.nodes


def command(spec: LaunchSpec, config: Config, run: RunDirectory) -> list[str]:
    """Return what to run: the worker, or torchrun if there is more than one.

    Raises:
        SuperviseError: more than one node.
    """
    worker = [str(_BOOTSTRAP), str(run.path)]
    if processes(config) == 1:
        return [spec.python, *worker]
    if config.launch.nodes > 1:
        raise SuperviseError(
            f"launch.nodes: {config.launch.nodes}: only one node can be launched so far"
        )
    return [
        *(spec.python, "-m", "torch.distributed.run", "--standalone"),
        *("--nproc-per-node", str(config.launch.processes)),
        # A rank that dies ends the run: whoever resumes it does so from a checkpoint.
        *("--max-restarts", "0"),
        # By default it makes a temporary folder, and leaves it behind.
        *("--log-dir", str(run.path / "torchrun")),
        *worker,
    ]


def torchrun_error(run: RunDirectory) -> Path:
    """Return the file in which torchrun keeps the earliest failure of its ranks."""
    return run.path / "torchrun-error.json"


def environment(spec: LaunchSpec, config: Config, run: RunDirectory) -> dict[str, str]:
    """Return the worker's environment: ours, and what launch and configuration add."""
    values = dict(os.environ)
    # A crash in native code then leaves a traceback in worker.log, and a line that is printed is
    # there at once: Python would hold back 8 KiB, since the log is no terminal.
    values.setdefault("PYTHONFAULTHANDLER", "1")
    values.setdefault("PYTHONUNBUFFERED", "1")
    if "OMP_WAIT_POLICY" not in values:
        values.setdefault("GOMP_SPINCOUNT", _SPINS)
    if config.limits.low_memory:
        values.update(_LOW_MEMORY)
    if processes(config) > 1:
        values["TORCHELASTIC_ERROR_FILE"] = str(torchrun_error(run))
    values.update(spec.environment)
    values.update(config.launch.env)
    return values


def adopt_orphans(adopt: bool = True) -> None:
    """Have every orphan below this process handed to it, instead of to init; or no more."""
    _prctl(_PR_SET_CHILD_SUBREAPER, int(adopt), 0, 0, 0)


def spawn(
    words: Sequence[str], *, cwd: str, env: dict[str, str], log: int
) -> subprocess.Popen[bytes]:
    """Start the worker in a session of its own, its output going to the descriptor `log`.

    The kernel sends it SIGTERM when the calling *thread* ends, and again for each other thread
    of ours that it is handed to then. So call this from the main thread, and before there is
    any other, since Python code runs between fork and exec.

    Raises:
        SuperviseError: it cannot be started; one line.
    """
    parent = os.getpid()

    def prepare() -> None:
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)  # what is ignored would stay so in the worker
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it died before the kernel was told
            os._exit(1)

    try:
        return subprocess.Popen(
            list(words),
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=prepare,
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        reason = getattr(error, "strerror", None) or error
        where = getattr(error, "filename", None) or words[0]
        raise SuperviseError(f"the worker cannot be started: {where}: {reason}") from None
