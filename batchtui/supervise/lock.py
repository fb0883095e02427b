"""One supervisor a run: a lock held for life, and in its file who was owned.

The kernel lets go of the lock at any death. The file stays behind then: its presence means that
nobody has finished the run, and its content tells whoever comes next what is left to clean up.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from dataclasses import dataclass, field
from typing import Any

import msgspec

from batchtui.errors import SuperviseError
from batchtui.runs.directory import RunDirectory
from batchtui.runs.identity import Identity

_POLL_S = 0.02


@dataclass(slots=True, kw_only=True)
class Owned:
    """What a supervisor owned, as far as it could write it down."""

    supervisor: Identity
    host: str = field(default_factory=socket.gethostname)
    worker: Identity | None = None
    tree: list[Identity] = field(default_factory=list)  # all processes seen below the worker
    shm_before: list[str] = field(default_factory=list)  # torch's files that were there before
    status: str | None = None  # how it ended, in case that run.db could not be told
    cause: str | None = None


class RunLock:
    """The lock of a run, held by this process."""

    def __init__(self, run: RunDirectory, descriptor: int) -> None:
        """Take an open descriptor that is locked; see `acquire`."""
        self._path = run.lock
        self._descriptor = descriptor

    @classmethod
    def acquire(cls, run: RunDirectory, patience: float = 1.0) -> RunLock | None:
        """Lock a run; None: somebody else holds it.

        `patience`, in seconds, is for those who hold it for a moment to see whether it is held.

        Raises:
            SuperviseError: the lock's file cannot be made.
        """
        deadline = time.monotonic() + patience
        while True:
            try:
                descriptor = os.open(run.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except OSError as error:
                raise SuperviseError(f"{run.lock}: cannot lock: {error.strerror}") from None
            if _try_lock(descriptor, fcntl.LOCK_EX) and _is_at(descriptor, run):
                return cls(run, descriptor)
            os.close(descriptor)
            if time.monotonic() >= deadline:
                return None
            time.sleep(_POLL_S)

    def write(self, owned: Owned) -> None:
        """Replace what is owned. Where that fails, cleaning up will know less; never raises."""
        line = json.dumps(msgspec.to_builtins(owned)).encode() + b"\n"
        try:
            # In place, since the lock is on this very file; what is older and longer stays
            # behind the line's end until it is cut off.
            os.pwrite(self._descriptor, line, 0)
            os.ftruncate(self._descriptor, len(line))
        except OSError:
            pass

    def read(self) -> Owned | None:
        """Return what the previous holder owned; None: nothing readable."""
        return _parse(os.pread(self._descriptor, 1 << 20, 0))

    def release(self, *, finished: bool) -> None:
        """Let go. `finished` removes the file: the run needs nobody any more."""
        if finished:
            try:
                os.unlink(self._path)
            except OSError:
                pass
        os.close(self._descriptor)


def claim(run: RunDirectory) -> RunLock:
    """Lock a run that nobody has ever started.

    Raises:
        SuperviseError: another supervisor holds it, or held it before.
    """
    started = SuperviseError(f"{run.name} has been started before: start a new run")
    if run.database.exists():
        raise started
    lock = RunLock.acquire(run)
    if lock is None:
        raise SuperviseError(f"{run.name}: another supervisor holds it")
    if run.database.exists():  # it came and went while we waited
        lock.release(finished=True)
        raise started
    return lock


def is_held(run: RunDirectory) -> bool:
    """Return whether a process holds the lock of a run."""
    try:
        descriptor = os.open(run.lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _try_lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_at(descriptor: int, run: RunDirectory) -> bool:
    """Return whether the open file is the one in the folder, and not one just removed."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(run.lock))
    except OSError:
        return False


def _parse(content: bytes) -> Owned | None:
    try:
        values: Any = json.loads(content.partition(b"\n")[0])
        return msgspec.convert(values, Owned)
    except (ValueError, RecursionError):
        return None
