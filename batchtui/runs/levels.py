"""How full memory was at a moment, out of the events that told of it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from batchtui.records import Event, MachineSample

_FULL = re.compile(r"(.+?) is \S+ full: ")  # as supervise.guard.Reading says it
_LEVELS = {"warning": "warning", "error": "critical"}
_STAYS_CRITICAL = 0.93  # below, what was critical is a warning again, of which no event tells


def memory_level(
    events: Iterable[Event], sample: MachineSample | None
) -> tuple[str | None, str | None]:
    """Return the highest level, and what is at it; of several the fullest.

    `events` are those of kind memory up to the moment, in order; `sample` is of that moment.
    """
    levels: dict[str, str] = {}
    for event in events:
        found = _FULL.match(event.message)
        if found is None:
            continue
        levels.pop(found[1], None)
        if event.level in _LEVELS:
            levels[found[1]] = _LEVELS[event.level]
    full = {what: _fraction(what, sample) for what in levels}
    for what, fraction in full.items():
        if fraction is not None and fraction < _STAYS_CRITICAL:
            levels[what] = "warning"
    for level in ("critical", "warning"):
        at = [what for what in levels if levels[what] == level]
        if at:
            return level, max(at, key=lambda what: full[what] or 0.0)
    return None, None


def _fraction(what: str, sample: MachineSample | None) -> float | None:
    """Return how full something was, by its name in the events."""
    if sample is None:
        return None
    used, total = sample.limit_used, sample.limit_total
    if what == "/dev/shm":
        used, total = sample.shm_used, sample.shm_total
    elif what.startswith("GPU "):
        gpu = next((gpu for gpu in sample.gpus if what == f"GPU {gpu.index}"), None)
        used, total = (gpu.used, gpu.total) if gpu is not None else (None, None)
    elif what == "host memory" and sample.limit_source not in (None, "host"):
        total = sample.memory_total
        free = sample.memory_available
        used = None if total is None or free is None else total - free
    return used / total if used is not None and total else None
