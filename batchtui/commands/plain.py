"""A run as plain lines: for pipes, log files, dumb terminals and screen readers."""

from __future__ import annotations

import gc
import time

from batchtui import units
from batchtui.records import Event, MachineSample, RunSummary, Status
from batchtui.runs.directory import RunDirectory
from batchtui.runs.reader import RunReader
from batchtui.text import clean

_POLL_S = 0.25


def follow(run: RunDirectory, interval: float) -> Status:
    """Print a line an interval, and each event as it comes, until the run ends."""
    gc.enable()  # off since the start of the program; this may last for days
    reader = RunReader(run)
    last_event = 0
    next_line = 0.0
    while True:
        summary = reader.summary()
        status = Status(summary.status)
        for number, event in reader.events(after_id=last_event, limit=200):
            last_event = number
            print(told(event), flush=True)
        now = time.monotonic()
        if now >= next_line or not status.alive:
            next_line = now + interval
            print(line(summary, reader.meta(), reader.latest_machine()), flush=True)
        if not status.alive:
            return status
        time.sleep(min(_POLL_S, interval))


def told(event: Event) -> str:
    """Return what happened, in one line."""
    return clean(f"{_clock(event.time)} {event.level}: {event.message}")


def line(
    summary: RunSummary,
    meta: dict[str, object],
    machine: MachineSample | None,
    now: float | None = None,
) -> str:
    """Return where a run stands, in one line; `now` is the moment of that, in Unix seconds."""
    parts = [_clock(time.time() if now is None else now), summary.run, summary.status]
    phase = meta.get("phase")
    if summary.status == Status.STARTING and phase:
        parts[-1] += f" ({phase})"
    if summary.epoch is not None:
        parts.append(f"epoch {summary.epoch}/{meta.get('epochs') or units.MISSING}")
    parts += [
        f"step {units.count(summary.steps)}",
        f"batch {units.count(summary.batch_size)}",
        f"{units.seconds(summary.step_time_p50_s)}/step",
        f"{units.number(summary.samples_per_s)} samples/s",
        f"loss {units.number(summary.loss)}",
        f"s² {units.number(summary.loss_variance)}",
        f"peak {units.gib(summary.peak_bytes)} of {units.gib(summary.limit_bytes)}",
    ]
    if machine is not None:
        parts.append(f"cpu {units.percent(machine.cpu)}")
    if not Status(summary.status).alive and summary.cause:
        parts.append(summary.cause)
    return clean("  ".join(parts))


def _clock(stamp: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(stamp))
