"""Being asked to stop, and what is said of a death."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from batchtui.errors import ConfigError
from batchtui.train.failure import DataError, describe, summary, write_error
from batchtui.train.stop import ECHO_SECONDS, Shielded, StopRequest


class Left(Exception):
    """The process would be gone."""


def leave(reason: str) -> None:
    raise Left(reason)


def test_before_training_a_stop_leaves_at_once() -> None:
    stop = StopRequest(leave)
    assert not stop
    with pytest.raises(Left, match="SIGTERM"):
        stop.request("SIGTERM")


def test_in_training_a_stop_is_a_flag_and_its_echo_nothing() -> None:
    stop = StopRequest(leave)
    stop.begin_training()
    stop.request("SIGTERM")
    stop.request("SIGTERM")  # to the process, and to its group
    assert stop
    assert stop.reason == "SIGTERM"


def test_who_asks_twice_wants_it_now() -> None:
    stop = StopRequest(leave)
    stop.begin_training()
    stop.request("SIGTERM")
    time.sleep(ECHO_SECONDS + 0.05)
    with pytest.raises(Left, match="asked twice"):
        stop.request("SIGTERM")


CHILD = """
import sys, time
sys.path.insert(0, {root!r})
from batchtui.train.stop import obey_parent
obey_parent()
print("ready", flush=True)
time.sleep(30)
"""


def test_a_shielded_child_ends_for_its_parent_alone() -> None:
    root = str(Path(__file__).parents[2])
    with Shielded():
        command = [sys.executable, "-c", CHILD.format(root=root)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    subprocess.run(["/bin/sh", "-c", f"kill -TERM {child.pid}"], check=True)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.3)
    child.terminate()
    assert child.wait(10) == 0
    child.stdout.close()
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, set())


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def test_the_account_names_error_step_and_phase() -> None:
    account = describe(raised(RuntimeError("boom")), rank=1, step=7, phase="training")
    assert (account.type, account.message, account.rank) == ("RuntimeError", "boom", 1)
    assert (account.step, account.phase) == (7, "training")
    assert "raise error" in account.traceback
    assert describe(raised(ConfigError("no", "f:3")), 0, None, None).type == "ConfigError"
    assert describe(raised(json.JSONDecodeError("x", "", 0)), 0, 0, None).type == (
        "json.decoder.JSONDecodeError"
    )


def test_memory_held_by_the_frames_is_free_before_the_account_is_written() -> None:
    import weakref

    class Large:
        """A tensor, say."""

    seen: list[weakref.ref[Large]] = []

    def fails() -> None:
        held = Large()
        seen.append(weakref.ref(held))
        raise MemoryError

    try:
        fails()
    except MemoryError as error:
        account = describe(error, 0, 0, None)
        assert seen[0]() is None
    assert (account.type, account.message) == ("MemoryError", "MemoryError")


def test_an_error_of_a_loader_is_told_by_its_last_line() -> None:
    text = (
        "Caught DataError in DataLoader worker process 0.\nOriginal Traceback (most recent "
        "call last):\n  ...\nbatchtui.train.failure.DataError: a.png is no picture\n"
    )
    assert summary(DataError(text)) == "a.png is no picture"


def test_the_first_of_several_deaths_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "error.json"
    for rank in (2, 0):
        write_error(path, describe(raised(ValueError(f"on {rank}")), rank, 0, None))
    assert json.loads(path.read_text())["message"] == "on 2"
    assert os.listdir(tmp_path) == ["error.json"]


def test_an_account_that_cannot_be_written_is_no_second_death(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_error(tmp_path / "absent" / "error.json", describe(raised(ValueError("x")), 0, 0, None))
    assert "cannot be written" in capsys.readouterr().err
