from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchtui.advise import choice


def test_a_step_is_an_eighth_of_a_power_of_two() -> None:
    assert [choice.stepped(size, 1) for size in (1, 16, 64, 100, 128)] == [2, 18, 72, 104, 144]
    assert [choice.stepped(size, -1) for size in (1, 2, 64, 100, 128)] == [1, 1, 60, 96, 120]
    assert choice.stepped(1430, 1, largest=1437) == 1437
    assert choice.stepped(1437, 1, largest=1437) == 1437


def test_a_size_is_doubled_and_halved() -> None:
    assert [choice.doubled(size, 1) for size in (1, 48, 64)] == [2, 96, 128]
    assert [choice.doubled(size, -1) for size in (1, 25, 64)] == [1, 12, 32]
    assert choice.doubled(1024, 1, largest=1437) == 1437


@pytest.mark.parametrize("move", [choice.stepped, choice.doubled])
@given(size=st.integers(1, 10**9), direction=st.sampled_from([-1, 1]))
def test_a_key_moves_the_size_or_stays_at_an_end(
    move: Callable[[int, int], int], size: int, direction: int
) -> None:
    then = move(size, direction)
    assert then >= 1
    assert (then - size) * direction > 0 or size == 1


def test_parse_takes_whole_numbers() -> None:
    assert choice.parse(" 1,024 ") == 1024
    for text in ("", "0", "-4", "3.5", "1e3", "１２", "9" * 30):
        with pytest.raises(ValueError, match="whole number above 0"):
            choice.parse(text)
    with pytest.raises(ValueError, match="only 100 samples"):
        choice.parse("101", largest=100)


def test_steps_per_epoch_round_up() -> None:
    assert choice.steps_per_epoch(1000, 64) == 16
    assert choice.steps_per_epoch(None, 64) is None
    assert choice.steps_per_epoch(1000, None) is None
