"""Find the largest batch size within a limit, by few trials and none that runs out of memory.

Pure. What is known at a moment, a forecast and what trials measured, gives an upper bound of what
each batch size takes; the next trial is the largest size whose bound is within the limit. A
forecast alone is given twice its stated error. One measurement anchors it: from there on only the
growth is forecast. Without a forecast the growth is bounded by what the trials took per sample
beyond the process before its first step, which counts gradients and the like as growing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from batchtui.forecast.verdict import REPEATED

CAUTION = 2.0  # times the forecast's upward error, before anything was measured
SLACK = 0.05  # by which the growth may differ from what a trial showed
GAIN = 0.02  # a larger size has to be this much larger to be worth a trial
TRIALS, TRIALS_BLIND = 2, 6  # with a forecast, and without
_HIGHEST = 1 << 20
_FIRST_BLIND = 16
# Without `low_memory`, malloc keeps part of what was freed: the growth with the batch size was
# 1.4 times the tensors' on a vision transformer, 1.7 times on a resnet.
MALLOC = 1.75


class Need(NamedTuple):
    """A forecast, in bytes: what a size takes, and the most that nine of ten do."""

    peak: float
    high: float


@dataclass(frozen=True, slots=True)
class Seen:
    """What a trial or a run showed, in bytes; `peak` None: it took more than there was."""

    batch_size: int
    peak: float | None
    base: float | None = None  # held before the first step


@dataclass(frozen=True, slots=True)
class Answer:
    """The largest safe size, and between what bounds its peak lies."""

    batch_size: int
    peak: float
    low: float
    high: float
    tried: bool  # at this very size


Forecast = Callable[[int], Need]


class Search:
    """Decides what to try next.

    Args:
        limit: bytes.
        forecast: None where the model cannot be traced.
        highest: the largest size that makes sense, such as that of the data set.
        configured: the user's own batch size, where to begin without a forecast.
        noise: by which fraction the peaks of two equal runs differ.
        growth: times the forecast's growth that a size may take, before anything was measured.
    """

    def __init__(
        self,
        limit: int,
        *,
        forecast: Forecast | None = None,
        highest: int | None = None,
        configured: int = 1,
        noise: float = REPEATED,
        growth: float = 1.0,
    ) -> None:
        self.limit = limit
        self.highest = highest
        self._forecast = forecast
        self._configured = configured
        self.noise = noise
        self._growth = growth
        self._constant = forecast(1).peak if forecast else 0.0

    @property
    def most_trials(self) -> int:
        """How many trials it takes at most, unless one runs out of memory."""
        return TRIALS if self._forecast else TRIALS_BLIND

    def next(self, seen: Sequence[Seen]) -> int | None:
        """Return the size to try, given all that was seen; None: the answer is known.

        `seen` holds what earlier searches saw, too: with nothing changed there is nothing to try.
        """
        good, bad = self._good(seen), self._bad(seen)
        top = min(self.highest or _HIGHEST, _HIGHEST if bad is None else bad - 1)
        if top == 0:
            return None
        if not _measured(seen):
            if bad is not None:
                return max(1, bad // 2)
            if self._forecast is None:
                return max(1, min(top, self._configured // 4, _FIRST_BLIND))
        size = max(1, self._largest(seen, top))
        if bad is not None and good:  # what took too much against all bounds is kept away from
            size = min(size, (good + bad) // 2)
        return size if size > good * (1 + GAIN) else None

    def answer(self, seen: Sequence[Seen]) -> Answer | None:
        """Return the largest size that is safe by all that was seen; None: not one is.

        It is no larger than the largest that was tried, and leaves room for the noise.
        """
        good = self._good(seen)
        size = min(good, self._largest(seen, good)) if good else 0
        if size == 0:
            return None
        tried = [each.peak for each in seen if each.batch_size == size and each.peak]
        low, high = self.bounds(size, seen) or (0.0, float(self.limit))
        peak = (low + high) / 2
        if tried:
            peak = max(tried)
            low, high = peak * (1 - self.noise), peak * (1 + self.noise)
        return Answer(size, peak, low, high, bool(tried))

    def hopeless(self, seen: Sequence[Seen]) -> bool:
        """Whether not even one sample fits, by what leaves no doubt."""
        bounds = self.bounds(1, seen)
        return bounds is not None and bounds[0] > self.limit

    def bounds(self, size: int, seen: Sequence[Seen]) -> tuple[float, float] | None:
        """Return between what bytes a size's peak lies; None: nothing is known."""
        measured = _measured(seen)
        if not measured:
            if self._forecast is None:
                return None
            need = self._forecast(size)
            growth = max(0.0, need.peak - self._constant) * (self._growth - 1)
            error = CAUTION * (need.high - need.peak)
            return need.peak - error, need.peak + error + growth
        nearest = min(measured, key=lambda each: abs(each.batch_size - size))
        assert nearest.peak is not None
        slow, fast = self._slopes(nearest, measured)
        noise = self.noise * nearest.peak
        step = self._grown(size) - self._grown(nearest.batch_size)
        if step >= 0:
            return nearest.peak + slow * step - noise, nearest.peak + fast * step + noise
        return nearest.peak + fast * step - noise, nearest.peak + slow * step + noise

    # ---------------------------------------------------------------------------- inside

    def _grown(self, size: int) -> float:
        """Return the coordinate that memory is thought to be affine in."""
        return self._forecast(size).peak if self._forecast else float(size)

    def _slopes(self, nearest: Seen, measured: Sequence[Seen]) -> tuple[float, float]:
        """Return the least and the most bytes that a unit of `_grown` takes."""
        assert nearest.peak is not None
        here = self._grown(nearest.batch_size)
        if self._forecast:
            over = here - self._constant
            ratio = (nearest.peak - self._constant) / over if over > 0 else 1.0
            ratio = min(max(ratio, 0.5), 3.0)
            slow, fast = min(1.0, ratio) - SLACK, max(1.0, ratio, 0.0) + SLACK
        else:
            # Not even one sample less than what it had before its first step.
            most = nearest.peak * (1 + self.noise)
            slow, fast = 0.0, (most - (nearest.base or 0.0)) / here
        for other in measured:
            if other.batch_size == nearest.batch_size:
                continue
            assert other.peak is not None
            apart = here - self._grown(other.batch_size)
            rise = nearest.peak - other.peak
            noise = self.noise * max(nearest.peak, other.peak)
            ends = sorted(((rise - 2 * noise) / apart, (rise + 2 * noise) / apart))
            slow, fast = max(slow, ends[0]), min(fast, max(ends[1], slow))
        return min(slow, fast), fast

    def _largest(self, seen: Sequence[Seen], top: int) -> int:
        """Return the largest size up to `top` whose upper bound is within the limit; 0: none."""

        def fits(size: int) -> bool:
            bounds = self.bounds(size, seen)
            return bounds is not None and bounds[1] <= self.limit

        good, bad = 0, 1
        while bad <= top and fits(bad):
            good, bad = bad, bad * 2
        bad = min(bad, top + 1)
        while bad - good > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if fits(middle) else (good, middle)
        return good

    def _good(self, seen: Sequence[Seen]) -> int:
        """Return the largest size that was seen to fit; 0: none."""
        bad = self._bad(seen)
        return max(
            (
                each.batch_size
                for each in _measured(seen)
                if (each.peak or 0) <= self.limit and (bad is None or each.batch_size < bad)
            ),
            default=0,
        )

    def _bad(self, seen: Sequence[Seen]) -> int | None:
        """Return the smallest size that took too much."""
        return min(
            (each.batch_size for each in seen if each.peak is None or each.peak > self.limit),
            default=None,
        )


def _measured(seen: Sequence[Seen]) -> list[Seen]:
    return [each for each in seen if each.peak]
