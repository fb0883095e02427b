"""Dots of braille characters as pixels: two across and four down in each cell.

Layers lie over one another; a cell takes the look of the topmost layer that has a dot in it. It
shows the dots of all layers, since a cell has one colour and no dot may get lost, with one
exception: where a line passes, what lies around it would only make it thick.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from operator import sub
from typing import NamedTuple

from batchtui.tui.view import Points

BLANK = 0x2800
# Bit of a dot by its row (from the top) and column within a cell.
_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
# Bits of the dots from one row of a cell to another, by column, first and last row.
_SPANS = tuple(
    tuple(
        tuple(sum(_BITS[row][side] for row in range(first, last + 1)) for last in range(4))
        for first in range(4)
    )
    for side in range(2)
)


class Raster:
    """A picture of `width` × `height` cells in `layers` layers, layer 0 on top.

    Where one of the layers `lines` has a dot, those below the lines are not shown.
    """

    def __init__(self, width: int, height: int, layers: int, lines: range = range(0)) -> None:
        self.width, self.height = width, height
        self._lines = lines
        self._masks = [[bytearray(width) for _ in range(height)] for _ in range(layers)]

    def bar(self, layer: int, column: int, first: int, last: int) -> None:
        """Set the dots of a dot column from row `first` to `last`; those outside are cut."""
        if not 0 <= column < 2 * self.width:
            return
        if first > last:
            first, last = last, first
        first, last = max(0, first), min(4 * self.height - 1, last)
        masks, cell, spans = self._masks[layer], column >> 1, _SPANS[column & 1]
        top, bottom = first >> 2, last >> 2
        if top == bottom:
            masks[top][cell] |= spans[first & 3][last & 3]
            return
        masks[top][cell] |= spans[first & 3][3]
        for row in range(top + 1, bottom):
            masks[row][cell] |= spans[0][3]
        masks[bottom][cell] |= spans[0][last & 3]

    def runs(self) -> Iterator[tuple[int, int, str, int]]:
        """Yield (x, y, characters, layer) of neighbouring cells that have dots and one look."""
        for y in range(self.height):
            layers = [(n, layer[y]) for n, layer in enumerate(self._masks) if any(layer[y])]
            dots, start, look = "", 0, -1
            for x in range(self.width if layers else 0):
                mask, top, lined = 0, -1, False
                for layer, row in layers:
                    bits = row[x]
                    if bits and not (lined and layer >= self._lines.stop):
                        mask |= bits
                        if top < 0:
                            top = layer
                        lined = lined or layer in self._lines
                if top != look:
                    if dots:
                        yield start, y, dots, look
                    dots, start, look = "", x, top
                if mask:
                    dots += chr(BLANK + mask)
            if dots:
                yield start, y, dots, look


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
    if width < 1 or not end > start:
        return Columns(tuple(low), tuple(high), tuple(low))
    sums, counts = [0.0] * width, [0] * width
    scale = width / (end - start)
    part = slice(bisect_left(points.x, start), bisect_right(points.x, end))
    xs = points.x[part]
    longest = _longest_bridge(xs, 3 / scale)
    bridges: list[tuple[int, int]] = []  # neighbours with columns between them
    before, before_x = -1, 0.0  # column of the point before, -1 at a gap
    for x, below, above, mean in zip(
        xs, points.low[part], points.high[part], points.mean[part], strict=True
    ):
        if mean is None:
            before = -1
            continue
        column = int((x - start) * scale)
        if column >= width:
            column = width - 1
        if below is None:
            below = mean
        if above is None:
            above = mean
        lowest, highest = low[column], high[column]
        if lowest is None or below < lowest:
            low[column] = below
        if highest is None or above > highest:
            high[column] = above
        sums[column] += mean
        counts[column] += 1
        if 0 <= before < column - 1 and x - before_x <= longest:
            bridges.append((before, column))
        before, before_x = column, x
    line: list[float | None] = [
        total / count if count else None for total, count in zip(sums, counts, strict=True)
    ]
    for first, last in bridges:
        begin, end = sums[first] / counts[first], sums[last] / counts[last]
        for column in range(first + 1, last):
            line[column] = begin + (end - begin) * (column - first) / (last - first)
    return Columns(tuple(low), tuple(high), tuple(line))


def _longest_bridge(x: Sequence[float], floor: float) -> float:
    """Return the longest distance between points that is not yet a gap."""
    distances = sorted(map(sub, x[1:], x))
    return max(floor, 4 * distances[len(distances) // 2]) if distances else floor


def smooth(line: Sequence[float | None], reach: int) -> list[float | None]:
    """Return the running median over 2·reach + 1 columns; gaps stay gaps."""
    result: list[float | None] = []
    for index, value in enumerate(line):
        if value is None:
            result.append(None)
            continue
        near = [v for v in line[max(0, index - reach) : index + reach + 1] if v is not None]
        near.sort()
        result.append(near[len(near) // 2])
    return result
