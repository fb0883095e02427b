"""kill -9 at random moments of real trainings: nothing is lost but steps since a checkpoint.

`python -m tests.e2e.test_moments 50 [SEED]` tries more of them.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch

from batchtui.runs.directory import RunDirectory, list_runs
from batchtui.runs.identity import Identity
from batchtui.runs.reader import RunReader
from batchtui.supervise.control import is_supervised
from batchtui.supervise.shm import torch_files
from tests.e2e.conftest import Workplace
from tests.e2e.witness import chain_of, epochs_of, kept_steps, trained

SAMPLES, EVERY = 60, 3  # of an epoch; steps from one checkpoint to the next
CONFIG = f"""\
name: tiny
device: cpu
model: {{target: tiny.Witness, args: {{pause_s: 0.015, megabytes: 32}}}}
data: {{target: "tiny:numbered", args: {{samples: {SAMPLES}}}}}
dataloaders: {{batch_size: 4, num_workers: WORKERS}}
optimizer: {{target: torch.optim.SGD, args: {{lr: 0.01}}}}
training: {{epochs: 1000, checkpoint_every: {EVERY}, keep_checkpoints: 2}}
"""
SIZES = (2, 4, 7, 8)  # 7 does not divide 60
RESTART = (sys.executable, "-m", "batchtui", "restart", "last", "--force")
RESTART_S = 4.0  # about what one takes, from the request to the first steps at the new size
WRITE_S = 0.06  # … and the writing of a checkpoint


class Trial:
    """A training that is killed again and again, and then goes on to its end."""

    def __init__(self, place: Workplace, seed: int, workers: int) -> None:
        self.place, self.chance = place, random.Random(seed)
        place.config.write_text(CONFIG.replace("WORKERS", str(workers)))
        self.shared = torch_files()

    @property
    def runs(self) -> list[RunDirectory]:
        return list_runs(self.place.root)

    def go_on(self) -> RunDirectory:
        """Resume the training, unless it goes on by itself; return its run once that trains."""
        while True:
            answer = self.place.run("start", "tiny.yaml", "--json", "--resume")
            assert answer.returncode == 0, answer.stderr
            run = self.runs[-1]
            self.until(partial(self.settled, run, _steps(run)))
            if is_supervised(run) and RunReader(run).meta().get("successor") is None:
                return run

    def settled(self, run: RunDirectory, before: int) -> bool:
        """Return whether a run has come to a new checkpoint, or to its end."""
        return _steps(run) > before + EVERY or not is_supervised(run)

    def strike(self) -> str:
        """Kill somebody at a random moment; return what it was."""
        self.go_on()
        chance, asked = self.chance, None
        who = chance.choice(["worker", "supervisor", "both"])
        if chance.random() < 0.5:
            folder, what = self.runs[-1].checkpoints, "a checkpoint"
            self.until(lambda: any(name.endswith(".tmp") for name in os.listdir(folder)), 0.0005)
            time.sleep(chance.uniform(0.0, WRITE_S))
        else:
            size, what = chance.choice(SIZES), "a restart"
            asked = subprocess.Popen(
                [*RESTART, "--batch-size", str(size)],
                cwd=self.place.folder,
                env=self.place.environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            time.sleep(chance.uniform(0.0, RESTART_S))
        run = [run for run in self.runs if run.database.exists()][-1]
        meta = RunReader(run).meta()
        for name in ("supervisor", "worker"):
            if who in (name, "both") and (pid := meta.get(f"{name}_pid")):
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        half = who != "supervisor" and any(run.checkpoints.glob(".*.tmp"))
        if asked is not None:
            _, errors = asked.communicate(timeout=100)
            assert "Traceback" not in errors, errors
        torn = ", a file half written" if half else ""
        return f"{who} of {run.name} killed in {what}{torn}"

    def end(self) -> int:
        """Train to the end of the next epoch; return how many were trained."""
        if is_supervised(self.runs[-1]):
            answer = self.place.run("stop", self.go_on().name)
            assert answer.returncode == 0, (answer.stdout, answer.stderr)
        checkpoint = self.runs[-1].latest_checkpoint()
        assert checkpoint is not None
        epochs: int = torch.load(checkpoint, weights_only=True)["epoch"] + 1
        words = ("--resume", "--set", f"training.epochs={epochs}")
        answer = self.place.run("start", "tiny.yaml", "--json", *words)
        run = RunDirectory(self.place.root / json.loads(answer.stdout)["run"])
        self.until(lambda: not is_supervised(run))
        assert RunReader(run).summary().status == "finished"
        return epochs

    def check(self, epochs: int) -> None:
        """Hold what is left against what was promised."""
        assert self.place.left() == [], "processes survived"
        self.until(lambda: not self.leaked())
        assert list(self.place.root.rglob("*.tmp")) == [], "half a file is left"
        for path in self.place.root.rglob("step-*.pt"):
            step = torch.load(path, weights_only=True, mmap=True)["step"]
            assert path.name == f"step-{step:08d}.pt"
        folders = [path for path in self.place.root.iterdir() if path.is_dir()]
        assert all((path / "run.db").exists() for path in folders), "a run that never was is left"
        chain = chain_of(self.runs[-1])
        assert [run.name for run in chain] == [run.name for run in self.runs]
        kept = kept_steps(chain)
        for run in chain:
            lost = len(trained(run)) - len(kept[run.name])
            assert lost <= EVERY + 1, "more is lost than the steps since a checkpoint"
        assert epochs_of(kept, SAMPLES) == [list(range(SAMPLES))] * epochs

    def leaked(self) -> list[str]:
        """Return what loaders that are gone have left in shared memory."""
        found = torch_files() - self.shared
        return [name for name in found if Identity.of(int(name.split("_")[1])) is None]

    def until(self, true: Callable[[], object], pause: float = 0.05) -> None:
        deadline = time.monotonic() + 100
        while not true():
            assert time.monotonic() < deadline, [self.place.look(run.name) for run in self.runs]
            time.sleep(pause)


def _steps(run: RunDirectory) -> int:
    """Return how many steps a run has recorded itself."""
    return len(RunReader(run).recent_steps(10_000))


def test_kill_9_at_random_moments_of_a_real_training(workplace: Workplace) -> None:
    trial = Trial(workplace, seed=6, workers=2)
    for _ in range(3):
        trial.strike()
    trial.check(trial.end())


def main(moments: int, seed: int) -> None:
    done = 0
    while done < moments:
        with tempfile.TemporaryDirectory() as folder:
            place = Workplace(Path(folder))
            trial = Trial(place, seed + done, workers=done % 2 * 2)
            try:
                for _ in range(min(5, moments - done)):
                    done += 1
                    print(done, trial.strike(), flush=True)
                trial.check(trial.end())
                print(
                    f"all samples of all epochs, once each, in {len(trial.runs)} runs", flush=True
                )
            finally:
                place.end()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
