"""The process tree: the parser on any name, made-up trees, and real processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchtui.sampling import procfs
from batchtui.sampling.processes import ProcessTree, parse_stat

HZ = os.sysconf("SC_CLK_TCK")


def stat_line(
    pid: int, parent: int, *, name: bytes = b"python", state: str = "S", ticks: int = 0
) -> bytes:
    """Build a line of /proc/PID/stat; user time gets all ticks but one."""
    user, system = max(0, ticks - 1), min(1, ticks)
    before = f"{state} {parent} {pid} {pid} 0 -1 4194304 100 0 0 0"
    return b"%d (%s) %s\n" % (
        pid,
        name,
        f"{before} {user} {system} 0 0 20 0 1 0 {1000 + pid} 8192 100 0 0".encode(),
    )


class Processes:
    """A /proc in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 0.0
        (folder / "meminfo").write_text("")

    def put(self, pid: int, parent: int, *, anon: int = 0, shmem: int = 0, **stat: object) -> None:
        """Write a process; sizes in KiB."""
        place = self.folder / str(pid)
        place.mkdir(exist_ok=True)
        (place / "stat").write_bytes(stat_line(pid, parent, **stat))  # type: ignore[arg-type]
        (place / "status").write_text(
            f"Name:\tRssAnon: 5 kB\nVmRSS:\t  99 kB\nRssAnon:\t  {anon} kB\nRssFile:\t  77 kB\n"
            f"RssShmem:\t  {shmem} kB\nThreads:\t1\n"
        )

    def end(self, pid: int) -> None:
        for file in (self.folder / str(pid)).iterdir():
            file.unlink()
        (self.folder / str(pid)).rmdir()

    def tree(self, *roots: int, own: int = 0) -> ProcessTree:
        return ProcessTree(lambda: roots, proc=str(self.folder), own=own, clock=lambda: self.now)


@pytest.fixture
def processes(tmp_path: Path) -> Processes:
    return Processes(tmp_path)


def test_tree_of_the_worker(processes: Processes) -> None:
    processes.put(1, 0)
    processes.put(20, 1, anon=100)
    processes.put(21, 20, anon=10, shmem=5)
    processes.put(22, 21, anon=1)
    processes.put(30, 1, anon=9999)
    usage = processes.tree(20).read()
    assert usage.pids == {20, 21, 22}
    # What the children were born with is their parent's.
    assert usage.resident == 100 * 1024
    assert usage.processes == 3


def test_supervisor_stands_for_its_descendants(processes: Processes) -> None:
    """Orphans that it adopted are in, itself is out, and the worker counts once."""
    processes.put(10, 1, anon=5000)
    processes.put(20, 10, anon=100)
    processes.put(33, 10, anon=7)
    usage = processes.tree(10, 20, own=10).read()
    assert (usage.pids, usage.resident) == ({20, 33}, 107 * 1024)


def test_dead_processes_do_not_count(processes: Processes) -> None:
    processes.put(20, 1)
    processes.put(21, 20, state="Z")
    (processes.folder / "21/status").unlink()
    assert processes.tree(20).read().pids == {20}


def test_no_worker(processes: Processes) -> None:
    processes.put(1, 0)
    usage = processes.tree(20).read()
    assert (usage.pids, usage.resident, usage.processes) == (set(), 0, 0)


def test_kernel_that_does_not_split_resident_memory(processes: Processes) -> None:
    processes.put(20, 1)
    (processes.folder / "20/status").write_text("VmRSS:\t  99 kB\n")
    assert processes.tree(20).read().resident is None


def test_cpu_is_the_mean_between_passes(processes: Processes) -> None:
    processes.put(20, 1, ticks=1000)
    processes.put(21, 20, ticks=50)
    tree = processes.tree(20)
    assert tree.read().cpu is None
    processes.put(20, 1, ticks=1000 + 2 * HZ)
    processes.put(21, 20, ticks=50 + HZ)
    processes.now += 2
    assert tree.read().cpu == pytest.approx(1.5)


def test_cpu_of_processes_that_come_and_go(processes: Processes) -> None:
    processes.put(20, 1)
    processes.put(21, 20, ticks=10 * HZ)
    tree = processes.tree(20)
    tree.read()
    processes.end(21)
    processes.put(22, 20, ticks=HZ)
    processes.now += 1
    assert tree.read().cpu == pytest.approx(1.0), "the new one's, and nothing below zero"


@pytest.mark.parametrize("step", [0.0, -5.0])
def test_cpu_without_time(processes: Processes, step: float) -> None:
    processes.put(20, 1)
    tree = processes.tree(20)
    tree.read()
    processes.now += step
    assert tree.read().cpu is None


def test_strangers_are_read_rarely_and_children_at_once(processes: Processes) -> None:
    for pid in range(100, 180):
        processes.put(pid, 1)
    processes.put(20, 1)
    tree = processes.tree(20)
    tree.read()
    for pid in range(100, 180):
        (processes.folder / str(pid) / "stat").unlink()
        (processes.folder / str(pid) / "stat").symlink_to("/dev/null")
    processes.put(21, 20)
    assert tree.read().pids == {20, 21}


def test_number_given_again_is_found_in_the_end(processes: Processes) -> None:
    """Between two passes a stranger ended and a child of ours got its number."""
    processes.put(20, 1)
    processes.put(99, 1)
    tree = processes.tree(20)
    tree.read()
    processes.put(99, 20)
    assert any(99 in tree.read().pids for _ in range(32))


def test_root_that_comes_later(processes: Processes) -> None:
    roots = [20]
    processes.put(20, 1)
    processes.put(40, 1)
    processes.put(41, 40)
    tree = ProcessTree(lambda: roots, proc=str(processes.folder), own=0)
    tree.read()
    roots.append(40)
    assert tree.read().pids == {20, 40, 41}


def test_process_that_is_its_own_ancestor(processes: Processes) -> None:
    """Read while numbers were given again: must not run in circles."""
    processes.put(20, 21)
    processes.put(21, 20)
    assert processes.tree(20).read().pids == {20, 21}


# ------------------------------------------------------------------------------ the parser


@given(
    name=st.binary(max_size=15).filter(lambda name: b"\0" not in name),
    parent=st.integers(0, 1 << 22),
    ticks=st.integers(0, 1 << 40),
)
def test_stat_with_any_name(name: bytes, parent: int, ticks: int) -> None:
    stat = parse_stat(stat_line(7, parent, name=name, ticks=ticks))
    assert (stat.parent, stat.state, stat.ticks, stat.start) == (parent, "S", ticks, 1007)


@pytest.mark.parametrize("name", [b"a) R 1 (", b"tmux: server", b"\n", b")))", b"((", b"(sd-pam)"])
def test_stat_with_a_hostile_name(name: bytes) -> None:
    assert parse_stat(stat_line(7, 6, name=name)).parent == 6


@given(st.binary(max_size=200))
def test_junk_raises_value_error_alone(content: bytes) -> None:
    try:
        parse_stat(content)
    except ValueError:
        pass


@given(st.binary(max_size=200))
def test_junk_breaks_no_parser(content: bytes) -> None:
    procfs.counters(content)
    procfs.sizes(content)


def test_file_longer_than_one_read(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_bytes(bytes(200_000))
    assert len(procfs.read(str(path))) == 200_000


# -------------------------------------------------------------------------- real processes


def test_real_tree() -> None:
    """A child with a child of its own, 64 MiB and a busy loop."""
    script = (
        "import subprocess, sys, time\n"
        "held = bytearray(b'x') * (64 << 20)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True)\n"
        "until = time.monotonic() + 60\n"
        "while time.monotonic() < until: pass\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    child = int(parent.stdout.readline())
    tree = ProcessTree(lambda: [os.getpid()])
    try:
        tree.read()
        time.sleep(0.5)
        usage = tree.read()
        assert {parent.pid, child} <= usage.pids
        assert os.getpid() not in usage.pids
        assert usage.resident is not None
        assert usage.resident > 64 << 20
        assert usage.cpu is not None
        assert 0.1 < usage.cpu < 2
    finally:
        os.kill(child, 9)
        parent.kill()
        parent.wait()
    _eventually(lambda: not {parent.pid, child} & tree.read().pids)


def _eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
