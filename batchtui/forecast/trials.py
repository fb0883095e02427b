"""What trials measured, kept beside the runs: later forecasts learn from it.

One JSON line a trial, in a file that starts with a dot: it is no run.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchtui.forecast.history import PastRun, differences

NAME = ".trials.jsonl"
_MOST = 200  # trials; the newest are read
_MOST_BYTES = 2 << 20


@dataclass(frozen=True, slots=True)
class KeptTrial:
    """A trial, and all that its numbers depend on."""

    past: PastRun
    fingerprint: str  # of model code, libraries and configuration, as a trace's
    base: int | None = None  # bytes held before the first step
    step_time_s: float | None = None
    samples_per_s: float | None = None


def keep_trial(root: Path, trial: KeptTrial) -> None:
    """Add a trial; where that fails, the next search will have to measure again."""
    path = root / NAME
    line = json.dumps(dataclasses.asdict(trial), separators=(",", ":")).encode() + b"\n"
    try:
        root.mkdir(parents=True, exist_ok=True)
        _shorten(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            os.write(descriptor, line)  # in one piece: others may append at the same time
        finally:
            os.close(descriptor)
    except OSError:
        pass


def kept_trials(
    root: Path, fingerprint: str | None = None, config: Mapping[str, Any] | None = None
) -> list[KeptTrial]:
    """Return the trials on file, oldest first; a damaged line is passed over.

    With a fingerprint and a configuration only those that tell of this very training.
    """
    try:
        lines = (root / NAME).read_bytes().splitlines()[-_MOST:]
    except OSError:
        return []
    trials = [trial for line in lines if (trial := _parse(line)) is not None]
    if config is None:
        return trials
    return [
        trial
        for trial in trials
        if trial.fingerprint == fingerprint
        and all(
            trial.past.config.get("dataloaders", {}).get(key) == config["dataloaders"][key]
            for key in ("num_workers", "prefetch_factor")
        )
        and not differences(config, trial.past.config)
    ]


def _parse(line: bytes) -> KeptTrial | None:
    try:
        values: dict[str, Any] = json.loads(line)
        past = PastRun(**values["past"])
        sizes = (past.batch_size, past.peak or 0, past.capacity or 0, values["base"] or 0)
        if past.batch_size < 1 or not all(type(size) is int for size in sizes):
            return None
        if not isinstance(past.config, dict):
            return None
        speed = (values.get("step_time_s"), values.get("samples_per_s"))
        if not all(number is None or type(number) in (int, float) for number in speed):
            return None
        return KeptTrial(past, str(values["fingerprint"]), values["base"], *speed)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _shorten(path: Path) -> None:
    """Keep the newest half of a file that has grown large."""
    try:
        if path.stat().st_size < _MOST_BYTES:
            return
    except FileNotFoundError:
        return
    lines = path.read_bytes().splitlines(keepends=True)[-_MOST // 2 :]
    temporary = path.with_name(f"{NAME}.{os.getpid()}.tmp")
    temporary.write_bytes(b"".join(lines))
    temporary.replace(path)
