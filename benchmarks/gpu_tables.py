"""Tables of measured memory, and a trace for each of their rows: for `forecast_gpu.py`.

A table is a CSV file with the columns gpu, model, optimizer, batch_size, measured_mib and,
optionally, zero_grad_mode, out_of_memory, capacity_mib, image_size, sequence_max. Traces are
kept in the user's cache folder, by the tracer's code and what is traced.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchtui.forecast.events import Trace
from batchtui.forecast.settings import MIB
from benchmarks import language_model_sizes

ROOT = Path(__file__).resolve().parent.parent
# The tracer: a trace by other code is another trace. The rest only reads traces.
_TRACER = (
    *("answers", "fake_device", "hollow", "ladder", "recorder", "recording", "rehearsal"),
    *("stand_ins", "trace"),
)
_MODELS = ("language_models", "language_model_sizes", "vision_models")
SIZES = (64, 128)
IMAGE_SIZE = 224  # of a vision model where the table states none
# GPUs that a table states no capacity for. MiB.
CAPACITIES = {"RTX3060": 12_037, "RTX4060": 7_933}
CONTEXT_MIB = 410
_NEEDED = ("model", "batch_size", "measured_mib")

Subject = tuple[str, str, int | None, int | None, int | None]


@dataclass(frozen=True, slots=True)
class Row:
    """One measured run; sizes in bytes."""

    gpu: str
    model: str
    optimizer: str
    batch_size: int
    measured: int
    out_of_memory: bool
    zero_grad: int | None
    image_size: int | None
    tokens: int | None
    capacity: int | None
    others: dict[str, str]  # other tools' estimates of the row, and what else it holds

    @property
    def subject(self) -> Subject:
        """What a trace depends on."""
        return self.model, self.optimizer, self.zero_grad, self.image_size, self.tokens


def read_table(path: Path, left_out: list[str] | None = None) -> list[Row]:
    """Read a table; rows without a measurement are left out.

    Args:
        left_out: gets a line for each row, or the whole table, that cannot be read.
    """
    rows: list[Row] = []
    refused = [] if left_out is None else left_out
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.DictReader(file)
        missing = [name for name in _NEEDED if name not in (reader.fieldnames or ())]
        if missing:
            refused.append(f"{path.name}: no column {', '.join(missing)}")
            return rows
        for entry in reader:
            try:
                if entry["measured_mib"]:
                    rows.append(_row(entry))
            except ValueError as error:
                refused.append(f"{path.name}, line {reader.line_num}: {error}")
    return rows


def _row(entry: dict[str, Any]) -> Row:
    """Read one row.

    Raises:
        ValueError: a value is not what its column holds.
    """
    measured = _number(entry, "measured_mib")
    assert measured is not None
    zero_grad = _whole(entry, "zero_grad_mode", least=0)
    if zero_grad not in (None, *range(3)):
        raise ValueError(f"zero_grad_mode is 0, 1 or 2, not {zero_grad}")
    batch_size = _whole(entry, "batch_size")
    if not entry["model"] or batch_size is None:
        raise ValueError("no model or no batch_size")
    return Row(
        gpu=entry.get("gpu") or "one card",
        model=entry["model"],
        optimizer=entry.get("optimizer") or "SGD",
        batch_size=batch_size,
        measured=round(measured * MIB),
        out_of_memory=(entry.get("out_of_memory") or "").lower() in ("1", "1.0", "true", "yes"),
        zero_grad=zero_grad,
        image_size=_whole(entry, "image_size"),
        tokens=_whole(entry, "sequence_max"),
        capacity=round((_number(entry, "capacity_mib") or 0) * MIB) or None,
        others=entry,
    )


def _number(entry: dict[str, Any], column: str, least: float = 1e-3) -> float | None:
    text = entry.get(column)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value < math.inf:
        raise ValueError(f"{column} is {text!r}")
    return value


def _whole(entry: dict[str, Any], column: str, least: int = 1) -> int | None:
    value = _number(entry, column, least)
    if value is not None and value != int(value):
        raise ValueError(f"{column} is {entry[column]!r}")
    return None if value is None else int(value)


def capacities(rows: Iterable[Row]) -> dict[str, tuple[int, int]]:
    """Return (whole, usable) memory of each GPU, in bytes.

    What a context leaves is not recorded; a run that survived shows that so much is usable.
    """
    found: dict[str, tuple[int, int]] = {}
    rows = list(rows)
    for gpu in {row.gpu for row in rows}:
        of_gpu = [row for row in rows if row.gpu == gpu]
        whole = max((row.capacity or 0 for row in of_gpu), default=0)
        whole = whole or CAPACITIES.get(gpu, 0) * MIB or 1 << 50
        survived = max((row.measured for row in of_gpu if not row.out_of_memory), default=0)
        found[gpu] = whole, max(whole - CONTEXT_MIB * MIB, survived)
    return found


class Traces:
    """Traces of rows, made where they are needed and kept.

    Attributes:
        failures: why there is none, by what would be traced.
    """

    def __init__(self, folder: Path | None = None) -> None:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        self.folder = folder or Path(base) / "batchtui" / "benchmark-traces"
        self.failures: dict[Subject, str] = {}
        self._tracer = _Tracer()
        self._known: dict[Subject, Trace | None] = {}
        digest = hashlib.sha256()
        for folder_, names in (("batchtui/forecast", _TRACER), ("benchmarks", _MODELS)):
            for name in names:
                digest.update((ROOT / folder_ / f"{name}.py").read_bytes())
        self._code = digest.hexdigest()

    def close(self) -> None:
        """End the tracer's process."""
        self._tracer.close()

    def of(self, row: Row) -> Trace | None:
        """Return the row's trace; None (and a line in `failures`) if there can be none."""
        if row.subject not in self._known:
            try:
                self._known[row.subject] = self._load(row)
            except Exception as error:  # whatever a model does, other rows are scored
                lines = str(error).splitlines() or [type(error).__name__]
                self.failures[row.subject] = lines[0]
                self._known[row.subject] = None
        return self._known[row.subject]

    def _load(self, row: Row) -> Trace:
        key = hashlib.sha256(repr((row.subject, self._code)).encode()).hexdigest()[:24]
        path = self.folder / f"{key}.json"
        if not path.exists():
            print(f"tracing {row.model} with {row.optimizer}", file=sys.stderr, flush=True)
            text = self._text(row)
            self.folder.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(f".{os.getpid()}")
            partial.write_text(text)
            partial.replace(path)
        return Trace.from_json(path.read_bytes())

    def _text(self, row: Row) -> str:
        if not row.image_size and language_model_sizes.known(row.model):
            return _language_model_text(row)
        try:
            return self._tracer.trace(row)
        except RuntimeError as error:
            if row.image_size or "torchvision has no" not in str(error):
                raise
            raise RuntimeError("not known: no configuration in language_model_sizes.py") from None


class _Tracer:
    """A process that traces convolutional networks, one request a line; it sees no GPU."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def trace(self, row: Row) -> str:
        """Return the trace's JSON.

        Raises:
            RuntimeError: it cannot be traced, with the one line why.
        """
        request = {
            "model": row.model,
            "classes": None,
            "optimizer": row.optimizer,
            "zero_grad": 1 if row.zero_grad is None else row.zero_grad,
            "image_size": row.image_size or IMAGE_SIZE,
            "batch_sizes": SIZES,
        }
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.vision_models"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            self._process = None
            raise RuntimeError("the tracer died")
        if "error" in (values := json.loads(answer)):
            raise RuntimeError(values["error"])
        return answer

    def close(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()
            self._process = None


def _language_model_text(row: Row) -> str:
    from benchmarks import language_models

    values = language_models.trace_language_model(
        language_models.make_environment(),
        row.model,
        optimizer=row.optimizer,
        zero_grad=row.zero_grad or 0,
        tokens=row.tokens or language_models.TOKENS,
    )
    values["convolutional"] = False
    return json.dumps(values)
