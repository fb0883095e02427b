"""What a change of batch size does to the learning rate, the epoch and the global batch."""

from __future__ import annotations

import dataclasses

import pytest

from batchtui.advise.kept import Kept
from batchtui.advise.restart import Change, Facts, is_adaptive, plan
from batchtui.errors import UsageError

SGD = Facts(
    batch_size=64,
    accumulate=1,
    world_size=1,
    optimizer="torch.optim.SGD",
    lr=0.1,
    train_samples=1000,
    samples=2 * 1000 + 300,
    step=38,
)


def facts(**changes: object) -> Facts:
    return dataclasses.replace(SGD, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "noise_scale", "after"),
    [
        ("keep", None, 0.1),
        ("linear", None, 0.2),
        ("sqrt", None, 0.1 * 2**0.5),
        ("noise", 128.0, 0.1 * (1 + 128 / 64) / (1 + 128 / 128)),
        ("noise", 1e9, 0.2),  # far below the noise scale it is linear
        ("noise", 1e-9, 0.1),  # far above, the batch size does not matter
    ],
)
def test_the_rules(rule: str, noise_scale: float | None, after: float) -> None:
    found = plan(facts(noise_scale=noise_scale), Change(128, rule=rule))
    assert (found.rule, found.lr_before) == (rule, 0.1)
    assert found.lr_after == pytest.approx(after)


@pytest.mark.parametrize(
    ("optimizer", "noise_scale", "rule"),
    [
        ("torch.optim.SGD", None, "linear"),
        ("torch.optim.AdamW", None, "sqrt"),
        ("my.code:Lion", None, "sqrt"),
        ("torch.optim.AdamW", 500.0, "noise"),
    ],
)
def test_auto_takes_the_noise_scale_else_what_suits_the_optimizer(
    optimizer: str, noise_scale: float | None, rule: str
) -> None:
    found = plan(facts(optimizer=optimizer, noise_scale=noise_scale), Change(128))
    assert found.rule == rule
    assert is_adaptive(optimizer) == (not optimizer.endswith("SGD"))


def test_a_given_rate_beats_the_rule_and_the_configured_rule_beats_auto() -> None:
    assert plan(SGD, Change(128, lr=0.3)).lr_after == 0.3
    assert plan(facts(rule="keep"), Change(128)).lr_after == 0.1
    assert plan(facts(rule="keep"), Change(128, rule="linear")).lr_after == 0.2


def test_a_rate_that_is_not_known_stays_and_that_is_said() -> None:
    found = plan(facts(lr=None), Change(128))
    assert (found.rule, found.lr_after) == ("keep", None)
    assert "optimizer.args.lr is not set" in found.notes[0]
    assert plan(facts(lr=None), Change(128, lr=0.3)).lr_after == 0.3


@pytest.mark.parametrize(
    ("size", "accumulate", "samples_a_step", "told"),
    [(32, 2, 64, False), (128, 1, 128, True), (48, 1, 48, True), (24, 3, 72, True), (1, 64, 64, 0)],
)
def test_the_global_batch_is_kept_as_far_as_it_divides(
    size: int, accumulate: int, samples_a_step: int, told: bool
) -> None:
    found = plan(SGD, Change(size, keep_global_batch=True))
    assert (found.accumulate, found.global_after) == (accumulate, samples_a_step)
    assert any("does not divide" in note for note in found.notes) == told
    assert found.lr_after == pytest.approx(0.1 * samples_a_step / 64)


def test_the_epoch_goes_on_with_what_is_left_of_it() -> None:
    found = plan(facts(world_size=2, accumulate=2), Change(32))
    assert (found.global_before, found.global_after) == (256, 128)
    assert (found.epoch, found.samples_left, found.steps_left) == (3, 700, 6)
    unknown = plan(facts(train_samples=None), Change(32))
    assert (unknown.epoch, unknown.samples_left, unknown.steps_left) == (None, None, None)


def test_an_ended_run_goes_on_from_what_it_kept() -> None:
    found = plan(facts(kept=Kept(30, 1900)), Change(32))
    assert (found.checkpoint_step, found.epoch, found.samples_left) == (30, 2, 100)
    assert found.notes == ("8 steps since the checkpoint are trained again",)
    assert plan(facts(kept=Kept(38, 2300)), Change(32)).notes == ()
    with pytest.raises(
        UsageError, match="no checkpoint was written in 38 steps: start it anew, with --fresh"
    ):
        plan(facts(kept=Kept(0, 0)), Change(32))
    # One that never made a step, for want of memory perhaps, may begin at another size.
    assert plan(facts(kept=Kept(0, 0), step=0, samples=0), Change(32)).checkpoint_step == 0


def test_a_training_that_is_all_done_is_not_restarted() -> None:
    with pytest.raises(UsageError, match="all 2 epochs are trained: nothing is left"):
        plan(facts(epochs=2), Change(32))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (Change(0), "a batch size is a whole number above 0"),
        (Change(1001), "only 1,000 samples"),
        (Change(8, lr=float("inf")), "a learning rate is a number above 0"),
        (Change(8, rule="noise"), "which no run records yet; choose another, or type a rate"),
        (Change(8, rule="cubic"), "one of auto, keep, linear, sqrt, noise"),
    ],
)
def test_what_makes_no_sense(change: Change, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        plan(SGD, change)
