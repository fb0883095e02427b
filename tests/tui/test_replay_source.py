"""A moment of a replay is what the screen read then: from a store that holds what there was."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase as Phase_
from hypothesis import given, settings
from hypothesis import strategies as st

from batchtui.records import (
    Checkpoint,
    Evaluation,
    Event,
    GpuSample,
    LaunchSpec,
    MachineSample,
    Phase,
    Start,
    Step,
)
from batchtui.runs.directory import RunDirectory
from batchtui.runs.progress import Progress
from batchtui.runs.reader import RunReader
from batchtui.runs.store import RunStore
from batchtui.supervise.guard import MemoryGuard
from batchtui.tui.replay.clock import ReplayClock
from batchtui.tui.replay.source import ReplaySource
from batchtui.tui.source import RunSource
from batchtui.tui.view import View

BEGAN, GIB = 1_800_000_000.0, 1 << 30
SPAN = (30, 900)  # of the steps looked at closely
CONFIG = {"limits": {"memory": 0.95}, "optimizer": {"target": "SGD", "args": {"lr": 0.1}}}


@dataclasses.dataclass
class Tape:
    """All that happened to a run, in order: (when, what)."""

    name: str
    parent: str | None
    first: int  # steps before it
    began: float
    device: str
    happened: list[tuple[float, Any]]
    ended: float

    def record(self, root: Path, until: float = float("inf")) -> RunDirectory:
        """Write what happened up to a moment as the supervisor does."""
        run = RunDirectory(root / self.name)
        run.path.mkdir(parents=True)
        spec = LaunchSpec(run=run.name, config={}, cwd="/", python="python", parent=self.parent)
        run.write_launch(spec)
        store, progress, guard = RunStore(run.database), Progress(), MemoryGuard()
        store.set_meta(
            run=self.name, parent=self.parent, status="starting", started=self.began, host="here",
            heartbeat=self.began,
            config=CONFIG, batch_size=64, accumulate=1, world_size=1, global_batch_size=64,
            epochs=9,
        )  # fmt: skip
        sample: MachineSample | None = None
        host_peak = None
        for when, what in self.happened:
            if when > until:
                break
            if isinstance(what, MachineSample):
                store.add_sample(what)
                host_peak = max(host_peak or 0, what.worker_resident or 0)
                for change in guard.feed(what):
                    words = "" if change.level else ": below its warning level again"
                    level = {"critical": "error", "warning": "warning", None: "info"}[change.level]
                    if change.rose or change.level is None:
                        event = Event(time=when, level=level, kind="memory",
                                      message=f"{change.reading}{words}")  # fmt: skip
                        store.add_event(event)
                level, full = guard.worst
                store.set_meta(heartbeat=when, memory_level=level, memory_what=full)
                sample = what
                continue
            add = {
                Step: lambda step: store.add_steps([step]), Evaluation: store.add_evaluation,
                Checkpoint: store.add_checkpoint, Start: store.add_start, Event: store.add_event,
            }.get(type(what))  # fmt: skip
            if isinstance(what, Phase) and progress.start is None:
                store.add_event(Event(time=when, level="info", kind="phase", message=what.phase))
            if add is not None:
                add(what)
            if isinstance(what, Event):
                status = {"lost": "lost", "revived": "running", "stop": "stopping"}.get(what.kind)
                if status is not None:
                    store.set_meta(status=status)
                if "restarting" in what.message:
                    store.set_meta(successor="a-002")
            else:
                progress.feed(what)
            if isinstance(what, Start):
                store.set_meta(status="running")
            if store.pending_steps > 300:
                store.commit()
        store.set_meta(**progress.meta())
        if progress.start is not None and sample is not None:
            on_card = progress.on_accelerator
            store.set_meta(
                peak_bytes=progress.accelerator_peak if on_card else host_peak,
                limit_bytes=sample.gpus[0].total if on_card else sample.limit_total,
            )
        if until >= self.ended:
            store.set_meta(status="stopped", ended=self.ended, phase=None)
        store.close(final=True)
        return run


def samples(chance: random.Random, began: float, ended: float, gpus: int) -> Iterable[Any]:
    """Yield a sample a second; memory comes near its limit now and then."""
    full = 0.5
    when = began + chance.random()
    while when < ended:
        if chance.random() < 0.1:
            full = chance.choice([0.5, 0.85, 0.89, 0.91, 0.96])
        yield when, MachineSample(
            time=when, cpu=chance.random(), cores=(0.25, chance.randrange(200) / 200), load1=1.5,
            limit_total=100 * GIB, limit_used=int(full * 100 * GIB), limit_source="host",
            worker_resident=chance.randrange(GIB), worker_cpu=chance.random(), worker_processes=2,
            shm_used=GIB, shm_total=8 * GIB, gpu_status=None if gpus else "no NVIDIA driver",
            gpus=tuple(
                GpuSample(
                    index=n, uuid=f"GPU-{n}", name="A100", used=chance.randrange(70 * GIB),
                    total=80 * GIB, worker_used=GIB if n == 0 else None, utilization=0.5,
                    temperature_c=60.5, power_w=100.0,
                )
                for n in range(gpus)
            ),
        )  # fmt: skip
        when += 1.0


def tape(seed: int, name: str = "a-001", parent: str | None = None, first: int = 0) -> Tape:
    """Make up a run: it starts, trains, evaluates, is silent, is stopped."""
    chance = random.Random(seed)
    began = BEGAN + first
    gpus = chance.choice([0, 0, 1, 2])
    device = "cuda:0" if gpus else "cpu"
    happened: list[tuple[float, Any]] = []
    when = began
    for phase in ("importing torch", "loading the data"):
        when += chance.random() * 3
        happened.append((when, Phase(time=when, phase=phase)))
    when += 2.5
    start = Start(
        time=when, pid=1, device=device, device_uuid="GPU-0" if gpus else None, batch_size=64,
        global_batch_size=64, train_samples=6400, epochs=9, total_samples=57_600,
        first_step=first, first_samples=64 * first,
    )  # fmt: skip
    happened.append((when, start))
    event = Event(time=when, level="info", kind="started", message="training", step=first)
    happened += [(when, event), (when + 0.01, Phase(time=when + 0.01, phase="first batch"))]
    when += 1
    for step in range(first + 1, first + 1 + chance.choice([0, 3, 40, 700, 1500])):
        took = chance.uniform(0.02, 0.3)
        when += took
        happened.append((when, Step(
            time=when, step=step, samples=64 * step, epoch=1 + step // 100, batch=64,
            loss=None if (bad := chance.random() < 0.01) else 3 / step + chance.random(),
            variance=chance.random(), nonfinite=bad, lr=0.1, step_s=took, forward_s=took / 2,
            reserved=chance.randrange(GIB, 9 * GIB) if gpus else None, peak=GIB if gpus else None,
        )))  # fmt: skip
        if step % 100 == 0:
            happened.append((when, Phase(time=when, phase="evaluating")))
            when += 2.0
            happened.append((when, Evaluation(
                time=when, step=step, samples=64 * step, epoch=step // 100, seconds=2.0,
                accuracy=chance.random(), peak=10 * GIB if gpus else None,
            )))  # fmt: skip
        if step % 150 == 0:
            error = "no space" if chance.random() < 0.3 else None
            saved = Checkpoint(time=when, step=step, samples=0, epoch=1, seconds=0.1, error=error)
            happened.append((when, saved))
        if chance.random() < 0.002:
            happened.append((when + 20, Event(time=when + 20, level="warning", kind="lost",
                                              message="no sign of life")))  # fmt: skip
            when += 30
            happened.append((when, Event(time=when, level="info", kind="revived", message="again")))
    why = chance.choice(["asked by the user", "restarting as a-002, batch size 64 → 128"])
    when += 1
    stop = Event(time=when, level="info", kind="stop", message=f"stopping: {why}")
    happened.append((when, stop))
    ended = when + chance.random() * 5
    happened += samples(chance, began, ended, gpus)
    return Tape(name, parent, first, began, device, sorted(happened, key=lambda h: h[0]), ended)


def at(run: RunDirectory, moment: float, after: float) -> View:
    """Return what a replay shows of a moment that it comes back to from a later one."""
    clock = ReplayClock(BEGAN, BEGAN, now=lambda: 0.0)
    source = ReplaySource(run, clock)
    source.span = SPAN
    source.read()  # learns how long the run is
    clock.go_to(after)
    source.read()
    clock.go_to(moment)
    return source.read()


def then(run: RunDirectory, moment: float) -> View:
    """Return what the screen showed when the store held no more than this."""
    source = RunSource(run, reader=RunReader(run, now=lambda: moment))
    source.span = SPAN
    return source.look(moment)


@settings(max_examples=15, deadline=None, phases=[Phase_.explicit, Phase_.generate])
@given(seed=st.integers(0, 1 << 30), share=st.floats(0.0, 0.999), resumed=st.booleans())
def test_a_moment_is_what_the_screen_read_then(
    seed: int, share: float, resumed: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("runs")
    tapes = [tape(seed)]
    if resumed and (trained := [w.step for _, w in tapes[0].happened if isinstance(w, Step)]):
        tapes = [tapes[0], tape(seed + 1, "a-002", "a-001", trained[-1])]
    *before, last = tapes
    moment = last.began + share * (last.ended - last.began)
    for one in before:
        one.record(root / "now")
        one.record(root / "then")
    shown = at(last.record(root / "now"), moment, (moment + last.ended) / 2)
    read = then(last.record(root / "then", moment), moment)
    assert shown.replay is not None
    assert shown.replay.moment == moment
    for name in View._fields:
        if name not in ("replay", "log"):
            assert getattr(shown, name) == getattr(read, name), name
    assert shown.log.lines == read.log.lines
