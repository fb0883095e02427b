"""The worker and all below it: asked to stop, made to, and collected when they are dead."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Collection

from batchtui.supervise import ladder, tree
from batchtui.supervise.ladder import Ladder
from batchtui.supervise.ledger import Ledger
from batchtui.supervise.patience import Patience

_ENDING_S = 0.05  # between two looks at processes that are about to end
_NATURAL_END_S = 0.3  # for the worker's children to end with it, before they are told to
_KILL_BURST_S = 0.03  # of kills in quick succession, against processes that fork to get away
_KILL_PAUSE_S = 0.0005


class Custody:
    """Everything that descends from this process, which is its subreaper.

    What is sent is recorded before it is sent, so that a kill of ours is never a mystery.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        ledger: Ledger,
        seen: set[int],
        patience: Patience,
    ) -> None:
        """Take the worker. Pids of processes that end are added to `seen`."""
        self._process = process
        self._ledger = ledger
        self._seen = seen
        self._patience = patience
        self._stop: Ladder | None = None
        self._too_late = ""  # why the top rung of that ladder is a kill
        self._leftovers: Ladder | None = None
        self._killing_since: float | None = None
        self._childless = False
        self.exit_code: int | None = None  # the worker's; negative: a signal
        self.asked: str | None = None  # why the worker was asked to stop
        self.killed: str | None = None  # why it was not left to end by itself

    @property
    def pid(self) -> int:
        """The worker's."""
        return self._process.pid

    def stop(self, why: str, *, now: bool = False) -> None:
        """Begin to stop the worker; `now` goes on without waiting for a checkpoint.

        Asked again, only `now` changes anything.
        """
        if self.exit_code is not None or (self.asked is not None and not now):
            return
        self.asked = self.asked or why
        self._ledger.stopping(why)
        patience = self._patience
        if now:
            rungs = ladder.at_once(patience.stop_now)
            # An exit at the second SIGTERM counts as this, too.
            self.killed = self._too_late = "killed without a checkpoint, as asked"
        else:
            rungs = ladder.gently(patience.stop)
            self._too_late = (
                f"it did not stop within {patience.stop:.0f} s and was killed, without a checkpoint"
            )
        self._stop = Ladder(rungs, time.monotonic())

    def turn(self) -> None:
        """Collect the dead and send what is due; call it whenever something happened."""
        self._reap()
        now = time.monotonic()
        for number in self._stop.due(now) if self._stop else ():
            if self.exit_code is None:
                self._ask() if number is signal.SIGTERM else self._kill(self._too_late)
        if self.exit_code is not None:
            self._end_leftovers(now)
        if self._killing_since is not None:
            self._kill_all(now + _KILL_BURST_S)

    def next_wake(self) -> float:
        """Return when `turn` has something to do, though nothing may have happened."""
        if self.exit_code is not None or self._killing_since is not None:
            return time.monotonic() + _ENDING_S
        at = self._stop.next_at if self._stop else None
        return float("inf") if at is None else at

    def empty(self) -> bool:
        """Return whether the worker and all below it have ended, or never will."""
        if self._childless:
            return True
        since = self._killing_since
        if since is None or time.monotonic() - since < self._patience.unkillable:
            return False
        message = f"{_list(self._below())} cannot be killed: waiting within the kernel"
        self._ledger.event("error", "stop", message)
        return True

    def _below(self) -> set[int]:
        below = tree.descendants(os.getpid())
        self._seen |= below
        return below

    def _ask(self) -> None:
        """Send SIGTERM to the worker, and to it alone.

        Its group holds its data loaders, which SIGTERM ends at once; their death would raise
        in the training loop just when it has to write its checkpoint.
        """
        self._ledger.event("info", "stop", f"SIGTERM to the worker, pid {self.pid}")
        self._ledger.commit()
        # A process that somebody has stopped takes the signal once it goes on.
        tree.send([self.pid], signal.SIGTERM)
        tree.send([self.pid], signal.SIGCONT)

    def _kill(self, why: str) -> None:
        """Begin to kill all that is below this process; `turn` goes on until nothing is."""
        self._killing_since = self._killing_since or time.monotonic()
        if self.exit_code is None:
            self.killed = why
        self._ledger.event("warning", "stop", f"SIGKILL to {_list(self._below())}: {why}")
        self._ledger.commit()

    def _kill_all(self, until: float) -> None:
        """Kill what is below this process, and what comes to it while that goes on.

        A process whose parent is gone is a child of this one, and found much faster as such
        than in a list of all: fast enough for those that fork and exit all the time.
        """
        tree.send(self._below(), signal.SIGKILL)
        while not self._childless and time.monotonic() < until:
            tree.send(tree.children(), signal.SIGKILL)
            time.sleep(_KILL_PAUSE_S)
            self._reap()

    def _end_leftovers(self, now: float) -> None:
        """End what outlived the worker: data loaders, ranks of torchrun, the user's own."""
        if self._leftovers is None:
            last = _NATURAL_END_S + self._grace_of_leftovers()
            self._leftovers = Ladder(
                [(_NATURAL_END_S, signal.SIGTERM), (last, signal.SIGKILL)], now
            )
        for number in self._leftovers.due(now):
            below = self._below()
            if not below:
                return
            if number is signal.SIGKILL:
                self._kill("left by the worker, and did not end")
                return
            self._ledger.event("info", "stop", f"SIGTERM to {_list(below)}, left by the worker")
            self._ledger.commit()
            tree.send(below, signal.SIGTERM)
            tree.send(below, signal.SIGCONT)

    def _grace_of_leftovers(self) -> float:
        """Return how long they may take to end, in seconds.

        Where our SIGTERM has ended the worker without an answer, it may have been no more than
        a wrapper (`launch.python: a script`), and the training be among what it left.
        """
        by_term = self.exit_code in (-signal.SIGTERM, 128 + signal.SIGTERM)
        return self._patience.stop if self.asked and by_term else self._patience.orphans

    def _reap(self) -> None:
        """Collect the dead: the worker, and orphans that this process adopted."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                # The only proof that nothing is left: a list of processes may miss one that
                # was born while it was read, but each has an ancestor that is our child.
                self._childless = True
                return
            if pid == 0:
                return
            self._seen.add(pid)
            if pid == self.pid:
                self.exit_code = self._process.returncode = os.waitstatus_to_exitcode(status)


def _list(pids: Collection[int]) -> str:
    """Name processes: `pid 12`, `3 processes (12, 13, 14)`."""
    ordered = sorted(pids)
    if len(ordered) == 1:
        return f"pid {ordered[0]}"
    shown = ", ".join(map(str, ordered[:8])) + (", …" if len(ordered) > 8 else "")
    return f"{len(ordered)} processes ({shown})"
