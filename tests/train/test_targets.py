"""From a target to the object, or one line that names key, value and the nearest name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from batchtui.errors import ConfigError
from batchtui.train.targets import call, check_arguments, resolve


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("torch.nn.Linear", torch.nn.Linear),
        ("torch.nn:Linear", torch.nn.Linear),
        ("torch.nn.functional.cross_entropy", torch.nn.functional.cross_entropy),
        ("torch.optim.lr_scheduler.StepLR", torch.optim.lr_scheduler.StepLR),
        ("torch:nn.Linear", torch.nn.Linear),
        ("collections:OrderedDict.fromkeys", __import__("collections").OrderedDict.fromkeys),
    ],
)
def test_a_target_is_found(target: str, expected: object) -> None:
    assert resolve(target) == expected


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("torch.optim.SDG", ["optimizer.target", "'torch.optim.SDG'", "did you mean 'SGD'?"]),
        ("torch.optm.SGD", ["torch has no 'optm'", "did you mean 'optim'?"]),
        ("torchvison.models.resnet18", ["no module 'torchvison'", "did you mean 'torchvision'?"]),
        ("torch.optim:Nothing.At.All", ["torch.optim has no 'Nothing'"]),
        ("torch.no_such:SGD", ["torch has no 'no_such'"]),
        ("torch.optim", ["is a module, not a class or function"]),
        ("math.pi", ["is a float, not a class or function"]),
    ],
)
def test_a_target_that_is_not_there_is_one_line(target: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(target, "optimizer.target")
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_a_module_that_breaks_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_syntax.py").write_text("def f(:\n")
    (tmp_path / "broken_import.py").write_text("import not_a_module_at_all\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match=r"importing broken_syntax failed: SyntaxError.*line 1"):
        resolve("broken_syntax:f", "model.target")
    with pytest.raises(ConfigError, match=r"importing broken_import failed.*not_a_module_at_all"):
        resolve("broken_import:f", "model.target")


def test_an_argument_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        check_arguments(torch.optim.SGD, {"lr": 1, "momentun": 1}, "optimizer.args", positional=1)
    assert "optimizer.args.momentun" in str(caught.value)
    assert "did you mean 'momentum'?" in str(caught.value)
    with pytest.raises(ConfigError, match=r"optimizer\.args\.params"):
        check_arguments(torch.optim.SGD, {"params": []}, "optimizer.args", positional=1)
    check_arguments(torch.optim.SGD, {"lr": 1, "fused": True}, "optimizer.args", positional=1)
    check_arguments(dict, {"anything": 1}, "model.args")


def test_a_target_that_raises_is_one_line_with_its_arguments() -> None:
    def picky(size: int) -> None:
        raise ValueError("size must be odd\nand more")

    with pytest.raises(ConfigError) as caught:
        call(picky, "model.target", size=4)
    text = str(caught.value)
    assert "picky(size=4) raised ValueError: size must be odd" in text
    assert "\n" not in text
    assert isinstance(caught.value.__cause__, ValueError)
