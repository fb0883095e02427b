"""A disk that fills up under a real training: the old checkpoint stays, and training goes on."""

from __future__ import annotations

import resource

import torch

from batchtui.runs.directory import RunDirectory
from batchtui.runs.reader import RunReader
from batchtui.tui.source import RunSource
from tests.e2e.conftest import Workplace

CONFIG = """\
name: tiny
device: cpu
model: {target: tiny.Witness, args: {pause_s: 0.02, megabytes: 8}}
data: {target: "tiny:numbered", args: {samples: 4000}}
dataloaders: {batch_size: 4, num_workers: 0}
training: {epochs: 100, checkpoint_every: 10, keep_checkpoints: 1}
"""


def test_a_checkpoint_that_cannot_be_written_costs_no_older_one(workplace: Workplace) -> None:
    workplace.config.write_text(CONFIG)
    run = RunDirectory(workplace.root / workplace.start())
    workplace.wait(run.name, "checkpoints")
    worker = RunReader(run).meta()["worker_pid"]
    limits = resource.prlimit(worker, resource.RLIMIT_FSIZE)
    # The file system's own limit would have to be mounted; a file that may not grow is the same
    # to whoever writes it.
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (4 << 20, limits[1]))
    told = workplace.wait(run.name, "checkpoints[-1]['error']")["checkpoints"]
    saved = [entry["step"] for entry in told if entry["error"] is None]
    failed = [entry for entry in told if entry["error"] is not None]
    assert failed[0]["step"] == saved[-1] + 10
    assert {entry["error"] for entry in failed} == {"File too large"}
    kept = run.latest_checkpoint()
    assert kept is not None
    assert torch.load(kept, weights_only=True)["step"] == saved[-1]
    assert [path.name for path in run.checkpoints.iterdir()] == [kept.name]
    workplace.wait(run.name, f"steps >= {failed[-1]['step']} + 15 and status == 'running'")
    view = RunSource(run).read()
    assert view.detail == "▲ no checkpoint: File too large"
    said = [line.text for line in view.log.lines if line.event]
    assert any("no checkpoint could be written: File too large" in text for text in said)
    resource.prlimit(worker, resource.RLIMIT_FSIZE, limits)
    workplace.wait(run.name, "not checkpoints[-1]['error']")
    assert RunSource(run).read().detail is None
    assert workplace.run("stop", run.name).returncode == 0
