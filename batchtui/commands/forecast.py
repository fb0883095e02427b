"""Forecast the memory of batch sizes that have not run."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from batchtui import units
from batchtui.commands.columns import print_tables
from batchtui.config.load import load_config
from batchtui.config.schema import Config, to_dict
from batchtui.errors import BatchtuiError, UsageError
from batchtui.forecast.prospect import Prospect, lessons, past_runs
from batchtui.forecast.rows import CUDA_CONTEXT, Forecast
from batchtui.forecast.settings import MIB
from batchtui.forecast.tracing import (
    TIME_LIMIT,
    TraceFailed,
    TraceRequest,
    base_bytes,
    obtain_trace,
    train_samples,
)
from batchtui.forecast.verdict import WILL_NOT_FIT
from batchtui.sampling.cgroup import tightest
from batchtui.sampling.gpu import summarize
from batchtui.sampling.machine import memory_limits
from batchtui.text import clean

if TYPE_CHECKING:
    from batchtui.commands.start import Overrides

_PARTS = ("parameters", "gradients", "optimizer", "activations", "inputs", "other")


@dataclass(frozen=True, slots=True)
class Device:
    """What a forecast is for."""

    kind: str  # cuda or cpu
    capacity: int | None  # bytes
    others: int  # bytes in use by somebody else now
    name: str | None
    where: str  # in words


def forecast(
    config_path: Path,
    root: Path,
    overrides: Overrides,
    *,
    batch_sizes: str | None,
    device: str | None,
    capacity: str | None,
    gpu: str | None,
    time_limit: float | None,
    as_json: bool,
    output: Path | None,
) -> int:
    """`batchtui forecast`: print a row a batch size; 4 if none of them fits."""
    config = load_config(config_path, overrides)
    sizes = _sizes(batch_sizes, config)
    if output is not None:
        _check_output(output)
    target = find_device(device or config.device, capacity, gpu)
    prospect, samples = prospect_of(
        config, config_path, root, target, sizes, time_limit=time_limit or TIME_LIMIT
    )
    rows = [prospect.row(size) for size in sizes]
    if output is not None:
        from batchtui.report.memory_chart import draw

        draw(rows, target.where, output)
    if as_json:
        print(json.dumps([row.to_dict() for row in rows], indent=1))
    else:
        _print(rows, prospect, target, samples and samples // config.launch.processes)
    return 4 if all(row.verdict == WILL_NOT_FIT for row in rows) else 0


def prospect_of(
    config: Config,
    config_path: Path,
    root: Path,
    target: Device,
    sizes: Sequence[int],
    *,
    time_limit: float = TIME_LIMIT,
) -> tuple[Prospect, int | None]:
    """Trace a configuration, or say why not, and collect what its past runs tell.

    Returns the prospect and the size of the training split, where it is known.
    """
    values = to_dict(config)
    measured, notes = lessons(values, past_runs(root), target.kind, target.name)
    request = TraceRequest(
        config=values,
        device=target.kind,
        python=os.path.expanduser(config.launch.python or sys.executable),
        cwd=os.getcwd(),
        config_path=str(config_path.resolve()),
        batch_sizes=sizes,
        gently=False,
    )
    traces = []
    try:
        traces = obtain_trace(request, time_limit=time_limit)
    except TraceFailed as error:
        if error.usage:
            raise
        if not measured:
            raise BatchtuiError(
                f"{error}; run it once at a small batch size, and that run will tell"
            ) from None
        notes.insert(0, f"not traced: {error}")
    prospect = Prospect(
        values,
        traces,
        device=target.kind,
        capacity=target.capacity,
        others=target.others,
        measured=measured,
        notes=notes,
        base=base_bytes(request) if traces and target.kind == "cpu" else None,
        environment=os.environ,
        device_name=target.name,
    )
    return prospect, train_samples(request) if traces else None


def find_device(wanted: str, capacity: str | None, gpu_name: str | None = None) -> Device:
    """Return what `cuda`, `cuda:1`, `cpu` or `auto` means here, or for a GPU elsewhere.

    `gpu_name`: that GPU's, since what it is decides what cuBLAS takes.

    Raises:
        UsageError: the capacity is no size, or there is no such card.
    """
    try:
        size = units.parse_size(capacity) if capacity is not None else None
    except ValueError as error:
        raise UsageError(f"--capacity: {error}") from None
    if size is not None and size <= 0:
        raise UsageError(f"--capacity: {capacity!r} leaves no memory at all")
    if size is not None and size < MIB:  # most likely the unit was left out
        raise UsageError(f"--capacity: {capacity!r} is {size:,} bytes; write it as 24GiB or 500MiB")
    kind, _, number = wanted.partition(":")
    if kind in ("mps", "xpu"):
        raise UsageError(f"there are forecasts for cuda and cpu, none for {wanted} (--device)")
    if kind not in ("auto", "cpu", "cuda") or (number and not number.isdigit()):
        raise UsageError(f"--device: {wanted!r} is not auto, cpu, cuda or cuda:N")
    if gpu_name is not None:
        if kind == "cpu":
            raise UsageError(f"--gpu: the forecast is for a CPU; say --device cuda for {gpu_name}")
        told = units.gib(size) if size is not None else "of unknown size: give --capacity"
        return Device("cuda", size, 0, gpu_name, f"{gpu_name}, {told}")
    if kind == "cpu":
        return _cpu(size)
    if kind == "cuda" and size is not None:
        return Device("cuda", size, 0, None, f"a GPU with {units.gib(size)}")
    gpus = [gpu for gpu in summarize().gpus if gpu.total]
    if kind == "auto" and not gpus:
        return _cpu(size)
    index = int(number or 0)
    if not gpus:
        return Device("cuda", None, 0, None, "a GPU of unknown size: give --capacity for verdicts")
    if index >= len(gpus):
        raise UsageError(f"--device: there is no {wanted}; this machine has {len(gpus)} GPUs")
    gpu = gpus[index]
    where = f"{gpu.name}, {units.gib(gpu.total)}, {units.gib(gpu.used)} of it in use now"
    return Device("cuda", size or gpu.total, gpu.used or 0, gpu.name, where)


def _cpu(size: int | None) -> Device:
    if size is not None:
        return Device("cpu", size, 0, None, f"a CPU process limited to {units.gib(size)}")
    limit = tightest(memory_limits())
    if limit is None:
        return Device("cpu", None, 0, None, "a CPU process")
    where = f"this machine's memory: {units.gib(limit.headroom)} left of {units.gib(limit.total)}"
    return Device("cpu", limit.total, limit.used, None, f"{where} ({limit.source})")


def _check_output(path: Path) -> None:
    """Find out before anything is traced that a chart cannot be written."""
    if path.suffix.lower() not in (".svg", ".png"):
        raise UsageError(f"--output: {str(path)!r} is neither .svg nor .png")
    if not path.parent.is_dir():
        raise UsageError(f"--output: there is no folder {str(path.parent)!r}")


def _sizes(text: str | None, config: Config) -> list[int]:
    """Read `16,32,64`; by default from a quarter of the configured size to eight times it."""
    if text is None:
        base = config.dataloaders.batch_size
        return sorted({max(1, base // 4), max(1, base // 2), base, 2 * base, 4 * base, 8 * base})
    sizes = []
    for word in text.split(","):
        if not word.strip().isdecimal() or not 1 <= int(word) < 10**9:
            raise UsageError(
                f"-b: {clean(word, 40)!r} is not a batch size; write -b 16,32,64 with whole "
                "numbers from 1 to 999,999,999"
            )
        sizes.append(int(word))
    return list(dict.fromkeys(sizes))


def _print(rows: Sequence[Forecast], prospect: Prospect, target: Device, most: int | None) -> None:
    accelerator = target.kind != "cpu"
    print(clean(f"forecast for {target.where}"))
    header = ["batch size", "verdict", "peak", "90 % interval"]
    header += ["survives on"] if accelerator else []
    table = [(*header, *_PARTS)]
    for row in rows:
        cells = [
            units.count(row.batch_size),
            row.verdict or units.MISSING,
            units.gib(row.peak_bytes),
            _interval(row),
        ]
        cells += [units.gib(row.survives_bytes)] if accelerator else []
        table.append((*cells, *(units.gib(row.breakdown[part]) for part in _PARTS)))
    print_tables(table, len(header))
    largest = prospect.largest_safe(most) if target.capacity is not None else None
    whole = ", all there is to train on" if largest is not None and largest == most else ""
    print(f"largest safe batch size: {units.count(largest)}{whole}")
    more = f"reserved; nvidia-smi adds the CUDA context, some {units.gib(CUDA_CONTEXT)}"
    peak = more if accelerator else "resident"
    print(f"peak: {peak}.  how: {clean(rows[0].method)}")
    for note in dict.fromkeys(note for row in rows for note in row.assumptions):
        print(clean(f"assumed: {note}"))


def _interval(row: Forecast) -> str:
    """Write an interval so that its ends differ where they do."""
    if row.high_bytes < 1 << 30:
        return f"{row.low_bytes / MIB:.0f} – {row.high_bytes / MIB:.0f} MiB"
    return f"{units.gib(row.low_bytes)} – {units.gib(row.high_bytes)}"
