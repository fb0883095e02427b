from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from batchtui.text import clean
from batchtui.tui.palette import Palette
from batchtui.tui.widgets import glyphs
from batchtui.tui.widgets.bars import Steady
from batchtui.tui.widgets.canvas import Canvas

put = st.tuples(st.integers(-5, 25), st.integers(-2, 6), st.text(max_size=30))


@given(st.lists(put, max_size=12), st.booleans(), st.booleans())
def test_whatever_is_drawn_rows_keep_their_width(
    puts: list[tuple[int, int, str]], colour: bool, ascii_only: bool
) -> None:
    canvas = Canvas(20, 5, colour)
    for x, y, text in puts:
        canvas.put(x, y, clean(text), "text")
    for y in range(5):
        strip = canvas.strip(y, Palette(colour), "background", ascii_only)
        assert strip.cell_length == 20
        assert sum(cell_len(segment.text) for segment in strip) == 20
        assert "".join(segment.text for segment in strip).isprintable()
        if ascii_only:
            assert strip.text.isascii()


def test_wide_characters_are_cut_and_drawn_over_whole() -> None:
    canvas = Canvas(6, 1)
    canvas.put(0, 0, "日本語語")
    assert canvas.runs(0) == [("日本語", "")]
    canvas.put(1, 0, "ab")
    assert canvas.runs(0) == [(" ab 語", "")]
    canvas.put(4, 0, "؛")  # narrow, but not among those known to be
    assert canvas.runs(0) == [(" ab ؛ ", "")]
    canvas.put(2, 0, "語")
    assert canvas.runs(0) == [(" a語؛ ", "")]


def test_changes_name_the_stretch_that_differs() -> None:
    before, after = Canvas(10, 3), Canvas(10, 3)
    before.put(0, 1, "step 1")
    after.put(0, 1, "step 2")
    assert list(after.changes(before)) == [(1, 5, 5)]
    after.put(8, 2, "x", "red")
    assert list(after.changes(before)) == [(1, 5, 5), (2, 8, 8)]


def test_without_colour_no_style_has_one() -> None:
    palette = Palette(colour=False)
    for name in ("", "text", "red", "sky/purple", "alarm", "title", "frame.focus"):
        style = palette.style(name, "background")
        assert style.color is None
        assert style.bgcolor is None


def test_clip_marks_what_is_cut() -> None:
    assert glyphs.clip("abc", 3) == "abc"
    assert glyphs.clip("abcd", 3) == "ab…"
    assert glyphs.clip("日本語", 4) == "日…"
    assert glyphs.clip("abc", 0) == ""


@given(st.text())
def test_ascii_has_the_same_width(text: str) -> None:
    text = clean(text)
    plain = glyphs.to_ascii(text)
    assert plain.isascii()
    assert len(plain) == sum(cell_len(character) for character in text)


def test_which_terminals_get_ascii() -> None:
    assert glyphs.ascii_only({"LC_ALL": "C"})
    assert glyphs.ascii_only({"LANG": "C", "LC_CTYPE": "C.UTF-8"})
    assert glyphs.ascii_only({"LANG": "de_DE.ISO-8859-1"})
    assert glyphs.ascii_only({"TERM": "linux", "LANG": "C.UTF-8"})
    assert not glyphs.ascii_only({"LANG": "en_US.UTF-8"})
    assert not glyphs.ascii_only({"LC_ALL": "en_US.utf8", "LANG": "C"})
    assert not glyphs.ascii_only({})


def test_bars_do_not_tremble() -> None:
    steady = Steady()
    assert [steady("a", value) for value in (0.50, 0.55, 0.45, 0.57, 0.52, None, 0.51)] == [
        0.50, 0.50, 0.50, 0.57, 0.57, None, 0.51
    ]  # fmt: skip
    assert steady("b", 0.52) == 0.52
