"""The main screen: all panes, and what the keys do to them.

Dialogs are imported when they open: the first frame waits for what stands above.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container

from batchtui.records import Status
from batchtui.text import clean
from batchtui.tui.outlook import Sizes
from batchtui.tui.palette import Palette
from batchtui.tui.panes.advisor import AdvisorPane
from batchtui.tui.panes.cpu import CpuPane
from batchtui.tui.panes.filter import FilterLine
from batchtui.tui.panes.footer import FooterPane
from batchtui.tui.panes.header import HeaderPane
from batchtui.tui.panes.log import LogPane
from batchtui.tui.panes.loss import LossPane
from batchtui.tui.panes.memory import MemoryPane
from batchtui.tui.panes.small import SmallPane
from batchtui.tui.panes.steps import StepsPane
from batchtui.tui.preferences import Preferences
from batchtui.tui.screens.arranging import ArrangingScreen
from batchtui.tui.screens.layout import fit
from batchtui.tui.view import View
from batchtui.tui.widgets.chart_pane import ChartPane
from batchtui.tui.widgets.pane import RISE, Pane

if TYPE_CHECKING:
    from batchtui.advise.restart import Plan

# What letters and enter do, unless they are typed into the filter.
_TYPED = ("help", "leave", "filter", "type_batch", "restart", "write_config")


class MainScreen(ArrangingScreen):
    """Six panes between a header and a footer."""

    AUTO_FOCUS = "#log"
    BINDINGS: ClassVar[list[BindingType]] = [
        # Keys that open something come first, so that what is typed right behind them, or comes
        # in the same packet, already goes there.
        Binding("question_mark", "help", "Help", priority=True),
        Binding("q", "leave", "Quit: detach or stop", priority=True),
        Binding("slash", "filter", "Filter the log", priority=True),
        Binding("space", "pause", "Pause the view"),
        Binding("escape", "back", "Back", show=False),
    ]

    def __init__(
        self,
        palette: Palette,
        ascii_only: bool,
        stop: Callable[[], None],
        ask: Callable[[Sizes], None] | None,
        restart: Callable[[str, Plan], None] | None,
        preferences: Preferences,
    ) -> None:
        super().__init__(palette, ascii_only, ask, restart)
        self.preferences = preferences
        self._stop = stop
        self._newest: View | None = None
        self._paused = False
        self._level: str | None = None

    def compose(self) -> ComposeResult:
        fit(self, self.app.size)
        if self._newest is not None:  # drawn with the first layout, and not after it
            self._begin(self._newest)
        yield self._pane(HeaderPane, "header")
        for name, left, right in (
            ("machine", self._pane(CpuPane, "cpu", "left"), self._pane(MemoryPane, "memory")),
            ("charts", self._pane(StepsPane, "steps", "left"), self._pane(LossPane, "loss")),
            ("text", self._pane(LogPane, "log", "left"), self._pane(AdvisorPane, "advisor")),
        ):
            with Container(id=f"row-{name}", classes="row"):
                yield left
                yield right
        yield self._pane(FilterLine, "filter")
        yield self._pane(FooterPane, "footer")
        yield self._pane(SmallPane, "too-small")

    def _pane(self, kind: type[Pane], id: str, classes: str = "") -> Pane:
        pane = kind(*self._look, id=id)
        pane.set_classes(classes)
        pane.set_reactive(Pane.view, self._newest)
        if isinstance(pane, ChartPane):
            pane.recall(self.preferences)
        return pane

    # What is shown ------------------------------------------------------------------------

    def show(self, view: View) -> None:
        """Show a view; while paused, keep it for later."""
        if view is self._newest:
            return
        self._newest = view
        if self.is_mounted:
            self._ring(view)
            if not self._paused:
                self._hand_out(view)
            elif self._view is not None and view.close_up is not None:
                # The view is held still, and can be looked at closely all the same.
                self._hand_out(self._view._replace(close_up=view.close_up))

    def on_mount(self) -> None:
        if self.preferences.hidden:
            self.hide_panes()
        if self._newest is not None:
            self._ring(self._newest)
            if self._newest is not self._view:
                self._hand_out(self._newest)
            else:
                self._turned(self._newest)

    def _ring(self, view: View) -> None:
        """Ring the bell where memory has become scarcer."""
        level = view.warning.level if view.warning else None
        if RISE.index(level) > RISE.index(self._level):
            self.app.bell()
        self._level = level

    def complain(self, reason: str) -> None:
        """Say in the header that the last look failed; the numbers stay."""
        view = self._newest or View(0.0, "", Status.STARTING, Status.STARTING.value)
        self.show(view._replace(trouble=clean(reason, 200)))

    def _begin(self, view: View) -> None:
        self._view = view
        # Why a run has ended gets a row of its own.
        self.set_class(not view.status.alive and view.detail is not None, "ended")

    def _hand_out(self, view: View) -> None:
        self._begin(view)
        for pane in self.query(Pane):
            pane.view = view
        self._turned(view)

    def on_resize(self, event: events.Resize) -> None:
        fit(self, event.size)

    # Keys ---------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While the filter is typed, letters are letters."""
        typed = isinstance(self.focused, FilterLine)
        return not (typed and action in _TYPED)

    def action_pause(self) -> None:
        """Hold the view still, or show the newest again; reading goes on."""
        self._paused = not self._paused
        self.query_one(HeaderPane).paused = self._paused
        if not self._paused and self._newest is not None:
            self._hand_out(self._newest)

    def action_back(self) -> None:
        """Undo one thing: the filter, the zoom, the chosen batch size."""
        log = self.query_one(LogPane)
        if log.filter:
            log.filter = ""
        elif self.has_class("zoomed"):
            self.zoom(None)
        elif self._choice is not None:
            self.choose(None)

    def action_help(self) -> None:
        """Explain the focused pane, and the keys."""
        from batchtui.tui.screens.help import HelpDialog

        pane = self.focused.topic if isinstance(self.focused, Pane) else "log"
        self.app.push_screen(HelpDialog(*self._look, pane, self.has_class("zoomed")))

    def action_filter(self) -> None:
        """Type what log lines must have."""
        self.query_one(FilterLine).open()

    def action_leave(self) -> None:
        """Ask whether to detach or to stop; with nothing alive, leave at once."""
        from batchtui.tui.screens.leave import LeaveDialog

        if self._newest is None or self._newest.moment:
            self.app.exit(0)
        else:
            self.app.push_screen(LeaveDialog(*self._look, self._newest.run), self._leave)

    def _leave(self, choice: str | None) -> None:
        from batchtui.tui.screens.leave import DETACH

        if choice == DETACH:
            self.app.exit(0)
        elif choice is not None:
            self._stop()
