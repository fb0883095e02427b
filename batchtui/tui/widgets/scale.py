"""The vertical scale of a chart: round numbers that change seldom."""

from __future__ import annotations

import math

from batchtui import units

Y_LABEL = 6  # cells for the numbers of a chart at its left, and the axis
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


class Scale:
    """Bounds of an axis that follow the data with hysteresis, so that the picture stays calm.

    The bounds move when data leaves them, or fills less than `shrink` of them.
    """

    def __init__(self, *, zero: bool = False, shrink: float = 0.45) -> None:
        """Take whether the axis always starts at 0."""
        self.low, self.high = 0.0, 1.0
        self.log = False
        self._zero, self._shrink = zero, shrink
        self._known = False

    def fit(self, low: float, high: float, log: bool = False) -> None:
        """Make [low, high] visible."""
        log = log and low > 0
        if log:
            low, high = math.log10(low), math.log10(high)
        elif self._zero:
            low = min(low, 0.0)
        if self._known and log == self.log and self.low <= low and high <= self.high:
            filled = high - low
            if filled >= self._shrink * (self.high - self.low):
                return
        self.log, self._known = log, True
        if high - low < 1e-9 * max(abs(high), abs(low), 1e-9):
            pad = abs(high) * 0.1 or 1.0
            low, high = (low if self._zero and not low else low - pad), high + pad
        step = nice_step((high - low) / 8)
        self.low = math.floor(low / step + 1e-9) * step
        self.high = math.ceil(high / step - 1e-9) * step

    def place(self, value: float) -> float:
        """Return where a value lies: 0 at the bottom, 1 at the top, beyond if it is outside."""
        if self.log:
            value = math.log10(value) if value > 0 else self.low - 1
        return (value - self.low) / (self.high - self.low)

    def ticks(self, intervals: int) -> list[float]:
        """Return round values from bottom to top."""
        step = nice_step((self.high - self.low) / max(1, intervals))
        if self.log:
            step = float(max(1, math.ceil(step)))  # powers of ten
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        values = [index * step for index in range(first, last + 1)]
        return [10**value for value in values] if self.log else values


def nice_step(raw: float) -> float:
    """Return the smallest of 1, 2, 2.5, 5 × a power of ten that is no less than `raw`."""
    if raw <= 0 or not math.isfinite(raw):
        return 1.0
    power = 10.0 ** math.floor(math.log10(raw))
    return next(step * power for step in _STEPS if step * power >= raw * (1 - 1e-9))


def tick_text(value: float) -> str:
    """Return a round number in at most five cells: `0`, `0.05`, `250`, `41k`, `1e-4`."""
    size = abs(value)
    if size < 1e-12:
        return "0"
    if size < 0.0095:
        digits, _, exponent = f"{value:.0e}".partition("e")
        return f"{digits}e{int(exponent)}"
    if size < 99.5:
        return f"{value:.2g}"
    return f"{value:.0f}" if size < 9_999.5 else units.short_count(value)
