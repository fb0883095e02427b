"""What is read of a run at one moment, as it was recorded; a view is assembled from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from batchtui.records import Checkpoint, Evaluation, Event, MachineSample, RunSummary, Step
from batchtui.runs.series import Boundary
from batchtui.tui.view import Course, LogView, Points


class Takeover(NamedTuple):
    """When a run of a chain began, and at which batch size."""

    time: float
    batch_size: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One read. `near` is the course of the last minutes, `whole` that of the whole run."""

    now: float
    summary: RunSummary
    meta: Mapping[str, object] = field(default_factory=dict)
    machine: MachineSample | None = None
    recent: Sequence[Step] = ()
    near: Course = field(default_factory=Course)
    whole: Course = field(default_factory=Course)
    close_up: Course | None = None
    # The machine's recent samples, or the GPU's: column to points over time.
    memory: Mapping[str, Points] = field(default_factory=dict)
    processor: Mapping[str, Points] = field(default_factory=dict)
    takeovers: Sequence[Takeover] = ()  # of the runs these are of
    phase_since: float | None = None
    chain: Sequence[Boundary] = ()  # the run's parents and itself, by their first steps
    evaluations: Sequence[Evaluation] = ()
    checkpoints: Sequence[Checkpoint] = ()
    events: Sequence[Event] = ()
    log: LogView = field(default_factory=LogView)
    trouble: str | None = None
