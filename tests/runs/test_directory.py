"""Creating, listing and finding runs."""

from __future__ import annotations

import dataclasses
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from batchtui.errors import BatchtuiError, RunNotFound, StoreError
from batchtui.records import LaunchSpec
from batchtui.runs.directory import RunDirectory, create_run, find_run, list_runs


def test_runs_are_numbered_and_a_gap_is_not_filled(tmp_path: Path) -> None:
    names = [create_run(tmp_path / "runs", "digits").name for _ in range(3)]
    assert names == ["digits-001", "digits-002", "digits-003"]
    (tmp_path / "runs" / "digits-002").rmdir()
    assert create_run(tmp_path / "runs", "digits").name == "digits-004"
    assert create_run(tmp_path / "runs", "digits-resnet").name == "digits-resnet-001"


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("a b/c", "a-b-c-001"),
        ("../../etc", "etc-001"),
        ("..", "run-001"),
        ("", "run-001"),
        ("übung", "bung-001"),
        ("x" * 500, "x" * 64 + "-001"),
        ("run-007", "run-007-001"),
    ],
)
def test_a_stem_becomes_a_harmless_name(tmp_path: Path, stem: str, name: str) -> None:
    run = create_run(tmp_path, stem)
    assert run.name == name
    assert run.path.parent == tmp_path


def test_twenty_at_once_get_twenty_folders(tmp_path: Path) -> None:
    with ThreadPoolExecutor(20) as pool:
        runs = list(pool.map(lambda _: create_run(tmp_path, "digits"), range(20)))
    assert len({run.name for run in runs}) == 20


def test_a_root_that_cannot_hold_runs_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(BatchtuiError, match=r"cannot create a run here: .*--runs\Z"):
        create_run(file / "runs", "digits")
    with pytest.raises(BatchtuiError, match="cannot list the runs"):
        list_runs(file)
    assert list_runs(tmp_path / "nowhere") == []


def test_runs_are_listed_by_launch_and_other_folders_are_not(tmp_path: Path, new_run) -> None:
    new_run("b-001", created=3.0)
    new_run("a-002", created=2.0)
    new_run("c-001", created=1.0)
    (tmp_path / "data").mkdir()
    assert [run.name for run in list_runs(tmp_path)] == ["c-001", "a-002", "b-001"]


def test_a_run_with_a_damaged_launch_is_listed_and_says_so(tmp_path: Path, new_run) -> None:
    run = new_run()
    for junk in (b"", b"{", b"\xff\xfe", b"[1]", b'{"run": 3}', b"[" * 100_000):
        run.launch.write_bytes(junk)
        assert list_runs(tmp_path) == [run]
        with pytest.raises(StoreError, match=r"launch\.json: damaged \([^\n]*\Z"):
            run.read_launch()
    run.launch.unlink()
    assert list_runs(tmp_path) == []
    with pytest.raises(StoreError, match=r"launch\.json: No such file"):
        run.read_launch()


def test_find_by_name_last_and_prefix(tmp_path: Path, new_run) -> None:
    new_run("digits-001", created=1.0)
    new_run("digits-002", created=2.0)
    new_run("fake-001", created=3.0)
    new_run("fake-0011", created=0.5)
    for reference, name in (
        ("digits-001", "digits-001"),
        ("last", "fake-001"),
        ("fake-001", "fake-001"),  # a whole name, though it begins another one
        ("fake-0011", "fake-0011"),
    ):
        assert find_run(tmp_path, reference).name == name
    with pytest.raises(RunNotFound, match=r"'digits' may be any of 2 runs: digits-001, digits-002"):
        find_run(tmp_path, "digits")
    with pytest.raises(RunNotFound, match="did you mean digits-001"):
        find_run(tmp_path, "digts-001")
    with pytest.raises(RunNotFound, match=r"no run 'zzz' in .*: there is fake-001, digits-002"):
        find_run(tmp_path, "zzz")
    with pytest.raises(RunNotFound, match="there are no runs in"):
        find_run(tmp_path / "nowhere", "last")


def test_a_long_list_of_candidates_is_cut(tmp_path: Path, new_run) -> None:
    for number in range(20):
        new_run(f"digits-{number:03d}")
    with pytest.raises(RunNotFound, match=r"any of 20 runs: digits-000, .* and 15 more\Z"):
        find_run(tmp_path, "digits")


def test_launch_comes_back_as_it_was(tmp_path: Path) -> None:
    run = create_run(tmp_path, "digits")
    odd = os.fsdecode(b"/home/caf\xe9/x.yaml")  # a path that is no UTF-8
    spec = LaunchSpec(
        run=run.name,
        config={"name": "digits", "dataloaders": {"batch_size": 64}},
        config_path=odd,
        cwd="/",
        python="/usr/bin/python3",
        resume_from="/x/step-1.pt",
        created=12.5,
        environment={"OMP_NUM_THREADS": "1"},
    )
    run.write_launch(spec)
    assert run.read_launch() == spec
    assert [path.name for path in run.path.iterdir()] == ["launch.json"]
    run.write_launch(dataclasses.replace(spec, parent="digits-000"))
    assert run.read_launch().parent == "digits-000"


def test_launch_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "gone")
    with pytest.raises(BatchtuiError, match=r"launch\.json: cannot write: No such file"):
        run.write_launch(LaunchSpec(run="gone", config={}, cwd="/", python="python"))
