"""Go on with a training at another batch size."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from batchtui import units
from batchtui.advise.restart import Change, Plan, facts_of, plan
from batchtui.commands.outlook import RunProspects
from batchtui.commands.start import only_one, settle
from batchtui.errors import BatchtuiError, SuperviseError, UsageError, WillNotFit
from batchtui.forecast.verdict import WILL_NOT_FIT
from batchtui.records import Fallback
from batchtui.runs.directory import RunDirectory, find_run, list_runs
from batchtui.runs.reader import RunReader
from batchtui.supervise.control import is_supervised, request
from batchtui.supervise.daemon import launch
from batchtui.supervise.recover import recover
from batchtui.supervise.succession import Settings, discard, fallback_from, prepare, reserve

_POLL_S = 0.1
# The stop ladder of the old run ends well before, with a kill if need be.
_PATIENCE_S = 240.0
_SLOW_STARTUP_S = 30.0  # of an ended run, whose start-up nobody remembers


def restart(reference: str, root: Path, change: Change, *, force: bool, as_json: bool) -> int:
    """`batchtui restart`: stop at a checkpoint, go on from it at another batch size."""
    run = find_run(root, reference)
    intended = plan_of(run, change)
    guard(run, root, change.batch_size, force=force)
    for line in describe(intended):
        print(f"batchtui: {line}", file=sys.stderr)
    new = request_restart(run, intended)
    code = settle(new)
    if code:
        return code
    print(json.dumps({"run": new.name}) if as_json else new.name)
    return 0


def plan_of(run: RunDirectory, change: Change) -> Plan:
    """Work out what a change will do to a run.

    Raises:
        UsageError: it makes no sense; nothing was touched.
    """
    reader = RunReader(run)
    with reader.open():
        summary, meta = reader.summary(), reader.meta()
    return plan(facts_of(summary, meta, is_supervised(run)), change)


def guard(run: RunDirectory, root: Path, batch_size: int, *, force: bool) -> None:
    """Refuse a batch size that is forecast not to fit; what cannot be forecast is said.

    Raises:
        WillNotFit: in one line.
    """
    try:
        prospect = RunProspects(run, root)()
        row = prospect.row(batch_size)
    except BatchtuiError as error:
        print(f"batchtui: no forecast: {error}", file=sys.stderr)
        return
    interval = f"{units.gib(row.low_bytes)} – {units.gib(row.high_bytes)}"
    text = f"batch size {batch_size}: peak {units.gib(row.peak_bytes)} ({interval}), forecast"
    if row.verdict != WILL_NOT_FIT or force:
        print(f"batchtui: {text}: {row.verdict}", file=sys.stderr)
        return
    largest = prospect.largest_safe(RunReader(run).meta().get("train_samples"))
    raise WillNotFit(
        f"{text}, of {units.gib(row.capacity_bytes)}: will not fit; the largest safe size is "
        f"{units.count(largest)}; --force tries it all the same"
    )


def describe(intended: Plan) -> list[str]:
    """Say what will happen, a line each."""
    rate = "stays"
    if intended.lr_before != intended.lr_after:
        before, after = units.number(intended.lr_before), units.number(intended.lr_after)
        rate = f"{before} → {after} ({intended.rule})"
    lines = [f"learning rate {rate}"]
    if intended.global_before != intended.global_after:
        lines.append(
            f"samples a step {units.count(intended.global_before)} → "
            f"{units.count(intended.global_after)}"
        )
    if intended.samples_left is not None:
        lines.append(
            f"epoch {intended.epoch} goes on with {units.count(intended.samples_left)} samples in "
            f"{units.count(intended.steps_left)} steps"
        )
    return [*lines, *intended.notes]


def request_restart(
    run: RunDirectory, intended: Plan, waiting: Callable[[], None] = lambda: None
) -> RunDirectory:
    """Restart a run, alive or ended; return the new one once its supervisor is up.

    Raises:
        BatchtuiError: it was refused, and the run is as it was; or it could not be started.
    """
    changed = intended.lr_after is not None and intended.lr_after != intended.lr_before
    settings = Settings(
        intended.batch_size, intended.accumulate, intended.lr_after if changed else None
    )
    if not is_supervised(run):
        return _go_on(run, settings)
    reply = request(
        run,
        {
            "op": "restart",
            "batch_size": settings.batch_size,
            "accumulate": settings.accumulate,
            "lr": settings.lr,
        },
    )
    if not reply.get("ok"):
        raise SuperviseError(str(reply.get("error") or "the supervisor refused"))
    new = RunDirectory(run.path.parent / str(reply["run"]))
    deadline = time.monotonic() + _PATIENCE_S
    while not new.lock.exists():
        if not new.path.exists() or (not is_supervised(run) and not new.launch.exists()):
            raise SuperviseError(
                f"{run.name} could not be restarted; `batchtui show {run.name}` tells why"
            )
        if time.monotonic() > deadline:
            raise SuperviseError(f"{run.name} has not stopped in {_PATIENCE_S:.0f} s; it goes on")
        waiting()
        time.sleep(_POLL_S)
    return new


def _go_on(run: RunDirectory, settings: Settings) -> RunDirectory:
    """Start the next run of one that has ended."""
    with only_one(run.path.parent):
        recover(run)
        for other in _children(run):
            if is_supervised(other):
                raise UsageError(f"{run.name} goes on already, as {other.name}: restart that one")
        spec = run.read_launch()
        old = spec.config["dataloaders"]["batch_size"]  # type: ignore[index]
        successor = reserve(run, settings, f"batch size {old} → {settings.batch_size}")
        prepare(run, successor, _fallback(run, settings))
        try:
            launch(successor.run)
        except BaseException:
            discard(successor.run)
            raise
    return successor.run


def _fallback(run: RunDirectory, settings: Settings) -> Fallback | None:
    """Return what an ended run can be gone back to: itself, if it ever made a step."""
    from batchtui.config.schema import from_dict

    reader = RunReader(run)
    if not reader.recent_steps(1) or reader.summary().status == "out of memory":
        return None
    config = from_dict(run.read_launch().config)
    slow = reader.meta().get("step_time_p95_s")
    return fallback_from(config, settings, _SLOW_STARTUP_S, slow)


def _children(run: RunDirectory) -> list[RunDirectory]:
    return [other for other in list_runs(run.path.parent) if other.read_launch().parent == run.name]
