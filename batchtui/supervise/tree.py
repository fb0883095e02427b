"""The processes below one: finding them all, and ending them all."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable

from batchtui.sampling import procfs
from batchtui.sampling.processes import parse_stat


def descendants(*roots: int) -> set[int]:
    """Return all running processes below some roots, not the roots themselves.

    Process groups and sessions do not matter: torchrun gives each rank a session of its own.
    """
    children: dict[int, list[int]] = {}
    running = set()
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            stat = parse_stat(procfs.read(f"/proc/{entry}/stat"))
        except (OSError, ValueError):
            continue  # ended in between
        children.setdefault(stat.parent, []).append(int(entry))
        if stat.running:
            running.add(int(entry))
    found: set[int] = set()
    queue = list(roots)
    while queue:
        below = [pid for pid in children.get(queue.pop(), ()) if pid not in found]
        found.update(below)
        queue.extend(below)
    return found & running


def children() -> list[int]:
    """Return the children of this thread, dead ones too; none where the kernel can't tell."""
    try:
        return [int(pid) for pid in procfs.read("/proc/thread-self/children").split()]
    except OSError:
        return []


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to each; one that is gone, or not ours, is passed over."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except OSError:
            pass
