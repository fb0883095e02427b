"""The driver that Textual is given: terminal modes as ever, cells by their difference."""

from __future__ import annotations

import os
import re
import sys
import threading

from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.events import CursorPosition
from textual.message import Message

from batchtui.tui.driver.difference import Shown
from batchtui.tui.driver.model import Model
from batchtui.tui.driver.output import Output
from batchtui.tui.driver.pace import Pace
from batchtui.tui.driver.styles import Styles
from batchtui.tui.widgets.glyphs import to_ascii

GAP = 0.1  # seconds between frames while nobody types
_MODE = re.compile(r"\x1b\[\?(\d+)([hl])")
_ALTERNATE_SCREEN, _SYNCHRONIZED = "1049", "2026"
_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"
_WORTH_SYNCHRONIZING = 64  # bytes
_LAST_ANSWER = 5.0  # seconds; what leaves the screen waits behind the same bytes


class CellDriver(LinuxDriver):
    """Sends the cells that changed; `write` never waits, whatever the terminal does.

    A terminal that answers gets the next cells when it has shown what was sent: over a slow line
    no queue builds up.
    """

    def __init__(
        self,
        app: App[object],
        *,
        debug: bool = False,
        mouse: bool = True,
        size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse and not in_gnu_screen(), size=size)
        self._descriptor = terminal_descriptor()
        styles = Styles(colour=getattr(app, "colour", True))
        translate = to_ascii if getattr(app, "ascii_only", False) else None
        self._model = Model(80, 24, styles, self._control, translate)
        self._shown = Shown(styles)
        self._lock = threading.Lock()
        self._controls: list[str] = []
        self._drawing = False  # on the alternate screen
        self._synchronized = False
        self._pace = Pace()
        self.output: Output | None = None

    # The event loop's side --------------------------------------------------------------

    def write(self, data: str) -> None:
        """Take a piece of Textual's stream into the model."""
        with self._lock:
            size = self._app.size
            if size and (size.width, size.height) != (self._model.width, self._model.height):
                self._model.resize(size.width, size.height)
                self._shown.forget()
            self._model.urgency = self.output.urgency if self.output is not None else 0
            self._model.feed(data)
            if self._model.surprised:
                self._model.surprised = False
                self._shown.forget()
        if self.output is not None:
            self.output.want()

    def flush(self) -> None:
        """Do nothing: the thread sends by itself."""

    def _control(self, sequence: str) -> None:
        """Keep what is no cell for the thread, in order; the lock is held."""
        mode = _MODE.fullmatch(sequence)
        if mode is not None:
            if mode[1] == _SYNCHRONIZED:
                self._synchronized = True
                return
            if mode[1] == _ALTERNATE_SCREEN:
                self._drawing = mode[2] == "h"
                self._shown.forget()
                if not self._drawing:
                    self._controls.append("\x1b[m")
        self._controls.append(sequence)

    def redraw(self) -> None:
        """Send the whole screen again: something else has written on the terminal."""
        with self._lock:
            self._shown.forget()
        if self.output is not None:
            self.output.want()

    def process_message(self, message: Message) -> None:
        """Keep answers to our own questions, and hurry after keys and mouse."""
        if isinstance(message, CursorPosition):
            self._pace.answer(message.y)
            if self._pace.behind and self.output is not None:
                self.output.want()
            return
        if self.output is not None:
            self.output.hurry()
        super().process_message(message)

    def start_application_mode(self) -> None:
        """Start the thread, then enter application mode; also after Ctrl+Z."""
        if self.output is None:
            self.output = Output(self._descriptor, self._take, GAP, self._pace)
            self.output.start()
        super().start_application_mode()
        if self.input_tty:
            self.write(self._pace.begin())

    def disable_input(self) -> None:
        """Stop reading keys, once no answer of the terminal is on its way any more.

        One that came later would appear as text on the user's command line.
        """
        self._pace.end(_LAST_ANSWER)
        super().disable_input()

    def _enable_mouse_support(self) -> None:
        """Ask for clicks and the wheel alone: moves cost a slow line and are of no use here."""
        if self._mouse:
            self.write("\x1b[?1000h\x1b[?1006h")

    def _disable_mouse_support(self) -> None:
        """Undo it."""
        if self._mouse:
            self.write("\x1b[?1000l\x1b[?1006l")

    def close(self) -> None:
        """Send what is left, for a second at most, and end the thread."""
        if self.output is not None:
            self.output.end(1.0)
            self.output = None
        super().close()

    # The thread's side --------------------------------------------------------------------

    def _take(self) -> bytes:
        """Return controls first, then as much of the way to the newest frame as there is room."""
        with self._lock:
            controls = "".join(self._controls)
            self._controls.clear()
            if controls:
                self._shown.lose_cursor()
            if not self._drawing:
                return controls.encode("utf-8", "replace")
            body = self._shown.update(self._model, self._pace.room)
            if body and self._synchronized and len(body) > _WORTH_SYNCHRONIZING:
                body = _BEGIN + body + _END
            data = (controls + body).encode("utf-8", "replace")
            if not data and not self._pace.behind:
                return b""
            row, question = self._pace.question(len(data), self._model.height)
            if question:
                self._shown.place_cursor(0, row)
            if self._model.touched and self.output is not None:
                self.output.want()
        return data + question.encode()


def in_gnu_screen() -> bool:
    """Whether GNU screen is around us: with the mouse on it keeps Esc back until the next key."""
    return "STY" in os.environ and "TMUX" not in os.environ


def terminal_descriptor() -> int:
    """Return where the terminal is: stderr, or stdout if stderr goes elsewhere."""
    for stream in (sys.__stderr__, sys.__stdout__):
        if stream is not None and stream.isatty():
            return stream.fileno()
    return 2
