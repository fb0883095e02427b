"""Measure training steps on this machine's GPU: writes a table that `forecast_gpu.py` scores.

Each row is a process of its own: build, a few optimizer steps, and what the card, the allocator
and the tensors took at most. The allocator's own record of the first configuration of each
model is kept as a snapshot, which shows the workspaces that no tensor shows.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from batchtui.forecast.settings import MIB
from benchmarks.gpu_tables import ROOT
from benchmarks.snapshots import reduced

MODELS = (
    "resnet18", "resnet50", "resnet101", "vgg16", "mobilenet_v2", "mobilenet_v3_small",
    "mnasnet1_0", "regnet_x_400mf", "regnet_y_400mf", "convnext_tiny", "efficientnet_b0",
    "densenet121",
)  # fmt: skip
OPTIMIZERS = ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad")
FRACTIONS = (0.1, 0.2, 0.35, 0.55, 0.8, 1.1)  # of the batch size that fills the card
STEPS = 4
IMAGE_SIZE = 86
COLUMNS = (
    "gpu", "model", "optimizer", "batch_size", "zero_grad_mode", "measured_mib", "out_of_memory",
    "near_limit", "capacity_mib", "image_size", "sequence_max", "reserved_mib", "allocated_mib",
    "context_mib", "torch", "cudnn",
)  # fmt: skip


def measure(folder: Path) -> int:
    """Run the set of models, and write FOLDER/measured_<gpu>.csv and FOLDER/snapshots."""
    import torch

    if not torch.cuda.is_available():
        print("--measure needs a GPU, and PyTorch finds none here", file=sys.stderr)
        return 1
    gpu = torch.cuda.get_device_name(0).replace("NVIDIA ", "").replace(" ", "-")
    (folder / "snapshots").mkdir(parents=True, exist_ok=True)
    path = folder / f"measured_{gpu}.csv"
    known = set()
    if path.exists():
        with path.open(newline="") as file:
            known = {
                (row["model"], row["optimizer"], int(row["batch_size"]))
                for row in csv.DictReader(file)
            }
    for index, model in enumerate(MODELS):
        optimizer = OPTIMIZERS[index % len(OPTIMIZERS)]
        fills = _filling(model, optimizer)
        for number, fraction in enumerate(FRACTIONS):
            size = max(2, int(fills * fraction))
            if (model, optimizer, size) in known:
                continue
            snapshot = folder / "snapshots" / f"{gpu}-{model}.json.gz" if not number else None
            row = _row(gpu, model, optimizer, size, snapshot)
            print(json.dumps(row), file=sys.stderr, flush=True)
            fresh = not path.exists()
            with path.open("a", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS)
                if fresh:
                    writer.writeheader()
                writer.writerow(row)
    print(path)
    return 0


def _filling(model: str, optimizer: str) -> int:
    """Estimate the batch size that fills the card from two small runs."""
    small, large = (_step(model, optimizer, size, None) for size in (16, 64))
    slope = max((large["allocated"] - small["allocated"]) / 48, 1.0)
    return int((small["capacity"] - small["context"] - small["allocated"]) / slope) + 16


def _row(gpu: str, model: str, optimizer: str, size: int, snapshot: Path | None) -> dict[str, Any]:
    found = _step(model, optimizer, size, snapshot)
    usable = found["capacity"] - found["context"]
    return {
        "gpu": gpu,
        "model": model,
        "optimizer": optimizer,
        "batch_size": size,
        "zero_grad_mode": 1,
        "measured_mib": found["used"] / MIB,
        "out_of_memory": int(found["out_of_memory"]),
        "near_limit": int(found["used"] > 0.97 * usable),
        "capacity_mib": found["capacity"] / MIB,
        "image_size": IMAGE_SIZE,
        "sequence_max": "",
        "reserved_mib": found["reserved"] / MIB,
        "allocated_mib": found["allocated"] / MIB,
        "context_mib": found["context"] / MIB,
        "torch": found["torch"],
        "cudnn": found["cudnn"],
    }


def _step(model: str, optimizer: str, size: int, snapshot: Path | None) -> dict[str, Any]:
    request = {
        "model": model,
        "classes": None,
        "optimizer": optimizer,
        "zero_grad": 1,
        "image_size": IMAGE_SIZE,
        "batch_size": size,
        "snapshot": str(snapshot) if snapshot else None,
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu_measure", json.dumps(request)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
    )
    if done.returncode:
        raise SystemExit(f"{model} at {size}: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


class _Watch(threading.Thread):
    """Read the card's used memory every few milliseconds, and keep the most."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = 0
        self.done = threading.Event()

    def run(self) -> None:
        import torch

        while not self.done.is_set():
            self.most = max(self.most, used())
            time.sleep(0.005)
        torch.cuda.synchronize()
        self.most = max(self.most, used())


def used() -> int:
    """Bytes of the card in use, by whomever: what nvidia-smi shows."""
    import torch

    free, total = torch.cuda.mem_get_info()
    return int(total - free)


def _worker(request: dict[str, Any]) -> dict[str, Any]:
    """Train for a few steps on the GPU."""
    import torch

    from benchmarks.vision_models import training_task

    empty = used()  # the context of this process is part of it
    task, _ = training_task(request)
    if request["snapshot"]:
        torch.cuda.memory._record_memory_history(context=None, max_entries=1_000_000)
    watch = _Watch()
    watch.start()
    dead = False
    try:
        _train(task, request["batch_size"])
    except torch.OutOfMemoryError:
        dead = True
    watch.done.set()
    watch.join()
    if request["snapshot"] and not dead:
        _save(torch.cuda.memory._snapshot(), Path(request["snapshot"]))
    return {
        "used": watch.most - empty,
        "out_of_memory": dead,
        "capacity": torch.cuda.get_device_properties(0).total_memory,
        "context": empty,
        "reserved": torch.cuda.max_memory_reserved(),
        "allocated": torch.cuda.max_memory_allocated(),
        "torch": torch.__version__,
        "cudnn": torch.backends.cudnn.version(),
    }


def _train(task: Any, size: int) -> None:
    import torch

    model = task.model().cuda()
    optimizer = task.optimizer(model.parameters())
    batch = output = loss = None
    for _ in range(STEPS):
        batch = None
        batch = tuple(part.cuda() for part in task.batch(size))
        output = model(batch[0])
        loss = task.loss(output, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.cuda.synchronize()
    del output, loss


def _save(snapshot: dict[str, Any], path: Path) -> None:
    """Write what the replay needs of PyTorch's snapshot."""
    with gzip.open(path, "wt") as file:
        json.dump(reduced(snapshot), file)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("request", type=json.loads, help="what to run, as JSON")
    print(json.dumps(_worker(parser.parse_args().request)))
