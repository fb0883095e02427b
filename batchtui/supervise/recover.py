"""Cleaning up after a supervisor that died: any command may do it, one at a time.

The kernel has sent the worker SIGTERM then, so that it may still be writing its last checkpoint.
What it wrote of itself is read, what is left of it is ended, and run.db is closed.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from functools import partial
from typing import Any

from batchtui.config.schema import from_dict
from batchtui.errors import BatchtuiError, StoreError
from batchtui.records import End, Status
from batchtui.runs.directory import RunDirectory
from batchtui.runs.identity import Identity, boot_id
from batchtui.runs.progress import Progress
from batchtui.runs.reader import RunReader
from batchtui.runs.store import RunStore
from batchtui.supervise import shm, tree, worker
from batchtui.supervise.account import read_account
from batchtui.supervise.death import Evidence, Verdict, explain
from batchtui.supervise.ingest import Ingest
from batchtui.supervise.ledger import Ledger, to_file
from batchtui.supervise.lock import Owned, RunLock
from batchtui.supervise.log import read_tail
from batchtui.supervise.successor import clear_unborn

_GRACE_S = 60.0  # for the last checkpoint, after the supervisor's last sign of life
_ELSEWHERE_S = 300.0  # without a sign of life from another host, whose processes we cannot see
_KILLED_S = 5.0  # for killed processes to be gone
_STORE_S = 3.0
_POLL_S = 0.1


def recover_if_abandoned(run: RunDirectory) -> None:
    """Clean up after a run's supervisor if it is dead, without waiting and without failing.

    Costs one look at the file system where there is nothing to do.
    """
    if not os.path.exists(run.lock):
        return
    try:
        recover(run, patience=0.0)
    except (BatchtuiError, OSError, ValueError, TypeError):
        pass  # whoever reads the run next tells what is wrong with it


def recover(run: RunDirectory, *, patience: float = _GRACE_S + _KILLED_S) -> bool:
    """Clean up after a dead supervisor; return whether nobody is at work on the run any more.

    Waits up to `patience` seconds for a worker that may be writing its last checkpoint, and
    kills it when its time is over.

    Raises:
        BatchtuiError: run.db or launch.json can't be used.
        OSError: the folder can't be written.
    """
    if not os.path.exists(run.lock):
        return True
    lock = RunLock.acquire(run, patience=0.0)
    if lock is None:
        return False
    finished = False
    try:
        finished = _clean_up(run, lock.read(), patience)
    finally:
        lock.release(finished=finished)
    return finished


def _clean_up(run: RunDirectory, owned: Owned | None, patience: float) -> bool:
    """Do what a supervisor does at the end; return whether that is complete."""
    if owned is None and not run.database.exists():
        return True  # it never got as far as starting anything
    heartbeat = _heartbeat(run)
    if owned is not None:
        silence = time.time() - heartbeat
        if owned.host != socket.gethostname() and silence < _ELSEWHERE_S:
            return False
        if not _await_worker(owned, grace=_GRACE_S - silence, patience=patience):
            return False
    ledger = Ledger(RunStore(run.database), partial(to_file, run.supervisor_log))
    clear_unborn(run, ledger)
    if not Status(ledger.store.meta().get("status", Status.LOST)).alive:
        run.socket.unlink(missing_ok=True)
        return ledger.close(_STORE_S)  # it died when all was said
    killed = _end_leftovers(owned, ledger) if owned else False
    complete, progress = _ingest(run, ledger)
    verdict = _verdict(run, owned, progress.end or _end(ledger), killed)
    run.sweep()
    pids = {identity.pid for identity in (owned.tree if owned else [])}
    swept = shm.sweep(pids, owned.shm_before if owned else shm.torch_files())
    if swept.files:
        ledger.event("info", "shm", str(swept))
    ledger.ended(verdict, step=progress.last.step if progress.last else None)
    end = progress.end
    ledger.store.set_meta(ended=end.time if end else heartbeat, phase=None)
    ledger.set_status(verdict.status, verdict.cause)
    run.socket.unlink(missing_ok=True)
    return ledger.close(_STORE_S) and complete


def _heartbeat(run: RunDirectory) -> float:
    """Return the supervisor's last sign of life, in Unix seconds."""
    try:
        beat = RunReader(run).meta().get("heartbeat")
    except StoreError:
        beat = None
    return beat if isinstance(beat, (int, float)) else run.lock.stat().st_mtime


def _await_worker(owned: Owned, *, grace: float, patience: float) -> bool:
    """Wait for the worker to end by itself; return whether its time is over, one way or other."""
    until = time.monotonic() + min(grace, patience)
    while owned.worker is not None and owned.worker.alive():
        if time.monotonic() >= until:
            return grace <= patience
        time.sleep(_POLL_S)
    return True


def _end_leftovers(owned: Owned, ledger: Ledger) -> bool:
    """Kill what is left of the worker and its tree; return whether the worker was among it."""
    known = [identity for identity in (owned.worker, *owned.tree) if identity is not None]
    worker_left = owned.worker is not None and owned.worker.alive()
    told = False
    deadline = time.monotonic() + _KILLED_S
    while (left := _alive(known)) and time.monotonic() < deadline:
        if not told:
            pids = ", ".join(str(identity.pid) for identity in left)
            ledger.event("warning", "stop", f"SIGKILL to what the worker left: {pids}")
            ledger.commit()
        told = True
        below = tree.descendants(*(identity.pid for identity in left))
        known += [identity for pid in below if (identity := Identity.of(pid)) is not None]
        tree.send([identity.pid for identity in _alive(known)], signal.SIGKILL)
        time.sleep(_POLL_S / 2)
    return worker_left


def _alive(identities: list[Identity]) -> list[Identity]:
    own = os.getpid()
    return [i for i in dict.fromkeys(identities) if i.pid != own and i.alive()]


def _ingest(run: RunDirectory, ledger: Ledger) -> tuple[bool, Progress]:
    """Read the journals from where the supervisor stopped; return whether all was written."""
    before = ledger.store.meta()
    config = from_dict(run.read_launch().config)
    progress = Progress()
    complete = Ingest(run.journals, worker.processes(config), ledger, progress).drain()
    # What was counted or measured over the whole run goes on from the supervisor's figures.
    values: dict[str, Any] = progress.meta()
    if "nonfinite_steps" in values:
        values["nonfinite_steps"] += before.get("nonfinite_steps") or 0
    if progress.accelerator_peak is not None:
        values["peak_bytes"] = max(progress.accelerator_peak, before.get("peak_bytes") or 0)
    ledger.store.set_meta(**values)
    return complete, progress


def _end(ledger: Ledger) -> End | None:
    """Return the worker's last record, if the supervisor had read it already."""
    end = ledger.store.meta().get("end")
    return End(**end) if isinstance(end, dict) else None


def _verdict(run: RunDirectory, owned: Owned | None, end: End | None, killed: bool) -> Verdict:
    """Name the death of worker and supervisor, as far as they left word."""
    if owned is not None and owned.status is not None:
        return Verdict(Status(owned.status), owned.cause)
    rebooted = owned is not None and owned.supervisor.boot != boot_id()
    if rebooted and owned is not None and owned.host == socket.gethostname():
        why = "the machine was restarted"
    else:
        why = "the supervisor was killed"
    told = explain(
        Evidence(
            end=end,
            error=read_account(run),
            log_tail="" if rebooted else read_tail(run.log),
            asked=f"{why}; the worker saved its work and stopped" if end else None,
        )
    )
    if told.status is not Status.FAILED:
        return told
    if killed:
        return Verdict(Status.FAILED, f"{why}; the worker did not stop, and was killed")
    return Verdict(Status.FAILED, f"{why}; {told.cause}", told.advice)
