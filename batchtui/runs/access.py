"""Opening a run.db to read it, wherever it lies and however its writer ended."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

from batchtui.errors import StoreError
from batchtui.runs import schema

_LOCK_WAIT = 1.0  # seconds


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a run.db read-only for one consistent look; the file is closed at the end.

    Raises:
        StoreError: it is missing, torn, of a newer version, not ours, or becomes so meanwhile.
    """
    try:
        with contextlib.closing(_connect(path)) as db:
            db.execute("BEGIN")
            refusal = schema.refusal(db)
            if refusal is not None:
                raise StoreError(f"{path}: {refusal}")
            yield db
    except (sqlite3.Error, UnicodeDecodeError) as error:  # rotten text, even in SQLite's message
        raise StoreError(f"{path}: {_advice(path, error)}") from None


def _connect(path: Path) -> sqlite3.Connection:
    """Connect, in a read-only folder by humbler means.

    A file in WAL mode needs its -shm file, which nobody can create in a read-only folder. If
    the writer left a -wal, SQLite reads both without locks into memory of its own; if it left
    nothing, the file is whole, and declared immutable.
    """
    uri = path.absolute().as_uri()
    plain = f"{uri}?mode=ro"
    try:
        return _try(plain)
    except sqlite3.OperationalError:
        writable = os.access(path.parent, os.W_OK)
        cut_off = os.path.exists(f"{path}-journal")
        if cut_off and writable:
            _try(f"{uri}?mode=rw").close()  # SQLite undoes what a dead writer left half done
            return _try(plain)
        if cut_off or writable:
            raise
    if os.path.exists(f"{path}-wal"):
        return _try(f"{plain}&vfs=unix-none", "PRAGMA locking_mode = EXCLUSIVE")
    return _try(f"{plain}&immutable=1")


def _try(uri: str, pragma: str = "PRAGMA query_only = ON") -> sqlite3.Connection:
    db = sqlite3.connect(uri, uri=True, timeout=_LOCK_WAIT, isolation_level=None)
    try:
        db.execute(pragma)
        db.execute("SELECT 1 FROM sqlite_master").fetchone()
    except BaseException:
        db.close()
        raise
    return db


def _advice(path: Path, error: Exception) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return "not a file: move it away and start a new run"
    except FileNotFoundError:
        if not path.parent.exists():
            return "gone, with the run's directory"
        return "not there: the run has not recorded anything yet"
    except OSError as trouble:
        return f"cannot be opened: {trouble.strerror}"
    if "locked" in str(error):
        return "locked by another program for too long: try again"
    if isinstance(error, sqlite3.OperationalError) and "unable to open" in str(error):
        return "cannot be opened: check its permissions"
    return f"damaged ({error}): the run's journal and worker.log beside it may still be readable"
