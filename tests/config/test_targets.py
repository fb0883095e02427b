"""Targets looked up without importing them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from batchtui.config.document import Document
from batchtui.config.schema import Config, Data, Launch, Model
from batchtui.config.targets import check_targets, missing
from batchtui.errors import ConfigError

PATH = tuple(sys.path)


@pytest.mark.parametrize(
    "target",
    [
        "torchvision.models.resnet18",
        "torchvision.models:vit_b_16",
        "torch.optim.SGD",
        "torch.nn.CrossEntropyLoss",
        "torch.optim.lr_scheduler.CosineAnnealingLR",
        "torch.nn.functional.cross_entropy",
        "math.sin",  # an extension module: its source does not tell
        "sys.exit",
    ],
)
def test_what_exists_is_found(target: str) -> None:
    assert missing(target, PATH) is None


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        (
            "torchvision.models.resnet19",
            "torchvision.models has no 'resnet19'; did you mean 'resnet18'?",
        ),
        ("torch.optim.SDG", "torch.optim has no 'SDG'; did you mean 'SGD'?"),
        (
            "torchvison.models.resnet18",
            "there is no module 'torchvison'; did you mean 'torchvision'?",
        ),
        ("torchvision.model.resnet18", "torchvision has no 'model'; did you mean 'models'?"),
        ("torchvision.nomodule:resnet18", "there is no module 'torchvision.nomodule'"),
        ("torch.optim", "is a module; name a class or function in it"),
    ],
)
def test_what_does_not_exist_is_named_with_its_neighbour(target: str, problem: str) -> None:
    assert missing(target, PATH) == problem


def test_own_modules_are_found_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "helpers.py").write_text("def build(): ...\n")
    (tmp_path / "mine.py").write_text("from helpers import *\nclass Net: ...\n")
    (tmp_path / "magic.py").write_text("def __getattr__(name): return print\n")
    search = (str(tmp_path), *PATH)
    assert missing("mine.Net", search) is None
    assert missing("mine:build", search) is None
    assert missing("magic.anything", search) is None
    assert missing("mine.Nett", search) == "mine has no 'Nett'; did you mean 'Net'?"
    assert missing("mine.Net", PATH) is not None


def test_a_module_with_a_syntax_error_is_left_to_the_worker(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def (: Net\n")
    assert missing("broken.Net", (str(tmp_path),)) is None


def test_refusals_name_the_key_and_its_place() -> None:
    document = Document(file="c.yaml", origins={("model", "target"): "c.yaml:7"})
    config = Config(model=Model(target="torchvision.models.resnet19"))
    with pytest.raises(ConfigError, match=r"^c\.yaml:7: model\.target: .*did you mean 'resnet18'"):
        check_targets(config, document, [])
    # Another environment's packages are not ours to judge.
    check_targets(
        Config(data=Data(target="no.where"), launch=Launch(python="/usr/bin/python3")), document, []
    )
