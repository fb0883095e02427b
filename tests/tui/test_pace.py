from __future__ import annotations

import math

from batchtui.tui.driver.pace import Pace

ROWS = 24


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def begun(clock: Clock) -> Pace:
    """Return the pace of a terminal that answers, 0.1 s away."""
    pace = Pace(clock)
    pace.begin()
    clock.now += 0.1
    pace.answer(5)
    return pace


def passes(pace: Pace, clock: Clock, size: int, rate: float) -> None:
    """Send a piece over a line of so many bytes a second, and have it answered."""
    row, _ = pace.question(size, ROWS)
    clock.now += 0.1 + size / rate
    pace.answer(row)


def test_a_terminal_that_does_not_answer_gets_everything_and_no_second_question() -> None:
    pace = Pace(Clock())
    assert pace.begin()
    for _ in range(100):
        assert pace.question(10_000, ROWS) == (0, "")
        assert pace.hold() == 0
    assert pace.room == math.inf
    assert not pace.behind


def test_what_was_sent_before_the_first_answer_is_asked_about_afterwards() -> None:
    pace = Pace(Clock())
    pace.begin()
    pace.question(10_000, ROWS)
    pace.answer(0)
    assert pace.behind
    assert pace.question(0, ROWS)[1]
    assert not pace.behind
    assert pace.hold() > 0


def test_only_the_answer_for_the_last_piece_makes_room() -> None:
    pace = begun(Clock())
    first, asked = pace.question(10_000, ROWS)
    assert asked == f"\x1b[{first + 1}H\x1b[6n"
    assert pace.hold() > 0
    pace.answer(first + 1)
    assert pace.hold() > 0
    pace.answer(first)
    assert pace.hold() == 0
    second, _ = pace.question(10_000, ROWS)
    pace.answer(first)  # doubled
    assert pace.hold() > 0
    pace.answer(second)
    assert pace.hold() == 0


def test_an_answer_counts_for_all_that_went_before() -> None:
    pace = begun(Clock())
    for _ in range(3):
        pace.question(4_000, ROWS)
    last, _ = pace.question(4_000, ROWS)
    assert pace.hold() > 0
    pace.answer(last)
    assert pace.hold() == 0


def test_a_lost_answer_holds_for_a_while_and_answers_are_heeded_again() -> None:
    clock = Clock()
    pace = begun(clock)
    pace.question(10_000, ROWS)
    clock.now += pace.hold()
    assert pace.hold() == 0
    assert pace.room == math.inf
    row, asked = pace.question(10_000, ROWS)
    assert asked
    assert pace.hold() == 0  # no freezing twice
    pace.answer(row + 1)  # of the first, late
    assert pace.hold() > 0
    pace.answer(row)
    assert pace.hold() == 0


def test_pieces_become_what_the_line_takes_in_a_second() -> None:
    clock = Clock()
    pace = begun(clock)
    passes(pace, clock, 10_000, rate=300)
    for _ in range(10):
        size = int(pace.room)
        assert 256 <= size <= 600
        passes(pace, clock, size, rate=300)
    for _ in range(10):
        passes(pace, clock, int(pace.room), rate=1e6)
    assert pace.room > 10_000


def test_small_pieces_on_a_fast_line_do_not_wait_for_each_other() -> None:
    pace = begun(Clock())
    for _ in range(3):
        pace.question(200, ROWS)
        assert pace.hold() == 0


def test_a_terminal_of_few_rows_is_asked_in_rows_that_it_has() -> None:
    pace = begun(Clock())
    assert {pace.question(1, 3)[0] for _ in range(9)} == {0, 1, 2}


def test_at_the_end_nothing_is_asked_and_nothing_held() -> None:
    pace = begun(Clock())
    pace.question(10_000, ROWS)
    pace.end(0.0)
    assert pace.hold() == 0
    assert pace.question(10_000, ROWS) == (0, "")
