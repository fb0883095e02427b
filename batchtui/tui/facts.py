"""What is read of a run at one moment, as it was recorded; a view is assembled from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from batchtui.records import Checkpoint, Evaluation, Event, MachineSample, RunSummary, Step
from batchtui.tui.view import LogView, Points

STEP_COLUMNS = ("step_s", "loss", "variance")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One read. `step_times` has the wall clock as x, `loss` and `variance` the step."""

    now: float
    summary: RunSummary
    meta: Mapping[str, object] = field(default_factory=dict)
    machine: MachineSample | None = None
    recent: Sequence[Step] = ()
    step_times: Points = field(default_factory=Points)
    loss: Points = field(default_factory=Points)
    variance: Points = field(default_factory=Points)
    memory: Mapping[str, Points] = field(default_factory=dict)  # column: points over time
    evaluations: Sequence[Evaluation] = ()
    checkpoints: Sequence[Checkpoint] = ()
    events: Sequence[Event] = ()
    log: LogView = field(default_factory=LogView)
    trouble: str | None = None
