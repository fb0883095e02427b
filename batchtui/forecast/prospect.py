"""A configuration's prospects on one device: its traces, its past runs, what surrounds it.

What the command and the screen ask: one object that forecasts any batch size, and says of what.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from batchtui import units
from batchtui.errors import StoreError
from batchtui.forecast.events import Trace
from batchtui.forecast.fit import Measured, killed_at
from batchtui.forecast.forecast import Forecaster
from batchtui.forecast.history import PastRun, differences, learn
from batchtui.forecast.loaders import Loaders, host_note
from batchtui.forecast.rows import Context, Forecast
from batchtui.forecast.settings import (
    CUBLAS_WORKSPACE,
    HOPPER_WORKSPACE,
    AllocatorSettings,
    cublas_workspace,
)
from batchtui.forecast.trials import kept_trials
from batchtui.records import Status
from batchtui.runs.directory import RunDirectory, list_runs
from batchtui.runs.reader import RunReader

# Of the runs in a folder, the newest tell enough; reading each costs a millisecond.
_MOST_RUNS = 200
_WHOLE_STEPS = 2  # an optimizer has its state from the second step on
_LARGE = 64 << 30  # bytes: a GPU with as much may be a Hopper


class Prospect:
    """Forecasts of one configuration on one device.

    Args:
        config: as `config.schema.to_dict` gives it.
        traces: mostly one; several where the operations depend on the batch size; none where
            the model cannot be traced.
        device: "cuda" or "cpu".
        capacity: bytes of the device, or of the limit over a CPU process; None: unknown.
        others: bytes of it that belong to somebody else.
        measured: past runs of this very configuration.
        notes: what is to be said with every forecast.
        base: bytes that the process holds besides the step, where they were measured.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        traces: Sequence[Trace],
        *,
        device: str,
        capacity: int | None = None,
        others: int = 0,
        measured: Sequence[Measured] = (),
        notes: Sequence[str] = (),
        base: int | None = None,
        environment: Mapping[str, str] | None = None,
        device_name: str | None = None,
    ) -> None:
        variables = {**(environment or {}), **config["launch"]["env"]}
        self.config = config
        self.capacity = capacity
        self.notes = list(notes)
        if device != "cpu" and (note := host_note(config, traces)):
            self.notes.append(note)
        if device != "cpu" and device_name is None and (capacity or _LARGE) >= _LARGE:
            more = 2 * (HOPPER_WORKSPACE - CUBLAS_WORKSPACE)
            self.notes.append(f"the GPU is no Hopper; an H100 takes {units.gib(more)} more (--gpu)")
        context = Context(
            settings=AllocatorSettings.from_environment(variables),
            cublas_workspace=cublas_workspace(variables, device_name),
            overhead=base,
            others=others,
            low_memory=bool(config["limits"]["low_memory"]),
        )
        ranks = config["launch"]["processes"]
        self._forecasters = [
            Forecaster(
                trace,
                device=device,
                capacity=capacity,
                measured=measured,
                context=context
                if trace is None or device != "cpu"
                else replace(context, ranks=ranks, loaders=Loaders.of(config, trace, ranks)),
            )
            for trace in (*traces, None)
        ]

    @property
    def overhead(self) -> int:
        """Bytes in use besides a forecast's peak that are not those of others."""
        return self._forecasters[0].overhead

    @property
    def killed_at(self) -> int | None:
        """The smallest batch size that has run out of this device's memory, or of this limit."""
        forecaster = self._forecasters[0]
        return killed_at(forecaster.measured, forecaster.available)

    def row(self, batch_size: int, *, seconds: float | None = None) -> Forecast:
        """Forecast one batch size, refining for at most `seconds`.

        Raises:
            BatchtuiError: neither a trace nor enough past runs say anything about it.
        """
        row = self._forecaster(batch_size).row(batch_size, seconds=seconds)
        row.assumptions.extend(self.notes)
        return row

    def largest_safe(self, highest: int | None = None) -> int | None:
        """Return the largest batch size that fits; None: unknown, or not even one.

        `highest` is the largest that makes sense, such as the size of the training split.
        """
        forecaster = self._forecasters[0]
        trace = forecaster.trace
        if trace is not None and not trace.scales:
            return None  # traces of single sizes do not tell about those between
        return forecaster.largest_safe() if highest is None else forecaster.largest_safe(highest)

    def _forecaster(self, batch_size: int) -> Forecaster:
        for forecaster in self._forecasters:
            if forecaster.trace is not None and forecaster.trace.covers(batch_size):
                return forecaster
        return self._forecasters[-1]


def past_runs(root: Path, *, leave_out: str | None = None) -> list[PastRun]:
    """Return what a folder's runs and trials measured; what cannot be read is passed over."""
    found = [trial.past for trial in kept_trials(root)]
    for run in list_runs(root)[-_MOST_RUNS:]:
        if run.name != leave_out:
            try:
                past = _past_run(run)
            except (StoreError, KeyError, TypeError):
                continue
            if past is not None:
                found.append(past)
    return found


def lessons(
    config: Mapping[str, Any], runs: Iterable[PastRun], device: str, device_name: str | None
) -> tuple[list[Measured], list[str]]:
    """Return the past runs that correct a forecast for a device, and why others do not.

    Only runs of the same model and data are worth a line; that some other training left no
    lesson, or a trial, goes without saying.
    """
    kin = [
        run
        for run in runs
        if _is_kin(config, run.config)
        and _kind(run) == device
        and not (run.trial and differences(config, run.config, on_cpu=device == "cpu"))
    ]
    return learn(config, kin, device_name=device_name, on_cpu=device == "cpu")


def _past_run(run: RunDirectory) -> PastRun | None:
    """Return what one run measured; None if it never got as far as a step."""
    reader = RunReader(run)
    with reader.open():
        summary, meta = reader.summary(), reader.meta()
        ranks = reader.ranks()
    died = summary.status == Status.OUT_OF_MEMORY or meta.get("too_large") is True
    if summary.batch_size is None or not (summary.peak_bytes or died) or meta.get("device") is None:
        return None
    first = ranks[0] if ranks else None
    steps = summary.steps - int(meta.get("first_step") or 0)  # without its parents'
    return PastRun(
        run=run.name,
        config=meta["config"],
        batch_size=summary.batch_size,
        peak=summary.peak_bytes if steps >= _WHOLE_STEPS else None,
        out_of_memory=died,
        capacity=summary.limit_bytes,
        allocated=first.allocated if first else None,
        device_name=meta.get("device_name") or meta["device"],
        torch=first.start.torch if first else None,
    )


def _kind(run: PastRun) -> str:
    return "cpu" if (run.device_name or "cpu") == "cpu" else "cuda"


def _is_kin(mine: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(mine.get(key) == other.get(key) for key in ("model", "data"))
