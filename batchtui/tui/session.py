"""From the command line into the application and out of it again, whatever happens.

The terminal is restored on every way out: leaving, SIGHUP, SIGTERM, a crash, a loop that hangs.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import tempfile
import termios
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from textual.css.query import NoMatches
from textual.worker import WorkerFailed

from batchtui.text import clean

if TYPE_CHECKING:
    from batchtui.tui.app import BatchtuiApp

_GRACE_S = 2.0
_SIGNALS = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
# Mouse, bracketed paste, focus reports and kitty's keys off, line wrap on, plain style, main
# screen, cursor: what LinuxDriver would send.
_RESTORE = (
    b"\x1b[?1000l\x1b[?1006l\x1b[?2004l\x1b[?1004l\x1b[?2048l\x1b[?7h\x1b[<u\x1b[m\x1b[?1049l"
    b"\x1b[?25h"
)


def run_screen(app: BatchtuiApp, crash_folder: Path | None = None, mouse: bool = True) -> int:
    """Run the application and return the exit code; a crash is one line and a file."""
    # What is made until the first frame stays: looking for garbage in it would take a fifth of
    # the time. The application turns the collector on again.
    gc.disable()
    with _signals(app):
        try:
            code = app.run(mouse=mouse) or 0
        except Exception as error:
            app.crash = app.crash or error
            code = 1
        finally:
            gc.enable()
    if app.crash is None:
        return code
    kind, text = type(app.crash).__name__, clean(str(app.crash), 300)
    details = _write_crash(app.crash, crash_folder)
    print(
        f"batchtui: the screen failed, the training goes on ({kind}: {text}); details: {details}",
        file=sys.stderr,
    )
    return 1


def from_closed_palette(error: Exception) -> bool:
    """Whether an error is that of Textual's palette, looking for its list once it is closed."""
    reason = error.error if isinstance(error, WorkerFailed) else None
    return isinstance(reason, NoMatches) and "CommandPalette" in str(reason)


@contextmanager
def _signals(app: BatchtuiApp) -> Iterator[None]:
    """End the application cleanly on a signal, and by force if it takes longer than 2 s.

    `signal.signal` and not the loop's handlers: a loop that hangs would never see those.
    """
    before_attributes = _terminal_attributes()

    def leave(number: int, _frame: FrameType | None) -> None:
        def force() -> None:
            _restore(before_attributes)
            os._exit(128 + number)

        timer = threading.Timer(_GRACE_S, force)
        timer.daemon = True
        timer.start()
        app.leave_from_signal(128 + number)

    before = {}
    for number in _SIGNALS:
        with suppress(ValueError):  # not in the main thread
            before[number] = signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _terminal_attributes() -> Callable[[], None] | None:
    """Return what sets the terminal's line settings as they are now."""
    try:
        attributes = termios.tcgetattr(0)
    except (termios.error, OSError):
        return None
    return lambda: termios.tcsetattr(0, termios.TCSANOW, attributes)


def _restore(attributes: Callable[[], None] | None) -> None:
    with suppress(termios.error, OSError):
        if attributes is not None:
            attributes()
    with suppress(OSError):
        os.set_blocking(2, False)  # a stalled terminal must not hold up the exit
        os.write(2, _RESTORE)


def _write_crash(error: BaseException, folder: Path | None) -> str:
    """Write the whole story beside the run, else where temporary files go; return the place."""
    story = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    for place in (folder, Path(tempfile.gettempdir())):
        if place is None:
            continue
        path = place / "screen-crash.log"
        with suppress(OSError):
            with open(path, "a", encoding="utf-8", errors="replace") as file:
                file.write(f"{stamp} batchtui {sys.version.split()[0]}\n{story}\n")
            return str(path)
    return "nowhere to write them"
