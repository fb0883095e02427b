"""What is left to say of a run that has ended."""

from __future__ import annotations

import time

from batchtui import units
from batchtui.tui.facts import Facts
from batchtui.tui.view import Fact


def summary_of(facts: Facts) -> tuple[Fact, ...]:
    """Return the summary's lines, the most telling first."""
    summary, meta = facts.summary, facts.meta
    took = None
    if summary.started is not None and summary.ended is not None:
        took = max(0.0, summary.ended - summary.started)
    measured = [e for e in facts.evaluations if e.accuracy is not None]
    best = max(measured, key=lambda e: e.accuracy or 0.0, default=None)
    total = meta.get("total_samples")
    limit = f" of {units.gib(summary.limit_bytes)}" if summary.limit_bytes else ""
    saved = [c for c in facts.checkpoints if c.error is None]
    of = f" of {units.count(total)}" if isinstance(total, (int, float)) else ""
    lines = [
        Fact("loss", units.number(summary.loss), f" in step {units.count(summary.steps)}"),
        Fact(
            "accuracy",
            units.MISSING if best is None else f"{measured[-1].accuracy:.1%}",
            "" if best is None else f" best {best.accuracy:.1%}, epoch {best.epoch}",
        ),
        Fact("peak", units.gib(summary.peak_bytes), limit),
        Fact("speed", units.rate(summary.samples_per_s),
             f" {units.seconds(summary.step_time_p50_s)} a step"),
        Fact("trained", units.count(summary.samples), f"{of} samples"),
        Fact(
            "saved",
            f"step {units.count(saved[-1].step)}" if saved else "no checkpoint",
            f" {units.gib(saved[-1].bytes)}" if saved and saved[-1].bytes else "",
        ),
        Fact("took", units.duration(took), f" from {_clock(summary.started)}"),
    ]  # fmt: skip
    if len(facts.chain) > 1:
        sizes = [units.count(run.batch_size) for run in facts.chain]
        lines.append(Fact("batch", " → ".join(sizes)))
    return tuple(lines)


def _clock(moment: float | None) -> str:
    if moment is None:
        return units.MISSING
    return time.strftime("%m-%d %H:%M", time.localtime(moment))
