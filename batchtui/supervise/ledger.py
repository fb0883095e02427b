"""What is written of a run: its status, its events, and commits that may fail.

A run.db that cannot be written (a full disk, a lock) costs the training nothing. What waits is
kept by the store, bounded; the journals are not read any further meanwhile, since they hold
records better than this process can.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from batchtui import units
from batchtui.errors import StoreError
from batchtui.records import Event, Status
from batchtui.runs.store import RunStore
from batchtui.supervise.death import Verdict
from batchtui.text import clean


class Ledger:
    """The supervisor's hand on run.db."""

    def __init__(self, store: RunStore, report: Callable[[str], None] | None = None) -> None:
        """Take the store, to be closed through `close`, and who is told each event too.

        That is supervisor.log: it remains if run.db is lost.
        """
        self.store = store
        self._report = report or to_stderr
        self.status = Status.STARTING
        self._failing_since: float | None = None
        self._failure = ""

    @property
    def failing(self) -> bool:
        """Whether the last commit failed."""
        return self._failing_since is not None

    def set_status(self, status: Status, cause: str | None = None) -> None:
        """Set where the run stands."""
        self.status = status
        self.store.set_meta(status=status.value, cause=cause)

    def stopping(self, why: str) -> None:
        """Record that the worker is being stopped."""
        self.set_status(Status.STOPPING)
        self.event("info", "stop", f"stopping: {why}")

    def event(
        self,
        level: str,
        kind: str,
        message: str,
        *,
        step: int | None = None,
        at: float | None = None,
    ) -> None:
        """Record an event; `at` is in Unix seconds, now by default."""
        message = clean(message)
        when = time.time() if at is None else at
        self.store.add_event(Event(time=when, level=level, kind=kind, message=message, step=step))
        self._report(f"{level}: {message}")

    def ended(self, verdict: Verdict, step: int | None) -> None:
        """Record how the run ended, and what may help next time."""
        level = "info" if verdict.status in (Status.FINISHED, Status.STOPPED) else "error"
        cause = f": {verdict.cause}" if verdict.cause else ""
        self.event(level, "ended", f"{verdict.status.value}{cause}", step=step)
        if verdict.advice:
            self.event("info", "advice", verdict.advice)

    def commit(self) -> bool:
        """Commit what waits; return whether that went well."""
        try:
            self.store.commit()
        except StoreError as error:
            self._fail(error)
            return False
        if self._failing_since is not None:
            self._recover(time.monotonic() - self._failing_since)
        return True

    def close(self, patience: float) -> bool:
        """Commit for the last time, trying for `patience` seconds, and leave one plain file.

        Returns whether all is in the file. Where it is not, the journals still hold it.
        """
        deadline = time.monotonic() + patience
        while not self.commit() and time.monotonic() < deadline:
            time.sleep(0.2)
        complete = not self.failing
        try:
            self.store.close(final=True)
        except StoreError as error:
            self._report(f"error: {error}")
            return False
        return complete

    def _fail(self, error: StoreError) -> None:
        if self._failing_since is None:
            self._failing_since = time.monotonic()
            self._failure = str(error)
            self._report(f"error: {error}")

    def _recover(self, seconds: float) -> None:
        self._failing_since = None
        dropped = self.store.dropped
        self.store.set_meta(dropped_records=dropped)
        self.event(
            "warning",
            "store",
            f"for {units.duration(seconds)} nothing could be recorded ({self._failure}); "
            f"{units.count(dropped)} records were dropped",
        )


def to_stderr(message: str) -> None:
    """Write a line to stderr, which is a supervisor's supervisor.log; the disk may be full."""
    try:
        print(_stamped(message), file=sys.stderr, flush=True)
    except (OSError, ValueError):
        pass


def to_file(path: Path, message: str) -> None:
    """Append a line to supervisor.log, where somebody else's stderr is not that."""
    try:
        with open(path, "a", encoding="utf-8", errors="replace") as file:
            print(_stamped(message), file=file)
    except OSError:
        pass


def _stamped(message: str) -> str:
    return f"{time.strftime('%Y-%m-%d %H:%M:%S')} {clean(message)}"
