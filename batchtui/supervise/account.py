"""The worker's own account of its death, read with care: it wrote it while it died."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from batchtui.records import WorkerError
from batchtui.runs.directory import RunDirectory
from batchtui.supervise.death import RankDeath
from batchtui.supervise.worker import torchrun_error

_MAX_SIZE = 1 << 20  # bytes
_MAX_TEXT = 1 << 16  # characters of a field


def read_account(run: RunDirectory) -> WorkerError | None:
    """Return what error.json says, else what torchrun kept of its first rank to fail.

    None: neither is there, or neither makes sense.
    """
    values = _read(run.error)
    if values is not None:
        step, rank = values.get("step"), values.get("rank")
        return WorkerError(
            type=_text(values.get("type")) or "unknown error",
            message=_text(values.get("message")),
            traceback=_text(values.get("traceback")),
            time=_number(values.get("time")),
            rank=rank if isinstance(rank, int) else 0,
            step=step if isinstance(step, int) else None,
            phase=_text(values.get("phase")) or None,
        )
    return _of_torchrun(_read(torchrun_error(run)))


_ROOT_CAUSE = re.compile(
    r"Root Cause \(first observed failure\):.*?"
    r"\n\s*rank\s*: ([0-9]{1,9}) .*?"
    r"\n\s*exitcode\s*: (-?[0-9]{1,9}) \(pid: ([0-9]{1,9})\)",
    re.DOTALL,
)


def root_cause(log_tail: str) -> RankDeath | None:
    """Return what torchrun's report at the end of worker.log says of the first rank to fail."""
    start = log_tail.rfind("Root Cause (first observed failure):")
    match = _ROOT_CAUSE.match(log_tail, start) if start >= 0 else None
    return RankDeath(*(int(number) for number in match.groups())) if match else None


def _of_torchrun(values: dict[str, Any] | None) -> WorkerError | None:
    """Translate torchrun's form: {"message": {"message": "Type: text", "extraInfo": {…}}}."""
    inner = (values or {}).get("message")
    if not isinstance(inner, dict):
        return None
    extra = inner.get("extraInfo")
    extra = extra if isinstance(extra, dict) else {}
    text = _text(inner.get("message"))
    name, separator, message = text.partition(": ")
    if not separator or " " in name:
        name, message = "ChildFailedError", text
    return WorkerError(
        type=name,
        message=message,
        traceback=_text(extra.get("py_callstack")),
        time=_number(extra.get("timestamp")),
    )


def _read(path: Path) -> dict[str, Any] | None:
    try:
        with open(path, "rb") as file:
            values = json.loads(file.read(_MAX_SIZE))
    except (OSError, ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def _text(value: object) -> str:
    return value[:_MAX_TEXT] if isinstance(value, str) else ""


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return 0.0
