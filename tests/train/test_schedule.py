"""The learning rate by samples trained."""

from __future__ import annotations

import pytest
import torch

from batchtui.config.schema import Scheduler
from batchtui.train.schedule import Schedule
from batchtui.train.targets import resolve

SCHEDULERS = "torch.optim.lr_scheduler."


def make(
    name: str, args: dict | None = None, tick: int = 10, total: int = 200, lr: float = 1.0
) -> tuple[torch.optim.Optimizer, Schedule]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    config = Scheduler(target=SCHEDULERS + name, args=args or {})
    schedule = Schedule(resolve(config.target), config, optimizer, tick, total)
    optimizer.step()
    return optimizer, schedule


def rates(name: str, args: dict | None, batches: list[int]) -> dict[int, float]:
    """Return the learning rate that holds after each number of samples."""
    optimizer, schedule = make(name, args)
    found, samples = {}, 0
    for batch in batches:
        samples += batch
        schedule.advance(samples)
        found[samples] = optimizer.param_groups[0]["lr"]
    return found


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("CosineAnnealingLR", {}),
        ("LinearLR", {"end_factor": 0.1}),
        ("MultiStepLR", {"milestones": [5, 15]}),
        ("OneCycleLR", {"max_lr": 1.0}),
        ("PolynomialLR", {"power": 2}),
        ("ExponentialLR", {"gamma": 0.9}),
    ],
)
def test_the_rate_is_a_function_of_samples_not_of_steps(name: str, args: dict) -> None:
    small, large = rates(name, args, [10] * 20), rates(name, args, [20] * 10)
    uneven = rates(name, args, [7, 13, 30, 50, 100])
    assert {samples: small[samples] for samples in large} == pytest.approx(large)
    assert small[200] == pytest.approx(uneven[200])


def test_an_end_that_is_not_given_is_the_trainings() -> None:
    assert rates("CosineAnnealingLR", {}, [10] * 20)[200] == pytest.approx(0, abs=1e-9)
    assert rates("CosineAnnealingLR", {"T_max": 40}, [10] * 20)[200] == pytest.approx(0.5)
    assert rates("LinearLR", {}, [10] * 20)[200] == pytest.approx(1.0)
    assert rates("OneCycleLR", {"max_lr": 1, "epochs": 4, "steps_per_epoch": 5}, [10] * 20)


def test_going_on_at_another_batch_size_follows_the_same_curve() -> None:
    expected = rates("CosineAnnealingLR", {}, [10] * 20)
    optimizer, schedule = make("CosineAnnealingLR")
    schedule.advance(100)
    saved = schedule.state_dict(), optimizer.state_dict()
    optimizer, schedule = make("CosineAnnealingLR")
    optimizer.load_state_dict(saved[1])
    schedule.load_state_dict(saved[0])
    for samples in (140, 180):  # steps of 40 samples now; a tick is still 10
        schedule.advance(samples)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected[samples])


def test_a_training_made_longer_ends_at_its_new_end() -> None:
    optimizer, schedule = make("CosineAnnealingLR")
    schedule.advance(100)
    saved = schedule.state_dict(), optimizer.state_dict()
    optimizer, schedule = make("CosineAnnealingLR", total=400)
    optimizer.load_state_dict(saved[1])
    schedule.load_state_dict(saved[0])
    schedule.advance(300)
    assert 0.01 < optimizer.param_groups[0]["lr"] < 0.5
    schedule.advance(400)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)


def test_one_cycle_outlives_its_last_step() -> None:
    _, schedule = make("OneCycleLR", {"max_lr": 1.0})
    schedule.advance(100_000)
    assert schedule.ticks == 10_000


def test_without_a_scheduler_the_rate_stays() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    schedule = Schedule(None, None, optimizer, 10, 100)
    schedule.advance(55)
    assert optimizer.param_groups[0]["lr"] == 0.5
    again = Schedule(None, None, optimizer, 10, 100)
    again.load_state_dict(schedule.state_dict())
    assert again.ticks == 5
