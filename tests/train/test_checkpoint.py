"""Checkpoints: complete or not there, loaded without running code."""

from __future__ import annotations

import os
import random
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from batchtui.errors import ConfigError
from batchtui.train.checkpoint import (
    Checkpoints,
    check_same,
    hyperparameters,
    load,
    load_model,
    load_optimizer,
    random_state,
    restore_random_state,
)
from batchtui.train.schedule import Schedule

CPU = torch.device("cpu")


def state(step: int, **more: Any) -> dict[str, Any]:
    return {"version": 1, "samples": 8 * step, "step": step, "w": torch.ones(1000), **more}


def test_the_newest_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    for step in (5, 10, 15):
        checkpoints.save(state(step))
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["step-00000010.pt", "step-00000015.pt"]
    assert load(tmp_path / "checkpoints/step-00000015.pt")["samples"] == 120


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / ".step-00000001.pt.77.tmp").write_bytes(b"half")
    Checkpoints(tmp_path, keep=1)
    assert os.listdir(tmp_path) == []


def test_a_full_disk_keeps_the_old_one(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(state(1))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):  # torch says something else
            checkpoints.save(state(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == ["step-00000001.pt"]
    assert load(tmp_path / "step-00000001.pt")["step"] == 1


class Surprise:
    """What no safe loader takes."""


def test_what_could_not_be_loaded_again_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="Surprise"):
        Checkpoints(tmp_path, keep=1).save(state(1, optimizer=Surprise()))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file"),
        (b"junk", "no checkpoint, or a damaged one"),
        ({"weights": 1}, "is not a checkpoint of batchtui"),
        ({"version": 99, "samples": 0}, "newer version"),
        ([1, 2], "is not a checkpoint of batchtui"),
        (Surprise(), "no checkpoint, or a damaged one"),
    ],
)
def test_what_is_no_checkpoint_is_one_line(tmp_path: Path, content: Any, words: str) -> None:
    path = tmp_path / "step-00000001.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(ConfigError, match=words) as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_truncated_checkpoint_is_one_line(tmp_path: Path) -> None:
    path = Checkpoints(tmp_path, keep=1).save(state(1))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ConfigError, match="damaged"):
        load(path)


def test_a_different_model_is_one_line(tmp_path: Path) -> None:
    saved = {"model": nn.Linear(4, 3).state_dict(), "model_target": "own.linear"}
    path = tmp_path / "step-00000001.pt"
    with pytest.raises(ConfigError, match=r"weight is \(3, 4\) in the checkpoint and \(5, 4\)"):
        load_model(path, saved, nn.Linear(4, 5))
    with pytest.raises(ConfigError, match=r"0\.weight is missing in the checkpoint"):
        load_model(path, saved, nn.Sequential(nn.Linear(4, 3)))
    load_model(path, saved, nn.Linear(4, 3))


def test_what_a_resumed_training_cannot_change_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train samples was 100, is 120 now"):
        check_same(tmp_path, {"train_samples": 100}, {"train_samples": 120})


def trained(lr: float, momentum: float = 0.9, **more: Any) -> tuple[Any, Schedule, list[Any]]:
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum, **more)
    fresh = hyperparameters(optimizer)
    schedule = Schedule(None, None, optimizer, 10, 100)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return optimizer, schedule, fresh


def saved_optimizer(lr: float, scheduled: float) -> dict[str, Any]:
    optimizer, schedule, fresh = trained(lr)
    optimizer.param_groups[0]["lr"] = scheduled
    return {
        "optimizer": optimizer.state_dict(),
        "optimizer_class": "SGD",
        "hyperparameters": fresh,
        "schedule": schedule.state_dict(),
    }


def test_the_schedule_goes_on_unless_the_user_changed_the_rate(tmp_path: Path) -> None:
    saved = saved_optimizer(lr=0.1, scheduled=0.04)
    optimizer, schedule, fresh = trained(0.1)
    load_optimizer(tmp_path, saved, optimizer, schedule, fresh)
    assert optimizer.param_groups[0]["lr"] == 0.04
    optimizer, schedule, fresh = trained(0.2, weight_decay=0.01)
    load_optimizer(tmp_path, saved, optimizer, schedule, fresh)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.08)
    assert optimizer.param_groups[0]["weight_decay"] == 0.01
    assert optimizer.param_groups[0]["momentum"] == 0.9


def test_a_different_optimizer_is_one_line(tmp_path: Path) -> None:
    saved = saved_optimizer(0.1, 0.1)
    optimizer = torch.optim.Adam(nn.Linear(2, 1).parameters())
    schedule = Schedule(None, None, optimizer, 10, 100)
    with pytest.raises(ConfigError, match="different optimizer: SGD, here Adam"):
        load_optimizer(tmp_path, saved, optimizer, schedule, hyperparameters(optimizer))


def test_random_numbers_go_on_where_they_were(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    checkpoints = Checkpoints(tmp_path, keep=1)
    path = checkpoints.save(state(1, rng=random_state(CPU)))
    expected = torch.rand(3).tolist(), random.random(), numpy.random.rand(3).tolist()
    random.gauss(0, 1)
    restore_random_state(load(path)["rng"], CPU)
    assert expected == (torch.rand(3).tolist(), random.random(), numpy.random.rand(3).tolist())
