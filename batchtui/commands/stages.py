"""Progress on standard error: a line a stage, rewritten in place while it lasts on a terminal."""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
import time
from collections.abc import Iterator

from batchtui import units
from batchtui.supervise.observed import Standing
from batchtui.text import clean


class Stages:
    """Says what goes on; a pipe gets a line at the beginning of a stage and one at its end."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()

    def say(self, line: str) -> None:
        """Print a line."""
        print(clean(line), file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def stage(self, name: str, told: str) -> Iterator[Stage]:
        """Show a stage while its block runs."""
        stage = Stage(self, name, told)
        stage.show(told)
        yield stage

    def rewrite(self, line: str, *, last: bool = False) -> None:
        """Replace the line at the bottom of a terminal; `last` leaves it there."""
        if not self._terminal:
            self.say(line)
            return
        width = max(20, shutil.get_terminal_size().columns)
        text = clean(line)
        text = text if last else text[: width - 1]
        print(f"\r\x1b[K{text}", end="\n" if last else "", file=sys.stderr, flush=True)

    @property
    def live(self) -> bool:
        """Whether lines may be rewritten."""
        return self._terminal


class Stage:
    """A line in the making."""

    def __init__(self, stages: Stages, name: str, told: str) -> None:
        self._stages, self._name, self._told = stages, name, told
        self._began = time.monotonic()

    @property
    def took(self) -> str:
        """How long it has been going on."""
        return units.duration(time.monotonic() - self._began)

    def show(self, what: str) -> None:
        """Show where it is."""
        self._stages.rewrite(f"{self._name:5} {what}")

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Show how long it has been, while the block waits for what says nothing itself."""
        if not self._stages.live:
            yield
            return
        over = threading.Event()

        def tell() -> None:
            while not over.wait(1.0):
                self.show(f"{self._told}, {self.took}")

        thread = threading.Thread(target=tell, name="stage", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()  # trials fork, which wants no other thread

    def standing(self, standing: Standing) -> None:
        """Show where a trial is, where lines may be rewritten."""
        if not self._stages.live:
            return
        where = f"step {standing.step}" if standing.step else standing.phase
        self.show(f"{self._told}: {where}, {units.fine(standing.peak)} so far, {self.took}")

    def end(self, what: str) -> None:
        """Leave the line that stays."""
        self._stages.rewrite(f"{self._name:5} {what}", last=True)
