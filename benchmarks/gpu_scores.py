"""Score forecasts against measured rows: for `forecast_gpu.py`. Errors are per cent."""

from __future__ import annotations

import itertools
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from batchtui.errors import BatchtuiError
from batchtui.forecast.events import Trace
from batchtui.forecast.fit import Measured
from batchtui.forecast.forecast import Forecaster
from batchtui.forecast.rows import Context
from batchtui.forecast.settings import kernel_code
from batchtui.forecast.verdict import WILL_NOT_FIT
from benchmarks.gpu_tables import Row, Traces, capacities

ANCHORS = ("xmem", "dnnmem", "schedtune")  # columns of other tools: <name>_mib, <name>_oom


@dataclass(frozen=True, slots=True)
class Scored:
    """A row beside its forecast."""

    row: Row
    peak: int
    low: int
    high: int
    verdict: str

    @property
    def error(self) -> float:
        """Signed, per cent of what was measured."""
        return (self.peak / self.row.measured - 1) * 100

    @property
    def missed(self) -> bool:
        return self.row.out_of_memory and self.verdict != WILL_NOT_FIT

    @property
    def wrong(self) -> bool:
        return self.row.out_of_memory != (self.verdict == WILL_NOT_FIT)


class Forecasters:
    """One forecaster for each trace and GPU, so that replays are made once."""

    def __init__(self, rows: Sequence[Row], traces: Traces | None) -> None:
        self._traces = traces
        self._capacities = capacities(rows)
        self._made: dict[Any, Forecaster] = {}

    def usable(self, row: Row) -> int:
        return self._capacities[row.gpu][1]

    def of(self, row: Row) -> Forecaster | None:
        trace: Trace | None = None
        if self._traces is not None:
            trace = self._traces.of(row)
            if trace is None:
                return None
        key = (row.gpu, row.subject)
        if key not in self._made:
            whole, usable = self._capacities[row.gpu]
            # A table's readings begin when the context stands; what it loads later counts.
            around = Context(overhead=whole - usable, kernels=kernel_code(row.gpu))
            self._made[key] = Forecaster(trace, capacity=whole, context=around)
        self._made[key].measured = []
        return self._made[key]


def score(rows: Sequence[Row], traces: Traces) -> list[Scored]:
    """Forecast every row that can be traced, from nothing measured."""
    makers = Forecasters(rows, traces)
    result = []
    for row in rows:
        forecaster = makers.of(row)
        if forecaster is not None:
            made = forecaster.row(row.batch_size)
            result.append(
                Scored(row, made.peak_bytes, made.low_bytes, made.high_bytes, made.verdict)
            )
    return result


def summary(scored: Sequence[Scored]) -> dict[str, Any]:
    """Summarise a table: errors over the rows that survived, verdicts over all."""
    alive = [item for item in scored if not item.row.out_of_memory]
    errors = [abs(item.error) for item in alive]
    widths = [(item.high - item.low) / 2 / item.peak * 100 for item in alive]
    inside = [item.low <= item.row.measured <= item.high for item in alive]
    return {
        "rows": len(alive),
        **spread(errors),
        "missed_oom": _share([item.missed for item in scored]),
        "wrong_verdicts": _share([item.wrong for item in scored]),
        "inside_interval": _share(inside),
        "widest_interval": round(max(widths, default=0.0), 2),
        "verdicts": len(scored),
        "anchors": {name: anchor(scored, name) for name in ANCHORS if _has(scored, name)},
    }


def spread(errors: Sequence[float]) -> dict[str, float | None]:
    """Return median, mean and 90th percentile."""
    if not errors:
        return {"median": None, "mean": None, "p90": None}
    return {
        "median": round(statistics.median(errors), 3),
        "mean": round(statistics.mean(errors), 3),
        "p90": round(quantile(errors, 0.9), 3),
    }


def quantile(values: Iterable[float], fraction: float) -> float:
    """Interpolate linearly between the ordered values."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * fraction
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def anchor(scored: Sequence[Scored], name: str) -> dict[str, Any]:
    """Score another tool's column on the same rows."""
    errors, wrong, missed = [], [], []
    for item in scored:
        text = item.row.others.get(f"{name}_mib")
        if not text:
            continue
        says = item.row.others.get(f"{name}_oom") == "1"
        wrong.append(says != item.row.out_of_memory)
        missed.append(item.row.out_of_memory and not says)
        if not item.row.out_of_memory:
            errors.append(abs(float(text) * (1 << 20) / item.row.measured - 1) * 100)
    return {
        "rows": len(errors),
        **spread(errors),
        "missed_oom": _share(missed),
        "wrong_verdicts": _share(wrong),
    }


def _has(scored: Sequence[Scored], name: str) -> bool:
    return any(item.row.others.get(f"{name}_mib") for item in scored)


def _share(flags: Sequence[bool]) -> float:
    return round(100 * sum(flags) / len(flags), 2) if flags else 0.0


def _groups(rows: Sequence[Row]) -> list[list[Row]]:
    """Group surviving rows by GPU, model and optimizer: runs of one configuration."""
    groups: defaultdict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        if not row.out_of_memory:
            same = (row.gpu, row.model, row.optimizer, row.image_size, row.tokens)
            groups[same].append(row)
    return list(groups.values())


def after_runs(
    rows: Sequence[Row], traces: Traces | None, *, runs: int, reach: float, whole: bool = False
) -> dict[str, Any]:
    """Forecast each row from `runs` others of its configuration, scaled at most `reach` times.

    `whole`: the table counts the device's context too. Without traces: a line through the runs.
    """
    makers = Forecasters(rows, traces)
    errors = []
    for group in _groups(rows):
        for row in group:
            forecaster = makers.of(row)
            if forecaster is None:
                continue
            near = [
                other
                for other in group
                if other.batch_size != row.batch_size
                and 1 / reach <= row.batch_size / other.batch_size <= reach
            ]
            for known in itertools.combinations(near, runs):
                if len({other.batch_size for other in known}) < runs:
                    continue
                forecaster.measured = [
                    Measured(
                        other.batch_size,
                        other.measured,
                        capacity=None if whole else makers.usable(other),
                        whole=whole,
                    )
                    for other in known
                ]
                try:
                    made = forecaster.row(row.batch_size)
                except BatchtuiError:
                    continue
                errors.append(abs(made.peak_bytes / row.measured - 1) * 100)
    return {"cases": len(errors), **spread(errors)}


def as_traced(rows: Sequence[Row], image_size: int) -> list[Row]:
    """Give rows of a table that names no image size the one they were measured at."""
    return [replace(row, image_size=row.image_size or image_size) for row in rows]
