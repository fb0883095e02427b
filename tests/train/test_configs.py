"""The configurations that come with the program: read, complete, and trainable."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from batchtui.config.load import load_config
from batchtui.config.schema import Config, Scheduler, to_dict
from batchtui.train.build import build_model, resolve_all
from batchtui.train.work import work
from tests.train.helpers import launched, records

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_each_is_read_and_its_targets_exist(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(CONFIGS))
    config = load_config(path, environment={})
    targets = resolve_all(config)
    build_model(targets.model, config.model.args)


def keys(values: dict, path: str = "") -> set[str]:
    found = set()
    for key, value in values.items():
        found.add(path + key)
        if isinstance(value, dict) and key != "args":
            found |= keys(value, f"{path}{key}.")
    return found


def test_the_default_documents_every_key() -> None:
    schema = to_dict(Config(scheduler=Scheduler(target="x")))
    assert keys(yaml.safe_load((CONFIGS / "default.yaml").read_text())) == keys(schema)


def test_the_example_of_own_code_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(CONFIGS))
    config = load_config(CONFIGS / "own-code.yaml", environment={})
    config = dataclasses.replace(
        config,
        device="cpu",
        data=dataclasses.replace(config.data, args={"samples": 1500, "noise": 0.15}),
        training=dataclasses.replace(config.training, epochs=4),
        dataloaders=dataclasses.replace(config.dataloaders, num_workers=0),
    )
    assert work(launched(tmp_path, config)) == "finished"
    losses = [record["loss"] for record in records(tmp_path, "evaluation")]
    assert losses[-1] < 0.9 * losses[0]
    assert all(step["variance"] > 0 for step in records(tmp_path, "step"))
