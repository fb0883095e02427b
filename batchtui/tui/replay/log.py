"""The log up to a moment."""

from __future__ import annotations

from collections.abc import Iterable

from batchtui.records import Event
from batchtui.tui.logtail import LogTail, line_of
from batchtui.tui.view import LogView


class PastLog(LogTail):
    """What happened to the run until then. The worker's lines have no time, and come at the end."""

    def read(self, now: float, events: Iterable[Event] = ()) -> LogView:
        """Return all of the events."""
        ordered = sorted(events, key=lambda event: event.time)
        return LogView(
            lines=tuple(line_of(number, event) for number, event in enumerate(ordered)),
            skipped="the worker's lines come at the end: they have no time",
        )
