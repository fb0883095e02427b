"""The memory limits that control groups lay on this process, and the kernel's kill counter.

A group's limit holds for all below it, so each ancestor up to the mount counts. Both versions
may be mounted at once; the memory controller lives in one of them, and the files that exist
say in which.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from batchtui.sampling import procfs

# Version 1 says "no limit" with the largest multiple of a page that fits in 63 bits.
_NO_LIMIT = 1 << 60


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """A ceiling and what is used under it, in bytes. `source`: `host`, or `cgroup /path`."""

    total: int
    used: int
    source: str

    @property
    def headroom(self) -> int:
        """Bytes left before the kernel kills; negative when over the limit."""
        return self.total - self.used


def tightest(limits: Iterable[MemoryLimit]) -> MemoryLimit | None:
    """Return the limit that would be hit first."""
    return min(limits, key=lambda limit: limit.headroom, default=None)


@dataclass(frozen=True, slots=True)
class _Version:
    """How one version of control groups names things."""

    limit: str
    usage: str
    # What the kernel gives back before it kills: the page cache and, where it says so, its own
    # caches of names and inodes. Memory in /dev/shm is counted elsewhere and stays used.
    reclaimable: tuple[bytes, ...]
    kills: str


_V1 = _Version(
    limit="memory.limit_in_bytes",
    usage="memory.usage_in_bytes",
    reclaimable=(b"total_inactive_file", b"total_active_file"),
    kills="memory.oom_control",
)
_V2 = _Version(
    limit="memory.max",
    usage="memory.current",
    reclaimable=(b"inactive_file", b"active_file", b"slab_reclaimable"),
    kills="memory.events",
)


@dataclass(frozen=True, slots=True)
class _Group:
    folder: str
    name: str  # below the mount: /user.slice/…
    version: _Version


class CgroupMemory:
    """The memory side of the control groups that a process is in."""

    def __init__(self, proc: str = "/proc", pid: int | str = "self") -> None:
        """Take the process to look at; a child starts in the group of its parent."""
        self._proc = proc
        self._pid = pid
        self._groups: list[_Group] = []

    def limits(self) -> list[MemoryLimit]:
        """Return the limit of each group that has one, from the process's own upwards."""
        found = (_limit(group) for group in self._current_groups())
        return [limit for limit in found if limit is not None]

    def oom_kills(self) -> int | None:
        """Return how many processes the kernel has killed for want of memory; None if unknown.

        Counted for the nearest group that counts, else for the whole host. Two readings around
        a death tell whether the kernel was its cause.
        """
        for group in self._current_groups():
            kills = _counter(f"{group.folder}/{group.version.kills}", b"oom_kill")
            if kills is not None:
                return kills
        return _counter(f"{self._proc}/vmstat", b"oom_kill")

    def _current_groups(self) -> list[_Group]:
        """Return the groups, looked up again when there are none or the own one is gone."""
        if not self._groups or not os.path.isdir(self._groups[0].folder):
            self._groups = list(_find_groups(self._proc, self._pid))
        return self._groups


def _limit(group: _Group) -> MemoryLimit | None:
    """Return a group's limit, None if it has none or went away."""
    try:
        limit = procfs.read(f"{group.folder}/{group.version.limit}").strip()
        if not limit.isdigit() or not 0 < int(limit) < _NO_LIMIT:
            return None
        usage = int(procfs.read(f"{group.folder}/{group.version.usage}"))
        stat = procfs.counters(procfs.read(f"{group.folder}/memory.stat"))
    except (OSError, ValueError):
        return None
    cache = sum(stat.get(name, 0) for name in group.version.reclaimable)
    return MemoryLimit(
        total=int(limit),
        used=max(0, usage - cache),  # two files, read one after the other
        source=f"cgroup {group.name}",
    )


def _counter(path: str, name: bytes) -> int | None:
    try:
        return procfs.counters(procfs.read(path)).get(name)
    except OSError:
        return None


# ------------------------------------------------------------------ where the groups lie


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted hierarchy; `root` is the group that appears at `point`."""

    root: str
    point: str
    unified: bool  # version 2


def parse_membership(content: bytes) -> tuple[str | None, str | None]:
    """Parse /proc/PID/cgroup into the paths of version 1's memory controller and of version 2.

    A line is `number:controllers:path`; version 2 has number 0 and no controllers, and the
    path may hold colons itself.
    """
    memory = unified = None
    for line in os.fsdecode(content).split("\n"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if "memory" in controllers.split(","):
            memory = path
        elif number == "0" and not controllers:
            unified = path
    return memory, unified


def parse_mounts(content: bytes) -> list[Mount]:
    """Parse /proc/PID/mountinfo into the mounts of memory groups."""
    mounts = []
    for line in os.fsdecode(content).split("\n"):
        # id, parent, device, root, mount point, options, optional fields… - type, source, options
        before, separator, after = line.partition(" - ")
        left, right = before.split(" "), after.split(" ")
        if not separator or len(left) < 5 or len(right) < 3:
            continue
        unified = right[0] == "cgroup2"
        if unified or (right[0] == "cgroup" and "memory" in right[2].split(",")):
            mounts.append(Mount(_unescape(left[3]), _unescape(left[4]), unified))
    return mounts


def _unescape(field: str) -> str:
    """Undo mountinfo's octal escapes of blanks and backslashes."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def _find_groups(proc: str, pid: int | str) -> Iterator[_Group]:
    """Yield the groups of a process, its own first, then each ancestor up to the mount."""
    try:
        memory, unified = parse_membership(procfs.read(f"{proc}/{pid}/cgroup"))
        mounts = parse_mounts(procfs.read(f"{proc}/{pid}/mountinfo"))
    except OSError:
        return
    for path, version in ((memory, _V1), (unified, _V2)):
        places = [mount for mount in mounts if mount.unified is (version is _V2)]
        if path is None or not places:
            continue
        for mount in places:
            below = _below(mount, path)
            if below is not None:
                break
        else:
            # A container sees the host's path and a mount of its own group: that is the mount.
            mount, below = places[0], ""
        while below:
            yield _Group(mount.point + below, below, version)
            below = below.rpartition("/")[0]
        yield _Group(mount.point, "/", version)


def _below(mount: Mount, path: str) -> str | None:
    """Return a group's path below a mount, "" for the mount itself, None if not there."""
    if ".." in path.split("/"):  # outside this namespace's root
        return None
    root = mount.root.rstrip("/")
    below = path[len(root) :] if path == root or path.startswith(root + "/") else path
    below = below.rstrip("/")
    return below if os.path.isdir(mount.point + below) else None
