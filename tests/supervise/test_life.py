"""Whole lives of runs, with real processes and real signals."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading
import time

import pytest

from batchtui.errors import SuperviseError
from batchtui.supervise.control import request
from tests.supervise.conftest import Training


def test_a_training_that_finishes(training: Training) -> None:
    assert training.start("steps=25", "every=0.01", "nan=7") == "up"
    meta = training.end()
    assert training.host is not None
    assert training.host.returncode == 0
    assert (meta["status"], meta["cause"], meta["exit_code"]) == ("finished", None, 0)
    assert (meta["steps"], meta["samples"], meta["epoch"]) == (25, 100, 1)
    assert meta["loss"] == pytest.approx(1 / 25)
    assert meta["samples_per_s"] == pytest.approx(400)
    assert meta["step_time_p50_s"] == pytest.approx(0.01)
    assert meta["nonfinite_steps"] == 1
    assert meta["peak_bytes"] > 1 << 20
    assert meta["limit_bytes"] > meta["peak_bytes"]
    assert meta["ended"] >= meta["started"]
    kinds = [event.kind for event in training.events()]
    assert kinds == ["launched", "phase", "started", "loss", "ended"]
    assert sum(training.reader.step_series(["loss"]).count) == 25


def test_what_an_ended_run_leaves(training: Training) -> None:
    training.start("steps=3")
    training.end()
    assert sorted(path.name for path in training.run.path.iterdir()) == [
        *("journal", "launch.json", "run.db", "supervisor.log", "worker.log"),
    ]
    with sqlite3.connect(f"file:{training.run.database}?mode=ro&immutable=1", uri=True) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_killed_worker(training: Training, number: signal.Signals) -> None:
    training.start("children=2", "shm=2", "sessions=1")
    training.until_steps(5)
    pid = training.worker_pid()
    began = time.monotonic()
    training.kill(number)
    meta = training.end()
    assert time.monotonic() - began < 3
    assert meta["status"] == "failed"
    assert f"killed by {number.name} (signal {number.value}), pid {pid}" in meta["cause"]
    assert meta["exit_code"] == -number
    if number is signal.SIGKILL:
        assert "not by batchtui, and the kernel reports no out-of-memory kill" in meta["cause"]
    assert "removed 4" in training.events("shm")[0].message


def test_stop_at_a_checkpoint(training: Training) -> None:
    training.start("children=1")
    training.until_steps(5)
    reply = request(training.run, {"op": "stop"})
    assert reply == {"ok": True, "status": "stopping"}
    meta = training.end()
    assert (meta["status"], meta["cause"], meta["exit_code"]) == ("stopped", "asked by the user", 0)
    assert training.reader.checkpoints(limit=9)[-1].step == meta["steps"]
    assert any("SIGTERM to the worker" in event.message for event in training.events("stop"))


def test_a_worker_that_does_not_stop_is_killed_with_all_below_it(training: Training) -> None:
    training.start("term=ignore", "children=2", "sessions=2", "stubborn=1", "shm=1", stop=0.5)
    training.until_steps(2)
    request(training.run, {"op": "stop"})
    meta = training.end()
    assert meta["status"] == "stopped"
    assert "asked by the user; it did not stop within 0 s and was killed" in meta["cause"]
    messages = [event.message for event in training.events("stop")]
    assert any("SIGKILL to 5 processes" in message for message in messages)


def test_a_second_stop_does_not_wait_for_the_checkpoint(training: Training) -> None:
    training.start("checkpoint=60", stop=60.0)
    training.until_steps(2)
    request(training.run, {"op": "stop"})
    request(training.run, {"op": "stop"})  # the same once more changes nothing
    time.sleep(0.3)
    assert training.meta()["status"] == "stopping"
    request(training.run, {"op": "stop", "now": True})
    meta = training.end(5)
    assert meta["status"] == "stopped"
    assert meta["exit_code"] in (1, -signal.SIGKILL)


def test_stop_now(training: Training) -> None:
    training.start("term=ignore", stop_now=1.5)
    training.until_steps(2)
    request(training.run, {"op": "stop", "now": True})
    meta = training.end(5)
    assert meta["cause"] == "asked by the user; killed without a checkpoint, as asked"


def test_stop_while_it_starts(training: Training) -> None:
    training.start("start=60", "term=default")
    training.until(lambda: training.meta().get("phase") == "importing torch")
    request(training.run, {"op": "stop"})
    meta = training.end(5)
    assert (meta["status"], meta["exit_code"]) == ("stopped", -signal.SIGTERM)


def test_stop_of_a_worker_that_somebody_has_stopped(training: Training) -> None:
    training.start()
    training.until_steps(2)
    training.kill(signal.SIGSTOP)
    request(training.run, {"op": "stop"})
    assert training.end(5)["exit_code"] == 0


def test_a_supervisor_told_to_end_stops_its_worker(training: Training) -> None:
    training.start()
    training.until_steps(2)
    assert training.host is not None
    training.host.terminate()
    meta = training.end(5)
    assert meta["status"] == "stopped"
    assert "SIGTERM" in meta["cause"]


def test_a_closed_terminal_and_ctrl_c_change_nothing(training: Training) -> None:
    training.start()
    training.until_steps(2)
    assert training.host is not None
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE):
        training.host.send_signal(number)
    steps = training.meta()["steps"]
    training.until_steps(steps + 5)
    request(training.run, {"op": "stop"})
    assert training.end(5)["status"] == "stopped"


def test_full_memory_stops_the_training_at_a_checkpoint(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHTUI_TEST_FULL", "1")
    training.start("every=0.01", tick=0.5)
    meta = training.end()
    assert meta["status"] == "stopped"
    assert "host memory is 99% full" in meta["cause"]
    assert "over limits.memory (95%)" in meta["cause"]
    assert training.reader.checkpoints(limit=9)[-1].step == meta["steps"]
    assert (meta["memory_level"], meta["memory_what"]) == ("critical", "host memory")


def test_processes_that_outlive_the_worker_are_ended(training: Training) -> None:
    training.start("steps=5", "children=1", "sessions=2", "stubborn=1", orphans=0.5)
    meta = training.end()
    assert meta["status"] == "finished"
    messages = [event.message for event in training.events("stop")]
    assert "SIGTERM to 3 processes" in messages[0]
    assert "SIGKILL to 3 processes" in messages[1]


def test_silence_is_told_and_taken_back(training: Training) -> None:
    training.start("every=0.01", silence=0.5, phase=30.0)
    training.until_steps(5)
    training.kill(signal.SIGSTOP)
    training.until_status("lost")
    assert "no sign of life" in training.events("lost")[0].message
    training.kill(signal.SIGCONT)
    training.until_status("running")
    assert training.events("revived")
    request(training.run, {"op": "stop"})
    assert training.end(5)["status"] == "stopped"


def test_a_phase_may_be_silent_for_longer(training: Training) -> None:
    training.start("start=1.2", "steps=3", silence=0.1, phase=0.6)
    training.until_status("lost")
    assert "(importing torch)" in training.events("lost")[0].message
    assert training.end()["status"] == "finished"


def test_an_error_is_told_in_its_own_words(training: Training) -> None:
    training.start("error=builtins.MemoryError:@3")
    meta = training.end()
    assert (meta["status"], meta["exit_code"]) == ("out of memory", 1)
    assert meta["cause"] == "host out of memory: MemoryError"
    assert training.events("advice")


def test_an_exit_without_a_word(training: Training) -> None:
    training.start("steps=3", "end=none", "code=7")
    assert "ended with code 7" in training.end()["cause"]


def test_one_supervisor_a_run(training: Training) -> None:
    training.start()
    training.until_steps(2)
    other = Training(training.run)
    assert "started before" in other.start()
    assert other.host is not None
    assert other.host.wait(5) == 1
    other.host.stdout.close()  # type: ignore[union-attr]
    request(training.run, {"op": "stop"})
    training.end(5)
    with pytest.raises(SuperviseError, match="no supervisor listens"):
        request(training.run, {"op": "ping"})


def test_two_supervisors_at_once(training: Training) -> None:
    other = Training(training.run)
    lines: list[str] = []
    threads = [
        threading.Thread(target=lambda t=t: lines.append(t.start())) for t in (training, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lines.count("up") == 1, lines
    request(training.run, {"op": "stop"})
    assert training.host is not None
    assert other.host is not None
    assert sorted([training.host.wait(10), other.host.wait(10)]) == [0, 1]
    other.clean_up()


def test_a_worker_that_cannot_be_started(training: Training) -> None:
    training.worker = lambda *options: ["/no/such/python"]  # type: ignore[method-assign]
    line = training.start()
    assert line == "the worker cannot be started: /no/such/python: No such file or directory"
    meta = training.end()
    assert (meta["status"], meta["cause"]) == ("failed", line)
    assert not training.run.lock.exists()
    assert not training.run.socket.exists()


def test_processes_that_fork_as_fast_as_they_can(training: Training) -> None:
    """A small fork bomb: each process starts its successor in a session of its own, and goes."""
    bomb = (
        "import os, sys, time\n"
        "if os.fork(): time.sleep(300)\n"
        "for _ in range(3):\n"
        "    if os.fork() == 0: break\n"
        "end = time.monotonic() + 20\n"
        "while time.monotonic() < end:\n"
        "    os.setsid() if os.getpid() != os.getsid(0) else None\n"
        "    if os.fork(): os._exit(0)\n"
        "    time.sleep(0.002)\n"
    )
    training.worker = lambda *options: [sys.executable, "-c", bomb]  # type: ignore[method-assign]
    training.start(stop=0.3)
    training.until(lambda: len(training.processes()) >= 3)
    training.kill()
    training.end(10)
    assert os.path.exists(training.run.database)
