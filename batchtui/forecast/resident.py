"""This process's own memory, as Linux counts it: what is resident and belongs to it alone."""

from __future__ import annotations


def now() -> int:
    """Return the resident anonymous and shared memory in bytes; 0 where nobody tells."""
    return _status("RssAnon") + _status("RssShmem")


def total() -> int:
    """Return all resident memory in bytes, pages of libraries included."""
    return _status("VmRSS")


def peak() -> int:
    """Return the most that `total` has been since the process began or `reset_peak`."""
    return _status("VmHWM")


def reset_peak() -> bool:
    """Begin a new peak; return False where that is not allowed."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        return False
    return True


def _status(name: str) -> int:
    try:
        with open("/proc/self/status") as file:
            for line in file:
                if line.startswith(f"{name}:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
