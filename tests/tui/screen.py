"""The program in a headless terminal, and the states of a run that it is shown."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from textual.pilot import Pilot

from batchtui.tui.app import BatchtuiApp
from batchtui.tui.facts import Facts
from batchtui.tui.replay.app import ReplayApp
from batchtui.tui.replay.clock import ReplayClock
from batchtui.tui.widgets.pane import Pane
from tests.tui import fake
from tests.tui.fake import FakeReplay, FakeSource, facts, gpu, machine

SIZES = [(60, 16), (80, 24), (120, 36), (200, 60)]
GPU = machine(gpus=(gpu(),))
EIGHT = machine(gpus=tuple(gpu(i, 50 + 3 * i, 80.0, name="NVIDIA A100") for i in range(8)))
TWO = machine(gpus=tuple(gpu(i, 11 + i, 24.0) for i in range(2)))
SLICES = machine(gpus=tuple(gpu(i, 2 + i, 10.0, name="A100 MIG 1g.10gb") for i in range(14)))
STATES: dict[str, Facts] = {
    "nothing": facts(0, status="starting", samples_per_s=None, sample=machine(0)),
    "starting": facts(0, status="starting", meta={"phase": "importing torch"}),
    "ten steps": facts(10),
    "training": facts(1800),
    "evaluating": facts(1800, meta={"phase": "evaluating"}),
    "one gpu": facts(1800, sample=GPU),
    "eight gpus": facts(1800, sample=EIGHT),
    "two gpus": facts(1800, sample=TWO),
    "slices": facts(1800, sample=SLICES),
    "two cores": facts(100, sample=machine(2)),
    "128 cores": facts(100, sample=machine(128)),
    "warned": facts(
        100,
        sample=machine(gpus=(gpu(used=23.5),)),
        meta={"memory_level": "critical", "memory_what": "GPU 0 memory 98% full"},
    ),
    "nan": facts(100, meta={"nonfinite_steps": 3}),
    "ten million steps": fake.lengthened(facts(1800), 10_000_000),
    "restarting": facts(100, status="stopping", meta={"successor": "digits-resnet18-002"}),
    "stopping": facts(100, status="stopping"),
    "finished": facts(1800, status="finished", ended=fake.NOW),
    "failed": facts(100, status="failed", ended=fake.NOW, cause="ValueError: no " + "x" * 300),
    "out of memory": facts(100, status="out of memory", ended=fake.NOW, cause="CUDA out of memory"),
    "lost": facts(100, status="lost", meta={"heartbeat": fake.NOW - 60}),
}


def lines(app: BatchtuiApp) -> list[str]:
    return [strip.text for strip in app.screen._compositor.render_strips()]


def has(app: BatchtuiApp, *texts: str) -> bool:
    shown = "\n".join(lines(app))
    missing = [text for text in texts if text not in shown]
    assert not missing, f"{missing} not in\n{shown}"
    return True


@asynccontextmanager
async def running(
    given: Facts | FakeSource | BatchtuiApp, size: tuple[int, int] = (120, 36), **more: object
) -> AsyncIterator[tuple[BatchtuiApp, Pilot[int]]]:
    if isinstance(given, BatchtuiApp):
        app = given
    else:
        source = given if isinstance(given, FakeSource) else FakeSource(given)
        app = BatchtuiApp(source, more.pop("stop", fake.stop), **more)  # type: ignore[arg-type]
    async with app.run_test(size=size) as pilot:
        for _ in range(100):
            await pilot.pause(0.02)
            if any(pane.view is not None for pane in app.screen.query(Pane)):
                break
        await pilot.pause()
        yield app, pilot


def replaying(
    given: Facts, share: float = 0.25, note: str = "", days: float = 0.1, **more: Any
) -> ReplayApp:
    """Return a replay that stands at a share of a run of so many days."""
    end = given.now + (1 - share) * days * 86_400
    clock = ReplayClock(end - days * 86_400, end, now=lambda: 0.0)
    clock.go_to(given.now)
    return ReplayApp(FakeReplay(given, clock, note), clock, **more)


async def settle(pilot: Pilot[int], condition: object = None) -> None:
    for _ in range(100):
        await pilot.pause(0.02)
        if condition is None or condition():  # type: ignore[operator]
            return
    raise AssertionError("did not happen")
