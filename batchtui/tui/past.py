"""The machine's samples over the clock, on which a run goes on from its parents.

Runs that took over from one another share a machine, and so a chart: what nobody sampled between
the end of one and the start of the next is a gap.
"""

from __future__ import annotations

from collections.abc import Sequence

from batchtui.errors import StoreError
from batchtui.runs.directory import RunDirectory
from batchtui.runs.lineage import parents
from batchtui.runs.reader import RunReader
from batchtui.runs.series import Series
from batchtui.tui.facts import Takeover
from batchtui.tui.view import Points

_Columns = tuple[str, ...]
_Part = tuple[Series, Takeover]  # what one run contributes


class Past:
    """Reads the samples of a run, and once those that its parents had left when it began."""

    def __init__(self, run: RunDirectory, width: int) -> None:
        """Take a run, and how many buckets a chart has at least."""
        self._run, self._width = run, width
        self._known: dict[tuple[_Columns, int | None], list[_Part]] = {}

    def read(
        self, reader: RunReader, columns: _Columns, since: float, gpu: int | None = None
    ) -> dict[str, Points]:
        """Return columns of the machine's samples since a moment, or of a GPU's."""
        parts = [series for series, _ in self._before(columns, since, gpu)]
        parts.append(self._ticks(reader, columns, since, gpu))
        return {column: _joined(parts, column, since) for column in columns}

    @property
    def takeovers(self) -> tuple[Takeover, ...]:
        """The parents whose samples were found, oldest first."""
        found = max(self._known.values(), key=len, default=[])
        return tuple(takeover for _, takeover in found)

    def _before(self, columns: _Columns, since: float, gpu: int | None) -> list[_Part]:
        """Return what the parents contribute: they have ended, so it is read once."""
        known = self._known.get((columns, gpu))
        if known is not None:
            return known
        found: list[_Part] = []
        try:
            host = RunReader(self._run).meta().get("host")
            for parent in parents(self._run):
                reader = RunReader(parent)
                with reader.open():
                    meta = reader.meta()
                    series = self._ticks(reader, columns, since, gpu)
                if meta.get("host") != host or not series.x or series.x[-1] < since:
                    break
                began = Takeover(meta.get("started") or series.x[0], meta.get("batch_size"))
                found.insert(0, (series, began))
        except StoreError:
            return found  # perhaps it can be read the next time
        self._known[columns, gpu] = found
        return found

    def _ticks(self, reader: RunReader, columns: _Columns, since: float, gpu: int | None) -> Series:
        if gpu is None:
            return reader.machine_series(columns, since, self._width)
        return reader.gpu_series(gpu, columns, since, self._width)


def _joined(parts: Sequence[Series], column: str, since: float) -> Points:
    """Lay the samples of several runs behind each other, with a gap between two."""
    x: list[float] = []
    low: list[float | None] = []
    high: list[float | None] = []
    mean: list[float | None] = []
    for series in parts:
        first = next((n for n, time in enumerate(series.x) if time >= since), len(series.x))
        if first == len(series.x):
            continue
        if x:
            x.append((x[-1] + series.x[first]) / 2)
            for values in (low, high, mean):
                values.append(None)
        band = series.columns[column]
        x += series.x[first:]
        low += band.low[first:]
        high += band.high[first:]
        mean += band.mean[first:]
    return Points(tuple(x), tuple(low), tuple(high), tuple(mean))
