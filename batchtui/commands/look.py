"""Look at runs from the command line: the list, and all that is known of one."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from batchtui import units
from batchtui.commands.columns import print_table
from batchtui.errors import StoreError
from batchtui.records import RunSummary, Status
from batchtui.runs.directory import RunDirectory, find_run, list_runs
from batchtui.runs.reader import RunReader
from batchtui.supervise.recover import recover_if_abandoned
from batchtui.text import clean

_LOG_LINES = 10
_META = (
    "phase",
    "device",
    "device_name",
    "world_size",
    "accumulate",
    "train_samples",
    "total_samples",
    "epochs",
    "step_time_p95_s",
    "exit_code",
    "successor",
    "config",
    "config_path",
)
_HEADER = ("run", "status", "batch", "steps", "samples/s", "peak", "loss", "age")


def runs(root: Path, *, as_json: bool) -> int:
    """`batchtui runs`: list runs, oldest first."""
    summaries = [_summary(run) for run in list_runs(root)]
    if as_json:
        print(json.dumps([asdict(summary) for summary in summaries], indent=1))
        return 0
    if not summaries:
        print(f"no runs in {root}; start one with: batchtui CONFIG", file=sys.stderr)
        return 0
    print_table([_HEADER, *(_row(summary) for summary in summaries)])
    return 0


def show(reference: str, root: Path, *, as_json: bool) -> int:
    """`batchtui show`: all that is known of one run, its death explained."""
    run = find_run(root, reference)
    recover_if_abandoned(run)
    reader = RunReader(run)
    if as_json:
        print(json.dumps(known(reader, run), indent=1))
        return 0
    with reader.open():
        summary, meta = reader.summary(), reader.meta()
        evaluations = reader.evaluations()
        checkpoints = reader.checkpoints()
        events = [event for _, event in reader.events()]
    print("\n".join(_account(run, summary, meta)))
    if evaluations:
        best = max(evaluations, key=lambda e: -1.0 if e.accuracy is None else e.accuracy)
        last = evaluations[-1]
        print(
            f"accuracy    {_accuracy(last.accuracy)} at epoch {last.epoch}, "
            f"best {_accuracy(best.accuracy)} at epoch {best.epoch}"
        )
    saved = [checkpoint for checkpoint in checkpoints if checkpoint.error is None]
    if saved:
        print(f"checkpoint  step {units.count(saved[-1].step)}, {units.gib(saved[-1].bytes)}")
    if events:
        print("events")
        for event in events[-20:]:
            stamp = time.strftime("%m-%d %H:%M:%S", time.localtime(event.time))
            print(clean(f"  {stamp}  {event.level:7}  {event.message}"))
    tail = log_tail(run, _LOG_LINES)
    if tail:
        print("end of worker.log")
        for text in tail:
            print(f"  {text}")
    return 0


def known(reader: RunReader, run: RunDirectory) -> dict[str, Any]:
    """Return all that is known of a run, as `show --json` prints it: the summary first."""
    with reader.open():
        meta = reader.meta()
        machine = reader.latest_machine()
        return asdict(reader.summary()) | {
            **{key: meta.get(key) for key in _META},
            "directory": str(run.path),
            "evaluations": [asdict(evaluation) for evaluation in reader.evaluations()],
            "checkpoints": [asdict(checkpoint) for checkpoint in reader.checkpoints()],
            "events": [asdict(event) for _, event in reader.events()],
            "machine": asdict(machine) if machine else None,
        }


def _account(run: RunDirectory, summary: RunSummary, meta: dict[str, Any]) -> list[str]:
    """Return the lines that describe a run."""
    cause = f": {summary.cause}" if summary.cause else ""
    device = meta.get("device_name") or meta.get("device") or units.MISSING
    samples = f"{units.count(summary.samples)} of {units.count(meta.get('total_samples'))} samples"
    batch = units.count(summary.batch_size)
    if summary.global_batch_size != summary.batch_size:
        batch += f", global {units.count(summary.global_batch_size)}"
    return [
        clean(text)
        for text in (
            f"{summary.run}",
            f"status      {summary.status}{cause}",
            f"parent      {summary.parent or 'none'}",
            *([f"goes on as  {meta['successor']}"] if meta.get("successor") else []),
            f"directory   {run.path}",
            f"config      {meta.get('config_path') or units.MISSING}",
            f"device      {device}",
            f"batch size  {batch}",
            f"trained     {units.count(summary.steps)} steps, {samples}",
            f"speed       {units.seconds(summary.step_time_p50_s)} a step (median), "
            f"{units.number(summary.samples_per_s)} samples/s",
            f"loss        {units.number(summary.loss)}, "
            f"per-sample variance s² {units.number(summary.loss_variance)}",
            f"memory      peak {units.gib(summary.peak_bytes)}, "
            f"limit {units.gib(summary.limit_bytes)}",
            f"time        started {_stamp(summary.started)}, ended {_stamp(summary.ended)}",
        )
    ]


def log_tail(run: RunDirectory, lines: int) -> list[str]:
    """Return the last lines of the worker's log, made safe to print."""
    try:
        with run.log.open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - (1 << 16)))
            raw = stream.read()
    except OSError:
        return []
    return [clean(text, 300) for text in raw.decode("utf-8", "replace").split("\n") if text][
        -lines:
    ]


def _summary(run: RunDirectory) -> RunSummary:
    """Return a run's summary; one that cannot be read is listed with the reason."""
    try:
        recover_if_abandoned(run)
        return RunReader(run).summary()
    except StoreError as error:
        return RunSummary(run=run.name, status=Status.LOST.value, cause=str(error))


def _row(summary: RunSummary) -> tuple[str, ...]:
    return (
        clean(summary.run),
        clean(summary.status),
        units.count(summary.batch_size),
        units.count(summary.steps),
        units.number(summary.samples_per_s),
        units.gib(summary.peak_bytes),
        units.number(summary.loss),
        units.duration(time.time() - summary.started) if summary.started else units.MISSING,
    )


def _accuracy(fraction: float | None) -> str:
    return units.MISSING if fraction is None else f"{fraction * 100:.1f} %"


def _stamp(stamp: float | None) -> str:
    if stamp is None:
        return units.MISSING
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(stamp))
