"""The application of a replay."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from textual.app import App, SystemCommand
from textual.screen import Screen

from batchtui.runs.directory import RunDirectory
from batchtui.tui.app import BatchtuiApp
from batchtui.tui.feed import ViewSource
from batchtui.tui.palette import Palette
from batchtui.tui.preferences import Preferences, at_home
from batchtui.tui.replay.clock import ReplayClock
from batchtui.tui.replay.screen import ReplayScreen
from batchtui.tui.replay.source import ReplaySource
from batchtui.tui.screens.commands import main_commands
from batchtui.tui.screens.main import MainScreen
from batchtui.tui.session import run_screen

_LIVE = {"Leave", "Next batch size", "Larger batch size", "Smaller batch size", "Restart", "Pause",
         "Double the batch size", "Halve the batch size", "Write the batch size"}  # fmt: skip


class ReplayApp(BatchtuiApp):
    """The screen of one run as it was."""

    COMMANDS = App.COMMANDS  # there is no batch size to find

    def __init__(self, source: ViewSource, clock: ReplayClock, **more: object) -> None:
        """Take a source that goes by the clock."""
        self._clock = clock
        super().__init__(source, lambda now: "", **more)  # type: ignore[arg-type]

    def make_screen(self, palette: Palette, preferences: Preferences) -> MainScreen:
        return ReplayScreen(palette, self.ascii_only, self._clock, self._look, preferences)

    def _look(self) -> None:
        self._feed.request()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        main = self._main
        assert isinstance(main, ReplayScreen)
        for name, meaning, action in (
            ("Leave", "The end of the replay", main.action_leave),
            ("Hold", "Hold the moment, or go on", main.action_pause),
            ("Slower", "Half the speed or so", partial(main.action_speed, -1)),
            ("Faster", "Twice the speed or so", partial(main.action_speed, 1)),
            ("Back", "By a twentieth of the run", partial(main.action_jump, -1)),
            ("Ahead", "By a twentieth of the run", partial(main.action_jump, 1)),
            ("Start", "Of the run", main.action_go_to_start),
            ("End", "Of the run", main.action_go_to_end),
        ):
            if screen is main or name == "Leave":
                yield SystemCommand(name, meaning, action)
        if screen is main:
            yield from (command for command in main_commands(main) if command.title not in _LIVE)
        yield SystemCommand("Draw anew", "Send the whole screen again", self.action_redraw)


def run_replay(
    run: RunDirectory,
    clock: ReplayClock,
    *,
    refresh: float = 1.0,
    theme: str | None = None,
    mouse: bool = True,
) -> int:
    """Show a run as it was until the user leaves; return the exit code."""
    app = ReplayApp(
        ReplaySource(run, clock), clock, refresh=refresh, theme=theme, preferences=at_home()
    )
    return run_screen(app, mouse=mouse)
