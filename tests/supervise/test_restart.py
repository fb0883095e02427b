"""A restart at another batch size, the way back from one, and what a stop makes of both."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from batchtui.config.schema import Config, DataLoaders
from batchtui.errors import SuperviseError
from batchtui.forecast.prospect import past_runs
from batchtui.records import Fallback
from batchtui.runs.directory import RunDirectory, list_runs
from batchtui.supervise.control import request
from batchtui.supervise.lock import is_held
from tests.supervise.conftest import Training, write_launch

WORKER = str(Path(__file__).parent / "workers" / "resumable.py")


class Chain(Training):
    """A run at batch size 4, and the runs that come of it."""

    def worker(self, *options: str) -> list[str]:
        import sys

        return [sys.executable, WORKER, "{run}", *options]

    def restart(self, batch_size: int, **more: Any) -> Chain:
        """Ask for a restart; return the run that was promised."""
        message = {"op": "restart", "batch_size": batch_size, "accumulate": 1, **more}
        reply = request(self.run, message)
        assert reply["ok"], reply
        return self.beside(reply["run"])

    def beside(self, name: str) -> Chain:
        return Chain(RunDirectory(self.run.path.parent / name))

    def runs(self) -> list[str]:
        return [run.name for run in list_runs(self.run.path.parent)]

    def said(self) -> list[str]:
        return [event.message for event in self.events("restart")]

    def stop(self) -> dict[str, Any]:
        request(self.run, {"op": "stop"})
        return self.end()


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    """A run that can be restarted; at the end, nothing of it or of its successors is left."""
    run = RunDirectory(tmp_path / "run-001")
    run.path.mkdir()
    write_launch(run, Config(dataloaders=DataLoaders(batch_size=4)))
    chain = Chain(run)
    try:
        yield chain
        every = [Training(other) for other in list_runs(tmp_path)]
        left = [pid for training in every for pid in training.processes()]
        held = [training.run.name for training in every if is_held(training.run)]
    finally:
        for training in (chain, *(Training(other) for other in list_runs(tmp_path))):
            training.clean_up()
    assert (left, held) == ([], []), "something goes on"


def test_a_restart_goes_on_at_the_new_size_from_the_last_step(chain: Chain) -> None:
    assert chain.start("checkpoint_every=7") == "up"
    chain.until_steps(5)
    new = chain.restart(8, lr=0.5)
    old = chain.end()
    assert (old["status"], old["successor"]) == ("stopped", "run-002")
    assert old["cause"] == "restarting as run-002, batch size 4 → 8"
    spec = new.run.read_launch()
    assert spec.parent == "run-001"
    assert spec.config["dataloaders"]["batch_size"] == 8
    assert spec.config["optimizer"]["args"]["lr"] == 0.5
    assert "batch_size: 8" in new.run.config.read_text()
    new.until_steps(old["steps"] + 5)
    last = new.stop()
    assert last["samples"] == 4 * old["steps"] + 8 * (last["steps"] - old["steps"])
    assert new.said() == ["batch size 4 → 8, after run-001"]
    boundaries = [(part.run, part.batch_size) for part in new.reader.lineage()]
    assert boundaries == [("run-001", 4), ("run-002", 8)]


def test_a_second_request_is_refused_and_nothing_is_left_of_it(chain: Chain) -> None:
    chain.start("save=1.5")
    chain.until_steps(2)
    new = chain.restart(8)
    reply = request(chain.run, {"op": "restart", "batch_size": 16, "accumulate": 1})
    assert reply == {"ok": False, "error": "run-001 restarts as run-002 already"}
    chain.end()
    new.until_steps(3)
    new.stop()
    assert chain.runs() == ["run-001", "run-002"]


@pytest.mark.parametrize("size", [0, -4, "8", 1.5, True, None])
def test_a_request_that_makes_no_sense(chain: Chain, size: object) -> None:
    chain.start()
    chain.until_steps(1)
    reply = request(chain.run, {"op": "restart", "batch_size": size, "accumulate": 1})
    assert reply["ok"] is False
    assert "batch_size" in reply["error"]
    assert chain.meta()["status"] != "stopping"
    chain.stop()
    assert [path.name for path in chain.run.path.parent.iterdir()] == ["run-001"]


def test_a_stop_calls_the_restart_off(chain: Chain) -> None:
    chain.start("save=1.5")
    chain.until_steps(2)
    new = chain.restart(8)
    meta = chain.stop()
    assert meta["status"] == "stopped"
    assert meta["successor"] is None
    assert not new.run.path.exists()
    assert "called off" in chain.said()[-1]


def test_a_training_that_finishes_first_is_not_restarted(chain: Chain) -> None:
    chain.start("steps=30", "every=0.05")
    chain.until_steps(29)
    try:
        new = chain.restart(8).run
    except (AssertionError, SuperviseError):  # it was quicker still
        new = None
    meta = chain.end()
    if meta["status"] == "finished":
        assert new is None or not new.path.exists()
        assert meta.get("successor") is None
    else:
        assert new is not None
        chain.beside(new.name).end()


def test_without_a_checkpoint_nothing_begins_anew(chain: Chain) -> None:
    chain.start("keep=0")
    chain.until_steps(3)
    new = chain.restart(8)
    meta = chain.end()
    assert (meta["status"], meta["successor"]) == ("stopped", None)
    assert not new.run.path.exists()
    assert "no checkpoint could be written" in chain.said()[-1]


def went_back(chain: Chain, options: tuple[str, ...]) -> tuple[Chain, Chain]:
    """Restart at 8, which is too much; return that run, and the one that took over."""
    chain.start(*options)
    chain.until_steps(5)
    new = chain.restart(8)
    chain.end()
    new.until(lambda: new.run.database.exists())
    new.end()
    return new, chain.beside("run-003")


@pytest.mark.parametrize("late", ["late=0", "late=10"])
def test_a_size_that_runs_out_of_memory_is_gone_back_from_once(chain: Chain, late: str) -> None:
    dead, back = went_back(chain, ("oom_above=7", late))
    assert dead.meta()["status"] == "out of memory"
    assert dead.meta()["successor"] == "run-003"
    reason = "back to batch size 4: 8 ran out of memory"
    assert dead.said()[-1] == f"{reason}; goes on as run-003"
    spec = back.run.read_launch()
    assert (spec.reason, spec.went_back, spec.fallback) == (reason, True, None)
    assert spec.config == chain.run.read_launch().config
    assert spec.resume_from == dead.run.read_launch().resume_from
    back.until_steps(chain.meta()["steps"] + 3)
    assert back.said() == [f"{reason}, after run-002"]
    back.stop()
    assert chain.runs() == ["run-001", "run-002", "run-003"]
    deaths = {run.batch_size: run.out_of_memory for run in past_runs(chain.run.path.parent)}
    assert deaths == {4: False, 8: True}


def test_a_size_that_fills_the_memory_is_gone_back_from(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHTUI_TEST_FULL", "8")
    dead, back = went_back(chain, ())
    meta = dead.meta()
    assert meta["status"] == "stopped"
    assert "over limits.memory" in meta["cause"]
    reason = "back to batch size 4: 8 filled the memory"
    assert dead.said()[-1] == f"{reason}; goes on as run-003"
    back.until_steps(meta["steps"] + 3)  # from where the memory was full, not from before
    assert (back.meta()["batch_size"], back.said()) == (4, [f"{reason}, after run-002"])
    back.stop()
    deaths = {run.batch_size: run.out_of_memory for run in past_runs(chain.run.path.parent)}
    assert deaths == {4: False, 8: True}


def test_who_went_back_does_not_go_back_again(chain: Chain) -> None:
    _, back = went_back(chain, ("oom_above=7", "oom_in=run-003"))
    back.until(back.run.database.exists)
    meta = back.end()
    assert (meta["status"], meta.get("successor")) == ("out of memory", None)
    assert chain.runs() == ["run-001", "run-002", "run-003"]


def test_one_that_fails_before_its_first_step_is_gone_back_from(chain: Chain) -> None:
    dead, back = went_back(chain, ("fail_above=7",))
    assert dead.meta()["status"] == "failed"
    assert "8 failed before its first step (" in dead.said()[-1]
    back.until_steps(chain.meta()["steps"] + 1)
    back.stop()
    assert not any(run.out_of_memory for run in past_runs(chain.run.path.parent))


@pytest.fixture
def impatient(chain: Chain) -> Callable[[str], None]:
    """A run at size 8, after one at size 4, that has a second for its first step."""

    def start(option: str) -> None:
        good = RunDirectory(chain.run.path.parent / "good-001")
        good.path.mkdir()
        write_launch(good, Config(dataloaders=DataLoaders(batch_size=4)))
        write_launch(chain.run, Config(dataloaders=DataLoaders(batch_size=8)))
        launch = json.loads(chain.run.launch.read_text())
        fallback = Fallback(run="good-001", batch_size=4, first_step_within=1.0)
        launch["fallback"] = {name: getattr(fallback, name) for name in fallback.__slots__}
        chain.run.launch.write_text(json.dumps(launch))
        chain.start(option)

    return start


def test_a_first_step_that_never_comes(chain: Chain, impatient: Callable[[str], None]) -> None:
    impatient("hang_above=7")
    meta = chain.end()
    assert meta["status"] == "failed"
    assert meta["cause"] == "no first step within 1 s at batch size 8"
    assert "back to batch size 4: 8 never made its first step" in chain.said()[-1]
    back = chain.beside(meta["successor"])
    back.until_steps(2)
    assert back.meta()["batch_size"] == 4
    back.stop()
    deaths = {run.batch_size for run in past_runs(chain.run.path.parent) if run.out_of_memory}
    assert deaths == {8}


def test_a_stop_is_no_reason_to_go_back(chain: Chain, impatient: Callable[[str], None]) -> None:
    impatient("hang_above=7")
    chain.until(lambda: chain.meta().get("worker_pid"))
    request(chain.run, {"op": "stop", "now": True})
    meta = chain.end()
    assert (meta["status"], meta.get("successor")) == ("stopped", None)
    assert len(chain.runs()) == 2
