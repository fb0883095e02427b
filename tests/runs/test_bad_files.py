"""Files that are missing, torn, newer, not ours, or lie where nothing can be written."""

from __future__ import annotations

import os
import random
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batchtui.errors import StoreError
from batchtui.runs import schema
from batchtui.runs.directory import RunDirectory
from batchtui.runs.reader import RunReader
from tests.runs.samples import fill, step

QUESTIONS: list[Callable[[RunReader], object]] = [
    RunReader.summary,
    RunReader.meta,
    RunReader.latest_machine,
    RunReader.evaluations,
    RunReader.checkpoints,
    RunReader.events,
    RunReader.ranks,
    RunReader.lineage,
    lambda reader: reader.recent_steps(5000),
    lambda reader: reader.step_series(["loss"]),
    lambda reader: reader.step_series(["loss"], 100, 200),
    lambda reader: reader.machine_series(["cpu"]),
    lambda reader: reader.machine_series(["cpu"], since=1.7e9 + 50),
    lambda reader: reader.gpu_series(0, ["used"]),
]


def refusals(run: RunDirectory) -> set[str]:
    """Ask everything; return the refusals. Anything but an answer or a StoreError fails."""
    said = set()
    for question in QUESTIONS:
        try:
            question(RunReader(run))
        except StoreError as error:
            said.add(str(error))
    assert all("\n" not in one and str(run.database) in one for one in said)
    return said


def test_nothing_there(run: RunDirectory) -> None:
    (said,) = refusals(run)
    assert "not there: the run has not recorded anything yet" in said


def test_a_directory_that_was_removed(run: RunDirectory) -> None:
    shutil.rmtree(run.path)
    (said,) = refusals(run)
    assert said.endswith("run.db: gone, with the run's directory")


def test_an_empty_file(run: RunDirectory) -> None:
    run.database.touch()
    (said,) = refusals(run)
    assert "empty: nothing has been recorded in it yet" in said


def test_a_directory_in_its_place(run: RunDirectory) -> None:
    run.database.mkdir()
    (said,) = refusals(run)
    assert "not a file" in said


def test_a_text_file(run: RunDirectory) -> None:
    run.database.write_text("hello\n" * 1000)
    (said,) = refusals(run)
    assert "damaged (file is not a database)" in said


def test_another_database(run: RunDirectory) -> None:
    db = sqlite3.connect(run.database)
    db.execute("CREATE TABLE t (x)")
    db.commit()
    db.close()
    (said,) = refusals(run)
    assert "not a run of batchtui" in said


def test_a_newer_version(run: RunDirectory) -> None:
    fill(run).close(final=True)
    db = sqlite3.connect(run.database)
    db.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    db.close()
    (said,) = refusals(run)
    assert "written by a newer batchtui" in said
    assert "upgrade" in said


def test_missing_tables(run: RunDirectory) -> None:
    db = sqlite3.connect(run.database)
    db.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT)")
    db.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION}")
    db.commit()
    db.close()
    assert any("damaged (no such table" in said for said in refusals(run))


@pytest.mark.parametrize(
    "values",
    [
        {"status": '"on fire"'},
        {"status": "3"},
        {"steps": '"many"'},
        {"status": "{"},
        {"machine": "[]"},
        {"machine": '{"time": "noon"}'},
        {"batch_size": "{"},
        {"status": '"running"', "heartbeat": '"x"'},
        {"status": '"running"', "supervisor_pid": '"x"', "host": f'"{socket.gethostname()}"'},
    ],
)
def test_state_that_is_not_what_a_supervisor_writes(
    run: RunDirectory, values: dict[str, str]
) -> None:
    fill(run, 10).close(final=True)
    db = sqlite3.connect(run.database)
    db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values.items())
    db.commit()
    db.close()
    said = refusals(run)
    assert not said or all("damaged" in one for one in said)


@pytest.mark.parametrize("seed", range(12))
def test_torn_and_rotten_files_answer_or_refuse(run: RunDirectory, seed: int) -> None:
    """Cut short anywhere, or with pages overwritten: an answer or one line, nothing else."""
    fill(run).close(final=True)
    source = random.Random(seed)
    content = bytearray(run.database.read_bytes())
    if seed % 2:
        del content[source.randrange(len(content)) :]
    else:
        for _ in range(source.randrange(1, 20)):
            at = source.randrange(100, len(content))
            content[at : at + 64] = source.randbytes(min(64, len(content) - at))
    run.database.write_bytes(content)
    refusals(run)


def test_a_wal_that_is_garbage_costs_at_most_what_it_held(run: RunDirectory) -> None:
    fill(run).close(final=True)
    Path(f"{run.database}-wal").write_bytes(random.Random(1).randbytes(10_000))
    refusals(run)


# --------------------------------------------------------------------- places without writing


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Callable[[RunDirectory], RunDirectory]]:
    """Show a run's folder again where not even root can write."""
    places: list[Path] = []

    def mount(run: RunDirectory) -> RunDirectory:
        place = tmp_path / "read-only" / run.name
        place.mkdir(parents=True)
        for command in (
            ["mount", "--bind", str(run.path), str(place)],
            ["mount", "-o", "remount,ro,bind", str(place)],
        ):
            if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
                pytest.skip("mounting a folder read-only needs root")
        places.append(place)
        return RunDirectory(place)

    yield mount
    for place in places:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_an_ended_run_in_a_read_only_folder(
    run: RunDirectory, read_only: Callable[[RunDirectory], RunDirectory]
) -> None:
    fill(run).close(final=True)
    shown = read_only(run)
    assert refusals(shown) == set()
    assert RunReader(shown).step_series(["loss"]).count == RunReader(run).step_series([]).count


@pytest.mark.parametrize("left", [("-wal",), ("-wal", "-shm"), ()])
def test_a_run_that_died_copied_to_a_read_only_folder(
    run: RunDirectory,
    new_run: Callable[[str], RunDirectory],
    read_only: Callable[[RunDirectory], RunDirectory],
    left: tuple[str, ...],
) -> None:
    """What lies in the WAL is shown without the -shm file that nobody can create there."""
    store = fill(run)
    if not left:
        store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    copy = new_run("copy-001")
    for suffix in ("", *left):
        shutil.copy(f"{run.database}{suffix}", f"{copy.database}{suffix}")
    store.close()
    shown = read_only(copy)
    assert refusals(shown) == set()
    assert sum(RunReader(shown).step_series(["loss"]).count) == 3000
    assert RunReader(shown).machine_series(["cpu"]).x[-1] == 1.7e9 + 99


def test_a_live_run_seen_through_a_read_only_mount(
    run: RunDirectory, read_only: Callable[[RunDirectory], RunDirectory]
) -> None:
    store = fill(run)
    reader = RunReader(read_only(run))
    assert reader.recent_steps(1) == [step(3000, loss=1 / 3000, step_s=0.01)]
    store.add_steps([step(3001)])
    store.commit()
    assert reader.recent_steps(1) == [step(3001)]
    store.close()


def test_another_user_without_a_right_to_write(run: RunDirectory) -> None:
    """The same for a user who is not root, without any mount; and one who may not even look."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    store = fill(run)  # not closed: what is newest is in the WAL alone
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name)
        for suffix in ("", "-wal"):
            shutil.copy(f"{run.database}{suffix}", copy / f"run.db{suffix}")
            (copy / f"run.db{suffix}").chmod(0o444)
        for mode, answer in ((0o555, "3000"), (0o700, f"{copy}/run.db: cannot be opened: Perm")):
            copy.chmod(mode)
            child = subprocess.run(
                [sys.executable, "-c", _LOOK, str(copy)],
                cwd=Path(__file__).parents[2],
                capture_output=True,
                text=True,
            )
            assert child.stdout.startswith(answer), child.stderr
        assert not (copy / "run.db-shm").exists()
    store.close()


_LOOK = """
import os, sys
from pathlib import Path
from batchtui.errors import StoreError
from batchtui.runs.directory import RunDirectory
from batchtui.runs.reader import RunReader
os.setgid(65534)
os.setuid(65534)
try:
    print(sum(RunReader(RunDirectory(Path(sys.argv[1]))).step_series(["loss"]).count))
except StoreError as error:
    print(error)
"""
