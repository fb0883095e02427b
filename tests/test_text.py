"""The sanitiser: whatever comes in, one printable line goes out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchtui.text import clean


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]52;c;ZXZpbA==\x07after", "after"),
        ("\x1b]0;title\x1b\\after", "after"),
        ("\x9b31mred", "red"),
        ("10%\r 50%\r100%", "100%"),
        ("100%\r", "100%"),
        ("a\tb", "a   b"),
        ("[/] [bold]x", "[/] [bold]x"),
        ("\u202eevil", "\ufffdevil"),
        ("lone \udc80 surrogate", "lone \ufffd surrogate"),
        ("a\x00b\x08c", "a\ufffdb\ufffdc"),
        ("été 漢字 ²→", "été 漢字 ²→"),
        ("", ""),
        ("\x1b", ""),
        ("\x1b[", ""),
    ],
)
def test_known_cases(raw: str, expected: str) -> None:
    assert clean(raw) == expected


def test_long_lines_are_cut_and_keep_the_last_redraw() -> None:
    assert clean("x" * 1_000_000, 50) == "x" * 49 + "…"
    assert clean("y" * 1_000_000 + "\rdone", 50) == "done"


@given(st.text(st.characters()), st.integers(2, 200))
def test_nothing_but_one_printable_line_comes_out(raw: str, limit: int) -> None:
    text = clean(raw, limit)
    assert text.isprintable()
    assert len(text) <= limit
    text.encode("utf-8")


@given(st.binary())
def test_bytes_of_any_encoding(raw: bytes) -> None:
    assert clean(raw.decode("utf-8", "replace")).isprintable()
    assert clean(raw.decode("utf-8", "surrogateescape")).isprintable()
    assert clean(raw.decode("latin-1")).isprintable()
