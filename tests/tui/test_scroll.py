from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from batchtui.tui.widgets.scroll import Scroll


def test_new_lines_fill_the_page_then_it_jumps_by_half() -> None:
    scroll = Scroll()
    assert scroll.first(range(10), 8) == 2  # the last page
    assert scroll.first(range(11), 8) == 7  # full: half a page on
    assert scroll.first(range(12), 8) == 7
    assert scroll.first(range(15), 8) == 7
    assert scroll.first(range(16), 8) == 12


def test_scrolled_back_it_stands_still_and_follows_again_at_the_end() -> None:
    scroll = Scroll()
    scroll.first(range(100), 10)
    scroll.by(-20, range(100))
    assert not scroll.follows
    assert scroll.first(range(100), 10) == 70
    assert scroll.first(range(150), 10) == 70
    assert scroll.first(range(5, 150), 10) == 65  # the beginning was dropped
    scroll.by(1000, range(150))
    assert scroll.follows
    assert scroll.first(range(150), 10) == 140


def test_a_new_height_shows_the_last_page() -> None:
    scroll = Scroll()
    assert scroll.first(range(100), 3) == 97
    assert scroll.first(range(100), 20) == 80


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 30), st.integers(-40, 40)), max_size=30)
)
def test_the_newest_line_is_on_the_page_while_following(moves: list[tuple[int, int, int]]) -> None:
    scroll, start, end = Scroll(), 0, 0
    for grown, height, by in moves:
        end += grown
        start = max(start, end - 60)
        numbers = range(start, end)
        first = scroll.first(numbers, height)
        assert 0 <= first <= max(0, len(numbers) - 1)
        if scroll.follows and numbers:
            assert first <= len(numbers) - 1 < first + height
        scroll.by(by, numbers)
