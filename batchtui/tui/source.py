"""Views of a run directory: run.db and the end of worker.log, each read in bounded pieces."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from batchtui.errors import StoreError
from batchtui.records import Event, MachineSample, RunSummary, Status
from batchtui.runs.directory import RunDirectory
from batchtui.runs.reader import RunReader
from batchtui.runs.series import Band, Series
from batchtui.tui.assemble.whole import build_view
from batchtui.tui.assemble.windows import RECENT_S
from batchtui.tui.facts import Facts
from batchtui.tui.logtail import LogTail
from batchtui.tui.view import Points, View

WIDTH = 256  # buckets of a chart at least: two to a cell on 128 columns
RECENT_STEPS = 512
_EVENTS = 50


class RunSource:
    """Reads one run. An ended run is read whole once, and then only its summary."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._reader = RunReader(run)
        self._log = LogTail(run.log)
        self._last_event: int | None = None
        self._good: Facts | None = None

    def read(self) -> View:
        """Look once; a store that cannot be read now leaves the last look, and says why."""
        now = time.time()
        try:
            with self._reader.open():
                facts = self._facts(now)
        except StoreError as error:
            facts = self._without_store(now, str(error))
        return build_view(facts)

    def _facts(self, now: float) -> Facts:
        reader = self._reader
        summary = reader.summary()
        meta = reader.meta()
        machine = reader.latest_machine()
        recent = reader.recent_steps(RECENT_STEPS)
        last = recent[-1].step if recent else 0
        p50 = meta.get("step_time_p50_s")
        p50 = p50 if isinstance(p50, (int, float)) and p50 > 0 else None
        # As many steps as fit into the window of the chart, found without a look at the clock.
        back = math.ceil(1.1 * RECENT_S / p50) if p50 else RECENT_STEPS
        first = max(1, last - back)
        near = reader.step_series(("step_s",), first, None, WIDTH)
        whole = reader.step_series(("loss", "variance"), None, None, WIDTH)
        facts = Facts(
            now=now,
            summary=summary,
            meta=meta,
            machine=machine,
            recent=recent,
            step_times=_since(_over_time(near, "step_s"), RECENT_S),
            loss=_points(whole, "loss"),
            variance=_points(whole, "variance"),
            memory=self._memory(machine, meta.get("device")),
            evaluations=reader.evaluations(200),
            checkpoints=reader.checkpoints(5),
            events=(),
            log=self._log.read(now, self._events()),
        )
        self._good = facts
        return facts

    def _memory(self, machine: MachineSample | None, device: object) -> dict[str, Points]:
        if machine is None:
            return {}
        since = machine.time - RECENT_S
        if len(machine.gpus) == 1 and device != "cpu":
            columns: Sequence[str] = ("used", "worker_used")
            series = self._reader.gpu_series(machine.gpus[0].index, columns, since, WIDTH)
        elif not machine.gpus or device == "cpu":
            columns = ("limit_used", "worker_resident")
            series = self._reader.machine_series(columns, since, WIDTH)
        else:
            return {}
        return {column: _points(series, column) for column in columns}

    def _events(self) -> list[Event]:
        numbered = self._reader.events(_EVENTS, self._last_event)
        if numbered:
            self._last_event = numbered[-1][0]
        return [event for _, event in numbered]

    def _without_store(self, now: float, reason: str) -> Facts:
        """Show the log all the same: a run that dies at once may have nothing else."""
        log = self._log.read(now)
        if self._good is None:
            summary = RunSummary(run=self._run.name, status=Status.STARTING.value)
            return Facts(now=now, summary=summary, log=log, trouble=reason)
        good = self._good
        return Facts(
            now=now, summary=good.summary, meta=good.meta, machine=good.machine,
            recent=good.recent, step_times=good.step_times, loss=good.loss,
            variance=good.variance, memory=good.memory, evaluations=good.evaluations,
            checkpoints=good.checkpoints, log=log, trouble=reason,
        )  # fmt: skip


def _points(series: Series, column: str) -> Points:
    return _band(series.x, series.columns[column])


def _over_time(series: Series, column: str) -> Points:
    """Return a column over the wall clock instead of steps."""
    times = series.columns["time"].mean
    known = [index for index, moment in enumerate(times) if moment is not None]
    band = series.columns[column]
    return _band(
        [times[index] or 0.0 for index in known],
        Band(*([values[index] for index in known] for values in (band.low, band.high, band.mean))),
    )


def _band(x: Sequence[float], band: Band) -> Points:
    return Points(tuple(x), tuple(band.low), tuple(band.high), tuple(band.mean))


def _since(points: Points, span: float) -> Points:
    """Keep the last `span` seconds. A clock that was set back leaves the part after it."""
    if not points.x:
        return points
    first = len(points.x) - 1
    edge = points.x[-1] - span
    while first > 0 and edge <= points.x[first - 1] <= points.x[first]:
        first -= 1
    return Points(points.x[first:], points.low[first:], points.high[first:], points.mean[first:])
