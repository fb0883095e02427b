"""Corrections by measured runs."""

from __future__ import annotations

import math

import pytest

from batchtui.errors import BatchtuiError
from batchtui.forecast.fit import Measured, corrected, killed_at, usable

GIB = 1 << 30


def line(size: int) -> float:
    return GIB + size * 10e6


def test_without_runs_the_replay_stands() -> None:
    estimate = corrected(line, [], 64)
    assert estimate.peak == line(64)
    assert estimate.runs == 0
    assert math.isinf(estimate.nearest)


def test_one_run_carries_most_of_its_residual() -> None:
    run = Measured(64, round(line(64) * 1.02))
    estimate = corrected(line, [run], 128)
    assert line(128) < estimate.peak < line(128) * 1.02
    assert corrected(line, [run], 64).peak == run.peak


def test_an_accident_of_one_size_is_not_carried_over_but_widens() -> None:
    run = Measured(64, round(line(64) * 1.20))
    estimate = corrected(line, [run], 128)
    assert estimate.peak < line(128) * 1.06
    assert estimate.excess > 0


def test_the_context_in_a_whole_card_reading_is_carried_over_whole() -> None:
    run = Measured(64, round(line(64) + GIB), whole=True)
    assert corrected(line, [run], 128).peak == pytest.approx(line(128) + GIB)


def test_two_runs_right_on_a_line_are_believed_nearby() -> None:
    def truth(size: int) -> float:
        return line(size) * 1.04 + 50e6

    runs = [Measured(size, round(truth(size))) for size in (32, 64)]
    without = abs(line(80) / truth(80) - 1)
    after = abs(corrected(line, runs, 80).peak / truth(80) - 1)
    assert after < without / 3
    assert corrected(None, runs, 96).peak == pytest.approx(truth(96))


def test_squeezed_dead_and_single_sample_runs_are_dropped() -> None:
    runs = [
        Measured(1, GIB),
        Measured(8, 2 * GIB),
        Measured(16, 3 * GIB, capacity=3 * GIB),
        Measured(32, 3 * GIB, out_of_memory=True),
        Measured(64),
    ]
    assert [run.batch_size for run in usable(runs)] == [8]
    assert [run.batch_size for run in usable(runs[:1])] == [1]


def test_a_death_bounds_equal_or_smaller_devices_only() -> None:
    runs = [
        Measured(64, out_of_memory=True, capacity=8 * GIB),
        Measured(96, out_of_memory=True, capacity=16 * GIB),
    ]
    assert killed_at(runs, 8 * GIB) == 64
    assert killed_at(runs, 12 * GIB) == 96
    assert killed_at(runs, 24 * GIB) is None


def test_nothing_known_is_said_in_one_line() -> None:
    for runs in ([], [Measured(8, GIB)]):
        with pytest.raises(BatchtuiError, match="nothing to forecast from") as caught:
            corrected(None, runs, 16)
        assert "\n" not in str(caught.value)


def test_a_run_far_above_the_trace_is_believed_in_its_place() -> None:
    run = Measured(64, round(line(64) * 30))
    for size in (1, 32, 96, 512):
        estimate = corrected(line, [run], size)
        assert estimate.contradicted == run
        # Between growing with all the rest and not growing at all, the worse.
        assert estimate.peak >= run.peak or size < 64
        assert estimate.peak >= line(size) * 30 - 1
        assert estimate.least <= estimate.peak
    assert corrected(line, [run], 32).peak > 0.98 * run.peak
    second = Measured(128, round(line(128) * 30))
    assert corrected(line, [run, second], 256).peak == pytest.approx(line(256) * 30)


def test_the_newest_of_the_nearest_runs_says_whether_the_trace_is_right() -> None:
    early, late = Measured(64, round(line(64) * 3)), Measured(64, round(line(64)))
    assert corrected(line, [early, late], 128).contradicted is None
    assert corrected(line, [late, early], 128).contradicted == early
