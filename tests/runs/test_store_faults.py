"""A full disk, another writer, kill -9: all of a commit or nothing, and on it goes."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from batchtui.errors import StoreError
from batchtui.runs.directory import RunDirectory
from batchtui.runs.reader import RunReader
from batchtui.runs.store import RunStore
from tests.runs.samples import noisy_step, step


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a Python process that can import what this file can."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_another_writer_is_waited_for_shortly(run: RunDirectory) -> None:
    store = RunStore(run.database)
    other = sqlite3.connect(run.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store.add_steps([step(1)])
    with pytest.raises(StoreError, match="cannot write: database is locked"):
        store.commit()
    other.execute("ROLLBACK")
    store.commit()
    other.close()
    store.close()
    assert RunReader(run).recent_steps(9) == [step(1)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path: Path) -> None:
    """Write a file until the disk is full."""
    try:
        with open(path, "wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
    except OSError:
        pass


def test_a_full_disk_loses_nothing_that_waits(small_disk: Path) -> None:
    run = RunDirectory(small_disk)
    ballast = small_disk / "ballast"
    store = RunStore(run.database)
    store.add_steps([step(number) for number in range(1, 100)])
    store.commit()
    fill(ballast)
    for number in range(100, 2000):
        store.add_steps([step(number)])
    for _ in range(3):
        with pytest.raises(StoreError, match=r"cannot write: [^\n]*full"):
            store.commit()
    assert len(RunReader(run).recent_steps(5000)) == 99
    ballast.unlink()
    store.commit()
    store.close(final=True)
    reader = RunReader(run)
    assert [one.step for one in reader.recent_steps(5000)] == list(range(1, 2000))
    assert sum(reader.step_series(["loss"], width=10).count) == 1999


def test_a_disk_that_fills_up_and_is_cleared_again(run: RunDirectory) -> None:
    """The same without root: a process that may not write files beyond a size."""
    process = child(
        """
        import resource, sys
        from pathlib import Path
        from batchtui.errors import StoreError
        from batchtui.runs.store import RunStore
        from tests.runs.samples import step
        store = RunStore(Path(sys.argv[1]))
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
        failures = 0
        for begin in range(1, 10_001, 500):
            store.add_steps([step(number) for number in range(begin, begin + 500)])
            try:
                store.commit()
            except StoreError as error:
                failures += 1
                assert "cannot write" in str(error), error
            if failures == 5:
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        store.close(final=True)
        print(failures)
        """,
        run.database,
    )
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out.strip()) == (0, "5")
    reader = RunReader(run)
    assert sum(reader.step_series(["loss"]).count) == 10_000


_WRITER = """
    import sys
    from pathlib import Path
    from batchtui.records import Step
    from batchtui.runs.journal import JournalTail
    from batchtui.runs.store import RunStore
    folder = Path(sys.argv[1])
    store = RunStore(folder / "run.db")
    tail = JournalTail(folder / "journal", 0, store.position(0))
    while records := tail.read(max_records=37):
        store.add_steps(records)
        store.set_position(0, tail.position)
        store.commit()
        print(records[-1].step, flush=True)
    store.close(final=True)
    print("done")
    """


def test_killed_again_and_again_it_goes_on_where_it_was(run: RunDirectory) -> None:
    """kill -9 at any moment: nothing missing, nothing twice, rollups right."""
    source = random.Random(3)
    steps = [noisy_step(number, source) for number in range(1, 12_001)]
    text = "".join(json.dumps({"kind": "step", **asdict(one)}) + "\n" for one in steps)
    (run.journals / "rank-0.jsonl").write_text(text)
    for _ in range(5):
        process = child(_WRITER, run.path)
        assert process.stdout is not None
        for _ in range(source.randrange(1, 40)):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.communicate()
        RunReader(run).summary()
    process = child(_WRITER, run.path)
    out, _ = process.communicate(timeout=120)
    assert out.endswith("done\n")
    reader = RunReader(run)
    assert reader.recent_steps(20_000) == steps
    series = reader.step_series(["loss"], width=5)
    size = int(series.x[2] - series.x[1])
    for x, high, low in zip(
        series.x, series.columns["loss"].high, series.columns["loss"].low, strict=True
    ):
        losses = [
            one.loss for one in steps if one.step // size == int(x) // size and one.loss is not None
        ]
        assert (low, high) == (min(losses), max(losses))


def test_readers_never_disturb_a_writer_nor_see_half_a_commit(run: RunDirectory) -> None:
    process = child(
        """
        import sys, time
        from pathlib import Path
        from batchtui.runs.store import RunStore
        from tests.runs.samples import step
        store = RunStore(Path(sys.argv[1]))
        for begin in range(1, 20_001, 100):
            store.add_steps([step(number) for number in range(begin, begin + 100)])
            store.set_meta(steps=begin + 99)
            store.commit()
        store.close(final=True)
        """,
        run.database,
    )
    reader = RunReader(run)
    looks = 0
    while process.poll() is None:
        try:
            with reader.open():
                total = reader.meta().get("steps", 0)
                assert sum(reader.step_series(["loss"], width=50).count) == total
                looks += 1
        except StoreError:
            assert looks == 0  # before the tables stand
    process.communicate()
    assert process.returncode == 0
    assert looks > 3
    assert sum(reader.step_series(["loss"]).count) == 20_000
