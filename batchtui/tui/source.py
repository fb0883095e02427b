"""Views of a run directory: run.db and the end of worker.log, each read in bounded pieces."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from batchtui import units
from batchtui.errors import StoreError
from batchtui.records import Event, MachineSample, RunSummary, Status
from batchtui.runs.directory import RunDirectory
from batchtui.runs.reader import RunReader
from batchtui.runs.remembered import Remembered
from batchtui.runs.series import Series
from batchtui.tui.assemble.memory import own_gpu
from batchtui.tui.assemble.whole import build_view
from batchtui.tui.assemble.windows import KEPT_S
from batchtui.tui.facts import Facts, Takeover
from batchtui.tui.logtail import LogTail
from batchtui.tui.past import Past
from batchtui.tui.view import Course, Points, View

WIDTH = 256  # buckets of a chart at least: two to a cell on 128 columns
CLOSE = 512  # where one chart has the whole screen
RECENT_STEPS = 512
_EVENTS = 50
_FEW_GPUS = 4
_PROCESSOR, _MEMORY = ("cpu", "worker_cpu"), ("limit_used", "worker_resident")
_SILENT_S = 5.0  # since the supervisor wrote
_FULL_BYTES = 1 << 20
_CURVES = ("step_s", "loss", "variance")
# How long the view of an ended run is good while its files stand still: they may lie where a
# change shows late, and forecasts go by when the view was taken.
_STILL_S = 30.0


def free_bytes(folder: Path) -> float:
    """Return what a disk has left for this user, in bytes."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return math.inf
    return disk.f_bavail * disk.f_frsize


class RunSource:
    """Reads one run; `span` are the first and the last step of what is wanted in detail."""

    def __init__(
        self,
        run: RunDirectory,
        log: LogTail | None = None,
        free: Callable[[Path], float] = free_bytes,
        reader: RunReader | None = None,
    ) -> None:
        """Take a run, and the log of the one before where it goes on below that."""
        self._run, self._free = run, free
        self._reader = reader or RunReader(run, remembered=Remembered())
        self._past = Past(run, WIDTH)
        self.log = log or LogTail(run.log)
        self.log.turn_to(run.log)
        self._last_event: int | None = None
        self._phase_since: float | None = None
        self.span: tuple[int, int] | None = None
        self._good: Facts | None = None
        self._still: View | None = None  # of an ended run
        self._still_for: object = None  # what it was made of

    @property
    def successor(self) -> object:
        """The name of the run that takes over, as far as the last look told."""
        return self._good.meta.get("successor") if self._good is not None else None

    def read(self) -> View:
        """Look once; a store that cannot be read now leaves the last look, and says why.

        Of a run that has ended and whose files have not changed it is the same view again.
        """
        now, wanted, still = time.time(), (self.span, _files(self._run)), self._still
        if still is not None and wanted == self._still_for and 0 <= now - still.taken < _STILL_S:
            return still
        view = self.look(now)
        ended = not view.status.alive and view.trouble is None
        self._still, self._still_for = view if ended else None, wanted
        return view

    def look(self, now: float) -> View:
        """Return the view of what the reader tells; `now` is the time of that, in Unix seconds."""
        try:
            with self._reader.open():
                facts = self._facts(now)
        except StoreError as error:
            # The run is on the screen: without its directory the reason is seen where it is narrow.
            facts = self._without_store(now, str(error).replace(f"{self._run.path}{os.sep}", ""))
        return build_view(facts)

    def _facts(self, now: float) -> Facts:
        reader = self._reader
        meta = reader.meta()
        summary = reader.summary(meta)
        machine = reader.latest_machine()
        recent = reader.recent_steps(RECENT_STEPS)
        last = recent[-1].step if recent else 0
        p50 = meta.get("step_time_p50_s")
        p50 = p50 if isinstance(p50, (int, float)) and p50 > 0 else None
        # As many steps as fit into the window of the chart, found without a look at the clock;
        # more, since those before may have been faster than the median of now.
        back = math.ceil(1.5 * KEPT_S / p50) if p50 else RECENT_STEPS
        first = max(1, last - back)
        near = reader.step_series(("step_s",), first, None, WIDTH)
        whole = reader.step_series(("loss", "variance"), None, None, WIDTH)
        span = self.span
        close_up = span and reader.step_series(("step_s", "loss", "variance"), *span, CLOSE)
        processor, memory = self._machine(machine, meta.get("device"))
        facts = Facts(
            now=now,
            summary=summary,
            meta=meta,
            machine=machine,
            recent=recent,
            near=_since(_course(near), KEPT_S),
            whole=_course(whole),
            close_up=_course(close_up) if close_up else None,
            processor=processor,
            memory=memory,
            takeovers=self._takeovers(summary),
            chain=reader.lineage(),
            evaluations=reader.evaluations(200),
            checkpoints=reader.checkpoints(50),
            events=(),
            log=self.log.read(now, self._events()),
            phase_since=self._phase_since,
            trouble=self._unrecorded(summary, meta, now),
        )
        self._good = facts
        return facts

    def _machine(
        self, machine: MachineSample | None, device: object
    ) -> tuple[dict[str, Points], dict[str, Points]]:
        """Return the recent samples of the processor, and of the memory that is shown."""
        if machine is None:
            return {}, {}
        since = machine.time - KEPT_S
        host = self._past.read(self._reader, (*_PROCESSOR, *_MEMORY), since)
        processor = {column: host[column] for column in _PROCESSOR}
        if machine.gpus and device != "cpu":
            shown = own_gpu(machine.gpus, str(device)) or machine.gpus[0]
            if len(machine.gpus) > _FEW_GPUS:  # their rows leave no room for a history
                return processor, {}
            gpu = ("used", "worker_used")
            return processor, self._past.read(self._reader, gpu, since, shown.index)
        return processor, {column: host[column] for column in _MEMORY}

    def _unrecorded(self, summary: RunSummary, meta: Mapping[str, Any], now: float) -> str | None:
        """Say that the numbers stand still because the supervisor cannot write them."""
        heartbeat = meta.get("heartbeat")
        alive = Status(summary.status).alive and summary.status != Status.LOST
        if not alive or not isinstance(heartbeat, (int, float)) or now - heartbeat < _SILENT_S:
            return None
        if self._free(self._run.path) > _FULL_BYTES:
            return None  # a clock that differs, a machine that was asleep
        return f"the disk is full: nothing recorded for {units.duration(now - heartbeat)}"

    def _takeovers(self, summary: RunSummary) -> tuple[Takeover, ...]:
        """Return the runs whose samples are shown, this one last."""
        return (*self._past.takeovers, Takeover(summary.started or 0.0, summary.batch_size))

    def _events(self) -> list[Event]:
        numbered = self._reader.events(_EVENTS, self._last_event)
        if numbered:
            self._last_event = numbered[-1][0]
        for _, event in numbered:
            if event.kind in ("phase", "started"):
                self._phase_since = event.time
        return [event for _, event in numbered]

    def _without_store(self, now: float, reason: str) -> Facts:
        """Show the log all the same: a run that dies at once may have nothing else."""
        log = self.log.read(now)
        if self._good is None:
            summary = RunSummary(run=self._run.name, status=Status.STARTING.value)
            return Facts(now=now, summary=summary, log=log, trouble=reason)
        return dataclasses.replace(self._good, now=now, log=log, events=(), trouble=reason)


def _files(run: RunDirectory) -> tuple[object, ...]:
    """Return what tells whether the files that a view is made of have changed."""
    wal = Path(f"{run.database}-wal")
    return tuple(_stamp(path) for path in (run.database, wal, run.log))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _points(series: Series, column: str) -> Points:
    band = series.columns[column]
    return Points(tuple(series.x), tuple(band.low), tuple(band.high), tuple(band.mean))


def _course(series: Series) -> Course:
    columns = series.columns
    return Course(
        samples=tuple(columns["samples"].mean),
        time=tuple(columns["time"].mean),
        **{name: _points(series, name) for name in _CURVES if name in columns},
    )


def _since(course: Course, span: float) -> Course:
    """Keep the last `span` seconds. A clock that was set back leaves the part after it."""
    times = course.time
    first = len(times) - 1
    later = times[-1] if times else None
    edge = None if later is None else later - span
    while first > 0 and edge is not None and later is not None:
        earlier = times[first - 1]
        if earlier is None or not edge <= earlier <= later:
            break
        first, later = first - 1, earlier
    if first <= 0:
        return course
    x, low, high, mean = course.step_s
    kept = Points(x[first:], low[first:], high[first:], mean[first:])
    return course._replace(step_s=kept, samples=course.samples[first:], time=times[first:])
