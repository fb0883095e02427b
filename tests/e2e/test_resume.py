"""What a restart does to a training, through the command line and real processes."""

from __future__ import annotations

from typing import Any

import torch

from batchtui.runs.directory import RunDirectory
from tests.e2e.conftest import Workplace
from tests.e2e.test_restart import restart
from tests.e2e.witness import chain_of, epochs_of, kept_steps

CONFIG = """\
name: tiny
device: cpu
model: {target: tiny.Witness, args: {pause_s: 0.25}}
data: {target: "tiny:numbered", args: {samples: 400}}
dataloaders: {batch_size: 4, num_workers: 0}
optimizer: {target: torch.optim.SGD, args: {lr: 0.01, momentum: 0.9}}
scheduler: {target: torch.optim.lr_scheduler.CosineAnnealingLR}
training: {epochs: 2, deterministic: true}
"""
EVERY_SAMPLE = [list(range(400))] * 2


def start(place: Workplace, *words: str) -> RunDirectory:
    """Start the training and return its run after some steps."""
    run = place.start(*words)
    place.wait(run, "steps >= 3")
    return place.root / run


def finish(place: Workplace, run: str) -> RunDirectory:
    """Let a training go on to its end without a pause."""
    (place.folder / "fast").touch()
    assert place.wait(run, "status != 'running'")["status"] == "finished"
    return RunDirectory(place.root / run)


def final_state(run: RunDirectory) -> dict[str, Any]:
    """Return the last checkpoint of a run, flat: `model.layer.weight` and so on."""
    checkpoint = run.latest_checkpoint()
    assert checkpoint is not None
    return _flat("", torch.load(checkpoint, weights_only=True))


def _flat(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        parts = [_flat(f"{name}.{key}", inner) for key, inner in value.items()]
    elif isinstance(value, (list, tuple)):
        parts = [_flat(f"{name}.{place}", inner) for place, inner in enumerate(value)]
    else:
        return {name: value}
    return {key: inner for part in parts for key, inner in part.items()}


def test_a_restart_at_the_same_size_trains_the_same_to_the_last_bit(workplace: Workplace) -> None:
    workplace.config.write_text(CONFIG.replace("num_workers: 0", "num_workers: 2"))
    broken = start(workplace)
    broken = finish(workplace, restart(workplace, broken.name, "--batch-size", "4", "--force"))
    whole = finish(workplace, workplace.start("--fresh"))
    assert [len(chain_of(run)) for run in (whole, broken)] == [1, 2]
    assert epochs_of(kept_steps(chain_of(broken)), 400) == EVERY_SAMPLE
    expected, found = final_state(whole), final_state(broken)
    assert found.keys() == expected.keys()
    assert any(".momentum_buffer" in name for name in expected)
    for name, value in expected.items():
        same = torch.equal if isinstance(value, torch.Tensor) else lambda one, other: one == other
        assert same(found[name], value), name


def test_three_restarts_in_a_row_train_every_sample_once(workplace: Workplace) -> None:
    workplace.config.write_text(CONFIG)
    run = start(workplace).name
    for size in ("8", "4", "7"):  # double, half, and one that does not divide
        run = restart(workplace, run, "--batch-size", size, "--force")
    chain = chain_of(finish(workplace, run))
    kept = kept_steps(chain)
    assert [len(steps[0]) for steps in kept.values()] == [4, 8, 4, 7]
    assert epochs_of(kept, 400) == EVERY_SAMPLE
    # Each of them within the first epoch.
    assert sum(len(step) for run in chain[:-1] for step in kept[run.name]) < 400
