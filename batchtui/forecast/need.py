"""What a batch size needs of a limit, forecast and measured in the same terms.

On a CPU that is what all processes of the training have resident. On an accelerator it is the
smallest capacity that survives: near its limit the allocator gives back what it cached, so that
what it reserves tells less there than what the tensors take.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from batchtui.config.schema import Config, to_dict
from batchtui.forecast.events import Trace, peak_by_category
from batchtui.forecast.largest import MALLOC, Need
from batchtui.forecast.prospect import Prospect
from batchtui.forecast.verdict import REPEATED

# Peaks of equal runs on a CPU differ by so much: 0.2 % under `low_memory`, and 7 % without.
_TAMED, _UNTAMED = 0.01, 0.07
_LOADERS = 0.06  # by which a trial with loaders came out low, against what a cgroup charged
_BASE = 48 << 20  # by which a process may be larger than the tracer's before its first step


class Needs:
    """The needs of one configuration, forecast from its trace alone."""

    def __init__(
        self,
        config: Config,
        trace: Trace,
        device: str,
        device_name: str | None,
        base: int | None,
    ) -> None:
        self._trace = trace
        self._accelerator = device != "cpu"
        self._prospect = Prospect(
            to_dict(config),
            [trace],
            device=device,
            base=base,
            environment=os.environ,
            device_name=device_name,
        )
        self._known: dict[int, Need] = {}
        first = self._prospect.row(1, seconds=0.0)
        self.method, self.assumptions = first.method, list(first.assumptions)
        self.noise = self.noise_of(config, device)
        self.growth = MALLOC if device == "cpu" and not config.limits.low_memory else 1.0

    @classmethod
    def of(
        cls,
        config: Config,
        traces: Sequence[Trace],
        device: str,
        device_name: str | None,
        base: int | None,
    ) -> Needs | None:
        """Return the needs; None: the traces do not tell of all sizes."""
        first = traces[0]
        return cls(config, first, device, device_name, base) if first.scales else None

    @staticmethod
    def noise_of(config: Config, device: str) -> float:
        """Return by which fraction the peaks of two equal runs may differ."""
        if device != "cpu":
            return REPEATED
        noise = _TAMED if config.limits.low_memory else _UNTAMED
        return max(noise, _LOADERS) if config.dataloaders.num_workers else noise

    def need(self, batch_size: int) -> Need:
        """Forecast what a batch size needs, and the most that nine of ten do."""
        if batch_size not in self._known:
            row = self._prospect.row(batch_size, seconds=0.0)
            peak = row.survives_bytes if self._accelerator else row.peak_bytes
            peak = peak or row.peak_bytes
            above = row.high_bytes - row.peak_bytes
            above += 0 if self._accelerator else _BASE
            self._known[batch_size] = Need(peak, peak + above)
        return self._known[batch_size]

    def observed(self, batch_size: int, peak: int | None, allocated: int | None) -> float | None:
        """Return what a trial's measured peak says of its need."""
        if not self._accelerator or allocated is None:
            return peak
        tensors, _ = peak_by_category(self._trace.at(batch_size))
        return self.need(batch_size).peak + allocated - tensors
