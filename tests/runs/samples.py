"""Records with plausible values, and runs made of them."""

from __future__ import annotations

import random
from typing import Any

from batchtui.records import GpuSample, MachineSample, Start, Step
from batchtui.runs.directory import RunDirectory
from batchtui.runs.store import RunStore


def step(number: int, **values: Any) -> Step:
    """Return a step that has the fields every step has."""
    given = {"time": 1.7e9 + number, "samples": 64 * number, "epoch": 1, "batch": 64}
    return Step(step=number, **(given | values))


def noisy_step(number: int, source: random.Random) -> Step:
    """Return a step whose measurements are random, and missing now and then."""

    def value(scale: float) -> float | None:
        return None if source.random() < 0.2 else source.uniform(-scale, scale)

    return step(
        number,
        time=1.7e9 + source.uniform(-1e4, 1e4),  # clocks jump
        loss=value(10),
        step_s=value(1),
        nonfinite=source.random() < 0.05,
        peak=None if source.random() < 0.5 else source.randrange(1 << 40),
    )


def start(**values: Any) -> Start:
    """Return what a worker says first."""
    given = {
        "time": 1.7e9,
        "pid": 4242,
        "batch_size": 64,
        "global_batch_size": 64,
        "train_samples": 1437,
        "epochs": 20,
        "total_samples": 28740,
    }
    return Start(**(given | values))


def sample(time: float, gpus: int = 0, **values: Any) -> MachineSample:
    """Return a sample of a machine with that many GPUs."""
    given = {
        "time": time,
        "cpu": 0.5,
        "cores": (0.25, 1.0),
        "load1": 1.5,
        "iowait": 0.0,
        "memory_total": 64 << 30,
        "memory_available": 32 << 30,
        "limit_total": 32 << 30,
        "limit_used": 8 << 30,
        "limit_source": "host",
        "worker_cpu": 1.9,
        "worker_resident": 2 << 30,
        "worker_processes": 3,
        "shm_used": 0,
        "shm_total": 1 << 30,
        "disk_free": 100 << 30,
    }
    cards = tuple(
        GpuSample(
            index=index,
            uuid=f"GPU-{index}",
            name="Tesla",
            used=9 << 30,
            total=24 << 30,
            worker_used=8 << 30,
            others_used=1 << 30,
            utilization=0.5,
            temperature_c=60.0,
            power_w=200.5,
            power_limit_w=350.0,
        )
        for index in range(gpus)
    )
    return MachineSample(**(given | {"gpus": cards} | values))


def fill(run: RunDirectory, steps: int = 3000) -> RunStore:
    """Write a run that everything can be asked of; the store stays open."""
    store = RunStore(run.database)
    store.set_meta(run=run.name, status="finished", steps=steps, batch_size=64)
    store.add_start(start())
    for begin in range(1, steps + 1, 500):
        numbers = range(begin, min(begin + 500, steps + 1))
        store.add_steps([step(number, loss=1 / number, step_s=0.01) for number in numbers])
        store.commit()
    for tick in range(100):
        store.add_sample(sample(1.7e9 + tick, gpus=1))
    store.commit()
    return store
