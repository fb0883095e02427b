"""What a chart draws: per bucket the least, the greatest and the mean value of each column."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from batchtui.runs.rollups import BucketRow


@dataclass(frozen=True)
class Band:
    """One column's values, an entry a bucket; None where nothing was measured."""

    low: list[float | None]
    high: list[float | None]
    mean: list[float | None]


@dataclass(frozen=True)
class Series:
    """Columns over a common axis. All lists are of one length."""

    x: list[float]  # where a bucket begins: a step, or a time in Unix seconds
    count: list[int]  # raw rows in the bucket
    columns: dict[str, Band]


@dataclass(frozen=True)
class Boundary:
    """Where a run of a chain of resumed runs takes over."""

    step: int  # the first one it trained
    run: str
    batch_size: int | None


def bucket_size(first: int, stop: int, width: int) -> int:
    """Return how many keys a bucket shall hold, so that [first, stop) makes width to 2·width.

    A power of two, and buckets begin at multiples of it: they stay where they are while a run
    grows.
    """
    size: int = 1 << max(0, ((stop - first) // max(1, width)).bit_length() - 1)
    too_many = (stop - 1) // size - first // size + 1 > 2 * width
    return 2 * size if too_many else size


def collect(rows: Iterable[BucketRow], columns: Sequence[str], size: int, least: int = 0) -> Series:
    """Merge rows of the same bucket and make a series of them.

    `x` is a bucket's first key; `least` the first one asked for, inside the first bucket.
    """
    buckets: dict[int, list[Any]] = {}
    for row in rows:
        known = buckets.get(int(row[0]))
        if known is None:
            buckets[int(row[0])] = list(row)
        else:
            _merge(known, row, len(columns))
    ordered = [buckets[key] for key in sorted(buckets)]
    places = range(2, 2 + 4 * len(columns), 4)
    upright = list(zip(*ordered, strict=True)) or [()] * (2 + 4 * len(columns))
    return Series(
        x=[max(least, bucket * size) for bucket in upright[0]],
        count=[int(rows) for rows in upright[1]],
        columns={
            column: Band(
                low=list(upright[at]),
                high=list(upright[at + 1]),
                mean=list(map(_mean, upright[at + 2], upright[at + 3])),
            )
            for at, column in zip(places, columns, strict=True)
        },
    )


def _merge(known: list[Any], row: BucketRow, columns: int) -> None:
    known[1] += row[1]
    for at in range(2, 2 + 4 * columns, 4):
        if not row[at + 3]:
            continue
        if not known[at + 3]:
            known[at : at + 4] = row[at : at + 4]
            continue
        known[at] = min(known[at], row[at])
        known[at + 1] = max(known[at + 1], row[at + 1])
        known[at + 2] = _sum(known[at + 2], row[at + 2])
        known[at + 3] += row[at + 3]


def _sum(one: float | None, other: float | None) -> float | None:
    """Add sums; None stands for ∞ − ∞, which SQLite makes a NULL."""
    return None if one is None or other is None else one + other


def _mean(total: float | None, count: float) -> float | None:
    mean = total / count if count and total is not None else None
    return mean if mean is not None and math.isfinite(mean) else None
