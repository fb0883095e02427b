"""The one thread that reads: timers request, it fetches, and requests coalesce."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from batchtui.tui.view import View


class ViewSource(Protocol):
    """Where views come from; `read` is bounded in rows and time and runs in the feed's thread.

    `span` are the first and the last step that views shall tell of in detail.
    """

    span: tuple[int, int] | None

    def read(self) -> View:
        """Look at the run once; raise BatchtuiError with one line if that cannot be done."""
        ...


class Feed:
    """Read a source in a thread of its own and hand each result to a callback, in that thread.

    A source that hangs delays views and nothing else; a source that raises costs one view.
    """

    def __init__(
        self,
        source: ViewSource,
        deliver: Callable[[View], None],
        fail: Callable[[Exception], None],
    ) -> None:
        self._source, self._deliver, self._fail = source, deliver, fail
        self._wanted = threading.Event()
        self._ended = threading.Event()
        self._looked = threading.Event()
        self.newest: View | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="batchtui-feed")

    def start(self, patience: float = 0.0) -> None:
        """Start reading; the first look is taken at once, and awaited for `patience` seconds."""
        self._wanted.set()
        self._thread.start()
        self._looked.wait(patience)

    def request(self) -> None:
        """Ask for a new view; while one is being read, any number of requests are one."""
        self._wanted.set()

    def stop(self, timeout: float = 0.2) -> None:
        """End the thread; a read that hangs is left behind."""
        self._ended.set()
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._ended.is_set():
                return
            try:
                view = self._source.read()
            except Exception as error:  # whatever a torn file may do, the next read may succeed
                self._fail(error)
            else:
                self.newest = view
                if not self._ended.is_set():
                    self._deliver(view)
            self._looked.set()
