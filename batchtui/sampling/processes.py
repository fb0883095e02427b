"""The worker's process tree: who belongs to it, and what it takes.

Reading every process once a second would cost 13 ms where a thousand run. A process that does
not descend from ours never will, so once it is known as a stranger it is read again only now
and then, in case its number was given to another.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from batchtui.sampling import procfs
from batchtui.sampling.resident import Resident

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_RECHECK = 32  # passes in which each stranger is read once more


@dataclass(frozen=True, slots=True)
class Stat:
    """What is used of /proc/PID/stat."""

    parent: int
    state: str
    ticks: int  # user and system time of all threads
    start: int  # ticks after boot: tells a process from another of the same number

    @property
    def running(self) -> bool:
        """Whether it still is a process, and not just its exit status."""
        return self.state not in "ZXx"


@dataclass(frozen=True, slots=True)
class TreeUsage:
    """What the tree takes. `cpu` is in cores, `resident` in bytes, shared pages counted once."""

    pids: frozenset[int]
    cpu: float | None
    resident: int | None

    @property
    def processes(self) -> int:
        """How many processes run in it."""
        return len(self.pids)


def parse_stat(content: bytes) -> Stat:
    """Parse /proc/PID/stat; see proc_pid_stat(5), whose field numbers count from 1.

    The name in field 2 is any bytes, blanks, brackets and line ends too; no field after it
    holds a bracket.

    Raises:
        ValueError: not such a line.
    """
    fields = content[content.rindex(b")") + 1 :].split()
    if len(fields) < 20:
        raise ValueError(f"{len(fields)} fields after the name, at least 20 expected")
    return Stat(
        state=fields[0].decode("ascii", "replace"),  # field 3
        parent=int(fields[1]),  # 4
        ticks=int(fields[11]) + int(fields[12]),  # 14 and 15
        start=int(fields[19]),  # 22
    )


class ProcessTree:
    """Follows the processes below given roots."""

    def __init__(
        self,
        roots: Callable[[], Iterable[int]],
        *,
        proc: str = "/proc",
        own: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the roots, asked again on each pass.

        This process (`own`) may be among them: then all that descends from it belongs to the
        tree, orphans it adopted too, but not itself.
        """
        self._roots = roots
        self._proc = proc
        self._own = os.getpid() if own is None else own
        self._clock = clock
        self._strangers: set[int] = set()
        self._known_roots: frozenset[int] = frozenset()
        self._passes = 0
        self._before: dict[tuple[int, int], int] | None = None
        self._before_at = 0.0
        self._memory = Resident(proc, clock)

    def read(self, closely: bool = False) -> TreeUsage:
        """Return what the tree takes now; `cpu` is the mean since the previous call.

        `closely` spares no time to find out what of its memory is shared.
        """
        now = self._clock()
        members = self._members()
        running = {pid: stat for pid, stat in members.items() if stat.running}
        return TreeUsage(
            pids=frozenset(running),
            cpu=self._cpu(members, now),
            resident=self._memory.read(
                {pid: (stat.start, stat.parent) for pid, stat in running.items()}, closely
            ),
        )

    def _members(self) -> dict[int, Stat]:
        roots = frozenset(self._roots())
        if roots != self._known_roots:
            self._known_roots = roots
            self._strangers = set()
        self._passes += 1
        turn = self._passes % _RECHECK
        pids = {int(entry) for entry in os.listdir(self._proc) if entry.isdigit()}
        # Only what is alive can remain a stranger: a number that comes back is another process.
        strangers = self._strangers & pids
        stats = {}
        for pid in pids:
            if pid in strangers and pid % _RECHECK != turn and pid not in roots:
                continue
            try:
                stats[pid] = parse_stat(procfs.read(f"{self._proc}/{pid}/stat"))
            except (OSError, ValueError):
                continue  # ended in between
        members = _descendants(roots, stats)
        self._strangers = pids - members.keys()
        members.pop(self._own, None)
        return members

    def _cpu(self, members: dict[int, Stat], now: float) -> float | None:
        """Return the cores kept busy since the previous pass.

        A process that ended in between takes its last share along: its parent may never
        collect it, and counting it there would count it twice where it was seen before.
        """
        ticks = {(pid, stat.start): stat.ticks for pid, stat in members.items()}
        before, self._before = self._before, ticks
        elapsed, self._before_at = now - self._before_at, now
        if before is None or elapsed <= 0:
            return None
        spent = sum(max(0, total - before.get(key, 0)) for key, total in ticks.items())
        return spent / _TICKS_PER_SECOND / elapsed


def _descendants(roots: Iterable[int], stats: dict[int, Stat]) -> dict[int, Stat]:
    """Return the roots and all below them."""
    children: dict[int, list[int]] = {}
    for pid, stat in stats.items():
        children.setdefault(stat.parent, []).append(pid)
    members = {}
    queue = list(roots)
    while queue:
        pid = queue.pop()
        if pid in stats and pid not in members:
            members[pid] = stats[pid]
            queue.extend(children.get(pid, ()))
    return members
