"""The search behind `batchtui find`: forecast, trials, and what is kept of them."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from batchtui import units
from batchtui.commands.finding import Finding, Speed
from batchtui.commands.forecast import Device
from batchtui.commands.room import Room
from batchtui.commands.stages import Stages
from batchtui.commands.start import runs_of
from batchtui.config.schema import Config, to_dict
from batchtui.errors import BatchtuiError
from batchtui.forecast.history import PastRun
from batchtui.forecast.largest import Answer, Search, Seen
from batchtui.forecast.need import Needs
from batchtui.forecast.tracing import (
    TraceFailed,
    TraceRequest,
    base_bytes,
    fingerprint,
    obtain_trace,
    train_samples,
)
from batchtui.forecast.trials import KeptTrial, keep_trial, kept_trials
from batchtui.records import LaunchSpec
from batchtui.supervise.control import is_supervised
from batchtui.supervise.trial import FEW_STEPS, FITS, OVER, STEPS, Bounds, Result, run_trial
from batchtui.text import clean

_TRACE_LIMIT_S = 600.0
# Beyond the ordinary: trials that ran out of memory before one fitted.
_MOST_TRIALS = 10


class Hunt:
    """One search, from the forecast to the answer."""

    def __init__(
        self,
        config: Config,
        config_path: Path,
        root: Path,
        target: Device,
        find_room: Callable[[], Room],
    ) -> None:
        self._config, self._path, self._root = config, config_path, root
        self._target, self._find_room = target, find_room
        self._room = room = find_room()
        self._stages = Stages()
        self._request = TraceRequest(
            config=to_dict(config),
            device=target.kind,
            python=os.path.expanduser(config.launch.python or sys.executable),
            cwd=os.getcwd(),
            config_path=str(config_path.resolve()),
            gently=False,
        )
        self._notes: list[str] = list(room.notes)
        self._trials: list[dict[str, Any]] = []
        self._earlier: list[Seen] = []
        self._seen: list[Seen] = []
        self._speeds: dict[int, Speed] = {}

    def run(self) -> Finding:
        """Search to the end."""
        self._stages.say(f"find  the largest batch size of {self._path} within {self._room}")
        self._needs = self._trace()
        self._search = self._begin()
        self._earlier = self._remembered()
        self._seen = list(self._earlier)
        if self._search.hopeless(self._seen):
            return self._end(None)
        while len(self._trials) < _MOST_TRIALS and (size := self._search.next(self._seen)):
            fitted = sum(trial["outcome"] == FITS for trial in self._trials)
            enough = fitted >= self._search.most_trials or len(self._trials) > fitted + 1
            if enough and self._search.answer(self._seen):
                break
            self._try(size)
        return self._end(self._search.answer(self._seen))

    def _end(self, answer: Answer | None) -> Finding:
        return Finding(
            answer=answer,
            room=self._room,
            search=self._search,
            forecast=self._needs is not None,
            earlier=len(self._earlier),
            seen=self._seen,
            speeds=self._speeds,
            trials=self._trials,
            notes=self._notes,
        )

    # ---------------------------------------------------------------------------- stages

    def _trace(self) -> Needs | None:
        with self._stages.stage("trace", "two training steps without memory") as stage:
            try:
                with stage.waiting():
                    traces = obtain_trace(self._request, time_limit=_TRACE_LIMIT_S)
            except TraceFailed as error:
                if error.usage:
                    raise
                self._notes.append(f"not traced: {error}")
                stage.end(f"not possible ({error}): trials alone will tell")
                return None
            needs = Needs.of(
                self._config,
                traces,
                self._target.kind,
                self._target.name,
                base_bytes(self._request),
            )
            if needs is None:
                note = "not traced for all sizes: its operations depend on the batch size"
                self._notes.append(note)
                stage.end(f"{note}: trials alone will tell")
                return None
            self._notes += needs.assumptions
            stage.end(f"two training steps without memory, {stage.took}")
            return needs

    def _begin(self) -> Search:
        config, needs = self._config, self._needs
        samples = train_samples(self._request)
        ranks = config.launch.processes * config.launch.nodes
        return Search(
            self._room.budget,
            forecast=needs.need if needs else None,
            highest=max(1, samples // ranks) if samples else None,
            configured=config.dataloaders.batch_size,
            noise=self._noise,
            growth=needs.growth if needs else 1.0,
        )

    @property
    def _noise(self) -> float:
        return Needs.noise_of(self._config, self._target.kind)

    def _try(self, size: int) -> None:
        refuse_company(self._root, self._path)
        config = self._config
        loaders = dataclasses.replace(config.dataloaders, batch_size=size)
        config = dataclasses.replace(config, dataloaders=loaders)
        bounds = self._search.bounds(size, self._seen)
        forecast = None if bounds is None else round(sum(bounds) / 2)
        told = f"{units.count(size)}: forecast {units.fine(forecast)}"
        with self._stages.stage("batch", told) as stage:
            # The first is there to correct the forecast.
            steps = STEPS if self._seen else FEW_STEPS
            result = run_trial(self._spec(), config, self._bounds(), stage.standing, steps)
            self._take(result, forecast)
            stage.end(f"{told}, {self._words(result)}")

    def _take(self, result: Result, forecast: int | None) -> None:
        """Keep what a trial measured."""
        start = result.start
        if start is not None and start.device.partition(":")[0] != self._target.kind:
            raise BatchtuiError(
                f"the trial ran on {start.device}, but the limit is of {self._target.kind}: "
                f"set device: {start.device}"
            )
        if start is not None and self._search.highest is None:
            self._search.highest = max(1, start.train_samples // start.world_size)
        needed: float | None = result.peak
        if self._needs is not None:
            needed = self._needs.observed(result.batch_size, result.peak, result.allocated)
        fits = result.outcome == FITS
        crowded = result.outcome == OVER and (result.peak or 0) <= self._room.budget
        if fits and result.step_time_s and result.samples_per_s:
            self._speeds[result.batch_size] = Speed(result.step_time_s, result.samples_per_s)
        self._trials.append(
            {
                "batch_size": result.batch_size,
                "forecast_bytes": forecast,
                "peak_bytes": result.peak,
                "step_time_s": result.step_time_s,
                "samples_per_s": result.samples_per_s,
                "outcome": result.outcome,
            }
        )
        if not (crowded and self._shrink()):
            self._seen.append(Seen(result.batch_size, needed if fits else None, result.base))
        if crowded:  # that others took the memory tells nothing of another day
            return
        past = PastRun(
            run=f"trial of batch size {result.batch_size}",
            config=self._request.config,
            batch_size=result.batch_size,
            peak=result.peak if fits else None,
            out_of_memory=not fits,
            capacity=self._room.size,
            allocated=result.allocated,
            device_name=(start.device_name or start.device) if start else None,
            torch=start.torch if start else None,
            trial=True,
        )
        keep_trial(
            self._root,
            KeptTrial(
                past,
                fingerprint(self._request),
                result.base,
                result.step_time_s,
                result.samples_per_s,
            ),
        )

    def _shrink(self) -> bool:
        """Go on within what others have left by now, if that is less than it was."""
        room = self._find_room()
        if room.budget >= self._room.budget:
            return False
        self._notes.append(f"others took memory meanwhile, and left {room}")
        self._room, self._search.limit = room, room.budget
        return True

    def _remembered(self) -> list[Seen]:
        """Return what earlier trials of this very configuration and code showed."""
        found = []
        for trial in kept_trials(self._root, fingerprint(self._request), self._request.config):
            past = trial.past
            if past.out_of_memory:
                if (past.capacity or 0) >= self._room.size:
                    found.append(Seen(past.batch_size, None))
                continue
            if trial.step_time_s and trial.samples_per_s:
                self._speeds[past.batch_size] = Speed(trial.step_time_s, trial.samples_per_s)
            peak: float | None = past.peak
            if self._needs is not None:
                peak = self._needs.observed(past.batch_size, past.peak, past.allocated)
            if peak:
                found.append(Seen(past.batch_size, peak, trial.base))
        return found

    # ----------------------------------------------------------------------------- words

    def _spec(self) -> LaunchSpec:
        return LaunchSpec(
            run="trial",
            config={},
            config_path=self._request.config_path,
            cwd=self._request.cwd,
            python=self._request.python,
        )

    def _bounds(self) -> Bounds:
        return Bounds(
            accelerator=self._target.kind != "cpu",
            limit=self._room.budget,
            reserve=self._room.reserve,
        )

    def _words(self, result: Result) -> str:
        if result.outcome != FITS:
            return f"{result.outcome} ({clean(result.cause or 'no more is known')})"
        return (
            f"measured {units.fine(result.peak)}, {units.seconds(result.step_time_s)}/step, "
            f"{units.rate(result.samples_per_s)}"
        )


def refuse_company(root: Path, config_path: Path) -> None:
    """Refuse to measure beside a live run of the same configuration.

    Raises:
        BatchtuiError: naming the run.
    """
    for run in runs_of(root, config_path.resolve()):
        if is_supervised(run):
            raise BatchtuiError(
                f"{run.name} is training this configuration now, and trials beside it could end "
                f"it by taking its memory: `batchtui stop {run.name}` first"
            )
