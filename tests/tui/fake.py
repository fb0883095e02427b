"""A run that never was: facts of any state, and a source that shows them."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable
from typing import Any

from batchtui.records import (
    Checkpoint,
    Evaluation,
    Event,
    GpuSample,
    MachineSample,
    RunSummary,
    Step,
)
from batchtui.tui.assemble.whole import build_view
from batchtui.tui.facts import Facts
from batchtui.tui.replay.clock import ReplayClock
from batchtui.tui.view import Course, LogLine, LogView, Points, View

GIB = 1 << 30
_CURVES = ("step_s", "loss", "variance")
NOW = 1_800_000_000.0
CONFIG = {"limits": {"memory": 0.95}, "dataloaders": {"batch_size": 64}}


def points(x: list[float], y: list[float | None]) -> Points:
    return Points(tuple(x), tuple(y), tuple(y), tuple(y))


def gpu(index: int = 0, used: float = 17.8, total: float = 24.0, **more: Any) -> GpuSample:
    values: dict[str, Any] = {
        "index": index,
        "name": "NVIDIA GeForce RTX 4090",
        "used": int(used * GIB),
        "total": int(total * GIB),
        "worker_used": int((used - 2.3) * GIB),
        "others_used": int(2.3 * GIB),
        "utilization": 0.91,
        "temperature_c": 62.0,
        "power_w": 313.0,
        "power_limit_w": 450.0,
    }
    return GpuSample(**(values | more))


def machine(cores: int = 16, gpus: tuple[GpuSample, ...] = (), **more: Any) -> MachineSample:
    chance = random.Random(cores)
    values: dict[str, Any] = {
        "time": NOW,
        "cpu": 0.54,
        "cores": tuple(round(chance.uniform(0.2, 0.95), 2) for _ in range(cores)),
        "load1": 9.84,
        "iowait": 0.03,
        "memory_total": 64 * GIB,
        "memory_available": 40 * GIB,
        "limit_total": 16 * GIB,
        "limit_used": int(7.4 * GIB),
        "limit_source": "cgroup /user.slice",
        "worker_cpu": 6.2,
        "worker_resident": int(4.1 * GIB),
        "worker_processes": 3,
        "shm_used": int(0.2 * GIB),
        "shm_total": 8 * GIB,
        "gpus": gpus,
        "gpu_status": None if gpus else "no NVIDIA driver",
    }
    return MachineSample(**(values | more))


def facts(
    steps: int = 1800,
    step_s: float = 0.139,
    sample: MachineSample | None = None,
    seed: int = 7,
    log: LogView | None = None,
    meta: dict[str, Any] | None = None,
    **summary: Any,
) -> Facts:
    """Return the facts of a run of so many steps, on a GPU if the sample has one."""
    chance = random.Random(seed)
    sample = machine() if sample is None else sample
    start = NOW - steps * step_s
    recorded: list[Step] = []
    for number in range(1, steps + 1):
        took = step_s * chance.gauss(1, 0.04) + (0.06 if chance.random() < 0.01 else 0)
        level = 0.35 + 2.1 * math.exp(-3.5 * number / max(steps, 500))
        spread = level * 0.45
        recorded.append(
            Step(
                time=start + number * step_s,
                step=number,
                samples=64 * number,
                epoch=1 + number // 150,
                batch=64,
                loss=chance.gauss(level, math.sqrt(spread / 64)),
                variance=spread * chance.gauss(1, 0.2),
                lr=0.1,
                step_s=took,
                data_s=0.04 * took,
                transfer_s=0.02 * took,
                forward_s=0.31 * took,
                backward_s=0.52 * took,
                optimizer_s=0.07 * took,
                allocated=int(6.1 * GIB) if sample.gpus else None,
                reserved=int(15.1 * GIB) if sample.gpus else None,
                peak=int(13.9 * GIB) if sample.gpus else None,
            )
        )
    recent = recorded[-2100:]
    every = max(1, steps // 240)
    shown = recorded[::every]
    ticks = [NOW - 300 + index for index in range(0, 301, 2)]
    values: dict[str, Any] = {
        "run": "digits-resnet18-001",
        "status": "running",
        "batch_size": 64,
        "global_batch_size": 64,
        "epoch": 1 + steps // 150,
        "steps": steps,
        "samples": 64 * steps,
        "samples_per_s": 64 / step_s,
        "step_time_p50_s": step_s,
        "loss": recorded[-1].loss if recorded else None,
        "peak_bytes": int(4.4 * GIB),
        "limit_bytes": 16 * GIB,
        "started": start,
    }
    gathered: dict[str, Any] = {
        "config": CONFIG,
        "device": "cuda:0" if sample.gpus else "cpu",
        "epochs": 90,
        "total_samples": 64 * 150 * 90,
        "train_samples": 9600,
        "step_time_p50_s": step_s,
        "step_time_p95_s": step_s * 1.2,
        "heartbeat": NOW,
    }
    return Facts(
        now=NOW,
        summary=RunSummary(**(values | summary)),
        meta=gathered | (meta or {}),
        machine=sample,
        recent=recorded[-512:],
        near=course(recent),
        whole=course(shown),
        memory=memory_points(ticks),
        processor=processor_points(ticks, len(sample.cores)),
        evaluations=[
            Evaluation(time=NOW, step=n * 150, samples=0, epoch=n, accuracy=0.9 + 0.006 * n)
            for n in range(1, 1 + min(12, steps // 150))
        ],
        checkpoints=[Checkpoint(time=NOW, step=1500, samples=0, epoch=10, file="step-1500.pt")],
        events=[Event(time=NOW - 60, level="info", kind="checkpoint", message="checkpoint saved")],
        log=log or LogView(lines=log_lines()),
    )


def lengthened(given: Facts, steps: int) -> Facts:
    """Return facts of a run that looks alike and has made so many more steps."""
    more, factor = steps - given.summary.steps, steps / given.summary.steps

    def along(course: Course, place: Callable[[float], float]) -> Course:
        x = tuple(place(step) for step in course.step_s.x)
        curves = {name: getattr(course, name)._replace(x=x) for name in _CURVES}
        return course._replace(**curves, samples=tuple(64 * step for step in x))

    summary = dataclasses.replace(
        given.summary, steps=steps, samples=64 * steps, epoch=1 + steps // 150,
        started=NOW - steps * 0.139,
    )  # fmt: skip
    return dataclasses.replace(
        given,
        summary=summary,
        meta=given.meta | {"total_samples": 80 * steps, "epochs": steps // 120},
        recent=[dataclasses.replace(step, step=step.step + more) for step in given.recent],
        near=along(given.near, lambda step: step + more),
        whole=along(given.whole, lambda step: 1 + round((step - 1) * factor)),
    )


def course(steps: list[Step]) -> Course:
    """Return what a store would tell of these steps, one a bucket."""
    x = [float(step.step) for step in steps]
    return Course(
        step_s=points(x, [step.step_s for step in steps]),
        loss=points(x, [step.loss for step in steps]),
        variance=points(x, [step.variance for step in steps]),
        samples=tuple(float(step.samples) for step in steps),
        time=tuple(step.time for step in steps),
    )


def processor_points(ticks: list[float], cores: int) -> dict[str, Points]:
    chance = random.Random(5)
    busy: list[float | None] = [chance.uniform(0.4, 0.7) for _ in ticks]
    own: list[float | None] = [value and 0.7 * value * cores for value in busy]
    return {"cpu": points(ticks, busy), "worker_cpu": points(ticks, own)}


def memory_points(ticks: list[float]) -> dict[str, Points]:
    chance = random.Random(3)
    own: list[float | None] = []
    everything: list[float | None] = []
    for index, _ in enumerate(ticks):
        level = min(1.0, index / 12) * 4.1 + chance.uniform(-0.1, 0.1)
        own.append(max(0.1, level) * GIB)
        everything.append((max(0.1, level) + 3.2) * GIB)
    return {
        "worker_resident": points(ticks, own),
        "limit_used": points(ticks, everything),
        "worker_used": points(ticks, [v and v * 3.6 for v in own]),
        "used": points(ticks, [v and v * 3.6 + 2.3 * GIB for v in own]),
    }


def log_lines(count: int = 30) -> tuple[LogLine, ...]:
    texts = (
        ("info", "step 41229 loss 0.4098 lr 3.2e-4 gnorm 1.02"),
        ("warning", "UserWarning: dataloader queue low: 2/16 batches, waited 84 ms"),
        ("info", "epoch 12: 0.4111 train, 0.3952 held out"),
        ("info", "throughput 1,842 samples/s, 139 ms/step"),
        ("error", "RuntimeError: worker restarted after BrokenPipe (1/3)"),
    )
    lines = [
        LogLine(number=n, text=texts[n % 5][1], level=texts[n % 5][0], time=NOW - 2 * (count - n))
        for n in range(count)
    ]
    lines.append(LogLine(number=count, text="checkpoint saved · step 1,500", time=NOW, event=True))
    return tuple(lines)


class FakeSource:
    """Views of given facts; `change` alters them before each read."""

    def __init__(self, given: Facts, change: Callable[[Facts, int], Facts] | None = None) -> None:
        self.facts, self._change, self.reads = given, change, 0
        self.span: tuple[int, int] | None = None

    def read(self) -> View:
        self.reads += 1
        if self._change is not None:
            self.facts = self._change(self.facts, self.reads)
        return build_view(self.facts)


class FakeReplay(FakeSource):
    """Views of given facts at the moment of a clock that stands still."""

    def __init__(self, given: Facts, clock: ReplayClock, note: str = "") -> None:
        super().__init__(given)
        self._clock, self._note = clock, note

    def read(self) -> View:
        scene = self._clock.read()
        return super().read()._replace(replay=scene._replace(note=self._note))


def stop(now: bool) -> str:
    return "stopping"
