"""Model, loss and optimizer from their configuration."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from batchtui.config.schema import Loss, Optimizer, Scheduler, Training
from batchtui.errors import ConfigError
from batchtui.train import device
from batchtui.train.build import (
    PerSampleLoss,
    build_model,
    build_optimizer,
    resolve_all,
    wants_channels_last,
)
from tests.train import tiny as own
from tests.train.helpers import tiny

SCORES, CLASSES = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])


@pytest.mark.parametrize(
    ("target", "args"),
    [
        (nn.CrossEntropyLoss, {}),
        (nn.functional.cross_entropy, {}),
        (nn.CrossEntropyLoss, {"label_smoothing": 0.1}),
    ],
)
def test_a_loss_with_reduction_tells_each_samples_own(target: object, args: dict) -> None:
    loss = PerSampleLoss(target, Loss(args=args))(SCORES, CLASSES, 4)
    assert loss.shape == (4,)
    assert torch.allclose(loss.mean(), nn.functional.cross_entropy(SCORES, CLASSES, **args))


def test_a_loss_for_each_token_is_averaged_within_the_sample() -> None:
    scores, words = torch.randn(4, 3, 6), torch.randint(0, 3, (4, 6))
    loss = PerSampleLoss(nn.CrossEntropyLoss, Loss())(scores, words, 4)
    assert loss.shape == (4,)
    assert torch.allclose(loss.mean(), nn.functional.cross_entropy(scores, words))


def test_a_loss_that_is_one_number_stays_one() -> None:
    loss = PerSampleLoss(own.scalar_loss, Loss(target="x"))(SCORES, CLASSES, 4)
    assert loss.dim() == 0
    chosen = PerSampleLoss(nn.CrossEntropyLoss, Loss(args={"reduction": "sum"}))
    assert chosen(SCORES, CLASSES, 4).dim() == 0


def test_a_losss_wrong_argument_is_named() -> None:
    with pytest.raises(ConfigError, match=r"loss\.args\.smoothing.*label_smoothing"):
        PerSampleLoss(nn.CrossEntropyLoss, Loss(args={"smoothing": 0.1}))


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (own.explode, "explode.* raised RuntimeError: no weights here"),
        (own.nothing, "returned a str, not a torch.nn.Module"),
        (nn.ReLU, "no parameter to train"),
    ],
)
def test_what_is_no_model_is_one_line(target: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build_model(target, {})


def test_a_model_comes_ready_to_train() -> None:
    assert build_model(lambda: nn.Linear(2, 2).eval(), {}).training


def test_the_fused_kernel_is_asked_for_only_where_it_exists() -> None:
    model = nn.Linear(2, 2)
    sgd = Optimizer(args={"lr": 0.1})
    assert build_optimizer(torch.optim.SGD, sgd, model, fused=True).defaults["fused"]
    assert not build_optimizer(torch.optim.SGD, sgd, model, fused=False).defaults["fused"]
    chosen = Optimizer(args={"lr": 0.1, "foreach": True})
    assert not build_optimizer(torch.optim.SGD, chosen, model, fused=True).defaults["fused"]
    build_optimizer(torch.optim.Rprop, sgd, model, fused=True)


def test_an_optimizer_that_raises_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.target: .*SGD\(lr=-1\).*Invalid learning"):
        build_optimizer(torch.optim.SGD, Optimizer(args={"lr": -1}), nn.Linear(2, 2), fused=False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"optimizer": Optimizer(target="torch.optim.LBFGS", args={})}, "several times a step"),
        ({"optimizer": Optimizer(args={"lr": 0.1, "momentun": 1})}, "did you mean 'momentum'"),
        ({"model": "tests.train.tiny.linea"}, "did you mean 'linear'"),
        ({"model_args": {"input": 3}}, r"model\.args\.input.*did you mean 'inputs'"),
        (
            {"scheduler": Scheduler(target="torch.optim.lr_scheduler.ReduceLROnPlateau")},
            "follows a measured loss",
        ),
        ({"scheduler": Scheduler(target="torch.nn.Linear")}, "is no torch.optim.lr_scheduler"),
        (
            {
                "scheduler": Scheduler(
                    target="torch.optim.lr_scheduler.StepLR", args={"stepsize": 1}
                )
            },
            r"scheduler\.args\.stepsize.*did you mean 'step_size'",
        ),
    ],
)
def test_what_does_not_fit_is_found_before_anything_is_built(change: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        resolve_all(tiny(**change))


def test_channels_last_is_for_convolutions_in_half_precision_on_a_gpu() -> None:
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    half = Training(amp="bf16")
    assert wants_channels_last(own.Net(), half, cuda)
    assert not wants_channels_last(own.Net(), half, cpu)
    assert not wants_channels_last(own.Net(), Training(), cuda)
    assert not wants_channels_last(own.linear(), half, cuda)
    assert wants_channels_last(own.linear(), Training(channels_last=True), cpu)


def test_a_device_that_is_not_here_is_one_line() -> None:
    assert device.choose("cpu") == torch.device("cpu")
    accelerator = torch.accelerator.current_accelerator()
    missing = "mps" if accelerator is None or accelerator.type != "mps" else "cuda"
    with pytest.raises(ConfigError, match=f"device: '{missing}' is not here: .*use device: auto"):
        device.choose(missing)


def test_a_cpu_has_no_memory_of_its_own_to_read() -> None:
    memory = device.Memory(torch.device("cpu"))
    memory.reset_peak()
    assert memory.read() == (None, None, None)
    assert device.describe(torch.device("cpu")) == (None, None)
