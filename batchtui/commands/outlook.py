"""The forecasts that the screen asks for: those of a run's own configuration, where it trains."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchtui.commands.forecast import Device, find_device
from batchtui.errors import BatchtuiError
from batchtui.forecast.events import Trace
from batchtui.forecast.fit import Measured
from batchtui.forecast.prospect import Prospect, lessons, past_runs
from batchtui.forecast.tracing import TraceFailed, TraceRequest, base_bytes, obtain_trace
from batchtui.records import GpuSample, MachineSample
from batchtui.runs.directory import RunDirectory
from batchtui.runs.reader import RunReader
from batchtui.tui.assemble.memory import others_on

# A trace gives way to the training, and takes long where that leaves little of the processor.
_TRACE_LIMIT_S = 900.0
_SETTLED_STEPS = 20
_LESSONS_S = 60.0  # how long what past runs measured counts as known
_OTHERS = 64 << 20  # a change of what others hold that is worth a new answer, in bytes


@dataclass
class _Known:
    """The last answer, and what it was made of."""

    device: Device
    learnt: tuple[list[Measured], list[str]]
    prospect: Prospect
    since: float


class RunProspects:
    """A run's prospects: traced once, and kept up to date with what surrounds the run.

    To be called from one thread.
    """

    def __init__(self, run: RunDirectory, root: Path, *, gently: bool = True) -> None:
        """Take a run; not `gently`, somebody waits, and the training may lose some time."""
        self._run, self._root, self._gently = run, root, gently
        self._reader = RunReader(run)
        self._spec = run.read_launch()
        self._config: dict[str, Any] = dict(self._spec.config)
        self._traced: dict[str, list[Trace] | TraceFailed] = {}
        self._known: _Known | None = None

    def __call__(self) -> Prospect:
        """Return the prospect as of now; the first time on a device waits for the trace.

        Raises:
            BatchtuiError: there is neither a trace nor a past run to tell from.
        """
        traces = self._traces(self._device().kind)
        device = self._device()  # tracing may have taken a while
        known, now = self._known, time.monotonic()
        same = known is not None and _alike(known.device, device)
        if known is not None and same and now - known.since < _LESSONS_S:
            return known.prospect
        learnt = self._lessons(device)
        if known is not None and same and known.learnt == learnt:
            known.since = now  # with all that it has worked out already
        else:
            known = _Known(device, learnt, self._prospect(device, traces, *learnt), now)
        self._known = known
        return known.prospect

    def _request(self, kind: str) -> TraceRequest:
        return TraceRequest(
            config=self._config,
            device=kind,
            python=self._spec.python,
            cwd=self._spec.cwd,
            config_path=self._spec.config_path,
            gently=self._gently,
        )

    def _traces(self, kind: str) -> list[Trace] | TraceFailed:
        if kind not in self._traced:
            try:
                self._traced[kind] = obtain_trace(self._request(kind), time_limit=_TRACE_LIMIT_S)
            except TraceFailed as error:
                self._traced[kind] = error
        return self._traced[kind]

    def _lessons(self, device: Device) -> tuple[list[Measured], list[str]]:
        # Its own peak tells most, once it has seen what a step takes.
        with self._reader.open():
            before = int(self._reader.meta().get("first_step") or 0)
            early = self._reader.summary().steps - before < _SETTLED_STEPS
        runs = past_runs(self._root, leave_out=self._run.name if early else None)
        return lessons(self._config, runs, device.kind, device.name)

    def _prospect(
        self,
        device: Device,
        traces: list[Trace] | TraceFailed,
        measured: list[Measured],
        notes: list[str],
    ) -> Prospect:
        if isinstance(traces, TraceFailed):
            if not measured:
                raise BatchtuiError(f"not traced: {traces}")
            notes = [f"not traced: {traces}", *notes]
            traces = []
        return Prospect(
            self._config,
            traces,
            device=device.kind,
            capacity=device.capacity,
            others=device.others,
            measured=measured,
            notes=notes,
            base=base_bytes(self._request("cpu")) if traces and device.kind == "cpu" else None,
            environment={**os.environ, **self._spec.environment},
            device_name=device.name,
        )

    def _device(self) -> Device:
        """Return where the run trains, or will as far as can be told before it says so."""
        with self._reader.open():
            meta, machine = self._reader.meta(), self._reader.latest_machine()
            ranks = self._reader.ranks()
        device = meta.get("device")
        if not isinstance(device, str) or machine is None:
            return find_device(str(self._config["device"]), None)
        if device == "cpu":
            return _cpu(machine)
        gpu = _gpu(machine, device, ranks[0].start.device_uuid if ranks else None)
        if gpu is None or gpu.total is None:
            return Device("cuda", None, 0, meta.get("device_name"), device)
        return Device("cuda", gpu.total, others_on(gpu), gpu.name, device)


def _alike(one: Device, other: Device) -> bool:
    same = (one.kind, one.capacity) == (other.kind, other.capacity)
    return same and abs(one.others - other.others) < _OTHERS


def _cpu(machine: MachineSample) -> Device:
    others = max(0, (machine.limit_used or 0) - (machine.worker_resident or 0))
    return Device("cpu", machine.limit_total, others, None, "cpu")


def _gpu(machine: MachineSample, device: str, uuid: str | None) -> GpuSample | None:
    """Return the card the worker computes on: by its uuid, else by its number."""
    for gpu in machine.gpus:
        if uuid is not None and gpu.uuid == uuid:
            return gpu
    index = int(device.partition(":")[2] or 0)
    return next((gpu for gpu in machine.gpus if gpu.index == index), None)
