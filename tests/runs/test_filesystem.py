"""Where a file lies decides whether its readers and its writer can share memory."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from batchtui.runs.directory import RunDirectory
from batchtui.runs.filesystem import on_network
from batchtui.runs.reader import RunReader
from batchtui.runs.store import RunStore
from tests.runs.samples import step

_MOUNTS = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:30 / /home rw - nfs4 server:/home rw
31 30 0:31 / /home/local rw shared:2 master:3 - xfs /dev/vdb rw
32 22 0:32 / /scratch\040space rw - lustre mds:/x rw
33 22 0:33 / /mnt rw - nfs server:/a rw
34 22 0:34 / /mnt rw - tmpfs tmpfs rw
garbage
"""


@pytest.mark.parametrize(
    ("path", "network"),
    [
        ("/x", False),
        ("/home", True),
        ("/home/me/runs", True),
        ("/homeless/runs", False),
        ("/home/local/runs", False),
        ("/scratch space/runs", True),
        ("/mnt/runs", False),
    ],
)
def test_the_innermost_mount_decides(tmp_path: Path, path: str, network: bool) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(_MOUNTS)
    assert on_network(Path(path), mounts) is network


def test_without_a_list_of_mounts_it_is_local(tmp_path: Path) -> None:
    assert not on_network(tmp_path, tmp_path / "missing")
    assert not on_network(tmp_path)


def test_a_shared_file_needs_no_shared_memory(run: RunDirectory) -> None:
    """Readers and the writer wait for each other shortly, and both get on."""
    store = RunStore(run.database, shared=True)
    store.add_steps([step(1)])
    store.commit()
    assert [path.name for path in run.path.glob("run.db*")] == ["run.db"]
    sums: list[int] = []
    ended = threading.Event()

    def look() -> None:
        reader = RunReader(run)
        while not ended.is_set():
            with reader.open():
                assert reader.meta().get("steps", 1) == sum(reader.step_series([]).count)
            sums.append(1)

    thread = threading.Thread(target=look)
    thread.start()
    for number in range(2, 102):
        store.add_steps([step(number)])
        store.set_meta(steps=number)
        store.commit()
    ended.set()
    thread.join()
    assert sums
    store.close(final=True)
    assert len(RunReader(run).recent_steps(200)) == 101


def test_a_commit_that_was_cut_off_is_undone(run: RunDirectory) -> None:
    store = RunStore(run.database, shared=True)
    store.add_steps([step(number) for number in range(1, 10_000)])
    store.commit()
    store._db.execute("PRAGMA cache_size = 1")  # so that half a commit reaches the file
    store._db.execute("BEGIN IMMEDIATE")
    store._db.execute("UPDATE steps SET loss = 5")
    copy = RunDirectory(run.path / "copy")
    copy.path.mkdir()
    for suffix in ("", "-journal"):
        Path(f"{copy.database}{suffix}").write_bytes(Path(f"{run.database}{suffix}").read_bytes())
    store._db.execute("ROLLBACK")
    store.close()
    reader = RunReader(copy)
    assert len(reader.recent_steps(20_000)) == 9999
    assert set(reader.step_series(["loss"]).columns["loss"].high) == {None}
