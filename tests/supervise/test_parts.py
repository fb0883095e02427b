"""The small parts: the stop ladder, silence, what is left in /dev/shm, the lock, the log."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from batchtui.config.schema import Config, Launch, Limits
from batchtui.errors import SuperviseError
from batchtui.records import Checkpoint, Note, Phase, Start, Step
from batchtui.runs.directory import RunDirectory
from batchtui.runs.identity import Identity
from batchtui.supervise import ladder, shm, worker
from batchtui.supervise.ladder import Ladder
from batchtui.supervise.lock import Owned, RunLock, is_held
from batchtui.supervise.log import LogTrimmer, open_log, read_tail
from batchtui.supervise.patience import Patience
from batchtui.supervise.silence import Silence

TERM, KILL = signal.SIGTERM, signal.SIGKILL

# ------------------------------------------------------------------------------ stopping


def test_the_gentle_ladder() -> None:
    steps = Ladder(ladder.gently(60.0), foot=100.0)
    assert steps.due(100.0) == [TERM]
    assert steps.next_at == 160.0
    assert steps.due(159.9) == []
    assert steps.due(160.0) == [KILL]
    assert (steps.due(200.0), steps.next_at) == ([], None)


def test_the_ladder_at_once_asks_twice() -> None:
    steps = Ladder(ladder.at_once(2.0), foot=0.0)
    assert [steps.due(now) for now in (0.0, 1.0, 1.3, 2.0)] == [[TERM], [], [TERM], [KILL]]
    assert Ladder(ladder.at_once(2.0), foot=0.0).due(9.0) == [TERM, TERM, KILL]


# ------------------------------------------------------------------------------- silence


def step(number: int) -> Step:
    return Step(time=0.0, step=number, samples=number, epoch=1, batch=1)


START = Start(
    time=0.0, pid=1, batch_size=1, global_batch_size=1, train_samples=1, epochs=1, total_samples=1
)


def test_how_long_a_silence_may_be() -> None:
    silence = Silence(Patience(silence=30.0, silence_steps=20.0, phase=600.0), now=0.0)
    assert silence.overdue(None, 599.0) is None
    assert silence.overdue(None, 661.0) == "no sign of life for 11m01s (starting)"
    silence.heard(Phase(time=0.0, phase="importing torch"), 700.0)
    assert silence.overdue(None, 1301.0) == "no sign of life for 10m01s (importing torch)"
    silence.heard(START, 1400.0)
    assert silence.overdue(None, 1900.0) is None  # the first step may compile
    silence.heard(step(1), 2000.0)
    assert silence.overdue(0.01, 2030.0) is None
    assert silence.overdue(0.01, 2031.0) == "no sign of life for 31s"
    assert silence.overdue(2.0, 2031.0) is None
    assert silence.overdue(2.0, 2041.0) is not None
    silence.heard(Phase(time=0.0, phase="evaluating"), 2100.0)
    silence.heard(Note(time=0.0, message="slow disk"), 2100.0)
    assert silence.overdue(0.01, 2600.0) is None
    silence.heard(Checkpoint(time=0.0, step=1, samples=1, epoch=1), 2600.0)
    assert silence.overdue(0.01, 2631.0) is not None
    silence.excuse(2631.0)
    assert silence.overdue(0.01, 2661.0) is None


# ------------------------------------------------------------------------------ /dev/shm


def test_only_files_of_our_dead_are_swept(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    names = {
        "ours": f"torch_{dead.pid}_1_0",
        "alive": f"torch_{os.getpid()}_1_0",
        "stranger": "torch_999999_1_0",
        "earlier": f"torch_{dead.pid}_0_0",
        "other": "psm_12345",
        "odd": "torch_x_1",
    }
    for name in names.values():
        (tmp_path / name).write_bytes(b"x" * 5000)
    (tmp_path / f"torch_{dead.pid}_2_0").mkdir()
    (tmp_path / f"torch_{dead.pid}_3_0").symlink_to(tmp_path / names["other"])
    swept = shm.sweep({dead.pid, os.getpid()}, [names["earlier"]], str(tmp_path))
    assert swept.files == 1
    assert swept.size >= 5000
    assert not (tmp_path / names.pop("ours")).exists()
    assert all((tmp_path / name).exists() for name in names.values())


# ------------------------------------------------------------------------------ the lock


def test_the_lock_is_one_s_own(run: RunDirectory) -> None:
    lock = RunLock.acquire(run)
    assert lock is not None
    assert is_held(run)
    began = time.monotonic()
    assert RunLock.acquire(run, patience=0.2) is None
    assert 0.2 <= time.monotonic() - began < 1
    me = Identity.of(os.getpid())
    assert me is not None
    lock.write(Owned(supervisor=me, tree=[me] * 50, cause="x" * 500))
    lock.write(Owned(supervisor=me, worker=me))
    owned = lock.read()
    assert owned is not None
    assert (owned.worker, owned.tree) == (me, [])
    lock.release(finished=True)
    assert not run.lock.exists()
    assert not is_held(run)


def test_somebody_who_only_looks_keeps_nobody_out(run: RunDirectory) -> None:
    done = threading.Event()
    run.lock.touch()

    def look() -> None:
        while not done.is_set():
            is_held(run)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(50):
            lock = RunLock.acquire(run)
            assert lock is not None
            lock.release(finished=False)
    finally:
        done.set()
        looking.join()


@pytest.mark.parametrize("content", [b"", b"{", b"[]\n", b'{"supervisor": 3}\n', b"\xff\n"])
def test_a_lock_s_content_may_be_torn(run: RunDirectory, content: bytes) -> None:
    run.lock.write_bytes(content)
    lock = RunLock.acquire(run)
    assert lock is not None
    assert lock.read() is None
    lock.release(finished=True)


# --------------------------------------------------------------------------- worker.log


def test_a_small_log_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "worker.log"
    trimmer = LogTrimmer(path)
    assert trimmer.trim(1.0) == 1.0
    path.write_bytes(b"line\n" * 1000)
    trimmer.trim()
    assert path.stat().st_size == 5000


def test_a_large_log_keeps_its_two_ends(tmp_path: Path) -> None:
    path = tmp_path / "worker.log"
    trimmer = LogTrimmer(path, head=1000, tail=4000, limit=10_000)
    descriptor = open_log(path)
    number = written = 0
    for _ in range(5):
        for _ in range(2000):
            written += os.write(descriptor, b"line %05d\n" % number)
            number += 1
        trimmer.trim()
    os.write(descriptor, b"the end\n")
    os.close(descriptor)
    lines = path.read_text().splitlines()
    assert lines[:2] == ["line 00000", "line 00001"]
    assert lines[-2:] == [f"line {number - 1:05d}", "the end"]
    marks = [line for line in lines if line.startswith("[…")]
    kept = written - trimmer.left_out
    assert marks == [f"[… {trimmer.left_out:,} bytes left out …]"]
    assert sum(len(line) + 1 for line in lines if line.startswith("line")) == kept
    assert path.stat().st_size < 5200
    assert read_tail(path, 8) == "the end\n"


def test_a_log_without_line_ends_is_cut_too(tmp_path: Path) -> None:
    path = tmp_path / "worker.log"
    trimmer = LogTrimmer(path, head=1000, tail=4000, limit=10_000)
    path.write_bytes(b"\xff" * 50_000)
    trimmer.trim()
    content = path.read_bytes()
    assert content.startswith(b"\xff" * 1000 + "[… 45,000 bytes".encode())
    assert content.endswith(b"\xff" * 4000)


def test_a_log_that_grows_fast_is_looked_at_soon(tmp_path: Path) -> None:
    path = tmp_path / "worker.log"
    trimmer = LogTrimmer(path)
    time.sleep(0.01)
    path.write_bytes(b"x" * (8 << 20))
    assert trimmer.trim(1.0) == pytest.approx(0.1)
    time.sleep(0.01)
    assert trimmer.trim(1.0) == 1.0


# -------------------------------------------------------------------------- the command


def test_the_worker_s_command(run: RunDirectory) -> None:
    spec = run.read_launch()
    python, bootstrap, path = worker.command(spec, Config(), run)
    assert (python, path) == (sys.executable, str(run.path))
    assert bootstrap.endswith("batchtui/train/bootstrap.py")
    words = worker.command(spec, Config(launch=Launch(processes=4)), run)
    assert words[1:7] == [
        *("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "4", "--max-restarts")
    ]
    assert words[words.index("--log-dir") + 1].startswith(f"{run.path}/")
    assert words[-2:] == [bootstrap, path]
    with pytest.raises(SuperviseError, match=r"launch\.nodes: 2"):
        worker.command(spec, Config(launch=Launch(nodes=2)), run)


def test_the_worker_s_environment(run: RunDirectory) -> None:
    spec = run.read_launch()
    spec.environment = {"A": "spec", "B": "spec"}
    config = Config(launch=Launch(env={"B": "config"}), limits=Limits(low_memory=True))
    values = worker.environment(spec, config, run)
    assert (values["A"], values["B"]) == ("spec", "config")
    assert values["MALLOC_ARENA_MAX"] == "1"
    assert "TORCHELASTIC_ERROR_FILE" not in values
    several = worker.environment(spec, Config(launch=Launch(processes=2)), run)
    assert several["TORCHELASTIC_ERROR_FILE"].startswith(str(run.path))


def test_threads_that_wait_sleep_soon_unless_the_user_says_how(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spinning threads and another busy process on the same cores make steps much longer."""
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    spec = run.read_launch()
    assert int(worker.environment(spec, Config(), run)["GOMP_SPINCOUNT"]) < 100_000
    own = Config(launch=Launch(env={"GOMP_SPINCOUNT": "7"}))
    assert worker.environment(spec, own, run)["GOMP_SPINCOUNT"] == "7"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert "GOMP_SPINCOUNT" not in worker.environment(spec, Config(), run)
