"""Go on with a training at another batch size."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from batchtui import units
from batchtui.advise.kept import kept
from batchtui.advise.restart import Change, Plan, facts_of, plan
from batchtui.commands.outlook import RunProspects
from batchtui.commands.start import only_one, refused, runs_of
from batchtui.config.schema import from_dict
from batchtui.errors import BatchtuiError, StoreError, SuperviseError, UsageError, WillNotFit
from batchtui.forecast.verdict import WILL_NOT_FIT
from batchtui.records import Fallback, RunSummary, Status
from batchtui.runs.directory import RunDirectory, find_run
from batchtui.runs.reader import RunReader
from batchtui.supervise.control import is_supervised, request
from batchtui.supervise.daemon import launch
from batchtui.supervise.recover import recover
from batchtui.supervise.successor import (
    Settings,
    discard,
    fallback_to,
    goes_on_as,
    prepare,
    reserve,
)

_POLL_S = 0.1
# The stop ladder of the old run ends well before, with a kill if need be.
_PATIENCE_S = 240.0
_SETTLE_S = 60.0  # for the first step, where nothing ends a run that makes none
_GIVING_UP_S = 15.0  # for a worker to be killed, and the way back to begin
_SLOW_STARTUP_S = 30.0  # of an ended run, whose start-up nobody remembers
_EXIT_CODES = {Status.OUT_OF_MEMORY: 3, Status.FAILED: 1, Status.LOST: 1}


def restart(reference: str, root: Path, change: Change, *, force: bool, as_json: bool) -> int:
    """`batchtui restart`: stop at a checkpoint, go on from it at another batch size."""
    run = find_run(root, reference)
    plan_of(run, change)  # what makes no sense needs no forecast
    if not force:
        guard(run, root, change.batch_size)
    intended = plan_of(run, change)  # the training has gone on meanwhile
    for line in describe(intended):
        print(f"batchtui: {line}", file=sys.stderr)
    new = request_restart(run, intended)
    code, new = _settle(new)
    print(json.dumps({"run": new.name}) if as_json else new.name)
    return code


def plan_of(run: RunDirectory, change: Change) -> Plan:
    """Work out what a change will do to a run.

    Raises:
        UsageError: it makes no sense, or nothing is left to train; nothing was touched.
    """
    reader = RunReader(run)
    with reader.open():
        summary, meta, checkpoints = reader.summary(), reader.meta(), reader.checkpoints()
    if summary.status == Status.FINISHED:
        raise UsageError(f"{run.name} has finished: nothing is left to train")
    if summary.status == Status.STOPPING:
        following = meta.get("successor")
        already = f"restarts as {following} already: restart that one, once it trains"
        raise UsageError(
            f"{run.name} {already if following else 'is stopping: wait until it has ended'}"
        )
    saved = None if is_supervised(run) else kept(checkpoints, meta)
    return plan(facts_of(summary, meta, saved), change)


def guard(run: RunDirectory, root: Path, batch_size: int) -> None:
    """Refuse a batch size that is forecast not to fit; what cannot be forecast is said.

    Raises:
        WillNotFit: in one line.
    """
    try:
        prospect = RunProspects(run, root, gently=False)()
        if (killed := prospect.killed_at) is not None and batch_size >= killed:
            raise WillNotFit(
                f"batch size {batch_size}: {killed} ran out of memory here before; --force tries "
                "it all the same"
            )
        row = prospect.row(batch_size)
        largest = prospect.largest_safe(RunReader(run).meta().get("train_samples"))
    except WillNotFit:
        raise
    except BatchtuiError as error:
        print(f"batchtui: no forecast: {error}", file=sys.stderr)
        return
    interval = f"{units.gib(row.low_bytes)} – {units.gib(row.high_bytes)}"
    text = f"batch size {batch_size}: peak {units.gib(row.peak_bytes)} ({interval}), forecast"
    if row.verdict != WILL_NOT_FIT:
        print(f"batchtui: {text}: {row.verdict or 'of an unknown capacity'}", file=sys.stderr)
        return
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
            f"{units.count(intended.steps_left)} step{'s' * (intended.steps_left != 1)}"
        )
    return [*lines, *intended.notes]


def request_restart(run: RunDirectory, intended: Plan) -> RunDirectory:
    """Restart a run, alive or ended; return the new one once its supervisor is up.

    Raises:
        BatchtuiError: it was refused, and the run is as it was; or it could not be started.
    """
    changed = intended.lr_after is not None and intended.lr_after != intended.lr_before
    settings = Settings(
        intended.batch_size, intended.accumulate, intended.lr_after if changed else None
    )
    if not is_supervised(run):
        if intended.checkpoint_step and run.latest_checkpoint() is None:
            raise UsageError(f"{run.name}: its checkpoints are gone; start it anew, with --fresh")
        return _go_on(run, settings)
    message = {
        "op": "restart",
        "batch_size": settings.batch_size,
        "accumulate": settings.accumulate,
        "lr": settings.lr,
    }
    reply = request(run, message)
    if not reply.get("ok"):
        raise SuperviseError(str(reply.get("error") or "the supervisor refused"))
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        over = not is_supervised(run)  # looked at first: what it started is there by then
        if (new := goes_on_as(run, reply.get("run"))) is not None:
            return new
        if over:
            raise SuperviseError(_why_not(run))
        if time.monotonic() > deadline:
            raise SuperviseError(f"{run.name} has not stopped in {_PATIENCE_S:.0f} s; it goes on")
        time.sleep(_POLL_S)


def _why_not(run: RunDirectory) -> str:
    """Say why an ended run has no successor, and clean up after it."""
    recover(run)
    summary = RunReader(run).summary()
    if summary.status == Status.FINISHED:
        return f"{run.name} finished before it could be restarted: nothing is left to train"
    events = [event for _, event in RunReader(run).events() if event.kind == "restart"]
    reason = events[-1].message if events else f"it has ended: {summary.cause or summary.status}"
    return f"{run.name} was not restarted: {reason}"


def _go_on(run: RunDirectory, settings: Settings) -> RunDirectory:
    """Start the next run of one that has ended."""
    with only_one(run.path.parent):
        recover(run)
        if RunReader(run).summary().status == Status.FINISHED:
            raise UsageError(f"{run.name} has finished: nothing is left to train")
        spec = run.read_launch()
        for other in runs_of(run.path.parent, Path(spec.config_path or "")):
            if is_supervised(other):
                raise UsageError(
                    f"{other.name} trains this configuration already: restart that one"
                )
        old = spec.config["dataloaders"]["batch_size"]  # type: ignore[index]
        new = reserve(run)
        try:
            prepare(
                new,
                run,
                settings.applied(spec.config),
                reason=f"batch size {old} → {settings.batch_size}",
                fallback=_fallback(run, settings),
            )
            launch(new)
        except BaseException:
            discard(new)
            raise
    return new


def _fallback(run: RunDirectory, settings: Settings) -> Fallback | None:
    """Return what an ended run can be gone back to: itself, if it ever made a step."""
    reader = RunReader(run)
    if not reader.recent_steps(1) or reader.summary().status == Status.OUT_OF_MEMORY:
        return None
    config = from_dict(run.read_launch().config)
    slow = reader.meta().get("step_time_p95_s")
    return fallback_to(run, config, settings, _SLOW_STARTUP_S, slow)


def _settle(run: RunDirectory) -> tuple[int, RunDirectory]:
    """Wait for the first step at the new size; return an exit code, and the run that goes on."""
    fallback = run.read_launch().fallback  # what takes that long is gone back from
    patience = _SETTLE_S if fallback is None else fallback.first_step_within + _GIVING_UP_S
    deadline = time.monotonic() + patience
    reader = RunReader(run)
    while time.monotonic() < deadline:
        over = not is_supervised(run)
        if over:
            recover(run)  # its supervisor may have been killed
        summary = _summary(reader)
        if summary is not None and (over or not Status(summary.status).alive):
            return _ended(run, summary, reader.meta().get("successor"))
        if summary is not None and reader.recent_steps(1):
            return 0, run
        time.sleep(_POLL_S)
    print(f"batchtui: {run.name} has made no step yet; it goes on", file=sys.stderr)
    return 0, run


def _summary(reader: RunReader) -> RunSummary | None:
    try:
        return reader.summary()
    except StoreError:
        return None  # it is being made


def _ended(run: RunDirectory, summary: RunSummary, successor: object) -> tuple[int, RunDirectory]:
    """Tell how a run at a new size has ended already, and what goes on instead."""
    following = goes_on_as(run, successor)
    if following is None and (code := refused(run)):
        return code, run
    code = _EXIT_CODES.get(Status(summary.status), 0)
    if code:
        cause = f": {summary.cause}" if summary.cause else ""
        print(f"batchtui: {run.name} {summary.status}{cause}", file=sys.stderr)
    if following is None:
        return code, run
    print(f"batchtui: {following.read_launch().reason}; {following.name} goes on", file=sys.stderr)
    return code, following
