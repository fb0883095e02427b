"""Find the largest batch size under a hard memory limit: ours, and what others do.

    python benchmarks/finder.py [--json] [--case resnet18-1.0] [--peers] [--rlimit]

Every process that trains is put under the limit: a memory cgroup where one can be made, else (or
with --rlimit) RLIMIT_DATA. That one counts what a process has asked for, touched or not, of which
`find` knows nothing: its trials die, so compare under a cgroup. `batchtui find` and the doubling
start a fresh process for each size; Lightning's BatchSizeFinder and accelerate's
find_executable_batch_size try sizes within theirs, and where that is killed, that is
their result. Doubling starts at 16 and bisects to 2 %; for the true maximum it bisects on, to one
in 200, and that is not counted. All have the malloc settings of `low_memory`, without which the
largest size that survives is another each time.

Reckoned at ten minutes on two cores at rest; a busy machine takes several times that. Lightning
and accelerate run under the lower limit of each model, since they end the same way under the
other: --peers runs them there too, two minutes more.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib.util
import itertools
import json
import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from batchtui.config.load import load_config  # noqa: E402
from batchtui.config.schema import to_dict  # noqa: E402
from batchtui.forecast.tracing import TAMED_MALLOC  # noqa: E402
from batchtui.records import LaunchSpec  # noqa: E402
from batchtui.supervise.trial import FITS, Bounds, run_trial  # noqa: E402

GIB = 1 << 30
PEERS = Path(__file__).with_name("finder_peers.py")
TOLERANCE, EXACT = 0.02, 0.005
_PATIENCE_S = 300.0

RESNET = """\
model: {target: torchvision.models.resnet18, args: {num_classes: 10}}
optimizer: {target: torch.optim.SGD, args: {lr: 0.01, momentum: 0.9}}
"""
VIT = """\
model:
  target: torchvision.models.VisionTransformer
  args: {image_size: 64, patch_size: 8, num_layers: 6, num_heads: 6, hidden_dim: 192,
         mlp_dim: 768, num_classes: 10}
optimizer: {target: torch.optim.AdamW, args: {lr: 0.001}}
"""
COMMON = """\
name: finder
device: cpu
data: {name: fake, image_size: 64, samples: 4096}
dataloaders: {batch_size: 64, num_workers: 0}
limits: {low_memory: true}
"""


class Case(NamedTuple):
    """A model under a limit, in GiB."""

    name: str
    model: str
    limit: float


LIMITS = (1.0, 1.5)
CASES = [
    Case(f"{name}-{limit}", model, limit)
    for name, model in (("resnet18", RESNET), ("vit", VIT))
    for limit in LIMITS
]


class Found(NamedTuple):
    """What a method came to; `found` None: it was killed or gave up."""

    found: int | None
    trials: int
    out_of_memory: int
    seconds: float


def main() -> int:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--case", choices=[case.name for case in CASES], help="only this one")
    parser.add_argument("--ours", action="store_true", help="no other method, no true maximum")
    parser.add_argument("--peers", action="store_true", help="other tools under each limit")
    parser.add_argument("--rlimit", action="store_true", help="RLIMIT_DATA even where cgroups are")
    options = parser.parse_args()
    rows = []
    for case in CASES:
        if options.case in (None, case.name):
            rows += _compare(case, options)
    if options.json:
        print(json.dumps({"cases": rows}))
    return 0


def _compare(case: Case, options: argparse.Namespace) -> list[dict[str, Any]]:
    limit = int(case.limit * GIB)
    rows: list[dict[str, Any]] = []
    with (
        tempfile.TemporaryDirectory(prefix="finder-") as name,
        _limited(limit, Path(name), options.rlimit) as python,
    ):
        folder = Path(name)
        (folder / "case.yaml").write_text(COMMON + case.model)
        methods: dict[str, Callable[[], Found]] = {"ours": lambda: _ours(folder, limit, python)}
        true_maximum = None
        if not options.ours:
            doubling = _Doubling(folder, python)
            methods["doubling"] = doubling.find
            wanted = options.peers or options.case or case.limit == LIMITS[0]
            for peer in _peers() if wanted else ():
                methods[peer] = lambda peer=peer: _peer(peer, folder, python)  # type: ignore[misc]
        results = {method: find() for method, find in methods.items()}
        if not options.ours:
            true_maximum = doubling.true_maximum()
        for method, result in results.items():
            row = {"case": case.name, "method": method, "true_maximum": true_maximum}
            rows.append(row | result._asdict())
            if not options.json:
                _print(rows[-1])
    return rows


def _print(row: dict[str, Any]) -> None:
    found, best = row["found"], row["true_maximum"]
    size = "killed" if found is None else f"{found:,}"
    share = f"{found / best * 100:5.1f} %" if found and best else "      –"
    print(
        f"{row['case']:14} {row['method']:20} {size:>7} of {best or '?':>5} {share} "
        f"{row['trials']:3} trials {row['out_of_memory']:2} out of memory {row['seconds']:6.1f} s",
        flush=True,
    )


# ------------------------------------------------------------------------------- the limit


@contextlib.contextmanager
def _limited(limit: int, folder: Path, rlimit: bool) -> Iterator[str]:
    """Make an interpreter whose processes have `limit` bytes together; yield its path.

    By RLIMIT_DATA each of them has as much; here there is one at a time.
    """
    group = None if rlimit else _make_group(limit)
    line = f"echo $$ > {group}/cgroup.procs" if group else f"ulimit -d {limit >> 10}"
    python = folder / "python"
    python.write_text(f'#!/bin/sh\n{line}\nexec {sys.executable} "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    try:
        yield str(python)
    finally:
        if group:
            for _ in range(50):  # the last process may be a moment in going
                try:
                    group.rmdir()
                    break
                except OSError:
                    time.sleep(0.1)


def _make_group(limit: int) -> Path | None:
    """Make a memory cgroup with a limit; None: this machine does not let us."""
    for mount, file in (
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        ("/sys/fs/cgroup", "memory.max"),
    ):
        group = Path(mount) / f"batchtui-finder-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            with open(group / file, "r+") as setting:  # made by the kernel, where it is one of its
                setting.write(str(limit))
            return group
        except OSError:
            group.rmdir()
    return None


# ----------------------------------------------------------------------------- the methods


def _ours(folder: Path, limit: int, python: str) -> Found:
    words = [sys.executable, "-m", "batchtui", "find", "case.yaml", "--json"]
    words += ["--limit", str(limit), "--set", f"launch.python={python}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache")}
    began = time.monotonic()
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    seconds = time.monotonic() - began
    if not done.stdout:
        raise SystemExit(f"batchtui find: {done.stderr}")
    answer = json.loads(done.stdout)
    died = sum(trial["outcome"] != FITS for trial in answer["trials"])
    return Found(answer["batch_size"], len(answer["trials"]), died, seconds)


class _Doubling:
    """A fresh process for each size: doubled until one dies, then bisected."""

    def __init__(self, folder: Path, python: str) -> None:
        self._config = load_config(folder / "case.yaml", [])
        self._spec = LaunchSpec(run="trial", config={}, cwd=str(folder), python=python)
        self._good, self._bad = 0, 1 << 20
        self._trials = self._died = 0

    def find(self) -> Found:
        began = time.monotonic()
        size = 16
        while self._fits(size):
            size *= 2
        self._bisect(TOLERANCE)
        return Found(self._good, self._trials, self._died, time.monotonic() - began)

    def true_maximum(self) -> int:
        self._bisect(EXACT)
        return self._good

    def _bisect(self, tolerance: float) -> None:
        while self._bad - self._good > max(1, tolerance * self._good):
            self._fits((self._good + self._bad) // 2)

    def _fits(self, size: int) -> bool:
        self._trials += 1
        loaders = dataclasses.replace(self._config.dataloaders, batch_size=size)
        config = dataclasses.replace(self._config, dataloaders=loaders)
        bounds = Bounds(accelerator=False, limit=1 << 40)  # the kernel's is the only limit
        fits = run_trial(self._spec, config, bounds, lambda standing: None).outcome == FITS
        self._died += not fits
        self._good, self._bad = (size, self._bad) if fits else (self._good, size)
        return fits


def _peers() -> list[str]:
    found = []
    if importlib.util.find_spec("lightning"):
        found += ["lightning power", "lightning binsearch"]
    if importlib.util.find_spec("accelerate"):
        found.append("accelerate")
    return found


def _peer(method: str, folder: Path, python: str) -> Found:
    case, tried = folder / "case.json", folder / f"tried-{method.replace(' ', '-')}"
    case.write_text(json.dumps(to_dict(load_config(folder / "case.yaml", []))))
    began = time.monotonic()
    try:
        done = subprocess.run(
            [python, str(PEERS), method, str(case), str(tried)],
            env={**os.environ, **TAMED_MALLOC, "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
        )
        found = int(done.stdout.split()[-1]) if done.returncode == 0 else None
    except subprocess.TimeoutExpired:
        found = None
    seconds = time.monotonic() - began
    sizes = tried.read_text().split() if tried.exists() else []
    # Each size after which a smaller one was tried, and the one that it was killed at.
    numbers = [int(size) for size in sizes]
    died = sum(after < before for before, after in itertools.pairwise(numbers))
    return Found(found or None, len(numbers), died + (not found), seconds)


if __name__ == "__main__":
    sys.exit(main())
