"""A trial: one worker for a few steps, watched closely, ended when it takes too much.

It lives in a folder of its own outside the runs, and leaves nothing: no process, no folder, no
file in /dev/shm, however it ends.
"""

from __future__ import annotations

import dataclasses
import getpass
import os
import resource
import shutil
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from batchtui import units
from batchtui.config.schema import Config, to_dict
from batchtui.errors import SuperviseError
from batchtui.records import LaunchSpec, Start, Status
from batchtui.runs.directory import RunDirectory
from batchtui.runs.journal import JournalTail
from batchtui.sampling.cgroup import CgroupMemory, MemoryLimit, tightest
from batchtui.sampling.machine import memory_limits
from batchtui.supervise import shm, tree, worker
from batchtui.supervise.account import read_account, root_cause
from batchtui.supervise.death import Evidence, explain
from batchtui.supervise.log import open_log, read_tail
from batchtui.supervise.observed import Observed, Standing
from batchtui.supervise.watch import Family

FITS, OVER, DIED = "fits", "over the limit", "out of memory"

# In two passes, with an evaluation after each: the second pass has the evaluation's loaders beside
# its own, and what the evaluation left of memory in pieces. The second step is the first with the
# optimizer's state; peaks after two were those after forty in every case that was tried, and two
# more leave less to chance. Few steps, which only correct a forecast, are one pass without loaders.
STEPS, FEW_STEPS, _PASSES = 4, 2, 2
_POLL_S = 0.02
_POLL_SHARE = 0.1  # of a core at most, where a pass over many processes takes long
_SHOW_S = 0.2
_SILENCE_S = 900.0
_END_S = 10.0
_LONGEST = 70  # of a path, in bytes: loaders have sockets below it, whose paths may have 108
# What a limit on private memory counts beyond what is resident: stacks of threads, arenas.
_UNTOUCHED = 2 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a trial took; sizes in bytes, None: not measured."""

    batch_size: int
    outcome: str  # FITS, OVER or DIED
    cause: str | None = None
    peak: int | None = None  # CPU: most resident of all its processes; else most reserved
    allocated: int | None = None  # accelerator: most in tensors
    base: int | None = None  # resident once model and data stood, before the first step
    step_time_s: float | None = None
    samples_per_s: float | None = None
    start: Start | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a trial may take, in bytes."""

    accelerator: bool
    limit: int  # CPU: resident, all processes; accelerator: what its allocator may have
    reserve: int = 0  # of the machine's memory: the trial ends when less than this is left


class TrialFailed(SuperviseError):
    """A trial that ended for another reason than memory."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def run_trial(
    spec: LaunchSpec,
    config: Config,
    bounds: Bounds,
    show: Callable[[Standing], None],
    steps: int = STEPS,
    machine: Callable[[], Iterable[MemoryLimit]] = memory_limits,
) -> Result:
    """Try a configuration at its batch size; to be called from the main thread.

    `spec` says where to stand and with which interpreter; `show` is called several times a second;
    `machine` tells the limits of host memory.

    Raises:
        TrialFailed: it ended for another reason than memory, in one line.
    """
    passes = _PASSES if steps > FEW_STEPS or config.dataloaders.num_workers else 1
    training = dataclasses.replace(config.training, epochs=passes)
    config = dataclasses.replace(config, training=training)
    folder = Path(tempfile.mkdtemp(prefix="batchtui-"))
    before = shm.torch_files()
    family = Family(os.getpid())
    try:
        run = RunDirectory(folder)
        run.journals.mkdir()
        run.write_launch(
            dataclasses.replace(
                spec,
                config=to_dict(config),
                trial_steps=steps,
                trial_limit=bounds.limit if bounds.accelerator else 0,
            )
        )
        worker.adopt_orphans()
        return _Trial(run, config, bounds, family, show, machine).result()
    finally:
        # Whoever is in a hurry and presses Ctrl+C twice still has nothing left behind.
        with _deaf():
            _end_all(family)
            worker.adopt_orphans(False)
            shm.sweep(family.seen, before)
            shutil.rmtree(folder, ignore_errors=True)


class _Trial:
    """A trial in progress."""

    def __init__(
        self,
        run: RunDirectory,
        config: Config,
        bounds: Bounds,
        family: Family,
        show: Callable[[Standing], None],
        machine: Callable[[], Iterable[MemoryLimit]],
    ) -> None:
        self._run, self._config, self._bounds = run, config, bounds
        self._family, self._show, self._machine = family, show, machine
        self._seen = Observed()
        self._news = False  # whether a journal has said something since the last look
        self._memory: CgroupMemory | None = None
        self._kills: int | None = None
        self._fullest = 0.0
        spec = run.read_launch()
        log = open_log(run.log)
        try:
            self._process = worker.spawn(
                worker.command(spec, config, run),
                cwd=spec.cwd,
                env=_environment(worker.environment(spec, config, run), run.path),
                log=log,
            )
        finally:
            os.close(log)
        if not bounds.accelerator:
            _confine(self._process.pid, bounds.limit + _UNTOUCHED)
        ranks = worker.processes(config)
        self._tails = [JournalTail(run.journals, rank) for rank in range(ranks)]

    def result(self) -> Result:
        """Watch it to its end."""
        shown, killed, code = 0.0, None, None
        while code is None:
            began = time.monotonic()
            code = self._process.poll()
            killed = killed or self._look()
            if killed is not None:
                tree.send(tree.descendants(os.getpid()), signal.SIGKILL)
            if began >= shown + _SHOW_S:
                shown = began
                self._show(self._seen.standing())
            time.sleep(max(_POLL_S, (time.monotonic() - began) / _POLL_SHARE))
        self._read_journals()
        return self._judge(code, killed)

    def _look(self) -> str | None:
        """Take note of everything; return why it has to end now, or None."""
        seen, bounds = self._seen, self._bounds
        # After each step and evaluation: how loaders came to stand shows only on a close look.
        closely = self._news and not bounds.accelerator
        resident = self._family.read(closely).resident
        seen.resident(resident, self._process.pid)
        self._read_journals()
        if not bounds.accelerator and seen.peak > bounds.limit:
            return f"{units.fine(seen.peak)} of {units.fine(bounds.limit)}"
        machine = tightest(self._machine())
        if machine is not None:
            self._fullest = max(self._fullest, machine.used / machine.total)
            if machine.headroom < bounds.reserve:
                return f"only {units.fine(machine.headroom)} of memory were left on this machine"
        if time.monotonic() - seen.heard_at > _SILENCE_S:
            raise TrialFailed(
                f"the trial of batch size {self._size} was silent for {_SILENCE_S:.0f} s"
            )
        return None

    @property
    def _size(self) -> int:
        return self._config.dataloaders.batch_size

    def _read_journals(self) -> None:
        self._news = False
        for tail in self._tails:
            for record in tail.read():
                self._seen.heard(record)
                self._news = True
        if self._seen.phase and self._memory is None:  # it stands where it will stay
            self._memory = CgroupMemory(pid=self._process.pid)
            self._kills = self._memory.oom_kills()

    def _judge(self, code: int, killed: str | None) -> Result:
        seen, run = self._seen, self._run
        now = self._memory.oom_kills() if self._memory else None
        tail = read_tail(run.log)
        error = read_account(run)
        verdict = explain(
            Evidence(
                exit_code=code,
                pid=self._process.pid,
                end=seen.end,
                error=error,
                log_tail=tail,
                rank_death=root_cause(tail) if len(self._tails) > 1 else None,
                oom_kills=None if now is None or self._kills is None else now - self._kills,
                memory=self._fullest,
            )
        )
        outcome, cause = FITS, None
        if verdict.status is Status.OUT_OF_MEMORY:
            outcome, cause = DIED, verdict.cause
        elif killed is not None:
            outcome, cause = OVER, killed
        elif verdict.status is not Status.FINISHED:
            usage = error is not None and error.type.endswith("ConfigError")
            raise TrialFailed(
                f"the trial of batch size {self._size} failed: {verdict.cause}", 2 if usage else 1
            )
        elif not self._bounds.accelerator and seen.peak > self._bounds.limit:
            outcome = OVER  # between two looks
        times = seen.times[1:] or seen.times
        step = statistics.median(times) if times else None
        samples = seen.start.global_batch_size if seen.start else self._size
        accelerator = self._bounds.accelerator
        return Result(
            batch_size=self._size,
            outcome=outcome,
            cause=cause,
            peak=seen.reserved if accelerator else seen.peak or None,
            allocated=seen.allocated,
            base=seen.base,
            step_time_s=step,
            samples_per_s=samples / step if step else None,
            start=seen.start,
        )


def _environment(values: dict[str, str], folder: Path) -> dict[str, str]:
    """Have what a killed process leaves of temporary files go with the trial's folder."""
    if len(str(folder)) > _LONGEST:
        return values
    cache = os.path.join(tempfile.gettempdir(), f"torchinductor_{getpass.getuser()}")
    return {"TORCHINDUCTOR_CACHE_DIR": cache, **values, "TMPDIR": str(folder)}


def _confine(pid: int, size: int) -> None:
    """Have the kernel refuse a process what no poll would see in time."""
    try:
        resource.prlimit(pid, resource.RLIMIT_DATA, (size, size))
    except (OSError, ValueError):
        pass  # a lower one is in force, or it is gone already


class _deaf:  # noqa: N801  # reads as a statement
    """A context in which requests to stop wait."""

    def __enter__(self) -> None:
        stops = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, stops)

    def __exit__(self, *_: object) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)


def _end_all(family: Family) -> None:
    """Kill and collect everything below this process."""
    deadline = time.monotonic() + _END_S
    while time.monotonic() < deadline:
        family.read()
        tree.send(tree.descendants(os.getpid()), signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(_POLL_S)
