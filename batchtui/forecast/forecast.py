"""Forecast the memory of batch sizes that have not run: the rows of `forecast --json`.

Pure Python, for the screen's key presses: `Forecaster` keeps what it computed, and stops
refining at a deadline. `forecast` is the same in one call.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from batchtui.errors import BatchtuiError
from batchtui.forecast import fit
from batchtui.forecast.events import Trace, peak_by_category
from batchtui.forecast.fit import Estimate, Measured
from batchtui.forecast.replay import Replay, late, replay, smallest_capacity
from batchtui.forecast.rows import (
    CPU_PROCESS,
    CUDA_CONTEXT,
    TORCHRUN,
    Context,
    Forecast,
    breakdown,
    findings,
    how,
)
from batchtui.forecast.verdict import FITS, FITTED, RESIDENT, Interval, interval, kind_of, verdict

# Reserved memory is jagged in the batch size: it is averaged over sizes this near.
NEAR, NEAREST = 0.02, 6
_FEW = 64  # samples: enough for activations to outweigh the rest


class Forecaster:
    """Forecasts for one configuration on one device.

    Args:
        trace: None where the model could not be traced: a fit over `measured` is left.
        capacity: bytes of the whole device (or of the limit on a CPU); None: unknown.
        measured: runs of this very configuration.
    """

    def __init__(
        self,
        trace: Trace | None,
        *,
        device: str = "cuda",
        capacity: int | None = None,
        measured: Sequence[Measured] = (),
        context: Context | None = None,
    ) -> None:
        self.trace = trace
        self.device = device
        self.capacity = capacity
        self.measured = list(measured)
        self.context = context or Context()
        if trace is not None and self.context.cublas_workspace is not None:
            self.trace = trace.with_workspaces(self.context.cublas_workspace)
        self._replays: dict[int, Replay] = {}
        self._levels: dict[int, list[float]] = {}
        self._survives: dict[int, int] = {}
        self._empty: int | None = None

    @property
    def accelerator(self) -> bool:
        return self.device != "cpu"

    @property
    def available(self) -> int | None:
        """Bytes left: the capacity without neighbours and, on an accelerator, its context."""
        if self.capacity is None:
            return None
        left = self.capacity - self.overhead - self.context.others
        return max(left, 0) if self.accelerator else left

    @property
    def overhead(self) -> int:
        """Bytes that the process holds on an accelerator besides the peak: its context."""
        context = CUDA_CONTEXT if self.context.overhead is None else self.context.overhead
        return context if self.accelerator else 0

    def row(self, batch_size: int, *, seconds: float | None = None) -> Forecast:
        """Forecast one batch size; after `seconds` the answer is taken as fine as it is.

        Raises:
            BatchtuiError: there is neither a trace for this size nor runs to fit.
        """
        deadline = None if seconds is None else time.perf_counter() + seconds
        trace = self.trace
        if trace is not None and not trace.covers(batch_size):
            trace = None
        if not self.accelerator or trace is None:
            return self._row_without_replay(trace, batch_size)
        base = self._replay(batch_size)
        raw = self._survives_at(batch_size, deadline)
        level = self._level(batch_size, deadline)
        estimate = fit.corrected(
            lambda size: level if size == batch_size else self._level(size, deadline),
            self.measured,
            batch_size,
        )
        tensors, held = peak_by_category(trace.at(batch_size))
        levels = self._neighbourhood(batch_size, deadline)
        spread = max(abs(other - levels[0]) for other in levels)
        told = self.context.convolutional
        convolutional = trace.convolutional if told is None else told
        bounds = interval(
            estimate,
            scaling=self._scaling(tensors),
            spread=spread,
            kind=kind_of(convolutional=convolutional, on_cpu_tensors=trace.method == "fake cpu"),
        )
        survives = raw + max(estimate.peak - level, 0.0)
        return self._finish(
            batch_size,
            bounds,
            reserved=base.peak_reserved,
            survives=round(survives),
            needed=survives,
            needed_high=survives + bounds.high - estimate.peak,
            held=held,
            trace=trace,
            estimate=estimate,
        )

    def largest_safe(self, highest: int = 1 << 20) -> int | None:
        """Return the largest batch size up to `highest` whose verdict is "fits"; None: not one."""
        if self.available is None:
            return None

        def fits(size: int) -> bool:
            try:
                return self.row(size, seconds=0.0).verdict == FITS
            except BatchtuiError:
                return False

        good, bad = 0, max(1, min(self._guess(), highest))
        while bad <= highest and fits(bad):
            good, bad = bad, bad * 2
        bad = min(bad, highest + 1)
        while not good and bad > 1:
            size = max(1, bad * 4 // 5)
            good, bad = (size, bad) if fits(size) else (0, size)
        while bad - good > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if fits(middle) else (good, middle)
        return good or None

    def _guess(self) -> int:
        """Return about the largest size whose tensors alone fit: the search begins there."""
        if self.trace is None or self.available is None or not self.trace.scales:
            return 1
        low, high = (peak_by_category(self.trace.at(size))[0] for size in (_FEW, 2 * _FEW))
        return int(_FEW * (1 + (self.available - low) / max(high - low, 1)))

    # ---------------------------------------------------------------------- what it is made of

    def _replay(self, batch_size: int) -> Replay:
        if batch_size not in self._replays:
            assert self.trace is not None
            events = self.trace.at(batch_size)
            self._replays[batch_size] = replay(events, self.context.settings)
        return self._replays[batch_size]

    def _level(self, batch_size: int, deadline: float | None = None) -> float:
        """What the process reserves: the mean over the neighbourhood, within the capacity."""
        base = self._replay(batch_size)
        levels = self._neighbourhood(batch_size, deadline)
        level = sum(levels) / len(levels) + self.context.kernels
        limit = self.available
        if limit is not None and level > limit >= base.peak_allocated:
            return float(limit)  # squeezed, it gives back what it cached and goes on with less
        return level

    def _neighbourhood(self, batch_size: int, deadline: float | None = None) -> list[float]:
        """Replay pairs of sizes around this one, so that their means lie on its line."""
        if batch_size in self._levels:
            return self._levels[batch_size]
        assert self.trace is not None
        levels = [float(self._replay(batch_size).peak_reserved)]
        reach = min(int(batch_size * NEAR), NEAREST) if self.trace.scales else 0
        for step in sorted({reach, reach // 2} - {0}, reverse=True):
            if late(deadline):
                return levels
            low, high = (self._replay(batch_size + side).peak_reserved for side in (-step, step))
            levels += [(low + high) / 2] * 2
        self._levels[batch_size] = levels
        return levels

    def _survives_at(self, batch_size: int, deadline: float | None) -> int:
        if batch_size in self._survives:
            return self._survives[batch_size]
        assert self.trace is not None
        found = smallest_capacity(
            self.trace.at(batch_size),
            self.context.settings,
            free=self._replay(batch_size),
            first=self.available,
            deadline=deadline,
        )
        if not late(deadline):
            self._survives[batch_size] = found
        return found

    def _scaling(self, tensors: int) -> float:
        """Fraction of the tensors' peak that would be gone with an empty batch."""
        assert self.trace is not None
        if not self.trace.scales or not tensors:
            return 1.0
        if self._empty is None:
            self._empty = peak_by_category(self.trace.at(0))[0]
        return max(0.0, min(1.0, 1 - self._empty / tensors))

    def _row_without_replay(self, trace: Trace | None, batch_size: int) -> Forecast:
        """Forecast from the tensors alone (a CPU has no caching allocator), or from runs."""
        held: dict[str, int] | None = None
        predict = None
        measured = self.measured
        if trace is not None:
            base = CPU_PROCESS if self.context.overhead is None else self.context.overhead
            ranks, loaders = self.context.ranks, self.context.loaders

            def predict(size: int, trace: Trace = trace) -> float:
                around = loaders.held(size) if loaders is not None else 0
                around += TORCHRUN if ranks > 1 else 0
                return ranks * (base + peak_by_category(trace.at(size))[0]) + around

            held = peak_by_category(trace.at(batch_size))[1]
            held = {category: ranks * size for category, size in held.items()}
            measured = [replace(run, whole=True) for run in measured]
        estimate = fit.corrected(predict, measured, batch_size)
        bounds = interval(estimate, scaling=1.0, kind=RESIDENT if trace else FITTED)
        return self._finish(
            batch_size,
            bounds,
            reserved=None,
            survives=None,
            needed=estimate.peak,
            needed_high=bounds.high,
            held=held,
            trace=trace,
            estimate=estimate,
        )

    def _finish(
        self,
        batch_size: int,
        bounds: Interval,
        *,
        reserved: int | None,
        survives: int | None,
        needed: float,
        needed_high: float,
        held: dict[str, int] | None,
        trace: Trace | None,
        estimate: Estimate,
    ) -> Forecast:
        killed = fit.killed_at(self.measured, self.available)
        died = killed is not None and batch_size >= killed
        traced = trace.method if trace is not None else None
        if traced is not None and self.accelerator:
            traced += ", replay"
        assumptions = list(self.trace.assumptions) if self.trace is not None else []
        assumptions += self.context.notes(self.device, self.capacity)
        assumptions += findings(trace, batch_size, killed, estimate)
        return Forecast(
            batch_size=batch_size,
            device=self.device,
            capacity_bytes=self.capacity,
            peak_bytes=round(estimate.peak),
            low_bytes=round(bounds.low),
            high_bytes=round(bounds.high),
            reserved_bytes=reserved,
            survives_bytes=survives,
            verdict=verdict(needed, needed_high, self.available, killed=died),
            method=how(traced, estimate),
            assumptions=assumptions,
            breakdown=breakdown(held, round(estimate.peak)),
        )


def forecast(
    trace: Trace | None,
    batch_sizes: Sequence[int],
    *,
    device: str = "cuda",
    capacity: int | None = None,
    measured: Sequence[Measured] = (),
    others: int = 0,
    context: Context | None = None,
) -> list[Forecast]:
    """Forecast several batch sizes; see `Forecaster`.

    Raises:
        BatchtuiError: nothing to forecast from.
    """
    around = context or Context(others=others)
    asked = Forecaster(trace, device=device, capacity=capacity, measured=measured, context=around)
    return [asked.row(size) for size in batch_sizes]
