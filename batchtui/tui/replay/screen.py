"""The main screen of a replay: its header says so, and its keys move through time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType

from batchtui import units
from batchtui.records import Status
from batchtui.tui.palette import Palette
from batchtui.tui.panes.advisor import AdvisorPane
from batchtui.tui.panes.footer import FooterPane
from batchtui.tui.panes.header import HeaderPane
from batchtui.tui.preferences import Preferences
from batchtui.tui.replay.clock import ReplayClock
from batchtui.tui.screens.main import MainScreen
from batchtui.tui.view import Replay, View
from batchtui.tui.widgets.bars import draw_bar
from batchtui.tui.widgets.canvas import Canvas
from batchtui.tui.widgets.pane import Pane

_DAY_S = 86_400.0


class ReplayHeader(HeaderPane):
    """The header of that moment and, in a line of its own, which moment that is."""

    def draw(self, canvas: Canvas, view: View) -> None:
        line = Canvas(canvas.width, 1, canvas.colour)
        super().draw(line, view)
        canvas.paste(line, 0, 0)
        if view.replay is not None and canvas.height > 1:
            goes_on = view.status.alive and view.status is not Status.LOST
            self._where(canvas, view.replay, goes_on)

    def _where(self, canvas: Canvas, replay: Replay, goes_on: bool) -> None:
        days = replay.end - replay.start >= _DAY_S
        x = canvas.put(1, 1, " REPLAY ", "caution") + 1
        x = canvas.put(x, 1, _clock(replay.moment, days), "strong") + 2
        if replay.ended:
            words, look = "now" if goes_on else "the end", "strong"
        elif replay.held:
            words, look = "held", "warn"
        else:
            words, look = speed_text(replay.speed), "strong"
        x = canvas.put(x, 1, f"{words:<7}", look) + 1
        if replay.ended and replay.note:
            x = canvas.put(x, 1, replay.note, "warn") + 2
        ends = f"{_clock(replay.start, days)} … {_clock(replay.end, days)}"
        end = canvas.width - 1
        if end - x >= len(ends) + 14:
            canvas.right(end, 1, ends, "dim")
            end -= len(ends) + 2
        length = replay.end - replay.start
        share = (replay.moment - replay.start) / length if length > 0 else 1.0
        draw_bar(canvas, x, 1, end - x, share, "orange")


class ReplayAdvisor(AdvisorPane):
    """What was known about the batch size; there is none to choose."""

    def note(self, view: View) -> tuple[str, str]:
        return "", "dim"

    def _keys(self, canvas: Canvas, y: int, chosen: bool) -> None:
        pass


class ReplayFooter(FooterPane):
    """The keys of a replay."""

    keys = (
        ("space", "Hold", "screen.pause"),
        ("< >", "Speed", "screen.speed(1)"),
        ("[ ]", "Jump", "screen.jump(1)"),
        ("{ }", "Ends", "screen.go_to_end"),
        ("/", "Filter log", "screen.filter"),
        ("z", "Zoom", "screen.zoom"),
        ("?", "Help", "screen.help"),
        ("ctrl+p", "Commands", "app.command_palette"),
        ("q", "Quit", "screen.leave"),
    )
    rare = ("ctrl+p", "/", "{ }", "PgUp PgDn", "e")


_INSTEAD: dict[type[Pane], type[Pane]] = {
    HeaderPane: ReplayHeader,
    AdvisorPane: ReplayAdvisor,
    FooterPane: ReplayFooter,
}


class ReplayScreen(MainScreen):
    """Six panes as they were; what would change the run is refused in a line."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "pause", "Hold, or go on"),
        Binding("comma,less_than_sign", "speed(-1)", "Slower"),
        Binding("full_stop,greater_than_sign", "speed(1)", "Faster"),
        Binding("left_square_bracket", "jump(-1)", "Back"),
        Binding("right_square_bracket", "jump(1)", "Ahead"),
        Binding("left_curly_bracket", "go_to_start", "To the start"),
        Binding("right_curly_bracket", "go_to_end", "To the end"),
        Binding("plus,equals_sign,minus,b,colon,w,enter", "refuse", show=False),
    ]

    def __init__(
        self,
        palette: Palette,
        ascii_only: bool,
        clock: ReplayClock,
        look: Callable[[], None],
        preferences: Preferences,
    ) -> None:
        """`look` has the moment read that the clock has been set to."""
        super().__init__(palette, ascii_only, lambda: None, None, None, preferences)
        self._clock, self._look_again = clock, look

    def _pane(self, kind: type[Pane], id: str, classes: str = "") -> Pane:
        return super()._pane(_INSTEAD.get(kind, kind), id, classes)

    def _begin(self, view: View) -> None:
        super()._begin(view)
        self.add_class("ended")  # the header's second line is the replay's

    def _ring(self, view: View) -> None:
        pass  # what was scarce then is no alarm now

    def action_pause(self) -> None:
        """Hold the moment, or go on; at the end begin anew."""
        self._clock.hold()
        self._look_again()

    def action_speed(self, direction: int) -> None:
        """Go on slower or faster."""
        self._clock.change_speed(direction)
        self.notify_briefly(f"speed: {speed_text(self._clock.read().speed)}")
        self._look_again()

    def action_jump(self, direction: int) -> None:
        """Go back or ahead by a twentieth of the run."""
        self._clock.jump(direction)
        self._look_again()

    def action_go_to_start(self) -> None:
        """Go to the start."""
        self._clock.go_to(self._clock.read().start)
        self._look_again()

    def action_go_to_end(self) -> None:
        """Go to the end."""
        self._clock.go_to(self._clock.read().end)
        self._look_again()

    def action_leave(self) -> None:
        """Leave at once: there is nothing to stop."""
        self.app.exit(0)

    def action_help(self) -> None:
        """Explain the focused pane, and the keys."""
        from batchtui.tui.replay.help import ReplayHelp

        pane = self.focused.id if self.focused is not None else None
        self.app.push_screen(ReplayHelp(*self._look, pane or "log", self.has_class("zoomed")))

    def action_refuse(self) -> None:
        """Say why there is nothing to choose."""
        self.notify_briefly("a replay looks back: it restarts and stops nothing")


def speed_text(speed: float) -> str:
    """Return a speed as text: `10×`, `0.5×`."""
    return f"{units.count(speed) if speed >= 10 else f'{speed:g}'}×"


def _clock(moment: float, days: bool) -> str:
    return time.strftime("%m-%d %H:%M:%S" if days else "%H:%M:%S", time.localtime(moment))
