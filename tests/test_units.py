"""Numbers as text: the right unit, and no jump in width where a digit is added."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchtui import units


@pytest.mark.parametrize(
    ("formatter", "value", "expected"),
    [
        (units.gib, None, "n/a"),
        (units.gib, math.nan, "n/a"),
        (units.gib, 0, "0 MiB"),
        (units.gib, 50 * units.MIB, "50 MiB"),
        (units.gib, 17.8 * units.GIB, "17.8 GiB"),
        (units.gib, 99.96 * units.GIB, "100 GiB"),
        (units.fine, 821.3 * units.MIB, "821 MiB"),
        (units.fine, 1023.7 * units.MIB, "1.00 GiB"),
        (units.fine, 17.83 * units.GIB, "17.8 GiB"),
        (units.rate, 42, "42.0 samples/s"),
        (units.rate, 3280.4, "3,280 samples/s"),
        (units.seconds, 0.000_85, "850 µs"),
        (units.seconds, 0.0139, "13.9 ms"),
        (units.seconds, 0.139, "139 ms"),
        (units.seconds, 0.9999, "1.00 s"),
        (units.seconds, 13.94, "13.9 s"),
        (units.duration, 42, "42s"),
        (units.duration, 307, "5m07s"),
        (units.duration, 59.7, "1m00s"),
        (units.duration, 3 * 3600 + 12 * 60, "3h12m"),
        (units.duration, 2 * 86400 + 4 * 3600, "2d04h"),
        (units.duration, -1, "n/a"),
        (units.percent, 0.54, "54%"),
        (units.count, 41230, "41,230"),
        (units.short_count, 812, "812"),
        (units.short_count, 41230, "41.2k"),
        (units.short_count, 10_000_000, "10.0M"),
        (units.short_count, 999_999, "1.0M"),
        (units.number, 0.4718, "0.472"),
        (units.number, 0, "0.00"),
        (units.number, 3.2e-5, "3.20e-5"),
        (units.number, math.inf, "inf"),
        (units.number, math.nan, "NaN"),
        (units.number, 1842.3, "1842"),
    ],
)
def test_examples(formatter: object, value: float | None, expected: str) -> None:
    assert formatter(value) == expected  # type: ignore[operator]


@given(st.floats(allow_nan=True, allow_infinity=True) | st.none())
def test_every_formatter_takes_every_float(value: float | None) -> None:
    for formatter in (
        units.gib,
        units.fine,
        units.rate,
        units.seconds,
        units.duration,
        units.percent,
        units.count,
        units.short_count,
        units.number,
    ):
        assert formatter(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("24GiB", 24 << 30),
        ("500 MiB", 500 << 20),
        ("1.5g", 3 << 29),
        ("4096", 4096),
        ("1TB", 1 << 40),
    ],
)
def test_sizes_are_read(text: str, expected: int) -> None:
    assert units.parse_size(text) == expected


@pytest.mark.parametrize("text", ["", "GiB", "-1GiB", "20 gigs", "1e3", "nan"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no size"):
        units.parse_size(text)


@given(st.integers(0, 2**60))
def test_plain_bytes_come_back(size: int) -> None:
    assert units.parse_size(str(size)) == pytest.approx(size, rel=1e-12)
