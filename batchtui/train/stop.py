"""Being asked to stop: SIGTERM, SIGINT, or a supervisor that is gone.

While nothing is trained yet there is nothing to save, and the process leaves at once. Later the
request is a flag that the loop looks at between two steps.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

# One request can arrive twice, to the process group and forwarded by torchrun.
ECHO_SECONDS = 1.0
# How long a worker without a supervisor may take for its last checkpoint.
ORPHAN_SECONDS = 60.0

_STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})


class StopRequest:
    """Whether someone asked this process to stop, and who."""

    def __init__(self, leave: Callable[[str], None]) -> None:
        """`leave(reason)` ends the process at once; it must not return."""
        self.reason: str | None = None
        self.training = False  # there is something to save
        self._leave = leave
        self._asked = 0.0  # monotonic clock

    def __bool__(self) -> bool:
        """Return whether a stop was asked for."""
        return self.reason is not None

    def request(self, reason: str) -> None:
        """Ask to stop; a second request, more than an echo of the first, ends the process."""
        now = time.monotonic()
        if self.reason is None:
            self.reason, self._asked = reason, now
            if not self.training:
                self._leave(reason)
        elif now - self._asked >= ECHO_SECONDS:
            self._leave(f"{reason}, asked twice")

    def begin_training(self) -> None:
        """Say that from now on a stop needs a checkpoint."""
        self.training = True
        if self.reason is not None:  # asked by a thread in this very moment
            self._leave(self.reason)

    def install(self) -> None:
        """Take SIGTERM and SIGINT, from the main thread."""
        for number in _STOP_SIGNALS:
            signal.signal(number, self._on_signal)

    def watch_parent(self, interval_s: float = 1.0, limit_s: float = ORPHAN_SECONDS) -> None:
        """Stop when the process that started this one is gone, and be dead `limit_s` later."""
        parent = os.getppid()

        def watch() -> None:
            while os.getppid() == parent:
                time.sleep(interval_s)
            if self.reason is None:  # else its death has been told by a signal
                self.request("the supervisor is gone")
            time.sleep(limit_s)
            os._exit(1)

        threading.Thread(target=watch, name="parent watch", daemon=True).start()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.request(signal.Signals(number).name)


class Shielded:
    """A context in which child processes are born deaf to SIGTERM and SIGINT.

    A stop goes to the whole process group. A loader that died of it would make the training
    fail in the middle of its last step. Each child has to call `obey_parent`.
    """

    def __enter__(self) -> None:
        """Block the signals; those that arrive now are delivered at the end."""
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)

    def __exit__(self, *_: object) -> None:
        """Let them through again."""
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)


def obey_parent(worker: int = 0) -> None:
    """In a child born shielded: end when the parent itself says so, and ignore all others.

    Python's handlers are not told who sent a signal; a thread that waits for it is.
    """
    parent = os.getppid()

    def wait() -> None:
        while signal.sigwaitinfo(_STOP_SIGNALS).si_pid != parent:
            pass
        os._exit(0)

    if hasattr(signal, "sigwaitinfo"):
        threading.Thread(target=wait, name="stop", daemon=True).start()
    else:  # macOS: better a loader that dies of a stop than one that outlives it
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
