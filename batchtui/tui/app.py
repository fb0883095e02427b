"""The application: takes views from the feed, and leaves the terminal as it was."""

from __future__ import annotations

import asyncio
import gc
import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.filter import LineFilter
from textual.message import Message
from textual.screen import Screen

from batchtui.errors import BatchtuiError
from batchtui.runs.directory import RunDirectory
from batchtui.text import clean
from batchtui.tui.colourless import Colourless
from batchtui.tui.driver.cells import CellDriver
from batchtui.tui.feed import Feed, ViewSource
from batchtui.tui.following import FollowingSource, Hands
from batchtui.tui.outlook import Oracle, Outlook, Sizes
from batchtui.tui.palette import Palette
from batchtui.tui.plain import Plain
from batchtui.tui.preferences import Preferences, at_home
from batchtui.tui.screens.commands import BatchSizes, main_commands
from batchtui.tui.screens.main import MainScreen
from batchtui.tui.session import from_closed_palette, run_screen
from batchtui.tui.themes import THEMES, textual_theme
from batchtui.tui.view import View
from batchtui.tui.widgets.chart_pane import ChartPane
from batchtui.tui.widgets.glyphs import terminal_is_ascii

if TYPE_CHECKING:
    from batchtui.advise.restart import Plan
    from batchtui.forecast.prospect import Prospect

_START_S = 2.0
_YOUNG = 10_000  # objects between two collections: a full one holds a key up for 20 ms
_FIRST_LOOK_S = 0.25  # a disk that takes longer gets an empty screen first


class BatchtuiApp(App[int]):
    """The screen of one run.

    `stop` asks the supervisor to stop the run (True: without a checkpoint) and returns its answer
    in a line; the screen itself never touches the run.
    """

    CSS_PATH = Path(__file__).with_name("batchtui.tcss")
    TITLE = "batchtui"
    COMMANDS = App.COMMANDS | {BatchSizes}
    ALLOW_SELECT = False  # terminals select text themselves, with Shift held
    # Columns and rows at which the layout changes; see batchtui.tcss.
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide"), (160, "-very-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (30, "-tall"), (48, "-very-tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d", "detach", "Detach: leave, the training goes on"),
        Binding("ctrl+c", "detach", "Detach", show=False, priority=True),
        Binding("ctrl+l", "redraw", "Draw the screen anew", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", "Suspend", show=False, priority=True),
    ]

    class Seen(Message):
        """A new view has been read."""

        def __init__(self, view: View) -> None:
            super().__init__()
            self.view = view

    class Unread(Message):
        """A view could not be read."""

        def __init__(self, reason: str) -> None:
            super().__init__()
            self.reason = reason

    class Foreseen(Message):
        """Batch sizes have been forecast."""

        def __init__(self, sizes: Sizes, outlook: Outlook) -> None:
            super().__init__()
            self.sizes, self.outlook = sizes, outlook

    def __init__(
        self,
        source: ViewSource,
        stop: Callable[[bool], str],
        *,
        prospect: Callable[[], Prospect] | None = None,
        restart: Callable[[str, Plan], None] | None = None,
        refresh: float = 1.0,
        colour: bool | None = None,
        ascii_only: bool | None = None,
        theme: str | None = None,
        preferences: Preferences | None = None,
    ) -> None:
        """Take a source of views, a way to stop the run, and seconds between looks.

        `prospect` returns what forecasts are made of, `restart` has a run go on as planned; both
        run in a thread and may take their time.
        Without preferences nothing is remembered; `theme` goes before theirs.
        """
        # TEXTUAL_DRIVER names one where the screen is served to a browser; tests have their own.
        super().__init__(driver_class=None if "TEXTUAL_DRIVER" in os.environ else CellDriver)
        self.animation_level = "none"
        self.colour = not os.environ.get("NO_COLOR") if colour is None else colour
        self.ascii_only = terminal_is_ascii() if ascii_only is None else ascii_only
        preferences = preferences or Preferences()
        palette = Palette(self.colour, theme or preferences.theme or "dark")
        for name in THEMES:
            self.register_theme(textual_theme(name))
        self.theme = palette.theme
        self.stylesheet.set_variables(self.get_css_variables())
        self._styled: str | None = palette.theme
        self.crash: BaseException | None = None
        self._running_loop: asyncio.AbstractEventLoop | None = None
        self._stop = stop
        self._restart = restart
        self._every = max(0.1, refresh)
        self._oracle = prospect and Oracle(
            prospect, lambda sizes, outlook: self._tell(self.Foreseen(sizes, outlook))
        )
        self._main = self.make_screen(palette, preferences)
        self._source = source
        self._feed = Feed(
            source,
            lambda view: self._tell(self.Seen(view)),
            lambda error: self._tell(self.Unread(_one_line(error))),
        )

    def make_screen(self, palette: Palette, preferences: Preferences) -> MainScreen:
        """Return the main screen."""
        return MainScreen(
            palette,
            self.ascii_only,
            self.ask_to_stop,
            self._oracle.ask if self._oracle else None,
            self.ask_to_restart if self._restart else None,
            preferences,
        )

    def _tell(self, message: Message) -> None:
        self.post_message(message)

    def get_default_screen(self) -> MainScreen:
        """Start with the main screen: one less to lay out before the first frame."""
        return self._main

    def on_load(self) -> None:
        self._running_loop = asyncio.get_running_loop()
        # A first frame that has its numbers is drawn once, and not empty before.
        self._feed.start(_FIRST_LOOK_S)
        if self._feed.newest is not None:
            self._main.show(self._feed.newest)

    def on_mount(self) -> None:
        self.set_timer(_START_S, _collect_garbage)
        self.set_interval(self._every, self._feed.request)

    def on_resize(self) -> None:
        # What a terminal shows after a change of its size, only the terminal knows.
        self.action_redraw()

    def on_unmount(self) -> None:
        self._feed.stop()
        if self._oracle:
            self._oracle.stop()

    def on_batchtui_app_seen(self, message: Seen) -> None:
        self._main.show(message.view)

    def on_batchtui_app_foreseen(self, message: Foreseen) -> None:
        self._main.foresee(message.sizes, message.outlook)

    def on_chart_pane_looked(self, message: ChartPane.Looked) -> None:
        """Read what a zoomed chart shows in more detail."""
        span = message.span
        self._source.span = None if span is None else (math.floor(span[0]), math.ceil(span[1]))
        self._feed.request()

    def on_batchtui_app_unread(self, message: Unread) -> None:
        self._main.complain(message.reason)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Fill the command palette; Textual's own commands (themes, keys) do not apply here."""
        yield SystemCommand("Detach", "Leave; the training goes on", self.action_detach)
        if screen is self._main:
            yield from main_commands(self._main)
        yield SystemCommand("Draw anew", "Send the whole screen again", self.action_redraw)

    def action_command_palette(self) -> None:
        """Open the palette and leave what is behind it as it is: dimmed, every cell is sent."""
        super().action_command_palette()
        self.screen.styles.background = "transparent"

    def ask_to_stop(self) -> None:
        """Ask the supervisor to stop the run, in a thread: it may take its time to answer."""

        def ask() -> None:
            try:
                answer = self._stop(False)
            except Exception as error:  # whatever went wrong is one line for the user
                answer = _one_line(error)
            self.call_from_thread(self._main.answer, answer)

        self.run_worker(ask, thread=True, exclusive=True)

    def refresh_css(self, animate: bool = True) -> None:
        """Pass over Textual's first refresh: all styles are read with this theme anyway."""
        styled, self._styled = self._styled, None
        if styled != self.theme:
            super().refresh_css(animate)

    def ask_to_restart(self, run: str, plan: Plan) -> None:
        """Have the run restarted, in a thread; the source finds the new one by itself."""

        def ask() -> None:
            try:
                assert self._restart is not None
                self._restart(run, plan)
            except Exception as error:
                self.call_from_thread(self._main.answer, _one_line(error))

        self.run_worker(ask, thread=True)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Replace Textual's greys by no colour at all where none is wanted; see `Plain`, too."""
        filters = super().get_line_filters() if self.colour else [Colourless()]
        return [*filters, Plain()] if self.ascii_only else filters

    def action_redraw(self) -> None:
        """Send the whole screen again, in case something else wrote on the terminal."""
        driver = self._driver
        if isinstance(driver, CellDriver):
            driver.redraw()

    # Ways out ------------------------------------------------------------------------------

    def leave_from_signal(self, code: int) -> None:
        """Leave with an exit code; to be called from a signal handler."""
        loop = self._running_loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self.exit, code)

    def _handle_exception(self, error: Exception) -> None:
        if from_closed_palette(error):
            return
        self.crash = self.crash or error
        super()._handle_exception(error)

    def _print_error_renderables(self) -> None:
        # Textual would print the whole traceback with all variables; `run_screen` says it in a
        # line and writes the story to a file.
        self._exit_renderables.clear()

    def action_detach(self) -> None:
        """Leave; the training goes on."""
        self.exit(0)


def _collect_garbage() -> None:
    """Turn the collector on, and let it pass over what the start has made."""
    gc.freeze()
    gc.set_threshold(_YOUNG)
    gc.enable()


def _one_line(error: Exception) -> str:
    text = clean(str(error), 200)
    return text if isinstance(error, BatchtuiError) else f"{type(error).__name__}: {text}"


def run_app(
    run: RunDirectory,
    hands: Hands,
    *,
    refresh: float = 1.0,
    theme: str | None = None,
    mouse: bool = True,
) -> tuple[int, RunDirectory]:
    """Show a run, and those that take over, until the user leaves.

    Returns the exit code and the run that was shown last.
    """
    source = FollowingSource(run, hands.successor)
    app = BatchtuiApp(
        source,
        lambda now: hands.stop(source.run, now),
        prospect=lambda: hands.prospect(source.run),
        restart=lambda name, plan: source.go_on(name, lambda run: hands.restart(run, plan)),
        refresh=refresh,
        theme=theme,
        preferences=at_home(),
    )
    return run_screen(app, crash_folder=run.path, mouse=mouse), source.run
