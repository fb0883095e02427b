"""Views of a run as it was, moment after moment."""

from __future__ import annotations

import math

from batchtui.errors import StoreError
from batchtui.records import Event, Status
from batchtui.runs.directory import RunDirectory
from batchtui.runs.moment import MomentReader
from batchtui.text import clean
from batchtui.tui.past import Past
from batchtui.tui.replay.clock import ReplayClock
from batchtui.tui.replay.log import PastLog
from batchtui.tui.source import WIDTH, RunSource
from batchtui.tui.view import View

_EVENTS = 500


class ReplaySource(RunSource):
    """Reads one run as of the clock's moment; at the end it is the run as it is shown now."""

    def __init__(self, run: RunDirectory, clock: ReplayClock) -> None:
        self._moments = MomentReader(run)
        log = PastLog(run.log, self._moments.log_sizes)
        super().__init__(run, log, free=lambda folder: math.inf, reader=self._moments)
        self._clock = clock
        self._now_shown = RunSource(run)
        self._ended = False
        self._last: tuple[object, View] | None = None

    def read(self) -> View:
        """Look once, at the moment that it is by the clock of the replay."""
        self._go_on()
        scene = self._clock.read()
        if self._last is not None and self._last[0] == (scene, self.span) and self._ended:
            return self._last[1]
        if scene.ended:
            self._now_shown.span = self.span
            view = self._now_shown.read()
            note = _note(view, self._now_shown.successor)
            view = view._replace(replay=scene._replace(note=note))
        else:
            if scene.moment < self._moments.moment:
                # What the parents had left was read for what came after.
                self._past = Past(self._run, WIDTH)
            self._moments.turn_to(scene.moment)
            view = self.look(scene.moment)._replace(replay=scene)
        self._last = ((scene, self.span), view) if view.trouble is None else None
        return view

    def _go_on(self) -> None:
        """Take note of how far a run is that has not ended."""
        if not self._ended:
            try:
                _, end, self._ended = self._moments.extent()
                self._clock.lengthen(end)
            except StoreError:
                pass  # the look that follows says so

    def _events(self) -> list[Event]:
        """Return all events up to the moment, which may have gone back."""
        events = [event for _, event in self._moments.events(_EVENTS)]
        began = [event.time for event in events if event.kind in ("phase", "started")]
        self._phase_since = began[-1] if began else None
        return events


def _note(view: View, successor: object) -> str:
    """Say what there is beyond the end of the replay."""
    if view.status is Status.LOST:
        return ""
    if view.status.alive:
        return f"it goes on: batchtui attach {view.run}"
    if successor:
        name = clean(str(successor), 60)
        return f"goes on as {name}: batchtui replay {name}"
    return ""
