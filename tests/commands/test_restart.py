"""What `batchtui restart` says before it touches a run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from batchtui.advise.restart import Change
from batchtui.cli import main
from batchtui.commands.restart import plan_of, request_restart
from batchtui.config.schema import Config, DataLoaders, to_dict
from batchtui.errors import UsageError
from batchtui.records import Checkpoint, LaunchSpec
from batchtui.runs.directory import RunDirectory
from batchtui.runs.store import RunStore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Runs that ended: `done-001` finished, `half-001` stopped, `early-001` before it began."""
    config = to_dict(Config(dataloaders=DataLoaders(batch_size=16)))
    for name, status in (("done", "finished"), ("half", "stopped"), ("early", "failed")):
        run = RunDirectory(tmp_path / f"{name}-001")
        run.path.mkdir()
        run.write_launch(LaunchSpec(run=run.name, config=config, cwd="/", python="/no/python"))
        store = RunStore(run.database)
        store.set_meta(status=status, config=config)
        if name != "early":
            store.set_meta(batch_size=16, train_samples=256, samples=5 * 256 + 100, steps=87)
            store.add_checkpoint(Checkpoint(time=0, step=80, samples=1280, epoch=5, file="a.pt"))
            run.checkpoints.mkdir()
            (run.checkpoints / "step-00000080.pt").touch()
        store.commit()
        store.close(final=True)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("half", "--batch-size", "257"), "the training split has only 256 samples"),
        (("half", "--batch-size", "8", "--lr-rule", "cube"), "auto, keep, linear, sqrt, noise"),
        (
            ("half", "--batch-size", "8", "--lr-rule", "noise"),
            "rule 'noise': it takes gradients of half batches, which no run records yet",
        ),
        (("half", "--batch-size", "8", "--lr", "1", "--lr-rule", "keep"), "not allowed with"),
        (("half",), "--batch-size"),
        (("half-002", "--batch-size", "8"), "no run 'half-002'"),
        (("done", "--batch-size", "8"), "done-001 has finished: nothing is left to train"),
        (("early", "--batch-size", "8"), "early-001 has recorded nothing"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_changes_nothing(
    root: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], reason: str
) -> None:
    before = sorted(root.rglob("*"))
    assert main(["restart", *words, "--force", "--runs", str(root)]) == 2
    output, errors = capsys.readouterr()
    assert reason in errors
    assert (errors.count("\n"), output) == (1, "")
    assert [path for path in sorted(root.rglob("*")) if path.name != ".lock"] == before


def test_a_plan_that_was_made_before_the_end_starts_nothing_after_it(root: Path) -> None:
    made = plan_of(RunDirectory(root / "half-001"), Change(8))
    with pytest.raises(UsageError, match="done-001 has finished: nothing is left to train"):
        request_restart(RunDirectory(root / "done-001"), made)
    (root / "half-001/checkpoints/step-00000080.pt").unlink()
    with pytest.raises(UsageError, match="half-001: its checkpoints are gone"):
        request_restart(RunDirectory(root / "half-001"), made)
    assert len([path for path in root.iterdir() if path.is_dir()]) == 3


@pytest.mark.parametrize(
    ("successor", "reason"),
    [
        ("half-002", "half-001 restarts as half-002 already"),
        (None, "half-001 is stopping: wait until it has ended"),
    ],
)
def test_one_that_is_stopping_is_not_asked(root: Path, successor: str | None, reason: str) -> None:
    run = RunDirectory(root / "half-001")
    store = RunStore(run.database)
    store.set_meta(status="stopping", successor=successor, heartbeat=time.time())
    store.commit()
    store.close(final=True)
    with pytest.raises(UsageError, match=reason):
        plan_of(run, Change(8))


def test_what_cannot_be_launched_leaves_no_run(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["restart", "half", "--batch-size", "48", "--keep-global-batch", "--force"]
    assert main([*words, "--runs", str(root)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[:-1] == [
        "batchtui: learning rate 0.100 → 0.300 (linear)",
        "batchtui: samples a step 16 → 48",
        "batchtui: epoch 6 goes on with 256 samples in 6 steps",
        "batchtui: the global batch becomes 48: 16 does not divide by 48",
        "batchtui: 7 steps since the checkpoint are trained again",
    ]
    assert "the worker cannot be started: /no/python" in lines[-1]
    assert sorted(path.name for path in root.iterdir() if path.is_dir()) == [
        *("done-001", "early-001", "half-001"),
    ]
