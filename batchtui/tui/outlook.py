"""What memory the present and the next batch size will need: forecast in a thread of its own.

The first forecast of a configuration waits for its trace; after that a key press takes
milliseconds, and a closer look follows behind.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from batchtui.errors import BatchtuiError
from batchtui.text import clean

if TYPE_CHECKING:
    from batchtui.forecast.prospect import Prospect
    from batchtui.forecast.rows import Forecast

TRACING = "tracing the model…"
_CLOSER_LOOK_S = 2.0
# Loading what forecasts are made of would take the processor from the first frame.
_FIRST_FRAME_S = 0.3


class Outlook(NamedTuple):
    """The forecasts on the screen; None where there is none, and then `reason` says why."""

    now: Forecast | None = None
    next: Forecast | None = None
    largest: int | None = None  # the largest batch size that is safe
    overhead: int = 0  # bytes that the training holds besides a forecast's peak
    reason: str | None = None

    @property
    def unfit(self) -> bool:
        """Whether the next batch size will not fit."""
        return self.next is not None and self.next.verdict == "will not fit"

    @property
    def needed(self) -> int | None:
        """The bytes that the training itself will hold at the next batch size."""
        return None if self.next is None else self.next.peak_bytes + self.overhead

    def room(self, forecast: Forecast, limit: int | None, others: int) -> int | None:
        """Return the bytes a forecast leaves up to the limit; below 0 where it goes beyond.

        `others` are the bytes that other processes hold now: they change faster than forecasts.
        """
        full = forecast.capacity_bytes
        if full is None:
            return None
        return min(full, limit or full) - others - self.overhead - forecast.peak_bytes


class Sizes(NamedTuple):
    """The batch sizes that are asked about."""

    now: int
    next: int | None = None
    most: int | None = None  # samples in the training split


class Oracle:
    """Answer questions about batch sizes, the newest alone, each first quickly and then closely.

    Args:
        prospect: returns what is known of the configuration; may take long the first time.
        tell: takes an outlook, in the oracle's thread.
    """

    def __init__(
        self, prospect: Callable[[], Prospect], tell: Callable[[Sizes, Outlook], None]
    ) -> None:
        self._prospect, self._tell = prospect, tell
        self._asked: Sizes | None = None
        self._wanted = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True, name="batchtui-oracle")

    def ask(self, sizes: Sizes) -> None:
        """Ask; the answers come by `tell`. A newer question takes the place of an older one."""
        self._asked = sizes
        self._wanted.set()
        if not self._thread.is_alive() and not self._ended:
            self._thread.start()

    def stop(self) -> None:
        """Answer no more. A trace that is being made goes on, and stays for the next time."""
        self._ended = True
        self._wanted.set()

    def _run(self) -> None:
        time.sleep(_FIRST_FRAME_S)
        while True:
            self._wanted.wait()
            self._wanted.clear()
            sizes = self._asked
            if self._ended or sizes is None:
                return
            try:
                self._answer(sizes)
            except BatchtuiError as error:
                self._tell(sizes, Outlook(reason=clean(str(error), 200)))
            except Exception as error:  # the screen lives on without forecasts
                self._tell(sizes, Outlook(reason=clean(f"{type(error).__name__}: {error}", 200)))

    def _answer(self, sizes: Sizes) -> None:
        prospect = self._prospect()
        largest = None
        for seconds in (0.0, _CLOSER_LOOK_S):
            outlook = Outlook(
                now=prospect.row(sizes.now, seconds=seconds),
                next=None if sizes.next is None else prospect.row(sizes.next, seconds=seconds),
                largest=largest,
                overhead=prospect.overhead,
            )
            if self._wanted.is_set():
                return
            self._tell(sizes, outlook)
            if largest is None and (largest := prospect.largest_safe(sizes.most)) is not None:
                outlook = outlook._replace(largest=largest)
                self._tell(sizes, outlook)
