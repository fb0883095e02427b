"""The one writer of run.db."""

from __future__ import annotations

import dataclasses
import json
import math
import sqlite3
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchtui.errors import StoreError
from batchtui.records import Checkpoint, Evaluation, Event, MachineSample, Start, Step
from batchtui.runs import rollups, rows, schema
from batchtui.runs.filesystem import on_network
from batchtui.runs.journal import Position

MAX_PENDING_STEPS = 20_000  # kept while nothing can be written; of more, the oldest go
MAX_PENDING_SAMPLES = 600
MAX_PENDING_OTHERS = 1_000
MAX_LOG_SIZES = 65_536  # kept

_LOCK_WAIT = 0.5  # seconds; only a closing reader or a backup holds a lock against the writer
# A value that SQLite has no type for, an integer of more than 64 bits, half a character.
_UNSTORABLE = (sqlite3.InterfaceError, sqlite3.ProgrammingError, OverflowError, UnicodeError)
_WAL_SIZE = 16 << 20  # bytes kept of the file after a checkpoint


@dataclass
class _Pending:
    """What waits for the next commit. It survives a commit that fails."""

    meta: dict[str, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    samples: deque[MachineSample] = field(default_factory=deque)
    evaluations: list[Evaluation] = field(default_factory=list)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    log_sizes: list[rows.LogSize] = field(default_factory=list)
    peaks: dict[int, dict[str, int | None]] = field(default_factory=dict)

    @property
    def records(self) -> int:
        own = len(self.steps) + len(self.samples) + len(self.evaluations) + len(self.checkpoints)
        return own + len(self.events) + len(self.starts)


class RunStore:
    """Collect what happens to a run, and write it at each `commit`, all of it or nothing.

    Adding never fails. After a commit that failed, everything is still there for the next one;
    read no more of a journal meanwhile, it keeps records better than this process can.
    """

    def __init__(
        self, path: Path, *, shared: bool | None = None, leave_wal_within: float = 3.0
    ) -> None:
        """Open a run.db, or create it.

        Args:
            path: the file.
            shared: whether other machines may read it; by default, as its file system tells.
            leave_wal_within: seconds that a final close waits for readers.

        Raises:
            StoreError: it can't be created, or it is there and is not ours.
        """
        self._path = path
        self._shared = on_network(path.parent) if shared is None else shared
        self._leave_wal_within = leave_wal_within
        self._pending = _Pending()
        self._written: dict[str, str] = {}  # what meta holds on disk
        self.dropped = 0  # records given up because nothing could be written for too long
        try:
            self._db = sqlite3.connect(path, timeout=_LOCK_WAIT, isolation_level=None)
            try:
                self._open()
            except BaseException:
                self._db.close()
                raise
        except sqlite3.Error as error:
            raise StoreError(f"{path}: {error}") from None

    @property
    def pending_steps(self) -> int:
        """How many steps wait for a commit."""
        return len(self._pending.steps)

    def meta(self) -> dict[str, Any]:
        """Return what is set, committed or not."""
        return {
            key: json.loads(value) for key, value in {**self._written, **self._pending.meta}.items()
        }

    def set_meta(self, **values: Any) -> None:
        """Set what is known of the run now. What did not change costs no write."""
        for key, value in values.items():
            if isinstance(value, float) and not math.isfinite(value):
                value = None
            text = json.dumps(value)
            if self._written.get(key) != text:
                self._pending.meta[key] = text
            else:
                self._pending.meta.pop(key, None)

    def position(self, rank: int) -> Position | None:
        """Return up to where a rank's journal has been committed."""
        text = self._written.get(f"journal_{rank}")
        return Position(*json.loads(text)) if text else None

    def set_position(self, rank: int, position: Position) -> None:
        """Say up to where a rank's journal has been read: committed with what was added."""
        self.set_meta(**{f"journal_{rank}": position})

    def add_steps(self, steps: Sequence[Step], rank: int = 0) -> None:
        """Add a rank's steps. Only rank 0's are kept; of others their memory and progress.

        A step that is there already is replaced.
        """
        if not steps:
            return
        peaks = self._pending.peaks.setdefault(rank, {})
        peaks["step"] = max(step.step for step in steps)
        for name in ("allocated", "reserved", "peak"):
            values = [value for step in steps if (value := getattr(step, name)) is not None]
            if values:
                peaks[name] = max(max(values), peaks.get(name) or 0)
        if rank == 0:
            self._bounded_extend(self._pending.steps, steps, MAX_PENDING_STEPS)

    def add_sample(self, sample: MachineSample) -> None:
        """Add one tick of the machine."""
        samples = self._pending.samples
        samples.append(sample)
        if len(samples) > MAX_PENDING_SAMPLES:
            samples.popleft()
            self.dropped += 1

    def add_event(self, event: Event) -> None:
        """Add an event."""
        # Python spells a file name that is no UTF-8 with surrogates, which SQLite refuses.
        message = event.message.encode("utf-8", "replace").decode()
        event = dataclasses.replace(event, message=message)
        self._bounded_extend(self._pending.events, [event], MAX_PENDING_OTHERS)

    def add_evaluation(self, evaluation: Evaluation) -> None:
        """Add an evaluation; one of the same step is replaced."""
        self._bounded_extend(self._pending.evaluations, [evaluation], MAX_PENDING_OTHERS)

    def add_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Add a checkpoint, or the failure to write one."""
        self._bounded_extend(self._pending.checkpoints, [checkpoint], MAX_PENDING_OTHERS)

    def add_start(self, start: Start) -> None:
        """Add what a rank says of itself; a later one of the same rank replaces it."""
        self._bounded_extend(self._pending.starts, [start], MAX_PENDING_OTHERS)

    def add_log_size(self, time: float, size: int) -> None:
        """Add how much of worker.log there is now; the latest ones are kept."""
        self._pending.log_sizes.append(rows.LogSize(time, size))
        del self._pending.log_sizes[:-MAX_PENDING_SAMPLES]

    def commit(self) -> None:
        """Write what was added, in one transaction.

        Raises:
            StoreError: nothing was written, e.g. the disk is full; the next commit tries again.
        """
        pending = self._pending
        if pending == _Pending():
            return
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._write(pending)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except _UNSTORABLE as error:
            # One such record would stand in the way of all others for ever.
            self._pending = _Pending(meta=pending.meta)
            self.dropped += pending.records
            raise StoreError(f"{self._path}: cannot store a record: {error}") from None
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: cannot write: {error}") from None
        self._written.update(pending.meta)
        self._pending = _Pending()

    def close(self, final: bool = False) -> None:
        """Commit and close; `final` leaves one plain file that opens from a read-only place.

        Raises:
            StoreError: something could not be written. The file is closed all the same.
        """
        try:
            self.commit()
            if final:
                self._leave_wal()
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: cannot finish: {error}") from None
        finally:
            self._db.close()

    def _open(self) -> None:
        refusal = schema.refusal(self._db) if _has_tables(self._db) else None
        if refusal is not None:
            raise StoreError(f"{self._path}: {refusal}")
        # Readers and writer share memory in WAL mode, which machines don't. Without it they wait
        # for each other, and each commit for the disk.
        self._db.execute(f"PRAGMA journal_mode = {'DELETE' if self._shared else 'WAL'}")
        # In WAL mode a power cut can cost the last commits, never the file: good enough for
        # what the journal holds as well, and no fsync a second.
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute(f"PRAGMA journal_size_limit = {_WAL_SIZE}")
        self._db.execute("PRAGMA temp_store = MEMORY")
        (schema.complete if _has_tables(self._db) else schema.create)(self._db)
        self._written = dict(self._db.execute("SELECT key, value FROM meta"))
        self._gpus = set(rollups.groups(self._db, rollups.GPU))

    def _write(self, pending: _Pending) -> None:
        db = self._db
        if pending.steps:
            newest = rollups.newest(db, rollups.STEPS)
            db.executemany(rows.STEP.sql, map(rows.STEP.row, pending.steps))
            rollups.update(db, rollups.STEPS, [step.step for step in pending.steps], newest)
        if pending.samples:
            self._write_samples(list(pending.samples))
        tables: tuple[tuple[rows.Insert, Sequence[Any]], ...] = (
            (rows.EVALUATION, pending.evaluations),
            (rows.CHECKPOINT, pending.checkpoints),
            (rows.EVENT, pending.events),
            (rows.START, pending.starts),
            (rows.LOG_SIZE, pending.log_sizes),
        )
        for insert, records in tables:
            db.executemany(insert.sql, map(insert.row, records))
        db.execute(rows.FORGET_LOG_SIZES, [MAX_LOG_SIZES])
        for rank, peaks in pending.peaks.items():
            db.execute(
                "UPDATE ranks SET step = max(coalesce(step, 0), :step), "
                "allocated = coalesce(max(allocated, :allocated), allocated, :allocated), "
                "reserved = coalesce(max(reserved, :reserved), reserved, :reserved), "
                "peak = coalesce(max(peak, :peak), peak, :peak) WHERE rank = :rank",
                {"allocated": None, "reserved": None, "peak": None, **peaks, "rank": rank},
            )
        db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", pending.meta.items())

    def _write_samples(self, samples: list[MachineSample]) -> None:
        db = self._db
        newest = rollups.newest(db, rollups.MACHINE)
        ticks = range((newest or 0) + 1, (newest or 0) + 1 + len(samples))
        for tick, sample in zip(ticks, samples, strict=True):
            cores = rows.cores_blob(sample.cores)
            db.execute(rows.MACHINE.sql, (tick, cores, *rows.MACHINE.row(sample)))
            for gpu in sample.gpus:
                db.execute(rows.GPU.sql, (gpu.index, tick, sample.time, *rows.GPU.row(gpu)))
                self._gpus.add(gpu.index)
        rollups.update(db, rollups.MACHINE, ticks, newest)
        rollups.forget(db, rollups.MACHINE, newest, ticks[-1])
        for index in self._gpus:  # also of one that is lost: its last bucket becomes full now
            rollups.update(db, rollups.GPU, ticks, newest, index)
            rollups.forget(db, rollups.GPU, newest, ticks[-1], index)
        latest = json.dumps(dataclasses.asdict(samples[-1]))
        db.execute("INSERT OR REPLACE INTO meta VALUES ('machine', ?)", (latest,))

    def _leave_wal(self) -> None:
        """Make the file whole on its own, waiting for readers to finish."""
        deadline = time.monotonic() + self._leave_wal_within
        while True:
            try:
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                (mode,) = self._db.execute("PRAGMA journal_mode = DELETE").fetchone()
                if mode != "wal":
                    return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise
            if time.monotonic() > deadline:
                return  # a reader that never ends: the file stays in WAL mode, and readable
            time.sleep(0.05)

    def _bounded_extend(self, pending: list[Any], records: Sequence[Any], most: int) -> None:
        pending.extend(records)
        excess = len(pending) - most
        if excess > 0:
            del pending[:excess]
            self.dropped += excess


def _has_tables(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM sqlite_master").fetchone() is not None
