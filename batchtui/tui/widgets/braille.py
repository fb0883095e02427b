"""Dots of braille characters as pixels: two across and four down in each cell.

Layers lie over one another; a cell takes the look of the topmost layer that has a dot in it. It
shows the dots of all layers, since a cell has one colour and no dot may get lost, with one
exception: where a line passes, what lies around it would only make it thick.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from batchtui.tui.view import Points

BLANK = 0x2800
# Bit of a dot by its row (from the top) and column within a cell.
_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


class Raster:
    """A picture of `width` × `height` cells in `layers` layers, layer 0 on top.

    Where one of the layers `lines` has a dot, those below the lines are not shown.
    """

    def __init__(self, width: int, height: int, layers: int, lines: range = range(0)) -> None:
        self.width, self.height = width, height
        self._lines = lines
        self._masks = [[bytearray(width) for _ in range(height)] for _ in range(layers)]

    def bar(self, layer: int, column: int, first: int, last: int) -> None:
        """Set the dots of a dot column from row `first` to `last`, both within the picture."""
        if not 0 <= column < 2 * self.width:
            return
        masks, cell, side = self._masks[layer], column >> 1, column & 1
        bottom = 4 * self.height - 1
        for row in range(max(0, min(first, last)), min(bottom, max(first, last)) + 1):
            masks[row >> 2][cell] |= _BITS[row & 3][side]

    def cells(self) -> Iterator[tuple[int, int, str, int]]:
        """Yield (x, y, character, layer) of each cell that has a dot."""
        for y in range(self.height):
            rows = [layer[y] for layer in self._masks]
            for x in range(self.width):
                mask, top, lined = 0, -1, False
                for layer, row in enumerate(rows):
                    if row[x] and not (lined and layer >= self._lines.stop):
                        mask |= row[x]
                        if top < 0:
                            top = layer
                        lined = lined or layer in self._lines
                if mask:
                    yield x, y, chr(BLANK + mask), top


class Columns(NamedTuple):
    """A curve reduced to dot columns: extremes of each column, and a line through the means."""

    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    line: tuple[float | None, ...]


def reduce_columns(points: Points, start: float, end: float, width: int) -> Columns:
    """Reduce a curve to `width` dot columns of the window [start, end].

    Each column keeps the lowest low and the highest high of its points: no spike is lost. Columns
    between two points are bridged by the line alone, and not at all where the curve has a gap.
    """
    low: list[float | None] = [None] * width
    high: list[float | None] = [None] * width
    line: list[float | None] = [None] * width
    if width < 1 or not end > start:
        return Columns(tuple(low), tuple(high), tuple(line))
    sums, counts = [0.0] * width, [0] * width
    scale = width / (end - start)
    first = bisect_left(points.x, start)
    last = bisect_right(points.x, end)
    longest = _longest_bridge(points.x[first:last], 3 / scale)
    before: int | None = None  # column of the point before, None at a gap
    before_x = 0.0
    for index in range(first, last):
        mean = points.mean[index]
        if mean is None:
            before = None
            continue
        x = points.x[index]
        column = min(width - 1, int((x - start) * scale))
        below, above = points.low[index], points.high[index]
        below = mean if below is None else below
        above = mean if above is None else above
        lowest, highest = low[column], high[column]
        low[column] = below if lowest is None else min(lowest, below)
        high[column] = above if highest is None else max(highest, above)
        sums[column] += mean
        counts[column] += 1
        line[column] = sums[column] / counts[column]
        if before is not None and x - before_x <= longest:
            _bridge(line, before, column)
        before, before_x = column, x
    return Columns(tuple(low), tuple(high), tuple(line))


def _longest_bridge(x: Sequence[float], floor: float) -> float:
    """Return the longest distance between points that is not yet a gap."""
    distances = sorted(b - a for a, b in pairwise(x))
    return max(floor, 4 * distances[len(distances) // 2]) if distances else floor


def _bridge(line: list[float | None], first: int, last: int) -> None:
    begin, end = line[first], line[last]
    if begin is None or end is None:
        return
    for column in range(first + 1, last):
        line[column] = begin + (end - begin) * (column - first) / (last - first)


def smooth(line: Sequence[float | None], reach: int) -> list[float | None]:
    """Return the running median over 2·reach + 1 columns; gaps stay gaps."""
    result: list[float | None] = []
    for index, value in enumerate(line):
        if value is None:
            result.append(None)
            continue
        near = sorted(v for v in line[max(0, index - reach) : index + reach + 1] if v is not None)
        result.append(near[len(near) // 2])
    return result
