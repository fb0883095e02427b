"""What a killed data loader leaves in /dev/shm.

PyTorch hands batches from loader to training in files called torch_<pid>_<random>_<count>, and
unlinks each as soon as both sides have mapped it. A process killed in between leaves its own
behind, and their memory is lost until the next boot.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection
from dataclasses import dataclass

from batchtui.runs.identity import Identity
from batchtui.units import gib

SHM = "/dev/shm"
_NAME = re.compile(r"torch_([0-9]+)_")


@dataclass(frozen=True, slots=True)
class Swept:
    """What was removed."""

    files: int
    size: int  # bytes

    def __str__(self) -> str:
        return f"/dev/shm: removed {self.files} left by data loaders, {gib(self.size)}"


def torch_files(folder: str = SHM) -> frozenset[str]:
    """Return the names of torch's files in /dev/shm."""
    try:
        return frozenset(name for name in os.listdir(folder) if _NAME.match(name))
    except OSError:
        return frozenset()


def sweep(pids: Collection[int], before: Collection[str], folder: str = SHM) -> Swept:
    """Remove the files of processes of ours that are dead.

    A pid in a name is not enough: a container may share /dev/shm and count its own pids. So a
    file has to be this user's, name a process that was seen below our worker and is gone, and
    must not have been there `before` the training.

    Args:
        pids: the processes that were seen.
        before: names that were there before.
        folder: for tests.
    """
    files = size = 0
    for name in torch_files(folder) - frozenset(before):
        match = _NAME.match(name)
        if match is None or (pid := int(match[1])) not in pids:
            continue
        if Identity.of(pid) is not None:
            continue  # alive, or another process by now: its files may be in use
        path = os.path.join(folder, name)
        try:
            status = os.lstat(path)
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
                continue
            os.unlink(path)
        except OSError:
            continue
        files += 1
        size += status.st_blocks * 512
    return Swept(files, size)
