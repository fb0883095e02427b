"""The one place that turns numbers into the text of the screen and the tables.

Every function takes None for "not measured" and answers `n/a`. Widths are stable: a value
that gains a digit does not move what stands beside it, if the caller right-aligns it.
"""

from __future__ import annotations

import math
import re

MISSING = "n/a"
KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40

_SIZE = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*([kmgt]?)(i?b)?\s*\Z", re.IGNORECASE)


def gib(size: float | None) -> str:
    """Bytes as `17.8 GiB`; below 0.1 GiB as MiB, so that a small number keeps two digits."""
    if size is None or not math.isfinite(size):
        return MISSING
    if abs(size) < 0.0995 * GIB:
        return f"{size / MIB:.0f} MiB"
    if abs(size) < 99.95 * GIB:
        return f"{size / GIB:.1f} GiB"
    return f"{size / GIB:.0f} GiB"


def fine(size: float | None) -> str:
    """Bytes to a per cent: `821 MiB`, `1.21 GiB`, `22.4 GiB`."""
    if size is None or not math.isfinite(size):
        return MISSING
    if abs(size) < GIB - MIB / 2:
        return f"{size / MIB:.0f} MiB"
    return f"{size / GIB:.2f} GiB" if abs(size) < 9.995 * GIB else gib(size)


def short_gib(size: float | None) -> str:
    """Bytes as a bare number of GiB for the scale of a chart: `0`, `0.25`, `5.9`, `17.8`, `128`."""
    if size is None or not math.isfinite(size):
        return MISSING
    value = size / GIB
    if value < 0.005:
        return "0"
    return f"{value:.2f}" if value < 0.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def seconds(value: float | None) -> str:
    """Seconds as a step time: `850 µs`, `13.9 ms`, `139 ms`, `1.39 s`, `13.9 s`."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value < 0.9995e-3:
        return f"{value * 1e6:.0f} µs"
    if value < 0.9995:
        milliseconds = value * 1e3
        return f"{milliseconds:.3g} ms" if milliseconds >= 99.5 else f"{milliseconds:.1f} ms"
    return f"{value:.2f} s" if value < 9.995 else f"{value:.1f} s"


def unit_of_time(value: float | None) -> tuple[float, str]:
    """The factor and the name of the unit in which seconds read best: µs, ms or s."""
    if value is None or value >= 0.9995:
        return 1.0, "s"
    return (1e3, "ms") if value >= 0.9995e-3 else (1e6, "µs")


def short_number(value: float) -> str:
    """A number in at most five characters, a whole one without a point: `139`, `13.9`, `1.39`."""
    if value >= 99.95 or value == round(value):
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def rate(samples_per_s: float | None) -> str:
    """Samples a second with three digits: `42.0 samples/s`, `3,280 samples/s`."""
    if samples_per_s is None or not math.isfinite(samples_per_s):
        return f"{MISSING} samples/s"
    digits = 0 if samples_per_s >= 99.95 else 1 if samples_per_s >= 9.995 else 2
    return f"{samples_per_s:,.{digits}f} samples/s"


def duration(value: float | None) -> str:
    """Seconds as a stretch of time: `42s`, `5m07s`, `3h12m`, `2d04h`."""
    if value is None or not math.isfinite(value) or value < 0:
        return MISSING
    whole = int(value + 0.5)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02d}h"


def percent(fraction: float | None) -> str:
    """A fraction as whole per cent: 0.54 → `54%`."""
    if fraction is None or not math.isfinite(fraction):
        return MISSING
    return f"{fraction * 100:.0f}%"


def count(value: float | None) -> str:
    """A count with thousands separated: `41,230`."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{value:,.0f}"


def short_count(value: float | None) -> str:
    """A count in at most five characters: `812`, `41.2k`, `10.0M`."""
    if value is None or not math.isfinite(value):
        return MISSING
    for limit, divisor, suffix in ((999.5, 1, ""), (999_500, 1e3, "k"), (999.5e6, 1e6, "M")):
        if abs(value) < limit:
            scaled = value / divisor
            return (
                f"{scaled:.0f}{suffix}"
                if not suffix or abs(scaled) >= 99.95
                else (f"{scaled:.1f}{suffix}")
            )
    return f"{value / 1e9:.1f}G"


def number(value: float | None, digits: int = 3) -> str:
    """A measured number with that many significant digits: `0.472`, `3.20e-5`."""
    if value is None:
        return MISSING
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "−inf"
    if value == 0:
        return f"{0:.{max(0, digits - 1)}f}"
    exponent = math.floor(math.log10(abs(value)))
    if -4 <= exponent < 6:
        return f"{value:.{max(0, digits - 1 - exponent)}f}"
    mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
    return f"{mantissa}e{int(power)}"


def parse_size(text: str) -> int:
    """Read `24GiB`, `500 MiB`, `1.5g` or plain bytes; units are powers of 1024.

    Raises:
        ValueError: not a size.
    """
    match = _SIZE.match(text)
    if match is None:
        raise ValueError(f"{text!r} is no size: write it as 24GiB or 500MiB")
    scale = {"": 1, "k": KIB, "m": MIB, "g": GIB, "t": TIB}[match[2].lower()]
    return int(float(match[1]) * scale)
