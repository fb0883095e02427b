"""The memory of a tree of processes, each page counted once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from batchtui.sampling.resident import Resident

MIB = 1 << 20
# Take 200 MiB, fork three loaders that take 20 MiB each, tell their pids, wait.
FAMILY = """
import os, sys, time
data = bytearray(os.urandom(1 << 20) * 200)
children = []
for _ in range(3):
    pid = os.fork()
    if not pid:
        own = bytearray(os.urandom(1 << 20) * 20)
        print(os.getpid(), flush=True)
        sys.stdin.read()
        os._exit(0)
sys.stdin.read()
"""


def test_forked_loaders_do_not_count_their_parents_pages_again() -> None:
    family = subprocess.Popen(
        [sys.executable, "-c", FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert family.stdout is not None
        children = [int(family.stdout.readline()) for _ in range(3)]
        members = {family.pid: (1, os.getpid())} | dict.fromkeys(children, (1, family.pid))
        now = iter(range(0, 100_000, 1000))
        resident = Resident(clock=lambda: float(next(now)))
        readings = [resident.read(members) for _ in range(6)]
    finally:
        family.communicate()
    settled = readings[-1]
    assert settled is not None
    # 200 + 3 × 20 and the interpreters; counted in every process it would be 860 MiB.
    assert 255 * MIB < settled < 320 * MIB
    assert all(
        reading is not None and 0.7 * settled < reading < 1.25 * settled for reading in readings
    )


BATCH = """
import os, sys
pid = os.fork()
if not pid:
    sys.stdin.read()
    os._exit(0)
path = f"/dev/shm/torch_{os.getpid()}_1_0"
file = os.open(path, os.O_RDWR | os.O_CREAT)
os.unlink(path)
os.write(file, bytes(50 << 20))
print(pid, flush=True)
sys.stdin.read()
"""


def test_a_close_look_sees_a_batch_that_nobody_maps() -> None:
    family = subprocess.Popen(
        [sys.executable, "-c", BATCH], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert family.stdout is not None
        child = int(family.stdout.readline())
        members = {family.pid: (1, os.getpid()), child: (1, family.pid)}
        resident = Resident()
        passing, closely = resident.read(members), resident.read(members, closely=True)
    finally:
        family.communicate()
    assert passing is not None
    assert closely is not None
    assert 45 * MIB < closely - passing < 70 * MIB


def proc(folder: Path, pid: int, resident: int, share: int | None = None) -> None:
    (folder / str(pid)).mkdir(exist_ok=True)
    status = f"Name:\tx\nRssAnon:\t{resident} kB\nRssFile:\t999 kB\nRssShmem:\t0 kB\n"
    (folder / str(pid) / "status").write_text(status)
    if share is not None:
        rollup = f"Pss:  5 kB\nPss_Anon:   {share} kB\nPss_Shmem:   0 kB\n"
        (folder / str(pid) / "smaps_rollup").write_text(rollup)


def test_growth_counts_at_once_and_shares_are_asked_for_in_turn(tmp_path: Path) -> None:
    clock = [1.0]
    resident = Resident(str(tmp_path), lambda: clock[0])
    proc(tmp_path, 10, 1000)
    alone = {10: (1, 1)}
    assert resident.read(alone) == 1000 * 1024
    proc(tmp_path, 10, 1000, share=600)
    proc(tmp_path, 11, 800, share=420)
    both = alone | {11: (2, 10)}
    readings = []
    for _ in range(4):
        clock[0] += 1000
        readings.append(resident.read(both))
    assert readings[0] == 1000 * 1024  # what one of them has less of is not gone
    assert readings[-1] == (600 + 420) * 1024
    proc(tmp_path, 11, 850, share=420)
    clock[0] += 1e-9  # too soon to ask again
    assert resident.read(both) == (600 + 470) * 1024
    # The loader ends, and its parent has its pages to itself again.
    proc(tmp_path, 10, 1000, share=1000)
    assert resident.read(alone) == 1000 * 1024


def test_without_shares_birth_and_growth_are_what_is_known(tmp_path: Path) -> None:
    resident = Resident(str(tmp_path))
    proc(tmp_path, 10, 1000)
    proc(tmp_path, 11, 900)
    assert resident.read({10: (1, 1), 11: (2, 10)}) == 1000 * 1024
    proc(tmp_path, 11, 950)
    assert resident.read({10: (1, 1), 11: (2, 10)}) == 1050 * 1024


def test_nothing_to_read_is_not_nothing_used(tmp_path: Path) -> None:
    resident = Resident(str(tmp_path))
    assert resident.read({}) == 0
    assert resident.read({12: (1, 1)}) is None
