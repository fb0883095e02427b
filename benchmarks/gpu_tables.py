"""Tables of measured memory, and a trace for each of their rows: for `forecast_gpu.py`.

A table is a CSV file with the columns gpu, model, optimizer, batch_size, measured_mib and,
optionally, zero_grad_mode, out_of_memory, capacity_mib, image_size, sequence_max. Traces are
kept in the user's cache folder, by the tracer's code and what is traced.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchtui.forecast.events import Trace
from batchtui.forecast.settings import MIB

ROOT = Path(__file__).resolve().parent.parent
# The tracer: a trace by other code is another trace. The rest only reads traces.
_TRACER = ("answers", "fake_device", "hollow", "recorder", "rehearsal", "trace")
_ALIASES = {"mnasnet": "mnasnet10", "squeezenet": "squeezenet10", "shufflenetv2": "shufflenetv2x10"}
_TEN_CLASSES = ("mnasnet", "mobilenetv3")  # as the measured rows had them; the others 1000
SIZES = (64, 128)
# GPUs that a table states no capacity for. MiB.
CAPACITIES = {"RTX3060": 12_037, "RTX4060": 7_933}
CONTEXT_MIB = 410


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
    def subject(self) -> tuple[str, str, int | None, int | None, int | None]:
        """What a trace depends on."""
        return self.model, self.optimizer, self.zero_grad, self.image_size, self.tokens


def read_table(path: Path) -> list[Row]:
    """Read a table; rows without a measurement are left out."""
    with path.open(newline="") as file:
        return [
            Row(
                gpu=entry.get("gpu") or "one card",
                model=entry["model"],
                optimizer=entry.get("optimizer") or "SGD",
                batch_size=int(entry["batch_size"]),
                measured=round(float(entry["measured_mib"]) * MIB),
                out_of_memory=entry.get("out_of_memory", "0") in ("1", "True", "true"),
                zero_grad=_whole(entry.get("zero_grad_mode")),
                image_size=_whole(entry.get("image_size")),
                tokens=_whole(entry.get("sequence_max")),
                capacity=_bytes(entry.get("capacity_mib")),
                others=entry,
            )
            for entry in csv.DictReader(file)
            if entry["measured_mib"]
        ]


def _whole(text: str | None) -> int | None:
    return int(float(text)) if text else None


def _bytes(text: str | None) -> int | None:
    return round(float(text) * MIB) if text else None


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


def _plain(name: str) -> str:
    plain = re.sub(r"[^a-z0-9]", "", name.lower()).replace("mobenet", "mobilenet")
    return _ALIASES.get(plain, plain)


class Traces:
    """Traces of rows, made where they are needed and kept."""

    def __init__(self, folder: Path | None = None) -> None:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        self.folder = folder or Path(base) / "batchtui" / "benchmark-traces"
        self.failures: dict[str, str] = {}
        self._tracer = _Tracer()
        self._known: dict[Any, Trace | None] = {}
        digest = hashlib.sha256()
        for name in _TRACER:
            digest.update((ROOT / "batchtui" / "forecast" / f"{name}.py").read_bytes())
        digest.update((ROOT / "benchmarks" / "language_models.py").read_bytes())
        self._code = digest.hexdigest()

    def close(self) -> None:
        """End the tracer's process."""
        self._tracer.close()

    def of(self, row: Row) -> Trace | None:
        """Return the row's trace; None (and a line in `failures`) if there can be none."""
        if row.subject not in self._known:
            try:
                self._known[row.subject] = self._load(row)
            except Exception as error:
                self.failures[row.model] = f"{type(error).__name__}: {error}".splitlines()[0]
                self._known[row.subject] = None
        return self._known[row.subject]

    def _load(self, row: Row) -> Trace:
        key = hashlib.sha256(repr((row.subject, self._code)).encode()).hexdigest()[:24]
        path = self.folder / f"{key}.json"
        if not path.exists():
            print(f"tracing {row.model} with {row.optimizer}", file=sys.stderr, flush=True)
            text = self._tracer.trace(row) if row.image_size else _language_model_text(row)
            self.folder.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(f".{os.getpid()}")
            partial.write_text(text)
            partial.replace(path)
        return Trace.from_json(path.read_bytes())


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
            "image_size": row.image_size,
        }
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.gpu_tables"],
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


def torchvision_name(model: str) -> str | None:
    """Return the function of torchvision.models that a table's model name means."""
    import torchvision

    known = {_plain(name): name for name in torchvision.models.list_models(torchvision.models)}
    return known.get(_plain(model))


def classes_of(model: str, image_size: int) -> int:
    """Return how many classes the measured rows had."""
    return 10 if image_size == 86 and _plain(model).startswith(_TEN_CLASSES) else 1000


def training_task(request: dict[str, Any]) -> tuple[Any, Any]:
    """Make the task and plan of a convolutional network's row."""
    import torch
    import torchvision

    from batchtui.forecast.rehearsal import Plan, Task

    size = request["image_size"]
    name = torchvision_name(request["model"])
    if name is None:
        raise LookupError(f"torchvision has no {request['model']}")
    classes = request["classes"] or classes_of(name, size)

    def batch(samples: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.empty(samples, 3, size, size), torch.zeros(samples, dtype=torch.int64)

    task = Task(
        model=lambda: getattr(torchvision.models, name)(num_classes=classes),
        batch=batch,
        forward=lambda model, batch: model(batch[0]),
        loss=lambda output, batch: torch.nn.functional.cross_entropy(
            output if isinstance(output, torch.Tensor) else output[0], batch[1]
        ),
        optimizer=lambda parameters: getattr(torch.optim, request["optimizer"])(
            parameters, lr=1e-3
        ),
    )
    modes: dict[int, Any] = {0: "start", 1: "backward", 2: "end"}
    return task, Plan(zero_grad=modes[request["zero_grad"]])


def _main() -> None:
    """Answer each request on standard input with a trace, or an error, in one line."""
    from batchtui.forecast.trace import trace_model

    for line in sys.stdin:
        try:
            task, plan = training_task(json.loads(line))
            answer = trace_model(task, plan, batch_sizes=SIZES).to_json()
        except Exception as error:
            text = f"{type(error).__name__}: {error}".splitlines()[0]
            answer = json.dumps({"error": text})
        print(answer, flush=True)


if __name__ == "__main__":
    _main()
