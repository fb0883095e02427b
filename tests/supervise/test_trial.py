"""A trial in real processes: what it counts, and what ends it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HEAVY = Path(__file__).parents[1] / "e2e" / "heavy.py"
CONFIG = """\
device: cpu
model: {target: heavy.Net, args: {wide: 262144}}
data: {target: "heavy:data"}
dataloaders: {batch_size: 32, num_workers: 0}
optimizer: {target: torch.optim.SGD, args: {lr: 0.05}}
limits: {low_memory: true}
"""
# In a process of its own, since a trial ends everything that is below the process it is in.
SCRIPT = """
import dataclasses, json, os, sys
from pathlib import Path
from batchtui.config.load import load_config
from batchtui.records import LaunchSpec
from batchtui.sampling.cgroup import MemoryLimit
from batchtui.supervise.trial import Bounds, run_trial
settings, bounds, others = json.loads(sys.argv[1])
config = load_config(Path("heavy.yaml"), [("--set", setting) for setting in settings])
spec = LaunchSpec(run="trial", config={}, cwd=os.getcwd(), python=sys.executable)
machine = [MemoryLimit(1 << 40, others, "host")]
result = run_trial(
    spec, config, Bounds(accelerator=False, **bounds), lambda standing: None, 2, lambda: machine
)
print(json.dumps(dataclasses.asdict(result)))
"""
MIB, GIB = 1 << 20, 1 << 30


@pytest.fixture
def place(tmp_path: Path) -> Path:
    shutil.copy(HEAVY, tmp_path)
    (tmp_path / "heavy.yaml").write_text(CONFIG)
    return tmp_path


def tried(place: Path, *settings: str, others: int = 0, **bounds: int) -> dict[str, Any]:
    """Return what a trial measured, having seen that it left no file."""
    scratch = place / "t"
    scratch.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps([settings, bounds, others])],
        cwd=place,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(scratch)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    left = [path.name for path in scratch.iterdir() if "torchinductor" not in path.name]
    assert left == []
    return json.loads(done.stdout)


def test_all_ranks_count(place: Path) -> None:
    one = tried(place, limit=8 * GIB)
    two = tried(place, "launch.processes=2", limit=8 * GIB)
    for result in (one, two):
        assert result["outcome"] == "fits", result
    assert two["start"]["world_size"] == 2
    assert two["start"]["global_batch_size"] == 2 * one["start"]["global_batch_size"]
    # Both ranks and torchrun's own process; they need not be at their peaks in the same look.
    assert 1.5 < two["peak"] / one["peak"] < 3.2


def test_the_kernel_refuses_what_no_look_would_see_in_time(place: Path) -> None:
    result = tried(place, "model.args={wide: 67108864}", limit=GIB)  # 8 GiB at once
    assert result["outcome"] == "out of memory", result
    assert "memory" in result["cause"]


def test_it_ends_when_others_take_the_memory(place: Path) -> None:
    result = tried(place, limit=8 * GIB, others=(1 << 40) - 100 * MIB, reserve=256 * MIB)
    assert result["outcome"] == "over the limit", result
    assert result["cause"] == "only 100 MiB of memory were left on this machine"
