"""What run.db would have told at a moment of the past: the same reads, bounded in time.

Steps, samples, events, evaluations and checkpoints carry their time. What `meta` held then is made
of them once more; what nothing recorded tells of is left out, and never taken from today.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from typing import Any, TypeVar

from batchtui.errors import StoreError
from batchtui.records import Event, MachineSample, Start, Status, Step
from batchtui.runs import rollups
from batchtui.runs.directory import RunDirectory
from batchtui.runs.levels import memory_level
from batchtui.runs.progress import WINDOW, Progress
from batchtui.runs.reader import Rank, RunReader
from batchtui.runs.rows import LogSize, field_names
from batchtui.runs.ticks import sample_at

_Record = TypeVar("_Record")

# Settled when the run was launched.
_SETTLED = (
    *("run", "parent", "reason", "config", "config_path", "host", "boot_id", "started", "epochs"),
    *("batch_size", "accumulate", "world_size", "global_batch_size"),
)
_ALL = 1 << 40  # more keys than any table has
_SLOW_SAVE_S = 1.0  # a checkpoint that takes longer is told of while it is written
_STOPPING, _RESTARTING = "stopping: ", "stopping: restarting as "


class MomentReader(RunReader):
    """Read a run as of `moment`, in Unix seconds: nothing that came later is told."""

    def __init__(self, run: RunDirectory, moment: float = math.inf) -> None:
        super().__init__(run)
        self.turn_to(moment)

    def turn_to(self, moment: float) -> None:
        """Read as of another moment from now on."""
        self.moment = moment
        self._stops: dict[str, int] = {}
        self._meta: dict[str, Any] | None = None

    def meta(self) -> dict[str, Any]:
        """Return what the supervisor had written of the run's state, as far as it can be known."""
        if self._meta is None:
            with self._look() as db:
                self._meta = self._sound(lambda: self._then(db))
        return self._meta

    def today(self) -> dict[str, Any]:
        """Return what is known of the run's state now."""
        return super().meta()

    def extent(self) -> tuple[float, float, bool]:
        """Return when the run began, up to when it is recorded, and whether it has ended."""
        today = self.today()
        alive = self._sound(lambda: Status(today.get("status", Status.STARTING)).alive)
        start, end = today.get("started"), None if alive else today.get("ended")
        end = today.get("heartbeat") if end is None else end
        if not isinstance(start, (int, float)) or not isinstance(end, (int, float)):
            raise StoreError(f"{self._run.database}: it does not say when the run was")
        return float(start), float(max(start, end)), not alive

    def latest_machine(self) -> MachineSample | None:
        """Return the newest sample; what of it is not kept so long is None."""
        with self._look() as db:
            newest = rollups.newest(db, rollups.MACHINE)
            if newest is None:
                return None
            stop = self._stop(db, rollups.MACHINE, newest)
            return sample_at(db, stop, newest, super().latest_machine())

    def recent_steps(self, n: int) -> list[Step]:
        """Return the newest n steps, oldest first."""
        with self._look() as db:
            newest = rollups.newest(db, rollups.STEPS)
            stop = 0 if newest is None else self._stop(db, rollups.STEPS, newest)
            steps = super()._newest(Step, "steps", "step", n, f"WHERE step < {stop}")
        for step in steps:
            step.nonfinite = bool(step.nonfinite)
        return steps

    def events(self, limit: int = 1000, after_id: int | None = None) -> list[tuple[int, Event]]:
        """Return events and their numbers in order: the newest, or the first after a number."""
        names = field_names(Event)
        sql = f"SELECT id, {', '.join(names)} FROM events WHERE time <= ? AND id > ?"
        newest = "DESC" if after_id is None else "ASC"
        with self._look() as db:
            rows = db.execute(
                f"{sql} ORDER BY id {newest} LIMIT ?", [self.moment, after_id or 0, limit]
            ).fetchall()
        events = [(row[0], Event(**dict(zip(names, row[1:], strict=True)))) for row in rows]
        return sorted(events, key=lambda numbered: numbered[0])

    def ranks(self) -> list[Rank]:
        """Return the processes of the training; how far each was then is not known."""
        starts = (rank.start for rank in super().ranks())
        return [
            Rank(start, None, None, None, None) for start in starts if start.time <= self.moment
        ]

    def log_sizes(self, n: int) -> list[LogSize]:
        """Return how much of worker.log there was, the newest n notes, oldest first.

        Runs that were recorded before there were such notes have none.
        """
        with self._look() as db:
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'log_sizes'").fetchone():
                return []
            sql = "SELECT time, bytes FROM log_sizes WHERE time <= ? ORDER BY id DESC LIMIT ?"
            rows = db.execute(sql, [self.moment, n]).fetchall()
        return [LogSize(*row) for row in reversed(rows)]

    def step_at(self, step: int) -> float | None:
        """Return when a step had been trained, or the next one that is known; None: it is not."""
        with self._look() as db:
            row = db.execute(
                "SELECT time FROM steps WHERE step >= ? ORDER BY step LIMIT 1", [step]
            ).fetchone()
        return None if row is None else float(row[0])

    # ------------------------------------------------------------------------- the bounds

    def _stop(self, db: sqlite3.Connection, table: rollups.SeriesTable, newest: int) -> int:
        stop = self._stops.get(table.name)
        if stop is None:
            later = math.nextafter(self.moment, math.inf)
            stop = rollups.first_since(db, table, later, newest)
            self._stops[table.name] = stop
        return stop

    def _newest(
        self, record: type[_Record], table: str, order: str, limit: int, where: str = ""
    ) -> list[_Record]:
        until = f"time <= {self.moment!r}" if math.isfinite(self.moment) else "1"
        return super()._newest(record, table, order, limit, f"{where or 'WHERE 1'} AND {until}")

    def _abandoned(self, status: Status, meta: dict[str, Any]) -> bool:
        return False  # whoever looked after it then did so

    # --------------------------------------------------------------------- meta, once more

    def _then(self, db: sqlite3.Connection) -> dict[str, Any]:
        today = super().meta()
        start = next((rank.start for rank in self.ranks() if rank.start.rank == 0), None)
        progress = Progress()
        if start is not None:
            progress.feed(start)
        for step in self.recent_steps(WINDOW + 1):
            progress.feed(step)
        if progress.last is not None:
            (nonfinite,) = self._all(db, rollups.STEPS, ("nonfinite",), 2)
            progress.nonfinite_steps = int(nonfinite or 0)
        sample = self.latest_machine()
        peak, limit = self._memory(db, start, sample, today)
        level, what = memory_level(self._of_kinds(db, "memory"), sample)
        status, successor = self._standing(db, start)
        return {
            **{key: today[key] for key in _SETTLED if key in today},
            **progress.meta(),
            "status": status.value,
            "successor": successor,
            "phase": self._phase(db, start, progress.last),
            "heartbeat": sample.time if sample is not None else None,
            "memory_level": level,
            "memory_what": what,
            "peak_bytes": peak,
            "limit_bytes": limit,
        }

    def _standing(self, db: sqlite3.Connection, start: Start | None) -> tuple[Status, str | None]:
        """Return the status, and the name of the run that it was being stopped for."""
        said = self._of_kinds(db, "stop", "lost", "revived")
        stopping = [e.message for e in said if e.message.startswith(_STOPPING)]
        if stopping:
            following = stopping[-1].partition(_RESTARTING)[2].partition(",")[0]
            return Status.STOPPING, following or None
        silent = [e.kind for e in said if e.kind != "stop"]
        if silent and silent[-1] == "lost":
            return Status.LOST, None
        return Status.STARTING if start is None else Status.RUNNING, None

    def _phase(self, db: sqlite3.Connection, start: Start | None, last: Step | None) -> str | None:
        """Return what the worker was busy with, where that was not training steps."""
        if start is None:
            phases = self._of_kinds(db, "phase")
            return phases[-1].message if phases else None
        for table, phase, least in (
            ("evaluations", "evaluating", 0.0),
            ("checkpoints", "writing a checkpoint", _SLOW_SAVE_S),
        ):
            sql = f"SELECT 1 FROM {table} WHERE time > ? AND time - seconds <= ? AND seconds > ?"
            if db.execute(sql, [self.moment, self.moment, least]).fetchone():
                return phase
        return "first batch" if last is None else None

    def _memory(
        self,
        db: sqlite3.Connection,
        start: Start | None,
        sample: MachineSample | None,
        today: dict[str, Any],
    ) -> tuple[int | None, int | None]:
        """Return the training's peak and the limit it lived under, in bytes."""
        if start is None or sample is None:
            return None, None
        if start.device.startswith("cpu"):
            (peak,) = self._all(db, rollups.MACHINE, ("worker_resident",), 1)
            return peak, sample.limit_total
        limit = today.get("limit_bytes")  # what the card has, which stays the same
        if start.world_size > 1:  # of other ranks no more is kept than their most
            return None, limit
        reserved, allocated = self._all(db, rollups.STEPS, ("reserved", "peak"), 1)
        sql = "SELECT max(peak) FROM evaluations WHERE time <= ?"
        (evaluating,) = db.execute(sql, [self.moment]).fetchone()
        known = [p for p in (reserved or allocated, evaluating) if p is not None]
        return max(known, default=None), limit

    def _all(
        self, db: sqlite3.Connection, table: rollups.SeriesTable, columns: Sequence[str], at: int
    ) -> list[Any]:
        """Return the greatest value (at 1) or the sum (at 2) of columns, None for no value."""
        newest = rollups.newest(db, table)
        found: list[Any] = [None] * len(columns)
        if newest is None:
            return found
        stop = self._stop(db, table, newest)
        for row in rollups.window(db, table, columns, 0, stop, _ALL):
            for n, value in enumerate(row[2 + at : 2 + 4 * len(columns) : 4]):
                if value is not None:
                    before = found[n]
                    both = (value,) if before is None else (before, value)
                    found[n] = max(both) if at == 1 else sum(both)
        return found

    def _of_kinds(self, db: sqlite3.Connection, *kinds: str) -> list[Event]:
        """Return the newest events of some kinds, oldest first."""
        names = field_names(Event)
        marks = ", ".join("?" * len(kinds))
        rows = db.execute(
            f"SELECT {', '.join(names)} FROM events WHERE kind IN ({marks}) AND time <= ? "
            "ORDER BY id DESC LIMIT 200",
            [*kinds, self.moment],
        ).fetchall()
        return [Event(**dict(zip(names, row, strict=True))) for row in reversed(rows)]
