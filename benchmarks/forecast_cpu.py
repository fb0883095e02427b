"""Compare forecasts for training on the CPU with what real training takes on this machine.

    python benchmarks/forecast_cpu.py [--json] [--models resnet18,vgg11] [--only tensor]

Two parts, each in processes of its own. `tensor`: the most bytes that tensors hold in two steps,
against the memory events of PyTorch's profiler. `resident`: the most resident memory (anonymous
and shared) of a process that trains three steps with the malloc settings of `low_memory`, against
trace plus the measured size of a process that has not trained. Errors in per cent.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from batchtui.forecast.events import Trace, peak_by_category  # noqa: E402
from batchtui.forecast.tracing import TAMED_MALLOC  # noqa: E402

OPTIMIZERS = {"SGD": {"lr": 0.01, "momentum": 0.9}, "Adam": {"lr": 0.001}}
MIB = 1 << 20


class Case(NamedTuple):
    """A model at one picture size; sizes that real steps can afford on two cores."""

    model: str
    pixels: int
    batch_sizes: tuple[int, ...]


CASES = [
    Case("resnet18", 64, (8, 16, 32, 64)),
    Case("mobilenet_v2", 96, (4, 8, 16, 32)),
    Case("shufflenet_v2_x1_0", 64, (8, 16, 32, 64)),
    Case("squeezenet1_1", 112, (8, 16, 32, 48)),
    Case("densenet121", 64, (4, 8, 12, 16)),
    Case("googlenet", 64, (4, 8, 16, 32)),
    Case("vgg11", 64, (4, 8, 12, 16)),
    Case("resnet50", 224, (2, 3, 4, 6)),
    Case("efficientnet_b0", 96, (4, 8, 16, 24)),
    Case("vit_b_16", 224, (2, 3, 4, 5)),
]
RESIDENT = {"resnet18", "mobilenet_v2", "squeezenet1_1", "densenet121", "vgg11", "resnet50"}


def main() -> int:
    """Run the comparison, or one of its processes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--models", help="only these, separated by commas")
    parser.add_argument("--only", choices=("tensor", "resident"))
    parser.add_argument("--process", choices=("trace", "profile", "train"), help=argparse.SUPPRESS)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.process:
        work = {"trace": _trace, "profile": _profile, "train": _train}[options.process]
        print(json.dumps(work(**json.loads(options.case))))
        return 0
    wanted = options.models.split(",") if options.models else [case.model for case in CASES]
    cases = [case for case in CASES if case.model in wanted]
    result: dict[str, dict[str, float]] = {}
    for part, compare in (("tensor", _compare_tensors), ("resident", _compare_resident)):
        if options.only in (None, part):
            errors = [error for case in cases for error in compare(case, options.json)]
            if errors:
                result[part] = {"median": statistics.median(errors), "worst": max(errors)}
                if not options.json:
                    print(f"{part}: median {result[part]['median']:.2f} %, ", end="")
                    print(f"worst {result[part]['worst']:.2f} % of {len(errors)}\n")
    if options.json:
        print(json.dumps(result))
    return 0


def _compare_tensors(case: Case, quiet: bool) -> list[float]:
    given = {"model": case.model, "pixels": case.pixels, "optimizers": [*OPTIMIZERS]}
    traces = _process("trace", given | {"resident": False})
    peaks = _process("profile", given | {"batch_sizes": case.batch_sizes})
    return [
        _report(case, optimizer, size, _peak(traced, size), peak, quiet)
        for optimizer, traced, measured in zip(OPTIMIZERS, traces, peaks, strict=True)
        for size, peak in zip(case.batch_sizes, measured, strict=True)
    ]


def _compare_resident(case: Case, quiet: bool) -> list[float]:
    if case.model not in RESIDENT:
        return []
    optimizer = "SGD"
    given = {"model": case.model, "pixels": case.pixels}
    [traced] = _process("trace", given | {"optimizers": [optimizer], "resident": True})
    peaks = _process("train", given | {"optimizer": optimizer, "batch_sizes": case.batch_sizes})
    return [
        _report(case, optimizer, size, traced["base"] + _peak(traced, size), peak, quiet)
        for size, peak in zip(case.batch_sizes, peaks, strict=True)
    ]


def _peak(traced: dict[str, Any], size: int) -> int:
    return peak_by_category(Trace.from_dict(traced["trace"]).at(size))[0]


def _report(
    case: Case, optimizer: str, size: int, forecast: int, measured: int, quiet: bool
) -> float:
    error = (forecast / measured - 1) * 100
    if not quiet:
        name = f"{case.model} {case.pixels} px {optimizer}"
        numbers = f"{measured / MIB:9.1f} MiB {forecast / MIB:9.1f} MiB {error:+6.2f} %"
        print(f"{name:36} batch {size:3} {numbers}", flush=True)
    return abs(error)


def _process(work: str, case: dict[str, Any]) -> Any:
    command = [sys.executable, __file__, "--process", work, "--case", json.dumps(case)]
    environment = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "",
        "KINETO_LOG_LEVEL": "5",
        "OMP_WAIT_POLICY": "PASSIVE",  # on a busy machine, spinning threads take a step's time
    }
    if work == "train" or case.get("resident"):
        environment |= TAMED_MALLOC  # slows a step, and tensors are the same without
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{work} {case}: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def _build(model: str) -> Any:
    import torchvision

    options = {"aux_logits": False, "init_weights": False} if model == "googlenet" else {}
    return getattr(torchvision.models, model)(**options)


def _optimizer(name: str, parameters: Any) -> Any:
    import torch

    return getattr(torch.optim, name)(parameters, **OPTIMIZERS[name])


def _trace(model: str, pixels: int, optimizers: list[str], resident: bool) -> list[Any]:
    """Trace with the measured size of a process that has imported what training imports."""
    import torch
    import torchvision  # noqa: F401

    from batchtui.forecast.resident import now

    base = now()
    from batchtui.forecast.rehearsal import Plan, Task
    from batchtui.forecast.trace import trace_model

    def task(optimizer: str) -> Task:
        return Task(
            model=lambda: _build(model),
            batch=lambda size: (
                torch.empty(size, 3, pixels, pixels),
                torch.zeros(size, dtype=torch.int64),
            ),
            forward=lambda module, batch: module(batch[0]),
            loss=lambda output, batch: torch.nn.functional.cross_entropy(output, batch[1]),
            optimizer=lambda parameters: _optimizer(optimizer, parameters),
        )

    traces = [
        trace_model(task(optimizer), Plan(), device="cpu", resident=resident)
        for optimizer in optimizers
    ]
    return [{"base": base, "trace": json.loads(trace.to_json())} for trace in traces]


def _steps(network: Any, optimizer: Any, pixels: int, batch_size: int, count: int) -> None:
    import torch

    pictures = targets = None
    for _ in range(count):
        pictures = targets = None  # the old batch goes before the new one comes
        pictures = torch.zeros(batch_size, 3, pixels, pixels)
        targets = torch.zeros(batch_size, dtype=torch.int64)
        optimizer.zero_grad()
        output = network(pictures)
        loss = torch.nn.functional.cross_entropy(output, targets)
        loss.backward()
        optimizer.step()
    del pictures, targets


def _profile(
    model: str, pixels: int, optimizers: list[str], batch_sizes: list[int]
) -> list[list[int]]:
    """Return the most bytes that tensors held, for each optimizer at each batch size."""
    return [
        [_profiled(model, pixels, optimizer, size) for size in batch_sizes]
        for optimizer in optimizers
    ]


def _profiled(model: str, pixels: int, optimizer: str, batch_size: int) -> int:
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        network = _build(model)
        _steps(network, _optimizer(optimizer, network.parameters()), pixels, batch_size, 2)
    events = profiler.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    now = peak = 0
    for _, change in changes:
        now += change
        peak = max(peak, now)
    return peak


def _train(model: str, pixels: int, optimizer: str, batch_sizes: list[int]) -> list[int]:
    """Return the peaks of processes that train, each forked once everything is imported."""
    import torch  # noqa: F401
    import torchvision  # noqa: F401

    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        return [pool.apply(_trained, (model, pixels, optimizer, size)) for size in batch_sizes]


def _trained(model: str, pixels: int, optimizer: str, batch_size: int) -> int:
    """Return the most resident bytes, those of libraries' files left out."""
    network = _build(model)
    _steps(network, _optimizer(optimizer, network.parameters()), pixels, batch_size, 3)
    status = Path("/proc/self/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return (int(fields["VmHWM"].split()[0]) - int(fields["RssFile"].split()[0])) * 1024


if __name__ == "__main__":
    sys.exit(main())
