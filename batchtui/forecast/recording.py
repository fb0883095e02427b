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


def affine(low: Recording, high: Recording, probe: Recording, sizes: tuple[int, int, int]) -> bool:
    """Whether every event at the third size follows from the first two, to the byte."""
    if low.sequence() != probe.sequence():
        return False
    first, second, third = sizes
    return all(
        (b.size - a.size) * (third - first) == (c.size - a.size) * (second - first)
        for (_, a, _), (_, b, _), (_, c, _) in zip(
            low.events, high.events, probe.events, strict=True
        )
    )
