from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchtui.advise import choice


def test_steps_go_from_one_power_of_two_to_the_next() -> None:
    assert [choice.stepped(size, 1) for size in (1, 64, 100, 128)] == [2, 128, 128, 256]
    assert [choice.stepped(size, -1) for size in (1, 2, 64, 100, 128)] == [1, 1, 32, 64, 64]
    assert choice.stepped(1024, 1, largest=1437) == 1437
    assert choice.stepped(1437, 1, largest=1437) == 1437


@given(st.integers(1, 10**9), st.sampled_from([-1, 1]))
def test_a_step_moves_or_stays_at_an_end(size: int, direction: int) -> None:
    then = choice.stepped(size, direction)
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
