"""Tell what this machine offers to a training, and what is in the way."""

from __future__ import annotations

import importlib.util
import json
import locale
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from batchtui import __version__
from batchtui.commands.watch import has_screen
from batchtui.sampling.cgroup import CgroupMemory, MemoryLimit, tightest
from batchtui.sampling.gpu import summarize
from batchtui.sampling.host import Host, space
from batchtui.sampling.logind import logout
from batchtui.text import clean
from batchtui.units import GIB, gib

# Loaders hand batches over through /dev/shm; containers often get 64 MiB of it.
_LITTLE_SHM = GIB
_LITTLE_DISK = 5 * GIB


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: `level` is ok, note or problem."""

    level: str
    subject: str
    text: str


def doctor(root: Path, *, as_json: bool) -> int:
    """`batchtui doctor`: print the findings; 1 if a training cannot be launched here."""
    findings = list(examine(root))
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        sign = {"ok": "ok", "note": "--", "problem": "!!"}
        for finding in findings:
            print(clean(f"{sign[finding.level]}  {finding.subject:<10}  {finding.text}"))
    return 1 if any(finding.level == "problem" for finding in findings) else 0


def examine(root: Path) -> Iterator[Finding]:
    """Look at each thing that a run needs."""
    yield Finding(
        "ok", "batchtui", f"{__version__}, Python {platform.python_version()} at {sys.executable}"
    )
    yield _torch()
    yield from _gpus()
    yield from _memory()
    yield from _disk(root)
    yield _logout()
    yield _terminal()


def _torch() -> Finding:
    """Look torch up without importing it, which would take seconds."""
    from importlib.metadata import PackageNotFoundError, version

    if importlib.util.find_spec("torch") is None:
        return Finding(
            "note",
            "torch",
            "not in this environment: name another one's interpreter with launch.python",
        )
    try:
        vision = f", torchvision {version('torchvision')}"
    except PackageNotFoundError:
        vision = ", no torchvision"
    return Finding("ok", "torch", f"{version('torch')}{vision}")


def _gpus() -> Iterator[Finding]:
    summary = summarize()
    if not summary.gpus:
        reason = summary.status or "none found"
        yield Finding("note", "GPU", f"{reason}; training runs on the CPU")
        return
    yield Finding("ok", "driver", f"NVIDIA {summary.driver}, CUDA up to {summary.cuda}")
    for gpu in summary.gpus:
        if gpu.error:
            yield Finding("problem", f"GPU {gpu.index}", f"{gpu.name or 'unnamed'}: {gpu.error}")
            continue
        text = f"{gpu.name}, {gib(gpu.used)} of {gib(gpu.total)} in use"
        busy = gpu.used is not None and gpu.total and gpu.used > 0.1 * gpu.total
        yield Finding("note" if busy else "ok", f"GPU {gpu.index}", text)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        yield Finding("note", "GPUs seen", f"CUDA_VISIBLE_DEVICES={visible!r} hides the others")


def _memory() -> Iterator[Finding]:
    host = Host()
    memory = host.memory()
    whole = MemoryLimit(memory.total, memory.total - memory.available, "host")
    limit = tightest([whole, *CgroupMemory().limits()]) or whole
    text = f"{gib(limit.headroom)} left of {gib(limit.total)} ({limit.source})"
    tight = limit.headroom < 2 * GIB
    yield Finding("problem" if tight else "ok", "memory", text)
    cores = len(os.sched_getaffinity(0))
    yield Finding("ok", "CPU", f"{cores} of {os.cpu_count()} cores usable, load {host.load1():.2f}")
    try:
        shm = host.shm()
    except OSError as error:
        yield Finding("note", "/dev/shm", f"{error.strerror}: use dataloaders.num_workers=0")
        return
    text = f"{gib(shm.free)} free of {gib(shm.total)}"
    if shm.free < _LITTLE_SHM:
        text += "; loaders need (workers × prefetch + 1) batches of it, in docker: --shm-size"
    yield Finding("note" if shm.free < _LITTLE_SHM else "ok", "/dev/shm", text)


def _disk(root: Path) -> Iterator[Finding]:
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    if not os.access(existing, os.W_OK) or not existing.is_dir():
        yield Finding("problem", "runs", f"{root} cannot be written; choose another with --runs")
        return
    free = space(existing).free
    level = "problem" if free < GIB else "note" if free < _LITTLE_DISK else "ok"
    yield Finding(level, "runs", f"{root}, {gib(free)} free")


def _logout() -> Finding:
    state = logout()
    if state.danger:
        return Finding("problem", "logout", state.danger)
    return Finding("ok", "logout", "a training outlives the SSH connection")


def _terminal() -> Finding:
    if not has_screen():
        return Finding("note", "terminal", "none that a screen could use: plain lines instead")
    size = shutil.get_terminal_size()
    encoding = locale.getpreferredencoding(False)
    depth = os.environ.get("COLORTERM") or "256 colours or fewer"
    text = f"{os.environ['TERM']}, {size.columns}x{size.lines}, {depth}, {encoding}"
    small = size.columns < 60 or size.lines < 16
    if small:
        text += "; the screen needs 60x16"
    return Finding("note" if small else "ok", "terminal", text)
