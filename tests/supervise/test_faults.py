"""Full disks, floods, abuse, and supervisors that are killed."""

from __future__ import annotations

import os
import resource
import signal
import socket
import sqlite3
import time

import psutil
import pytest

from batchtui.runs.directory import RunDirectory
from batchtui.runs.moment import MomentReader
from batchtui.supervise.control import is_supervised, request
from batchtui.supervise.lock import Owned, RunLock
from batchtui.supervise.recover import recover, recover_if_abandoned
from tests.supervise.conftest import Training

# ------------------------------------------------------------------- a store that fails


def limit_files(pid: int, size: int) -> None:
    """Let a process write no file beyond `size` bytes: to it, the disk is full."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


def test_a_full_disk_costs_the_training_nothing(training: Training) -> None:
    training.start("every=0.005")
    training.until_steps(20)
    assert training.host is not None
    journal = training.run.journals / "rank-0.jsonl"
    limit_files(training.host.pid, 4096)
    time.sleep(0.3)
    recorded, written = training.meta()["steps"], journal.stat().st_size
    time.sleep(1.0)
    assert training.meta()["steps"] == recorded
    assert journal.stat().st_size > written + 5000
    assert request(training.run, {"op": "ping"})["ok"]
    limit_files(training.host.pid, resource.RLIM_INFINITY)
    training.until(lambda: training.events("store"))
    assert "nothing could be recorded" in training.events("store")[0].message
    request(training.run, {"op": "stop"})
    meta = training.end()
    assert meta["status"] == "stopped"
    assert sum(training.reader.step_series(["loss"]).count) == meta["steps"]


def test_a_disk_that_is_full_at_the_end_is_made_up_for_later(training: Training) -> None:
    training.start("every=0.01", "children=1", store=1.0)
    training.until_steps(10)
    assert training.host is not None
    limit_files(training.host.pid, 4096)
    time.sleep(0.3)
    training.kill(signal.SIGSEGV)
    training.host.wait(20)
    assert training.run.lock.exists()
    assert training.reader.summary().status == "lost"
    recover_if_abandoned(training.run)
    meta = training.reader.meta()
    assert meta["status"] == "failed"
    assert "SIGSEGV" in meta["cause"]
    assert sum(training.reader.step_series(["loss"]).count) == meta["steps"]
    assert not training.run.lock.exists()


def test_a_locked_store(training: Training) -> None:
    training.start("every=0.01")
    training.until_steps(5)
    with sqlite3.connect(training.run.database, isolation_level=None) as db:
        db.execute("BEGIN IMMEDIATE")
        time.sleep(1.5)
        db.execute("ROLLBACK")
    db.close()
    training.until(lambda: training.events("store"))
    request(training.run, {"op": "stop"})
    assert training.end()["status"] == "stopped"


# --------------------------------------------------------------------------- much output


def test_a_worker_that_prints_without_end(training: Training) -> None:
    """About a gigabyte a second, where the disk is memory."""
    training.start("flood=1")
    training.until_steps(3)
    assert training.host is not None
    supervisor = psutil.Process(training.host.pid)
    began, before = time.monotonic(), supervisor.cpu_times()
    largest = 0
    while time.monotonic() < began + 2.0:
        largest = max(largest, training.run.log.stat().st_size)
        time.sleep(0.01)
    used = sum(supervisor.cpu_times()[:2]) - sum(before[:2])
    assert largest < 1 << 30
    assert used < 0.75 * 2.0  # some 0.3 on an idle machine: it never only trims
    request(training.run, {"op": "stop"})
    assert training.end()["status"] == "stopped"
    log = training.run.log.read_bytes()
    assert log.startswith(b"a line that says nothing much at all\n")
    assert "bytes left out …]\n".encode() in log
    notes = MomentReader(training.run).log_sizes(1000)
    assert len(notes) > 5  # one a tick
    assert [note.bytes for note in notes] == sorted(note.bytes for note in notes)
    assert notes[-1].bytes > len(log)  # what was cut out counts


# --------------------------------------------------------------------------- bad clients


def test_abuse_of_the_socket_does_not_reach_the_training(training: Training) -> None:
    training.start("every=0.01")
    training.until_steps(2)
    clients = []
    for sent in (b"\xff" * 3000, b"{}\n", b'{"op": ["stop"]}\n', b'{"op": "nonsense"}\n', b""):
        for _ in range(10):
            client = socket.socket(socket.AF_UNIX)
            client.connect(str(training.run.socket))
            client.sendall(sent)
            clients.append(client)
    steps = training.meta()["steps"]
    training.until_steps(steps + 20)
    reply = request(training.run, {"op": "status"})
    assert (reply["status"], reply["worker_pid"]) == ("running", training.worker_pid())
    for client in clients:
        client.close()
    request(training.run, {"op": "stop"})
    assert training.end()["status"] == "stopped"


# ------------------------------------------------------------- a supervisor that is killed


def kill_supervisor(training: Training) -> None:
    assert training.host is not None
    training.host.kill()
    training.host.wait()


def test_a_killed_supervisor_lets_the_worker_save_its_work(training: Training) -> None:
    training.start("every=0.01", "checkpoint=0.5")
    training.until_steps(5)
    kill_supervisor(training)
    assert not is_supervised(training.run)
    recover_if_abandoned(training.run)  # the worker is still writing
    assert training.reader.summary().status == "lost"
    assert recover(training.run)
    meta = training.reader.meta()
    assert meta["status"] == "stopped"
    assert meta["cause"] == "the supervisor was killed; the worker saved its work and stopped"
    assert training.reader.checkpoints(limit=9)[-1].step == meta["steps"]
    assert sum(training.reader.step_series(["loss"]).count) == meta["steps"]
    assert not training.run.lock.exists()
    assert not training.run.socket.exists()
    assert recover(training.run), "once more changes nothing"


def test_what_a_killed_supervisor_leaves_is_ended(training: Training) -> None:
    """Also the data loaders, and their files."""
    training.start("every=0.01", "children=2", "shm=2", "sessions=1", "stubborn=1")
    training.until_steps(5)
    training.until(lambda: len(read_owned(training.run).tree) == 4)
    kill_supervisor(training)
    assert recover(training.run)
    assert training.meta()["status"] == "stopped"
    assert "removed 4" in training.events("shm")[0].message


def test_a_worker_that_goes_on_without_its_supervisor_is_killed(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    from batchtui.supervise import recover as module

    monkeypatch.setattr(module, "_GRACE_S", 1.0)
    training.start("term=ignore")
    training.until_steps(2)
    kill_supervisor(training)
    assert recover(training.run)
    meta = training.reader.meta()
    assert meta["status"] == "failed"
    assert meta["cause"] == "the supervisor was killed; the worker did not stop, and was killed"


def test_both_killed(training: Training) -> None:
    training.start("every=0.01", "term=ignore")
    training.until_steps(5)
    pid = training.worker_pid()
    kill_supervisor(training)
    os.kill(pid, signal.SIGKILL)
    training.until(lambda: not training.processes())
    recover_if_abandoned(training.run)
    meta = training.reader.meta()
    assert meta["cause"] == "the supervisor was killed; the worker is gone without a word"


def read_owned(run: RunDirectory) -> Owned:
    """Read the lock's file as `recover` does."""
    with open(run.lock, "rb") as file:
        owned = RunLock(run, os.dup(file.fileno())).read()
    assert owned is not None
    return owned


def test_a_restarted_machine(training: Training) -> None:
    training.start("steps=5")
    training.end()
    with sqlite3.connect(training.run.database) as db:
        db.execute("""UPDATE meta SET value = '"running"' WHERE key = 'status'""")
        db.execute("DELETE FROM meta WHERE key = 'end'")
    db.close()
    lock = RunLock.acquire(training.run)
    assert lock is not None
    from batchtui.runs.identity import Identity

    elsewhen = Identity(pid=os.getpid(), start=1, boot="another")
    lock.write(Owned(supervisor=elsewhen, worker=elsewhen, tree=[elsewhen]))
    lock.release(finished=False)
    assert recover(training.run)
    meta = training.meta()
    assert meta["status"] == "failed"
    assert meta["cause"] == "the machine was restarted; the worker is gone without a word"


def test_a_supervisor_killed_when_all_was_said(training: Training) -> None:
    training.start("steps=5")
    before = training.end()
    training.run.lock.touch()
    assert recover(training.run)
    assert training.meta() == before
    assert not training.run.lock.exists()


def test_a_live_run_is_not_recovered(training: Training) -> None:
    training.start("every=0.01")
    training.until_steps(2)
    assert recover(training.run) is False
    recover_if_abandoned(training.run)
    assert is_supervised(training.run)
    request(training.run, {"op": "stop"})
    training.end()


def test_a_run_of_another_machine_is_left_alone(run: RunDirectory, training: Training) -> None:
    training.start("steps=2")
    training.end()
    lock = RunLock.acquire(run)
    assert lock is not None
    from batchtui.runs.identity import Identity

    lock.write(Owned(supervisor=Identity(1, 1, "another"), host="another"))
    lock.release(finished=False)
    assert recover(run) is False


def test_a_lock_of_nothing(run: RunDirectory) -> None:
    run.lock.touch()
    assert recover(run)
    assert not run.lock.exists()
