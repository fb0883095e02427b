"""Compare and combine recordings of the same steps at different batch sizes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from batchtui.forecast.events import CATEGORIES, FREE, PHASES
from batchtui.forecast.recorder import Storage, category_of

_TINY = 64  # bytes, of which nobody asks how they grow
_ROUNDED = 0.05  # growth beyond the batch's that rounding up explains


@dataclass(frozen=True, slots=True)
class Recording:
    """One rehearsal at one batch size."""

    events: list[tuple[int, Storage, str]]

    def sequence(self) -> list[tuple[int, int, str, str]]:
        """Return what must not depend on the batch size."""
        return [
            (action, storage.number, storage.operator, phase)
            for action, storage, phase in self.events
        ]


def canonical(events: list[tuple[int, Storage, str]]) -> list[tuple[int, Storage, str]]:
    """Put frees that follow one another in the order of their storages.

    An allocator ends in the same state, and autocast drops its cache in an order that changes
    from run to run.
    """
    ordered: list[tuple[int, Storage, str]] = []
    for _, run in itertools.groupby(events, key=lambda event: (event[0], event[2])):
        stretch = list(run)
        if stretch[0][0] == FREE:
            stretch.sort(key=lambda event: event[1].number)
        ordered.extend(stretch)
    return ordered


def merged(low: Recording, high: Recording) -> list[Sequence[int]]:
    """Combine the same events at two sizes, but those that take nothing or nobody knows what."""
    return [
        [
            action,
            storage.number,
            storage.size,
            twin.size,
            CATEGORIES.index(category_of(storage)),
            PHASES.index(phase),
        ]
        for (action, storage, phase), (_, twin, _) in zip(low.events, high.events, strict=True)
        if max(storage.size, twin.size) > 0 and min(storage.size, twin.size) >= 0
    ]


def superlinear(low: Recording, high: Recording, sizes: tuple[int, int]) -> bool:
    """Whether an event grows faster than the batch, as a matrix of all pairs of samples does.

    A line through its two sizes would take less than nothing at an empty batch.
    """
    first, second = sizes
    return any(
        (b.size - a.size) * first > a.size * (second - first) * (1 + _ROUNDED)
        for (_, a, _), (_, b, _) in zip(low.events, high.events, strict=True)
        if min(a.size, b.size) >= _TINY
    )


def curves(recordings: dict[int, Recording]) -> dict[int, float] | None:
    """Find the parabolas through three sizes that a fourth confirms, to the byte.

    Returns for each storage that lies on no line the bytes a squared sample; None: there are
    none, or the operations differ.
    """
    (first, low), (second, high), (third, middle), (fourth, probe) = recordings.items()
    if any(each.sequence() != low.sequence() for each in (middle, probe)):
        return None
    found: dict[int, float] = {}
    for (_, a, _), (_, b, _), (_, c, _), (_, d, _) in zip(
        low.events, high.events, middle.events, probe.events, strict=True
    ):
        slope = (b.size - a.size) / (second - first)
        beyond = c.size - a.size - slope * (third - first)
        square = beyond / ((third - first) * (third - second))
        expected = a.size + slope * (fourth - first) + square * (fourth - first) * (fourth - second)
        if round(expected) != d.size:
            return None
        if abs(beyond) >= 1:
            found[a.number] = square
    return found
