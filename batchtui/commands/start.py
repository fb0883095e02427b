"""Start a run of a configuration, or find the one that is alive."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from batchtui.commands.resume import ResumePoint, resume_point
from batchtui.config.load import dump_config, load_config
from batchtui.config.schema import Config, to_dict
from batchtui.errors import BatchtuiError, StoreError
from batchtui.records import LaunchSpec, Status
from batchtui.runs.directory import RunDirectory, create_run, list_runs
from batchtui.runs.reader import RunReader
from batchtui.supervise.account import read_account
from batchtui.supervise.control import is_supervised
from batchtui.supervise.daemon import launch
from batchtui.supervise.recover import recover
from batchtui.units import count

# `start` answers once model and data stand, so that a misspelt argument is told at once.
# A cold import of torch from a network file system can take longer; the run goes on then.
_PATIENCE_S = 60.0
_POLL_S = 0.1
_ENDING_S = 10.0

Overrides = Sequence[tuple[str, str]]
Ask = Callable[[ResumePoint], bool]


@dataclass(frozen=True, slots=True)
class Started:
    """A run, and whether it was alive before we came."""

    run: RunDirectory
    was_alive: bool


def start(
    config_path: Path, root: Path, overrides: Overrides, *, resume: bool | None, as_json: bool
) -> int:
    """`batchtui start`: launch detached, print the run's name."""
    started = start_or_find(config_path, root, overrides, ask=asker(resume))
    if not started.was_alive:
        code = settle(started.run)
        if code:
            return code
    name = started.run.name
    if as_json:
        print(json.dumps({"run": name}))
        return 0
    print(name)
    if started.was_alive:
        print(f"batchtui: {name} is alive already; nothing was started", file=sys.stderr)
    return 0


def start_or_find(config_path: Path, root: Path, overrides: Overrides, *, ask: Ask) -> Started:
    """Return the live run of a configuration, or launch a new one.

    Raises:
        ConfigError: the configuration cannot be used; nothing is left behind.
        BatchtuiError: the folder of runs cannot be written, or the supervisor does not start.
    """
    config = load_config(config_path, overrides)
    path = config_path.resolve()
    with only_one(root):
        runs = runs_of(root, path)
        for run in reversed(runs):
            if Status(RunReader(run).summary().status).alive and _alive(run):
                return Started(run, was_alive=True)
        point = resume_point(runs, config)
        if point is not None and not ask(point):
            point = None
        run = _create(root, config, path, point)
        try:
            launch(run)
        except BaseException:
            discard(run)
            raise
    return Started(run, was_alive=False)


def runs_of(root: Path, config_path: Path) -> list[RunDirectory]:
    """Return the runs of a configuration, oldest first; one that cannot be read is none."""
    found = []
    for run in list_runs(root):
        try:
            if run.read_launch().config_path == str(config_path):
                RunReader(run).meta()
                found.append(run)
        except StoreError:
            continue
    return found


def settle(run: RunDirectory) -> int:
    """Wait until the worker stands or has failed; return an exit code for a failure.

    A run whose configuration the worker refuses is removed: it never was one.
    """
    reader = RunReader(run)
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        summary = reader.summary()
        if summary.status != Status.STARTING:
            break
        time.sleep(_POLL_S)
    return refused(run)


def refused(run: RunDirectory) -> int:
    """Report a run that its worker refused to start, and remove it; 0 if it is none."""
    error = read_account(run)
    if error is None or not error.type.endswith("ConfigError"):
        return 0
    print(f"batchtui: {error.message}", file=sys.stderr)
    # Its supervisor still writes down what happened.
    deadline = time.monotonic() + _ENDING_S
    while is_supervised(run) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    discard(run)
    return 2


def discard(run: RunDirectory) -> None:
    """Remove a run that never trained."""
    shutil.rmtree(run.path, ignore_errors=True)


def asker(resume: bool | None) -> Ask:
    """Decide about resuming: as told, else by asking, else no, with a hint."""

    def ask(point: ResumePoint) -> bool:
        if resume is not None:
            return resume
        text = f"{point.parent.name} ({point.status}) left a checkpoint at step {count(point.step)}"
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            print(f"batchtui: {text}; --resume goes on from there", file=sys.stderr)
            return False
        print(f"{text}. Go on from there? [Y/n] ", end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline()
        if not answer:
            raise KeyboardInterrupt
        return answer.strip().lower() in ("", "y", "yes", "j", "ja", "o", "oui", "s", "si")

    return ask


def _alive(run: RunDirectory) -> bool:
    """Whether a supervisor holds the run; one that died is cleaned up after."""
    if is_supervised(run):
        return True
    recover(run)
    return False


@contextlib.contextmanager
def only_one(root: Path) -> Iterator[None]:
    """Hold the folder of runs, so that two starts of one configuration make one run."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise BatchtuiError(
            f"{root}: cannot be written ({error.strerror}); choose another folder with --runs"
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _create(root: Path, config: Config, path: Path, point: ResumePoint | None) -> RunDirectory:
    """Make the run's folder with all that supervisor and worker need to know."""
    run = create_run(root, config.name)
    spec = LaunchSpec(
        run=run.name,
        config=to_dict(config),
        config_path=str(path),
        cwd=os.getcwd(),
        python=os.path.expanduser(config.launch.python or sys.executable),
        parent=point.parent.name if point else None,
        resume_from=str(point.checkpoint) if point else None,
        created=time.time(),
    )
    try:
        run.config.write_text(dump_config(config), encoding="utf-8")
        run.write_launch(spec)
    except (OSError, BatchtuiError) as error:
        discard(run)
        if isinstance(error, BatchtuiError):
            raise
        raise BatchtuiError(f"{run.path}: cannot be written ({error.strerror})") from None
    return run
