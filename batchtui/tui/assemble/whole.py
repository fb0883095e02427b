"""The view as a whole: what the run is doing, how far it is, and all that the panes show."""

from __future__ import annotations

from batchtui import units
from batchtui.advise import noise
from batchtui.records import Status
from batchtui.text import clean
from batchtui.tui.assemble.memory import memory_view, stacked, warning
from batchtui.tui.assemble.summary import summary_of
from batchtui.tui.assemble.training import (
    batch_view,
    batches_of,
    loss_view,
    marks,
    number_of,
    steps_view,
)
from batchtui.tui.facts import Facts
from batchtui.tui.view import CpuView, History, Points, Progress, View


def build_view(facts: Facts) -> View:
    """Assemble the view of one read."""
    summary = facts.summary
    try:
        status = Status(summary.status)
    except ValueError:
        status = Status.LOST
    alive = status.alive
    word, detail = describe(facts, status)
    memory = memory_view(facts)
    batches = batches_of(facts)
    variance = noise.pooled_variance(batches)
    return View(
        taken=facts.now,
        run=clean(summary.run, 80),
        status=status,
        word=word,
        detail=detail,
        trouble=clean(facts.trouble, 200) if facts.trouble else None,
        warning=warning(facts.meta) if alive else None,
        progress=progress(facts, status),
        cpu=cpu_view(facts),
        memory=memory,
        steps=steps_view(facts, alive),
        loss=loss_view(facts, alive, batches, variance),
        log=facts.log,
        batch=batch_view(facts, status, memory, variance),
        reason=clean(str(facts.meta["reason"]), 120) if facts.meta.get("reason") else None,
        summary=() if alive else summary_of(facts),
        marks=marks(facts),
        origin=next((moment for moment in facts.whole.time if moment is not None), 0.0),
        close_up=facts.close_up,
    )


def describe(facts: Facts, status: Status) -> tuple[str, str | None]:
    """Return the status in a word, and what it is busy with or why it ended."""
    summary = facts.summary
    phase = facts.meta.get("phase")
    doing = clean(str(phase), 60) if phase else None
    if status is Status.RUNNING:
        if doing and doing.startswith("evaluat"):
            return "evaluating", None
        return "training", _unsaved(facts) if doing in (None, "training") else doing
    if status is Status.STOPPING and facts.meta.get("successor"):
        return "restarting", doing or f"as {clean(str(facts.meta['successor']), 60)}"
    if status in (Status.STARTING, Status.STOPPING):
        return status.value, doing
    if status is Status.LOST:
        heartbeat = number_of(facts, "heartbeat")
        silent = None if heartbeat is None else facts.now - heartbeat
        return "lost", f"no sign of life for {units.duration(silent)}" if silent else None
    return status.value, clean(summary.cause, 300) if summary.cause else None


def _unsaved(facts: Facts) -> str | None:
    """Say that the newest checkpoint could not be written: a crash now would cost more."""
    error = facts.checkpoints[-1].error if facts.checkpoints else None
    return None if error is None else clean(f"▲ no checkpoint: {error}", 120)


def progress(facts: Facts, status: Status) -> Progress:
    """Return how far the training is; the samples trained are its clock.

    One that is being stopped, or says nothing, has no end in sight.
    """
    summary = facts.summary
    total = number_of(facts, "total_samples")
    epochs = number_of(facts, "epochs")
    fraction = remaining = None
    if total:
        fraction = min(1.0, summary.samples / total)
        goes_on = status in (Status.STARTING, Status.RUNNING)
        if goes_on and summary.samples_per_s:
            remaining = max(0.0, total - summary.samples) / summary.samples_per_s
    elapsed = None
    if summary.started is not None:
        elapsed = max(0.0, (summary.ended or facts.now) - summary.started)
    return Progress(
        epoch=summary.epoch,
        epochs=int(epochs) if epochs else None,
        # A run that goes on from another says where once its worker is that far.
        step=None if summary.parent and not summary.steps else summary.steps,
        batch_size=summary.batch_size,
        fraction=fraction,
        remaining_s=remaining,
        elapsed_s=elapsed,
    )


def cpu_view(facts: Facts) -> CpuView:
    """Return the processor's part of a sample, and what it did before."""
    machine = facts.machine
    if machine is None:
        return CpuView()
    return CpuView(
        average=machine.cpu,
        cores=tuple(machine.cores),
        load=machine.load1,
        iowait=machine.iowait,
        worker_cores=machine.worker_cpu,
        worker_processes=machine.worker_processes,
        history=_busy_cores(facts, len(machine.cores)),
    )


def _busy_cores(facts: Facts, cores: int) -> History:
    """Return how many cores were busy, the worker's below those of others."""
    busy, own = facts.processor.get("cpu"), facts.processor.get("worker_cpu")
    if busy is None or own is None or not busy.x or not cores:
        return History()

    def times(values: tuple[float | None, ...]) -> tuple[float | None, ...]:
        return tuple(None if value is None else value * cores for value in values)

    whole = Points(busy.x, times(busy.low), times(busy.high), times(busy.mean))
    return stacked(facts, own, whole, float(cores), None)
