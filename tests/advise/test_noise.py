from __future__ import annotations

import math
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchtui.advise import noise
from batchtui.advise.noise import Batch, Estimate


def batches(
    count: int, size: int = 64, slope: float = 0.0, spread: float = 1.0, seed: int = 1
) -> list[Batch]:
    """Batches whose per-sample losses have variance `spread` around a falling line."""
    chance = random.Random(seed)
    made = []
    for step in range(count):
        losses = [2.0 + slope * step + chance.gauss(0, math.sqrt(spread)) for _ in range(size)]
        mean = sum(losses) / size
        variance = sum((loss - mean) ** 2 for loss in losses) / (size - 1)
        made.append(Batch(step + 1, size, mean, variance))
    return made


def test_pooled_variance_finds_the_spread_of_the_samples() -> None:
    assert noise.pooled_variance(batches(200)).value == pytest.approx(1.0, rel=0.05)


def test_pooled_variance_is_free_of_the_trend() -> None:
    falling = noise.pooled_variance(batches(200, slope=-0.01)).value
    assert falling == pytest.approx(noise.pooled_variance(batches(200)).value, rel=1e-6)


def test_pooled_variance_weighs_batches_by_their_size() -> None:
    mixed = [Batch(step, 101, 1.0, 2.0) for step in range(9)] + [Batch(9, 2, 1.0, 2.5)]
    assert noise.pooled_variance(mixed).value == pytest.approx((9 * 100 * 2 + 2.5) / 901, rel=1e-3)


def test_pooled_variance_follows_a_loss_that_falls() -> None:
    """s² of a hundred times more, hundreds of steps ago, is not that of now."""
    past = [Batch(step, 64, 5.0, 100.0) for step in range(500)]
    now = [Batch(500 + step, 64, 1.0, 1.0) for step in range(256)]
    assert noise.pooled_variance(past + now).value == pytest.approx(1.0, rel=0.05)


def test_pooled_variance_says_when_it_knows_too_little() -> None:
    assert noise.pooled_variance([]).reason == "no per-sample losses recorded"
    assert noise.pooled_variance(batches(3)).reason == "not enough data: 3 of 4 steps"
    wild = [Batch(step, 8, 1.0, 10.0 ** (step % 3)) for step in range(5)]
    refused = noise.pooled_variance(wild)
    assert refused.value is None
    known = re.search(r"s² known to ±(\d+)%", refused.reason or "")
    assert known is not None
    assert int(known[1]) % 5 == 0
    assert int(known[1]) > 100 * noise.MAX_RELATIVE_ERROR


def test_trend_free_variance_matches_the_noise_of_the_batch_mean() -> None:
    values = [
        noise.trend_free_variance(batches(300, slope=-0.004, seed=seed)).value for seed in range(12)
    ]
    assert sum(v or 0 for v in values) / len(values) == pytest.approx(1 / 64, rel=0.2)


def test_trend_free_variance_of_a_straight_line_is_nothing() -> None:
    line = [Batch(step, 64, 3.0 - 0.01 * step, 1.0) for step in range(64)]
    assert noise.trend_free_variance(line).value == pytest.approx(0.0, abs=1e-20)


def test_trend_free_variance_needs_32_steps() -> None:
    assert noise.trend_free_variance(batches(31)).reason == "not enough data: 31 of 32 steps"
    assert noise.trend_free_variance(batches(32)).value is not None


def test_gaps_and_nan_break_the_chain_of_differences() -> None:
    made = batches(64)
    jump = [
        Batch(b.step + (100 if b.step > 40 else 0), b.size, (b.loss or 0) + 50 * (b.step > 40), 1.0)
        for b in made
    ]
    assert (noise.trend_free_variance(jump).value or 9) < 0.1
    holed = [Batch(b.step, b.size, None if b.step == 30 else b.loss, 1.0) for b in made]
    assert (noise.trend_free_variance(holed).value or 9) < 0.1


def test_ratio_is_one_for_sampling_noise_and_more_for_dynamics() -> None:
    calm = batches(400)
    variance = noise.pooled_variance(calm)
    assert noise.ratio(noise.trend_free_variance(calm), variance, 64).value == pytest.approx(
        1.0, abs=0.6
    )
    shaken = [Batch(b.step, 64, (b.loss or 0) + (-1) ** b.step * 0.3, b.variance) for b in calm]
    found = noise.ratio(noise.trend_free_variance(shaken), variance, 64).value
    assert found is not None
    assert found > noise.DYNAMICS_RATIO


def test_ratio_passes_reasons_on() -> None:
    assert noise.ratio(Estimate(reason="a"), Estimate(value=1.0), 8).reason == "a"
    assert noise.ratio(Estimate(value=1.0), Estimate(reason="b"), 8).reason == "b"
    assert noise.ratio(Estimate(value=1.0), Estimate(value=0.0), 8).value is None


def test_noise_of_a_batch_mean() -> None:
    assert noise.batch_mean_deviation(4.0, 16) == pytest.approx(0.5)
    assert noise.batch_mean_deviation(4.0, 16, 32) == pytest.approx(0.5 * math.sqrt(0.5))
    assert noise.batch_mean_deviation(4.0, 32, 32) == 0.0
    assert noise.batch_mean_deviation(4.0, 64, 32) == 0.0
    assert noise.batch_mean_deviation(None, 16) is None
    assert noise.batch_mean_deviation(4.0, 0) is None


def test_spikes_need_two_of_three() -> None:
    losses = [b.loss or 0.0 for b in batches(60, slope=-0.01)]
    assert not noise.spiking(losses)
    assert not noise.spiking([*losses[:-1], 9.0])
    assert noise.spiking([*losses[:-2], 9.0, 8.0])
    assert noise.spiking([*losses[:-3], 9.0, losses[-1], 8.0])
    assert not noise.spiking([1.0] * 60)
    assert not noise.spiking([9.0, 9.0])


number = st.none() | st.floats(allow_nan=True, allow_infinity=True)
known = st.none() | st.floats(min_value=0, max_value=1e12)
anything = st.builds(Batch, st.integers(1, 10**9), st.integers(0, 10**6), number, known)


@given(st.lists(anything, max_size=60))
def test_no_input_breaks_or_yields_a_number_that_is_none(made: list[Batch]) -> None:
    for estimate in (noise.pooled_variance(made), noise.trend_free_variance(made)):
        assert (estimate.value is None) == (estimate.reason is not None)
        assert estimate.value is None or estimate.value >= 0
