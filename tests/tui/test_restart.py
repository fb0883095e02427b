"""The dialog of a restart, and the screen that follows the run that takes over."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from batchtui.advise.restart import Plan
from batchtui.errors import SuperviseError
from batchtui.records import Event, Status
from batchtui.runs.directory import RunDirectory
from batchtui.runs.store import RunStore
from batchtui.tui.following import FollowingSource
from batchtui.tui.screens.dialog import DialogBox
from batchtui.tui.screens.restart import RestartDialog
from tests.tui import fake
from tests.tui.fake import FakeSource, facts, gpu, machine
from tests.tui.screen import has, lines, running, settle
from tests.tui.test_outlook import FakeProspect, looks

CONFIG = fake.CONFIG | {"optimizer": {"target": "torch.optim.SGD", "args": {"lr": 0.1}}}
GPU = facts(1800, sample=machine(gpus=(gpu(),)), meta={"config": CONFIG})
RED = "#ea6640"


class Restarts:
    """Takes plans, as the supervisor would."""

    def __init__(self, error: str | None = None) -> None:
        self.error = error
        self.plans: list[tuple[str, Plan]] = []

    def __call__(self, run: str, plan: Plan) -> None:
        self.plans.append((run, plan))
        if self.error is not None:
            raise SuperviseError(self.error)


async def opened(pilot: Any, *keys: str) -> None:
    await pilot.press(*keys, "enter")
    await settle(pilot, lambda: isinstance(pilot.app.screen, RestartDialog))


async def test_the_dialog_says_what_will_happen_and_does_it() -> None:
    restarts = Restarts()
    async with running(GPU, prospect=FakeProspect, restart=restarts) as (app, pilot):
        await opened(pilot, "greater_than_sign")
        await settle(pilot, lambda: "13.8 GiB" in "\n".join(lines(app)))
        assert has(
            app,
            "batch size 64 → 128",
            "peak, forecast 13.8 GiB (13.1 – 14.5) of 24.0 GiB",
            "6.5 GiB  fits",
            "0.100 → 0.200  linear",
            "64 → 128",
            "after the present step; 1,800 so far",
            "epoch 13",
            "9,600 samples left, in 75 steps",
        )
        assert RED not in looks(app, "13.8 GiB")
        await pilot.press("enter")
        await settle(pilot, lambda: restarts.plans)
        ((run, plan),) = restarts.plans
        assert (run, plan.batch_size, plan.accumulate) == ("digits-resnet18-001", 128, 1)
        assert plan.lr_after == pytest.approx(0.2)
        assert has(app, "restarting at batch size 128")


async def test_rule_rate_and_global_batch_can_be_chosen() -> None:
    restarts = Restarts()
    async with running(GPU, restart=restarts) as (app, pilot):
        await opened(pilot, "less_than_sign")
        await pilot.press("r")
        assert has(app, "0.100 → 0.0707  sqrt", "no noise rule: it takes gradients of half batches")
        await pilot.press("r")  # the noise scale is not measured: its rule is passed over
        assert has(app, "0.100 → 0.100  keep")
        await pilot.press("g")
        assert has(app, "64 → 64  2 batches a step  kept", "9,600 samples left, in 150 steps")
        await pilot.press("l", *"0.3x5", "backspace")
        assert has(app, "0.100 → 0.3_  typed")
        await pilot.press("enter")
        assert has(app, "0.100 → 0.300  as given")
        await pilot.press("enter")
        await settle(pilot, lambda: restarts.plans)
        plan = restarts.plans[0][1]
        assert (plan.batch_size, plan.accumulate, plan.lr_after) == (32, 2, 0.3)


async def test_what_is_no_rate_is_said_and_nothing_is_restarted() -> None:
    restarts = Restarts()
    async with running(GPU, restart=restarts) as (app, pilot):
        await opened(pilot, "greater_than_sign")
        for keys, reason in (
            ("1e", "'1e' is no learning rate"),
            ("", "no rate was typed"),
            ("-1", "learning rate -1.0: a learning rate is a number above 0"),
        ):
            await pilot.press("l", *keys, "enter")
            assert has(app, reason, "0.100 → 0.200  linear")
        await pilot.press("enter")  # the reason has been seen
        assert isinstance(app.screen, RestartDialog)
        await pilot.press("l", *"1e999", "enter", "l", *"0.2", "enter")
        assert has(app, "0.100 → 0.200  as given")
        await pilot.press("l", "7", "escape", "escape")
        assert not isinstance(app.screen, RestartDialog)
        assert restarts.plans == []


async def test_what_will_not_fit_is_red_and_asks_twice() -> None:
    restarts = Restarts()
    async with running(GPU, prospect=FakeProspect, restart=restarts) as (app, pilot):
        await opened(pilot, "greater_than_sign", "greater_than_sign")
        await settle(pilot, lambda: "will not fit" in "\n".join(lines(app)))
        assert RED in looks(app, "26.6 GiB")
        assert has(app, "!! it will not fit, says the forecast")
        await pilot.press("enter")
        assert has(app, "enter again: all the same")
        assert restarts.plans == []
        await pilot.press("enter")
        await settle(pilot, lambda: restarts.plans)
        assert restarts.plans[0][1].batch_size == 256


async def test_a_refusal_is_told() -> None:
    restarts = Restarts("digits-resnet18-001 is stopping already")
    async with running(GPU, restart=restarts) as (app, pilot):
        await opened(pilot, "greater_than_sign")
        await pilot.press("enter")
        await settle(pilot, lambda: "is stopping already" in "\n".join(lines(app)))
        assert has(app, "digits-resnet18-001 is stopping already")


async def test_enter_without_a_choice_or_at_the_end_says_so() -> None:
    async with running(GPU, restart=Restarts()) as (app, pilot):
        await pilot.press("enter")
        assert has(app, "choose the next batch size first")
    finished = facts(1800, status="finished", ended=fake.NOW, meta={"config": CONFIG})
    async with running(finished, restart=Restarts()) as (app, pilot):
        await pilot.press("greater_than_sign", "enter")
        assert has(app, "finished: nothing is left to train")


async def test_an_ended_run_says_what_is_trained_again() -> None:
    ended = facts(1800, status="stopped", ended=fake.NOW, meta={"config": CONFIG})
    async with running(ended, restart=Restarts()) as (app, pilot):
        await opened(pilot, "greater_than_sign")
        assert has(app, "the last one, of step 1,500", "300 steps since the checkpoint are trained")


async def test_a_training_that_ends_under_the_dialog_is_not_restarted() -> None:
    restarts, source = Restarts(), FakeSource(GPU)
    async with running(source, restart=restarts, refresh=0.1) as (app, pilot):
        await opened(pilot, "greater_than_sign")
        trained = {"epochs": 12, "train_samples": 64 * 150}
        source.facts = dataclasses.replace(GPU, meta=GPU.meta | trained)
        await settle(pilot, lambda: "all 12 epochs are trained" in "\n".join(lines(app)))
        source.facts = facts(1800, status="finished", ended=fake.NOW, meta={"config": CONFIG})
        await settle(pilot, lambda: "the training has finished" in "\n".join(lines(app)))
        await pilot.press("enter")
        assert isinstance(app.screen, RestartDialog)
        assert restarts.plans == []


@pytest.mark.parametrize("size", [(60, 16), (80, 24)])
async def test_the_dialog_fits(size: tuple[int, int]) -> None:
    async with running(GPU, size, prospect=FakeProspect, restart=Restarts()) as (app, pilot):
        await opened(pilot, "greater_than_sign")
        await settle(pilot, lambda: "13.8 GiB" in "\n".join(lines(app)))
        assert has(app, "learning rate", "global batch", "epoch 13", "enter restart", "esc")


async def test_another_run_closes_the_dialog_and_forgets_the_choice() -> None:
    other = dataclasses.replace(
        facts(1900, run="digits-resnet18-002", batch_size=128, global_batch_size=128),
        meta=GPU.meta | {"reason": "batch size 64 → 128"},
    )
    source = FakeSource(GPU)
    async with running(source, restart=Restarts(), refresh=0.1) as (app, pilot):
        await opened(pilot, "less_than_sign")
        source.facts = other
        await settle(pilot, lambda: not isinstance(app.screen, RestartDialog))
        await settle(pilot, lambda: "digits-resnet18-002" in "\n".join(lines(app)))
        assert has(app, "batch size 64 → 128")
        assert "→ 32" not in "\n".join(lines(app))


# ------------------------------------------------------------------ from run to run


def recorded(root: Path, name: str, **meta: object) -> RunDirectory:
    run = RunDirectory(root / name)
    run.path.mkdir(exist_ok=True)
    store = RunStore(run.database)
    store.set_meta(**({"run": name, "heartbeat": fake.NOW, "host": "elsewhere"} | meta))
    store.add_event(Event(time=1.0, level="info", kind="restart", message=f"event of {name}"))
    store.commit()
    store.close(final=True)
    run.log.write_text(f"line of {name}\n")
    return run


def test_the_source_follows_a_run_it_saw_alive_and_keeps_its_log(tmp_path: Path) -> None:
    first = recorded(tmp_path, "a-001", status="starting", heartbeat=4e9)
    born: list[RunDirectory] = []
    source = FollowingSource(first, lambda run, name: born[0] if born else None)
    assert source.read().status is Status.STARTING
    recorded(tmp_path, "a-001", status="stopped", successor="a-002")
    assert source.read().run == "a-001"  # the other is not there yet
    born.append(recorded(tmp_path, "a-002", status="starting", heartbeat=4e9))
    view = source.read()
    assert (view.run, source.run) == ("a-002", born[0])
    texts = [line.text for line in view.log.lines]
    assert texts.index("line of a-001") < texts.index("line of a-002")
    numbers = [line.number for line in view.log.lines]
    assert numbers == sorted(set(numbers))


def test_a_run_that_had_ended_is_shown_as_it_is_until_it_is_restarted(tmp_path: Path) -> None:
    first = recorded(tmp_path, "a-001", status="stopped", successor="a-002")
    second = recorded(tmp_path, "a-002", status="stopped")
    source = FollowingSource(first, lambda run, name: second)
    assert [source.read().run, source.read().run] == ["a-001", "a-001"]
    source.go_on("a-001", lambda run: second)
    assert source.read().run == "a-002"


def configured(path: Path, started: float = fake.NOW, size: int = 64) -> Any:
    """Return the facts of a run of a file, which was last written at NOW."""
    path.write_text("name: own\ndataloaders:\n  batch_size: 64  # fits\n")
    os.utime(path, (fake.NOW, fake.NOW))
    ran = facts(1800, sample=machine(gpus=(gpu(),)), meta={"config": CONFIG},
                started=started, batch_size=size)  # fmt: skip
    return dataclasses.replace(ran, meta=ran.meta | {"config_path": str(path)})


async def test_w_shows_the_line_and_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    async with running(configured(path), (120, 36)) as (app, pilot):
        await pilot.press("w")
        assert has(app, "own.yaml: batch_size is 64 already")
        await pilot.press("greater_than_sign", "w")
        assert has(app, "- batch_size: 64  # fits", "+ batch_size: 128  # fits")
        assert "has changed" not in "\n".join(lines(app))
        await pilot.press("escape")
        assert "64" in path.read_text()
        await pilot.press("w", "enter")
        assert has(app, "written: batch_size: 128")
    assert path.read_text() == "name: own\ndataloaders:\n  batch_size: 128  # fits\n"


async def test_w_writes_the_size_that_runs_and_tells_what_happened_to_the_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "own.yaml"
    given = configured(path, started=fake.NOW - 60, size=96)  # by --batch-size, or a restart
    async with running(given, (120, 36)) as (app, pilot):
        await pilot.press("w")
        assert has(app, "+ batch_size: 96  # fits", "the file has changed since the run started")
        path.write_text("batch_size: mine\n")
        await pilot.press("enter")
        assert has(app, "own.yaml: changed on disk meanwhile; look again")
        assert path.read_text() == "batch_size: mine\n"
        for text, reason in (
            ("dataloaders: {batch_size: &b 64}\nmine: *b\n", "cannot be changed alone"),
            ("a: [", "cannot be changed alone"),
        ):
            path.write_text(text)
            await pilot.press("w")
            assert has(app, f"own.yaml: batch_size {reason}: edit it by hand")
        path.unlink()
        await pilot.press("w")
        assert has(app, "own.yaml: cannot be read: No such file or directory")


async def test_w_leaves_a_read_only_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    given = configured(path)
    path.chmod(0o444)
    async with running(given, (120, 36)) as (app, pilot):
        await pilot.press("greater_than_sign", "w", "enter")
        assert has(app, "own.yaml: cannot be written: it is read-only")
    assert "64" in path.read_text()


async def test_a_view_that_comes_while_the_dialog_is_taken_away_ends_nothing() -> None:
    async with running(GPU, restart=Restarts()) as (app, pilot):
        await opened(pilot, "greater_than_sign")
        await app.screen.query_one(DialogBox).remove()
        app.post_message(app.Seen(FakeSource(GPU).read()))
        await pilot.pause()
        assert app.crash is None
