"""Whether a folder lies on a file system that other machines may have mounted as well."""

from __future__ import annotations

import os
import re
from pathlib import Path

_NETWORK = frozenset(
    (
        *("9p", "afs", "beegfs", "ceph", "cifs", "fhgfs", "fuse.ceph-fuse", "fuse.glusterfs"),
        *("fuse.sshfs", "glusterfs", "gpfs", "lustre", "nfs", "nfs4", "orangefs", "panfs"),
        *("pvfs2", "smb3", "smbfs", "wekafs"),
    )
)


def on_network(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> bool:
    """Return whether a file or folder lies on a network file system; unknown counts as not."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        wanted = os.path.realpath(path)
    except OSError:
        return False
    longest, kind = -1, ""
    for line in lines:
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if not separator or len(fields) < 5:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
        inside = wanted == point or wanted.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= longest:  # of mounts on one folder, the last one is seen
            longest, kind = len(point), after.split(" ")[0]
    return kind in _NETWORK
