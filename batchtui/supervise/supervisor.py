"""The supervisor's life: own a run, start its worker, watch it, stop it, explain its end.

One thread and one select loop. Whatever may wait is elsewhere: the worker writes its log itself,
the GPU driver has a thread of the sampler's, a client that does not read is hung up on.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

from batchtui.config.schema import from_dict
from batchtui.errors import SuperviseError
from batchtui.records import Status
from batchtui.runs.directory import RunDirectory
from batchtui.runs.identity import Identity, boot_id
from batchtui.runs.store import RunStore
from batchtui.supervise import daemon, shm, worker
from batchtui.supervise.account import read_account, root_cause
from batchtui.supervise.control import ControlServer
from batchtui.supervise.custody import Custody
from batchtui.supervise.death import Evidence, Verdict, explain
from batchtui.supervise.ledger import Ledger, to_stderr
from batchtui.supervise.lock import Owned, claim
from batchtui.supervise.log import LogTrimmer, open_log, read_tail
from batchtui.supervise.patience import Patience
from batchtui.supervise.succession import Succession
from batchtui.supervise.watch import Family, SamplerFactory, Watch, machine_sampler

_CATCH_UP_S = 0.05  # between two looks at a journal that holds more than was read
_MAX_TRACEBACKS = 10


class Supervisor:
    """Supervises one run, once."""

    def __init__(
        self,
        run: RunDirectory,
        *,
        command: worker.Command = worker.command,
        sampler: SamplerFactory = machine_sampler,
        patience: Patience | None = None,
        launch: Callable[[RunDirectory], None] = daemon.launch,
    ) -> None:
        """Take a run that has its launch.json, what starts the next one, and what tests replace."""
        self._run = run
        self._patience = patience or Patience()
        self._spec = run.read_launch()
        self._config = from_dict(self._spec.config)
        self._command = command
        self._sampler = sampler
        self._launch = launch
        self._selector = selectors.DefaultSelector()
        self._family = Family(os.getpid())
        self._trimmer = LogTrimmer(run.log)
        self._tracebacks = 0
        self._wakes = dict.fromkeys(("tick", "pull", "trim"), time.monotonic())

    def run(self, ready: Callable[[], None] = lambda: None) -> Verdict:
        """Start the worker and stay until it and all below it are gone.

        `ready` is called once the worker is started.

        Raises:
            BatchtuiError: the run cannot be started; it is held by another, or has been started
                before, or its worker cannot be.
        """
        self._lock = claim(self._run)
        try:
            self._ledger = Ledger(RunStore(self._run.database))
            self._describe()
            self._control = ControlServer(self._run.socket, self._selector, self._handle)
        except BaseException:
            self._lock.release(finished=True)
            raise
        self._catch_signals()
        worker.adopt_orphans()
        try:
            process = self._spawn()
        except SuperviseError as error:
            self._ledger.event("error", "ended", str(error))
            self._close(Verdict(Status.FAILED, str(error)))
            raise
        self._begin(process)
        ready()
        while not self._custody.empty():
            self._turn()
        return self._finish()

    # ------------------------------------------------------------------------ beginning

    def _describe(self) -> None:
        """Write what is known before the worker is there."""
        self._me = Identity.of(os.getpid()) or Identity(os.getpid(), None, boot_id())
        self._owned = Owned(supervisor=self._me, shm_before=sorted(shm.torch_files()))
        self._lock.write(self._owned)
        config, ranks = self._config, worker.processes(self._config)
        size, accumulate = config.dataloaders.batch_size, config.training.accumulate
        self._ledger.set_status(Status.STARTING)
        self._ledger.store.set_meta(
            run=self._run.name,
            parent=self._spec.parent,
            config=self._spec.config,
            config_path=self._spec.config_path,
            host=self._owned.host,
            boot_id=self._me.boot,
            supervisor_pid=self._me.pid,
            supervisor_start=self._me.start,
            started=time.time(),
            heartbeat=time.time(),
            # As configured: the worker's own words replace them.
            batch_size=size,
            accumulate=accumulate,
            world_size=ranks,
            global_batch_size=size * accumulate * ranks,
            epochs=config.training.epochs,
        )
        self._ledger.commit()

    def _catch_signals(self) -> None:
        """Turn SIGCHLD and SIGTERM into bytes on a pipe that the loop reads."""
        reader, writer = os.pipe()
        for descriptor in (reader, writer):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        self._selector.register(reader, selectors.EVENT_READ, partial(self._on_signals, reader))

    def _spawn(self) -> subprocess.Popen[bytes]:
        words = self._command(self._spec, self._config, self._run)
        env = worker.environment(self._spec, self._config, self._run)
        try:
            self._run.journals.mkdir(exist_ok=True)
            log = open_log(self._run.log)
        except OSError as error:
            raise SuperviseError(f"{error.filename}: {error.strerror}") from None
        try:
            return worker.spawn(words, cwd=self._spec.cwd, env=env, log=log)
        finally:
            os.close(log)

    def _begin(self, process: subprocess.Popen[bytes]) -> None:
        pid = process.pid
        self._custody = Custody(process, self._ledger, self._family.seen, self._patience)
        self._succession = Succession(self._run, self._config, self._ledger, self._launch)
        self._owned.worker = Identity.of(pid)
        self._lock.write(self._owned)
        self._ledger.store.set_meta(worker_pid=pid)
        self._ledger.event("info", "launched", f"worker started, pid {pid}")
        self._ledger.commit()
        self._watch = Watch(
            self._run,
            self._config,
            self._ledger,
            self._sampler(self._family, self._run.path),
            self._patience,
        )

    # ------------------------------------------------------------------------- the loop

    def _turn(self) -> None:
        """Wait for the next thing to happen, and do it."""
        wake = min(*self._wakes.values(), self._custody.next_wake())
        timeout = max(0.0, wake - time.monotonic())
        for key, _ in self._selector.select(timeout):
            key.data()
        self._custody.turn()
        for name, job in (("tick", self._tick), ("pull", self._pull), ("trim", self._trim)):
            if time.monotonic() >= self._wakes[name]:
                self._attempt(name, job)

    def _attempt(self, name: str, job: Callable[[], None]) -> None:
        """Do a job; a fault in it costs this one time, never the training its supervisor."""
        self._wakes[name] = time.monotonic() + self._patience.tick
        try:
            job()
        except Exception:
            self._tracebacks += 1
            if self._tracebacks <= _MAX_TRACEBACKS:
                to_stderr(f"error: {name} failed")
                traceback.print_exc()

    def _tick(self) -> None:
        too_full = self._watch.tick()
        if (written := self._trimmer.grown()) is not None:
            self._ledger.store.add_log_size(time.time(), written)
        if self._family.changed:
            self._family.changed = False
            self._owned.tree = list(self._family.alive.values())
            self._lock.write(self._owned)
        if too_full is not None:
            self._succession.too_full()
            self._custody.stop(too_full)
        if (too_late := self._succession.overdue(self._watch.progress, self._custody)) is not None:
            self._custody.stop(too_late, now=True)
        self._commit()
        self._control.expire()

    def _pull(self) -> None:
        """Read on, where the last look found more than it may read at once."""
        if self._watch.behind:
            self._watch.pull()
            self._commit()

    def _commit(self) -> None:
        if self._ledger.commit():
            self._watch.committed()
        if self._watch.behind:
            self._wakes["pull"] = time.monotonic() + _CATCH_UP_S

    def _trim(self) -> None:
        self._wakes["trim"] = time.monotonic() + self._trimmer.trim(self._patience.tick)

    # ------------------------------------------------------------------------- requests

    def _on_signals(self, reader: int) -> None:
        try:
            numbers = os.read(reader, 512)
        except BlockingIOError:
            return
        if signal.SIGTERM in numbers:
            again = self._custody.asked is not None
            self._succession.cancel()
            self._custody.stop("the supervisor was told to end (SIGTERM)", now=again)

    def _handle(self, message: dict[str, Any]) -> dict[str, Any]:
        """Answer a request; see `batchtui.supervise.control`."""
        operation = message.get("op")
        if operation == "ping":
            return {"ok": True, "pid": self._me.pid}
        if operation == "stop":
            self._succession.cancel()
            self._custody.stop("asked by the user", now=message.get("now") is True)
            return {"ok": True, "status": self._ledger.status.value}
        if operation == "restart":
            return self._succession.asked(message, self._custody)
        if operation == "status":
            last = self._watch.progress.last
            return {
                "ok": True,
                "run": self._run.name,
                "status": self._ledger.status.value,
                "pid": self._me.pid,
                "worker_pid": self._custody.pid,
                "phase": self._watch.progress.phase,
                "step": last.step if last else None,
            }
        return {"ok": False, "error": f"unknown operation {operation!r}"[:200]}

    # --------------------------------------------------------------------------- ending

    def _finish(self) -> Verdict:
        """Record the rest, explain the death, sweep, and leave a plain file."""
        complete = self._watch.finish()
        log_tail = read_tail(self._run.log)
        verdict = explain(
            Evidence(
                exit_code=self._custody.exit_code,
                pid=self._custody.pid,
                end=self._watch.progress.end,
                error=read_account(self._run),
                log_tail=log_tail,
                rank_death=root_cause(log_tail) if worker.processes(self._config) > 1 else None,
                oom_kills=self._watch.oom_kills,
                asked=self._custody.asked,
                killed=self._custody.killed,
                memory=self._watch.fullest_memory,
                shm=self._watch.fullest_shm,
            )
        )
        verdict = self._succession.judge(verdict)
        self._run.sweep()
        swept = shm.sweep(self._family.seen, self._owned.shm_before)
        if swept.files:
            self._ledger.event("info", "shm", str(swept))
        self._ledger.store.set_meta(exit_code=self._custody.exit_code, phase=None)
        last = self._watch.progress.last
        self._ledger.ended(verdict, step=last.step if last else None)
        self._succession.hand_over(verdict, self._watch.progress)
        self._close(verdict, complete=complete)
        return verdict

    def _close(self, verdict: Verdict, *, complete: bool = True) -> None:
        """Write the verdict and let go; what could not be written is left for `recover`."""
        self._ledger.store.set_meta(ended=time.time(), heartbeat=time.time())
        self._ledger.set_status(verdict.status, verdict.cause)
        self._owned.status, self._owned.cause = verdict.status.value, verdict.cause
        self._lock.write(self._owned)
        complete = self._ledger.close(self._patience.store) and complete
        self._control.close()
        self._lock.release(finished=complete)
