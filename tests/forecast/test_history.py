"""Runs of another configuration never correct a forecast."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from batchtui.config.schema import Config, to_dict
from batchtui.forecast.history import PastRun, differences, learn


def config() -> dict[str, Any]:
    return to_dict(Config())


def past(values: dict[str, Any], **more: Any) -> PastRun:
    return PastRun(run="a-001", config=values, batch_size=32, peak=1 << 30, **more)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dataloaders.batch_size", 8),
        ("dataloaders.num_workers", 7),
        ("training.epochs", 3),
        ("training.seed", 9),
        ("optimizer.args", {"lr": 0.5, "momentum": 0.8, "weight_decay": 0.1}),
        ("name", "other"),
    ],
)
def test_what_takes_no_memory_does_not_count(key: str, value: object) -> None:
    other = changed(config(), key, value)
    assert differences(config(), other) == []
    measured, notes = learn(config(), [past(other)])
    assert [run.batch_size for run in measured] == [32]
    assert notes == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.target", "torchvision.models.resnet50"),
        ("model.args", {"num_classes": 7}),
        ("data.image_size", 224),
        ("loss.target", "torch.nn.NLLLoss"),
        ("optimizer.target", "torch.optim.AdamW"),
        ("optimizer.args", {"lr": 0.1, "momentum": 0}),
        ("training.amp", "bf16"),
        ("training.accumulate", 4),
        ("training.clip_grad_norm", 1.0),
        ("training.evaluate_every", 0),
        ("launch.processes", 2),
        ("launch.env", {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}),
    ],
)
def test_what_takes_memory_is_named(key: str, value: object) -> None:
    other = changed(config(), key, value)
    assert len(differences(config(), other)) == 1
    measured, [note] = learn(config(), [past(other)])
    assert measured == []
    assert note.startswith("run a-001 is left out: ")


def test_loaders_count_where_they_share_the_memory() -> None:
    other = changed(config(), "dataloaders.num_workers", 7)
    measured, [note] = learn(config(), [past(other)], on_cpu=True)
    assert measured == []
    assert note == "run a-001 is left out: dataloaders.num_workers: 7, not 2"


def test_another_device_or_torch_is_another_configuration() -> None:
    runs = [past(config(), device_name="RTX 3060"), past(config(), torch="2.6.0")]
    measured, notes = learn(config(), runs, device_name="RTX 4060", torch="2.14.1")
    assert measured == []
    assert notes == [
        "run a-001 is left out: device: RTX 3060, not RTX 4060",
        "run a-001 is left out: torch: 2.6.0, not 2.14.1",
    ]


def changed(values: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    values = copy.deepcopy(values)
    *path, last = key.split(".")
    section = values
    for part in path:
        section = section[part]
    section[last] = value
    return values
