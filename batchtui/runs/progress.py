"""Where the training stands, for run.db's `meta`: what the journal's newest records say."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from batchtui.records import End, Evaluation, Phase, Record, Start, Step

TRAINING = "training"  # what a worker calls the phase in which it steps
WINDOW = 1000  # steps: of the quantiles of the step time
_RATE_WINDOW = 200  # … and of the throughput


@dataclass(slots=True)
class Progress:
    """Follows rank 0."""

    start: Start | None = None
    last: Step | None = None
    end: End | None = None
    phase: str | None = None
    nonfinite_steps: int = 0
    accelerator_peak: int | None = None  # bytes: most reserved, or allocated where more
    _times: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _rate: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_RATE_WINDOW))

    def feed(self, record: Record) -> None:
        """Take the next record."""
        if isinstance(record, Step):
            self._step(record)
        elif isinstance(record, Phase):
            self.phase = None if record.phase == TRAINING else record.phase
        elif isinstance(record, Start):
            self.start = record
        elif isinstance(record, Evaluation):
            self.phase = None
            self.memory(record.peak)
        elif isinstance(record, End):
            self.phase = None
            self.end = record

    def memory(self, used: int | None) -> None:
        """Take note of accelerator memory in use, any rank's, in bytes."""
        if used is not None:
            self.accelerator_peak = max(used, self.accelerator_peak or 0)

    @property
    def slow_step(self) -> float | None:
        """The 95th percentile of the step time, in seconds."""
        return _quantile(sorted(self._times), 0.95)

    @property
    def on_accelerator(self) -> bool:
        """Whether the training's memory is an accelerator's."""
        return self.start is not None and not self.start.device.startswith("cpu")

    def meta(self) -> dict[str, Any]:
        """Return the keys of `meta` that follow from the records."""
        return {"phase": self.phase} | self._of_start() | self._of_steps()

    def _step(self, step: Step) -> None:
        self.phase = None
        self.nonfinite_steps += step.nonfinite
        self.memory(step.reserved if step.reserved is not None else step.peak)
        if step.step_s is not None and step.step_s > 0:
            self._times.append(step.step_s)
            if self.last is not None and step.samples > self.last.samples:
                # The samples' clock counts all ranks; a rank's own batch does not.
                self._rate.append((step.step_s, step.samples - self.last.samples))
        self.last = step

    def _of_start(self) -> dict[str, Any]:
        start = self.start
        if start is None:
            return {}
        return {
            "device": start.device,
            "device_name": start.device_name,
            "batch_size": start.batch_size,
            "accumulate": start.accumulate,
            "global_batch_size": start.global_batch_size,
            "world_size": start.world_size,
            "train_samples": start.train_samples,
            "eval_samples": start.eval_samples,
            "epochs": start.epochs,
            "total_samples": start.total_samples,
            "first_step": start.first_step,
            "first_samples": start.first_samples,
            "steps": start.first_step,
            "samples": start.first_samples,
        }

    def _of_steps(self) -> dict[str, Any]:
        last = self.last
        if last is None:
            return {}
        times = sorted(self._times)
        seconds = sum(step_s for step_s, _ in self._rate)
        return {
            "steps": last.step,
            "samples": last.samples,
            "epoch": last.epoch,
            "loss": last.loss,
            "loss_variance": last.variance,
            "lr": last.lr,
            "nonfinite_steps": self.nonfinite_steps,
            "step_time_p50_s": _quantile(times, 0.50),
            "step_time_p95_s": _quantile(times, 0.95),
            "samples_per_s": sum(n for _, n in self._rate) / seconds if seconds else None,
        }


def _quantile(ordered: list[float], fraction: float) -> float | None:
    """Return a quantile of sorted values, by the nearest rank."""
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))]
