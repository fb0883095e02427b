"""From a run to the one that takes over from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from batchtui.errors import UsageError
from batchtui.records import Status
from batchtui.runs.directory import RunDirectory
from batchtui.tui.source import RunSource
from batchtui.tui.view import View

if TYPE_CHECKING:
    from batchtui.advise.restart import Plan
    from batchtui.forecast.prospect import Prospect


class Hands(Protocol):
    """What the screen has done to a run; `restart` returns the run that goes on."""

    def stop(self, run: RunDirectory, now: bool) -> str: ...
    def prospect(self, run: RunDirectory) -> Prospect: ...
    def restart(self, run: RunDirectory, plan: Plan) -> RunDirectory: ...
    def successor(self, run: RunDirectory, name: object) -> RunDirectory | None: ...


class FollowingSource:
    """Reads a run and, once another one takes over from it, that one.

    A run that had ended before anybody looked is shown as it is.
    """

    def __init__(
        self,
        run: RunDirectory,
        successor: Callable[[RunDirectory, object], RunDirectory | None],
    ) -> None:
        """`successor` finds the run of a name that took over from one; None: it is not there."""
        self.run = run
        self.span: tuple[int, int] | None = None
        self._successor = successor
        self._source = RunSource(run)
        self._lived = False
        self._wanted: RunDirectory | None = None

    def go_on(self, name: str, restart: Callable[[RunDirectory], RunDirectory]) -> None:
        """Have the run of a name restarted, if it is still the one shown, and show the new one.

        To be called from any thread; waits until the new run is there.

        Raises:
            BatchtuiError: it was not restarted.
        """
        if self.run.name != name:
            raise UsageError(f"{name} went on as {self.run.name} meanwhile: look again")
        self._wanted = restart(self.run)

    def read(self) -> View:
        """Look once."""
        self._source.span = self.span
        view = self._source.read()
        lives = view.status.alive and view.status is not Status.LOST
        self._lived |= lives
        following, self._wanted = self._wanted, None
        if following is None and self._lived and not lives and self._source.successor:
            following = self._successor(self.run, self._source.successor)
        if following is None or following == self.run:
            return view
        self.run, self._lived = following, False
        self._source = RunSource(following, self._source.log)
        return self._source.read()
