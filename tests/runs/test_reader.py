"""What a reader says of runs that live, ended, or lost their supervisor."""

from __future__ import annotations

import os
import socket
import subprocess
import time

import pytest

from batchtui.records import RunSummary
from batchtui.runs.directory import RunDirectory
from batchtui.runs.identity import Identity
from batchtui.runs.reader import HEARTBEAT_LIMIT, RunReader
from batchtui.runs.store import RunStore
from tests.runs.samples import fill


def test_a_summary_is_what_the_supervisor_wrote(run: RunDirectory) -> None:
    expected = RunSummary(
        run=run.name,
        status="failed",
        parent="x-001",
        batch_size=64,
        epoch=2,
        steps=10,
        samples=640,
        samples_per_s=812.5,
        loss=0.25,
        peak_bytes=1 << 40,
        started=1.0,
        ended=2.0,
        cause="it [/] broke",
    )
    store = RunStore(run.database)
    store.set_meta(**{name: getattr(expected, name) for name in RunSummary.__slots__}, other=1)
    store.close()
    assert RunReader(run).summary() == expected


def test_an_empty_run_has_a_summary_and_empty_series(run: RunDirectory) -> None:
    RunStore(run.database).close()
    reader = RunReader(run)
    assert reader.summary() == RunSummary(run=run.name, status="starting")
    assert reader.step_series(["loss"]).x == []
    assert reader.machine_series(["cpu"]).columns["cpu"].low == []
    assert reader.gpu_series(3, ["used"]).count == []
    assert reader.latest_machine() is None
    assert reader.lineage() == []


@pytest.mark.parametrize("status", ["starting", "running", "stopping", "lost"])
def test_a_run_without_its_supervisor_is_lost(run: RunDirectory, status: str) -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        identity = Identity.of(child.pid)
        assert identity is not None
        store = RunStore(run.database)
        store.set_meta(
            status=status,
            host=socket.gethostname(),
            heartbeat=0.0,
            supervisor_pid=identity.pid,
            supervisor_start=identity.start,
            boot_id=identity.boot,
        )
        store.close()
        assert RunReader(run).summary().status == status
    finally:
        child.kill()
        child.wait()
    assert RunReader(run).summary().status == "lost"


@pytest.mark.parametrize(
    ("changed", "status"),
    [({}, "running"), ({"supervisor_start": 1}, "lost"), ({"boot_id": "another"}, "lost")],
)
def test_a_reused_pid_is_not_the_supervisor(
    run: RunDirectory, changed: dict[str, object], status: str
) -> None:
    identity = Identity.of(os.getpid())
    assert identity is not None
    known = {"supervisor_start": identity.start, "boot_id": identity.boot} | changed
    store = RunStore(run.database)
    store.set_meta(
        status="running", host=socket.gethostname(), supervisor_pid=identity.pid, **known
    )
    store.close()
    assert RunReader(run).summary().status == status


def test_on_another_host_the_heartbeat_decides(run: RunDirectory) -> None:
    store = RunStore(run.database)
    store.set_meta(status="running", host="elsewhere", supervisor_pid=1, heartbeat=1000.0)
    store.close()
    for seconds, status in ((0.0, "running"), (-50.0, "running"), (HEARTBEAT_LIMIT + 1, "lost")):
        assert RunReader(run, now=lambda s=seconds: 1000.0 + s).summary().status == status
    store = RunStore(run.database)
    store.set_meta(status="finished")
    store.close()
    assert RunReader(run, now=lambda: 1e9).summary().status == "finished"


def test_a_run_that_never_said_a_word_is_lost_after_a_while(run: RunDirectory) -> None:
    RunStore(run.database).close()
    assert RunReader(run).summary().status == "starting"
    later = time.time() + HEARTBEAT_LIMIT + 1
    assert RunReader(run, now=lambda: later).summary().status == "lost"


def test_one_look_is_consistent_and_one_open_file(run: RunDirectory) -> None:
    store = fill(run)
    reader = RunReader(run)
    with reader.open() as same:
        assert same is reader
        before = reader.summary().steps
        store.set_meta(steps=1)
        store.commit()
        assert reader.summary().steps == before
        with reader.open():
            assert reader.meta()["steps"] == before
        assert reader.meta()["steps"] == before  # an inner block does not end the outer one
    assert reader.meta()["steps"] == 1
    store.close(final=True)
    descriptors = [
        os.readlink(f"/proc/self/fd/{fd}")
        for fd in os.listdir("/proc/self/fd")
        if os.path.islink(f"/proc/self/fd/{fd}")
    ]
    assert not any("run.db" in name for name in descriptors)
