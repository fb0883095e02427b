"""kill -9 at random moments of a restart: whatever dies, the training can go on.

`python -m tests.supervise.test_moments 50 [SEED]` tries more of them.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from batchtui.runs.directory import RunDirectory, list_runs
from batchtui.supervise.control import request
from batchtui.supervise.lock import is_held
from batchtui.supervise.recover import recover
from batchtui.supervise.shm import torch_files
from batchtui.supervise.successor import prepare, reserve
from tests.supervise.conftest import Training
from tests.supervise.test_restart import Chain, chain

_ = chain  # a fixture
OPTIONS = ("checkpoint_every=5", "save=0.1")


def kept(run: RunDirectory) -> int:
    """Return the step of a run's newest checkpoint, which must be whole."""
    checkpoint = run.latest_checkpoint()
    assert checkpoint is not None, "no checkpoint to go on from"
    state = json.loads(checkpoint.read_text())
    assert checkpoint.name == f"step-{state['step']:08d}.pt"
    return int(state["step"])


def strike(chain: Chain, seed: int) -> str:
    """Restart, kill somebody at a random moment, and go on; return who was killed when."""
    chance = random.Random(seed)
    who = chance.choice(["worker", "supervisor", "both"])
    after = chance.uniform(0.0, 1.5)
    before = torch_files()
    assert chain.start(*OPTIONS) == "up"
    chain.until_steps(12)
    safe = kept(chain.run)
    chain.restart(8)
    time.sleep(after)
    struck = [run for run in list_runs(chain.run.path.parent) if run.database.exists()][-1]
    meta = Training(struck).meta()
    pids = [meta.get(f"{name}_pid") for name in ("supervisor", "worker") if who in (name, "both")]
    for pid in pids:
        with suppress(OSError):
            os.kill(pid or 0, signal.SIGKILL) if pid else None
    last = at_rest(chain)
    assert chain.processes() == [], "processes survived"
    assert torch_files() == before
    folders = [path for path in chain.run.path.parent.iterdir() if path.is_dir()]
    assert all((path / "run.db").exists() for path in folders), "a run that never was is left"
    step = kept(last)
    assert step >= safe, "more is lost than the steps since the last checkpoint"
    new = reserve(last)
    prepare(new, last, dict(last.read_launch().config), reason="resumed")
    resumed = Chain(new)
    assert resumed.start(*OPTIONS) == "up"
    resumed.until_steps(step + 2)
    assert resumed.stop()["status"] == "stopped"
    return f"{who} of {struck.name} after {after:.2f} s: on from step {step} as {new.name}"


def at_rest(chain: Chain) -> RunDirectory:
    """Wait until nothing trains any more, and return the last run; what goes on is stopped."""
    deadline = time.monotonic() + 40
    quiet = 0
    while quiet < 5:
        assert time.monotonic() < deadline, "it does not come to rest"
        time.sleep(0.1)
        runs = list_runs(chain.run.path.parent)
        held = [run for run in runs if is_held(run)]
        for run in runs:
            if run not in held and run.lock.exists():
                recover(run)
        if held and not Training(held[-1]).meta().get("successor"):
            going_on = Training(held[-1])
            if going_on.meta().get("status") == "running" and going_on.reader.recent_steps(1):
                with suppress(Exception):  # it may end by itself just now
                    request(held[-1], {"op": "stop"})
        quiet = 0 if held or chain.processes() else quiet + 1
    return list_runs(chain.run.path.parent)[-1]


@pytest.mark.parametrize("seed", [1, 5, 9, 12])
def test_kill_9_at_a_random_moment_of_a_restart(chain: Chain, seed: int) -> None:
    strike(chain, seed)


def main(moments: int, seed: int) -> None:
    for number in range(moments):
        with tempfile.TemporaryDirectory() as folder:
            told = contextmanager(chain.__wrapped__)  # type: ignore[attr-defined]
            with told(Path(folder)) as one:
                print(number + 1, strike(one, seed + number), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
