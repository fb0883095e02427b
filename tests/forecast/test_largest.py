"""The search for the largest batch size, on memory that is known: no trial may exceed the limit."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from batchtui.forecast.largest import Need, Search, Seen

MIB = 1 << 20
WIDTH = 0.06  # of the forecast's interval, upwards and downwards


@dataclass
class Machine:
    """A training whose memory is affine in the batch size, and a limit over it."""

    constant: float
    sample: float
    limit: int
    noise: float
    luck: random.Random

    def takes(self, size: int) -> float:
        return self.constant + self.sample * size

    def measure(self, size: int) -> float:
        return self.takes(size) * (1 + self.luck.uniform(-self.noise / 2, self.noise / 2))

    @property
    def largest(self) -> int:
        return math.floor((self.limit - self.constant) / self.sample)

    def search(self, search: Search) -> tuple[list[int], list[Seen]]:
        """Try what is proposed, until there is nothing to try."""
        tried: list[int] = []
        seen: list[Seen] = []
        while (size := search.next(seen)) is not None:
            if len(tried) >= search.most_trials and search.answer(seen):
                break
            assert len(tried) < 20
            tried.append(size)
            peak = self.measure(size)
            seen.append(Seen(size, peak if peak <= self.limit else None, self.constant * 0.9))
        return tried, seen


machines = st.builds(
    Machine,
    constant=st.floats(100 * MIB, 2000 * MIB),
    sample=st.floats(0.05 * MIB, 60 * MIB),
    limit=st.integers(500 * MIB, 40_000 * MIB),
    noise=st.sampled_from([0.01, 0.023, 0.07]),
    luck=st.integers(0, 10**6).map(random.Random),
)
errors = st.floats(-0.9 * WIDTH, 0.9 * WIDTH)


@given(machines, errors, errors)
def test_two_trials_within_the_limit(machine: Machine, wrong: float, steep: float) -> None:
    assume(machine.takes(4) * 1.3 < machine.limit)

    def forecast(size: int) -> Need:
        peak = machine.constant * (1 + wrong) + machine.sample * (1 + steep) * size
        return Need(peak, peak * (1 + WIDTH))

    search = Search(machine.limit, forecast=forecast, noise=machine.noise)
    tried, seen = machine.search(search)
    answer = search.answer(seen)
    assert answer is not None
    assert 1 <= len(tried) <= 2
    assert all(machine.takes(size) <= machine.limit for size in tried)
    assert answer.batch_size <= machine.largest
    assert answer.low <= answer.peak <= answer.high <= machine.limit
    # What is left over is noise, and what cannot hold another sample.
    left = machine.limit - machine.takes(answer.batch_size)
    assert left <= 2 * machine.sample + (1.5 * machine.noise + 0.03) * machine.limit


@given(machines)
def test_without_a_forecast(machine: Machine) -> None:
    assume(machine.takes(16) < machine.limit)
    search = Search(machine.limit, configured=64, noise=machine.noise)
    tried, seen = machine.search(search)
    answer = search.answer(seen)
    assert all(machine.takes(size) <= machine.limit for size in tried)
    assert len(tried) <= 6
    if answer is not None:
        assert answer.batch_size <= machine.largest


@given(machines, errors)
def test_a_second_search_tries_next_to_nothing(machine: Machine, wrong: float) -> None:
    assume(machine.takes(4) * 1.3 < machine.limit)

    def forecast(size: int) -> Need:
        peak = machine.takes(size) * (1 + wrong)
        return Need(peak, peak * (1 + WIDTH))

    search = Search(machine.limit, forecast=forecast, noise=machine.noise)
    _, seen = machine.search(search)
    again = search.next(seen)
    assert again is None or machine.takes(again) <= machine.limit


def affine(constant: float, sample: float, limit: int = 1000 * MIB) -> Search:
    def forecast(size: int) -> Need:
        peak = (constant + sample * size) * MIB
        return Need(peak, peak * (1 + WIDTH))

    return Search(limit, forecast=forecast, highest=5000, noise=0.01)


def test_the_data_set_is_the_cap() -> None:
    search = affine(100, 0.001)
    assert search.next([]) == 5000
    seen = [Seen(5000, 106 * MIB)]
    assert search.next(seen) is None
    answer = search.answer(seen)
    assert answer is not None
    assert (answer.batch_size, answer.tried) == (5000, True)


def test_one_trial_near_the_limit_is_enough() -> None:
    search = affine(100, 1)
    assert search.next([Seen(800, 985 * MIB)]) is None


def test_a_death_halves_the_size_and_is_never_tried_again() -> None:
    search = affine(100, 1)
    first = search.next([])
    assert first is not None
    seen = [Seen(first, None)]
    second = search.next(seen)
    assert second == first // 2
    seen.append(Seen(second, 600 * MIB))
    answer = search.answer(seen)
    assert answer is not None
    assert answer.batch_size == second
    third = search.next(seen)
    assert third is None or second < third < first


def test_a_size_that_took_too_much_is_not_crept_up_to() -> None:
    search = affine(100, 1)
    assert search.next([Seen(400, 500 * MIB), Seen(800, None)]) == 600


def test_what_was_measured_under_a_higher_limit_counts() -> None:
    search = affine(100, 1)
    seen = [Seen(1500, 1600 * MIB)]
    size = search.next(seen)
    assert size is not None
    assert 850 < size < 900


@pytest.mark.parametrize(("constant", "hopeless"), [(1200, True), (1050, False), (500, False)])
def test_only_a_forecast_without_doubt_is_hopeless(constant: float, hopeless: bool) -> None:
    assert affine(constant, 1).hopeless([]) is hopeless


def test_what_was_measured_leaves_no_doubt_either() -> None:
    search = affine(100, 1)
    assert search.hopeless([Seen(400, 2400 * MIB)])
    assert not search.hopeless([Seen(400, 1300 * MIB)])


def test_not_even_one() -> None:
    search = affine(1050, 1)
    assert search.next([]) == 1
    seen = [Seen(1, None)]
    assert search.next(seen) is None
    assert search.answer(seen) is None
