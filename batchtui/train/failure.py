"""error.json: the worker's own account of its death."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
import traceback
from pathlib import Path

from batchtui.errors import BatchtuiError
from batchtui.records import WorkerError


class DataError(BatchtuiError):
    """A sample that cannot be read."""


def describe(error: BaseException, rank: int, step: int | None, phase: str | None) -> WorkerError:
    """Return the account of an exception that ended this rank.

    Frees the local variables of its frames: where memory is short, they hold most of it.
    """
    traceback.clear_frames(error.__traceback__)
    try:
        trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except MemoryError:
        trace = ""
    return WorkerError(
        type=_qualified_name(type(error)),
        message=summary(error),
        traceback=trace,
        time=time.time(),
        rank=rank,
        step=step,
        phase=phase,
    )


def summary(error: BaseException) -> str:
    """Return what went wrong; of an error in a loader process, the line of the original."""
    text = str(error)
    if text.startswith("Caught ") and "Original Traceback" in text:
        name, _, message = text.strip().splitlines()[-1].partition(": ")
        return message if name.endswith(type(error).__name__) else f"{name}: {message}"
    return text or type(error).__name__


def write_error(path: Path, error: WorkerError) -> None:
    """Write error.json, whole or not at all; the first of several ranks to fail is kept."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(dataclasses.asdict(error), file, ensure_ascii=True)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)  # unlike a rename, refuses to replace
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            os.replace(temporary, path)
        temporary.unlink(missing_ok=True)
    except OSError as problem:
        print(f"{path} cannot be written: {problem}", file=sys.stderr, flush=True)


def _qualified_name(kind: type) -> str:
    """Return how a user knows an exception: ours and Python's by name, others by module too."""
    if kind.__module__ == "builtins" or issubclass(kind, BatchtuiError):
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"
