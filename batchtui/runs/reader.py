"""What everybody but the supervisor asks of run.db: one read path for screen and commands."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from batchtui.errors import StoreError
from batchtui.records import (
    Checkpoint,
    Evaluation,
    Event,
    MachineSample,
    RunSummary,
    Start,
    Status,
    Step,
)
from batchtui.runs import rollups
from batchtui.runs.access import reading
from batchtui.runs.directory import RunDirectory
from batchtui.runs.identity import Identity
from batchtui.runs.lineage import Stretch, ancestors, read_meta, stretch
from batchtui.runs.remembered import Remembered
from batchtui.runs.rows import Rank, field_names
from batchtui.runs.series import Boundary, Series, bucket_size, collect

HEARTBEAT_LIMIT = 15.0  # seconds of silence after which a supervisor elsewhere counts as lost

_Record = TypeVar("_Record")


class RunReader:
    """Read a run, alive or ended. Every method raises StoreError, one line, if it can't.

    Each call opens the file and closes it; `with reader.open():` makes one look of several
    calls. To be used from one thread at a time.
    """

    def __init__(
        self,
        run: RunDirectory,
        now: Callable[[], float] = time.time,
        host: str | None = None,
        remembered: Remembered | None = None,
    ) -> None:
        """Take a run; `now` and `host` are what its supervisor's signs of life are held against.

        With `remembered`, steps that come late into a bucket that was full are not shown.
        """
        self._run, self._now = run, now
        self._host = host or socket.gethostname()
        self._remembered = remembered
        self._db: sqlite3.Connection | None = None
        self._ancestors: list[Stretch] | None = None
        self._inherited: tuple[list[Stretch], list[Evaluation]] = ([], [])

    @contextlib.contextmanager
    def open(self) -> Iterator[RunReader]:
        """Keep the file open, and what is read consistent, until the end of the block."""
        with self._look():
            yield self

    @contextlib.contextmanager
    def _look(self) -> Iterator[sqlite3.Connection]:
        if self._db is not None:
            yield self._db
            return
        try:
            with reading(self._run.database) as self._db:
                yield self._db
        finally:
            self._db = None

    def meta(self) -> dict[str, Any]:
        """Return all that the supervisor wrote of the run's state."""
        with self._look() as db:
            return self._sound(lambda: read_meta(db))

    def summary(self, meta: dict[str, Any] | None = None) -> RunSummary:
        """Return the run in short, from meta if that was read; `lost` if nobody looks after it."""
        meta = self.meta() if meta is None else meta
        known = {name: meta[name] for name in field_names(RunSummary) if name in meta}
        # A folder that was renamed or copied goes by its new name.
        known = {"status": Status.STARTING.value, **known, "run": self._run.name}
        summary = self._sound(lambda: msgspec.convert(known, RunSummary))
        if self._sound(lambda: self._abandoned(Status(summary.status), meta)):
            summary.status = Status.LOST.value
        return summary

    def step_series(
        self,
        columns: Sequence[str],
        first: int | None = None,
        last: int | None = None,
        width: int = 200,
    ) -> Series:
        """Return columns of the steps first…last, those of the parents included.

        Up to 2·width buckets, at least width where there are as many steps; `time` and
        `samples` are always among the columns.
        """
        columns = list(dict.fromkeys(("time", "samples", *columns)))
        rollups.STEPS.check(columns)
        with self._look() as db:
            chain = self._sound(lambda: self._chain(db))
            if not chain:
                return collect([], columns, 1)
            first = max(chain[0].first, chain[0].first if first is None else first)
            stop = min(chain[-1].stop, chain[-1].stop if last is None else last + 1)
            size = bucket_size(first, stop, width)
            rows: list[rollups.BucketRow] = []
            for part in chain:
                begin, end = max(first, part.first), min(stop, part.stop)
                if begin < end:
                    rows += self._part(part.run, db, columns, begin, end, size)
        return collect(rows, columns, size, least=first)

    def lineage(self) -> list[Boundary]:
        """Return where each run of the chain takes over, oldest first, this run last."""
        with self._look() as db:
            chain = self._sound(lambda: self._chain(db))
        return [Boundary(part.first, part.run.name, part.batch_size) for part in chain]

    def machine_series(
        self, columns: Sequence[str], since: float | None = None, width: int = 200
    ) -> Series:
        """Return columns of the machine's samples since a wall-clock time, else all."""
        return self._tick_series(rollups.MACHINE, columns, since, width, None)

    def gpu_series(
        self, index: int, columns: Sequence[str], since: float | None = None, width: int = 200
    ) -> Series:
        """Return columns of one GPU's samples since a wall-clock time, else all."""
        return self._tick_series(rollups.GPU, columns, since, width, index)

    def latest_machine(self) -> MachineSample | None:
        """Return the newest sample, with its GPUs."""
        with self._look() as db:
            row = db.execute("SELECT value FROM meta WHERE key = 'machine'").fetchone()
        if row is None:
            return None
        return self._sound(lambda: msgspec.convert(json.loads(row[0]), MachineSample))

    def recent_steps(self, n: int) -> list[Step]:
        """Return the run's newest n steps, oldest first."""
        if self._remembered is None:
            return self._steps_after(-1, n)
        return self._remembered.steps(n, lambda step: self._steps_after(step, n))

    def evaluations(self, limit: int = 1000) -> list[Evaluation]:
        """Return the newest evaluations, oldest first, those of the parents included."""
        with self._look() as db:
            own = self._newest(Evaluation, "evaluations", "step", limit)
            parents = [p for p in self._sound(lambda: self._chain(db)) if p.run != self._run]
        if self._inherited[0] != parents:  # they have ended: what they measured stays the same
            found = [evaluation for part in parents for evaluation in _evaluations(part)]
            self._inherited = (parents, found)
        return [*self._inherited[1], *own][-limit:]

    def checkpoints(self, limit: int = 1000) -> list[Checkpoint]:
        """Return the run's newest checkpoints and failures to write one, oldest first."""
        return self._newest(Checkpoint, "checkpoints", "id", limit)

    def events(self, limit: int = 1000, after_id: int | None = None) -> list[tuple[int, Event]]:
        """Return events and their numbers in order: the newest, or the first after a number."""
        names = field_names(Event)
        sql = f"SELECT id, {', '.join(names)} FROM events"
        with self._look() as db:
            if after_id is None:
                rows = db.execute(f"{sql} ORDER BY id DESC LIMIT ?", [limit]).fetchall()[::-1]
            else:
                sql = f"{sql} WHERE id > ? ORDER BY id LIMIT ?"
                rows = db.execute(sql, [after_id, limit]).fetchall()
        return [(row[0], Event(**dict(zip(names, row[1:], strict=True)))) for row in rows]

    def ranks(self) -> list[Rank]:
        """Return the processes of the training, by rank."""
        names = field_names(Start)
        sql = f"SELECT step, allocated, reserved, peak, {', '.join(names)} FROM ranks ORDER BY rank"
        with self._look() as db:
            rows = db.execute(sql).fetchall()
        return [Rank(Start(**dict(zip(names, row[4:], strict=True))), *row[:4]) for row in rows]

    def _steps_after(self, step: int, n: int) -> list[Step]:
        steps = self._newest(Step, "steps", "step", n, f"WHERE step > {step}")
        for one in steps:
            one.nonfinite = bool(one.nonfinite)
        return steps

    def _newest(
        self, record: type[_Record], table: str, order: str, limit: int, where: str = ""
    ) -> list[_Record]:
        names = field_names(record)
        sql = f"SELECT {', '.join(names)} FROM {table} {where} ORDER BY {order} DESC LIMIT ?"
        with self._look() as db:
            rows = db.execute(sql, [limit]).fetchall()[::-1]
        return [record(**dict(zip(names, row, strict=True))) for row in rows]

    def _tick_series(
        self,
        table: rollups.SeriesTable,
        columns: Sequence[str],
        since: float | None,
        width: int,
        group: int | None,
    ) -> Series:
        columns = list(dict.fromkeys(("time", *columns)))
        table.check(columns)
        with self._look() as db:
            newest = rollups.newest(db, rollups.MACHINE)
            if newest is None:
                return collect([], columns, 1)
            first = 0 if since is None else rollups.first_since(db, rollups.MACHINE, since, newest)
            stop = self._stop(db, rollups.MACHINE, newest)
            size = bucket_size(first, stop, width)
            known = rollups.finest(table, first, newest)
            if known > size:  # a while ago: of single ticks nothing is left
                size, first = known, first // known * known
            rows = list(rollups.window(db, table, columns, first, stop, size, group))
        series = collect(rows, columns, size)
        times = [time for time in series.columns["time"].low if time is not None]  # never is
        return dataclasses.replace(series, x=times)

    def _chain(self, db: sqlite3.Connection) -> list[Stretch]:
        """Return what the run and its parents contribute, oldest first."""
        own = stretch(db, self._run)
        stop = self._stop(db, rollups.STEPS, own.stop - 1) if own is not None else 0
        if own is None or stop <= own.first:
            first_step = self.meta().get("first_step")
            return ancestors(self._run, None if first_step is None else first_step + 1)
        if self._remembered is not None:
            self._remembered.check(own.stop)
        if self._ancestors is None:
            # Parents ended before this run began: what they contribute stays the same.
            self._ancestors = ancestors(self._run, own.first)
        return [*self._ancestors, dataclasses.replace(own, stop=stop)]

    def _stop(self, db: sqlite3.Connection, table: rollups.SeriesTable, newest: int) -> int:
        """Return the key after the last one that is told of."""
        return newest + 1

    def _part(
        self,
        run: RunDirectory,
        own: sqlite3.Connection,
        columns: Sequence[str],
        first: int,
        stop: int,
        size: int,
    ) -> list[rollups.BucketRow]:
        """Return what one run of the chain contributes to a window."""
        memory, window = self._remembered, (first, stop, size)

        def read() -> list[rollups.BucketRow]:
            with reading(run.database) as db:
                return list(rollups.window(db, rollups.STEPS, columns, *window))

        if run == self._run:
            if memory is not None:
                return memory.window(own, columns, *window)
            return list(rollups.window(own, rollups.STEPS, columns, *window))
        try:
            return read() if memory is None else memory.parent(run.name, columns, window, read)
        except StoreError:
            self._ancestors = None  # deleted meanwhile: not shown any more
            return []

    def _abandoned(self, status: Status, meta: dict[str, Any]) -> bool:
        if not status.alive:
            return False
        pid = meta.get("supervisor_pid")
        if pid is not None and meta.get("host") == self._host:
            return not Identity(pid, meta.get("supervisor_start"), meta.get("boot_id")).alive()
        heartbeat = meta.get("heartbeat") or self._run.database.stat().st_mtime
        return bool(self._now() - heartbeat > HEARTBEAT_LIMIT)

    def _sound(self, read: Callable[[], _Record]) -> _Record:
        """Turn JSON that is not what the supervisor writes into our own error."""
        try:
            return read()
        except (ValueError, TypeError, OSError) as error:
            raise StoreError(f"{self._run.database}: damaged ({error})") from None


def _evaluations(part: Stretch) -> list[Evaluation]:
    """Return what one run of a chain contributes; nothing, if it cannot be read."""
    try:
        found = RunReader(part.run)._newest(Evaluation, "evaluations", "step", 1000)
    except StoreError:
        return []
    return [evaluation for evaluation in found if evaluation.step < part.stop]
