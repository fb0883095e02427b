"""What trials measured is kept beside the runs, whatever becomes of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchtui.config.schema import Config, to_dict
from batchtui.forecast.history import PastRun
from batchtui.forecast.prospect import lessons, past_runs
from batchtui.forecast.trials import NAME, KeptTrial, keep_trial, kept_trials
from batchtui.records import LaunchSpec
from batchtui.runs.directory import RunDirectory
from batchtui.runs.store import RunStore


def trial(batch_size: int = 32, **more: object) -> KeptTrial:
    config = to_dict(Config())
    config["optimizer"]["target"] = more.pop("optimizer", config["optimizer"]["target"])
    past = PastRun(
        run=f"trial of batch size {batch_size}",
        config=config,
        batch_size=batch_size,
        peak=1 << 30,
        device_name="cpu",
        trial=True,
    )
    return KeptTrial(past, "print", 1 << 28)


def test_they_are_read_as_they_were_kept(tmp_path: Path) -> None:
    keep_trial(tmp_path / "runs", trial(16))
    keep_trial(tmp_path / "runs", trial(32))
    assert kept_trials(tmp_path / "runs") == [trial(16), trial(32)]


def test_a_forecast_learns_from_them_and_is_silent_about_others(tmp_path: Path) -> None:
    keep_trial(tmp_path, trial(16))
    keep_trial(tmp_path, trial(32, optimizer="torch.optim.Adam"))
    measured, notes = lessons(to_dict(Config()), past_runs(tmp_path), "cpu", None)
    assert [run.batch_size for run in measured] == [16]
    assert notes == []


def test_a_run_teaches_from_its_own_second_step_on(tmp_path: Path) -> None:
    config = to_dict(Config())
    for name, steps in (("first-001", 1), ("second-001", 2), ("child-001", 81), ("child-002", 82)):
        run = RunDirectory(tmp_path / name)
        run.path.mkdir()
        run.write_launch(LaunchSpec(run=run.name, config=config, cwd="/", python="/no/python"))
        store = RunStore(run.database)
        store.set_meta(status="failed", config=config, device="cpu", batch_size=16)
        store.set_meta(peak_bytes=1 << 30, steps=steps, first_step=80 if "child" in name else 0)
        store.commit()
        store.close(final=True)
    measured, _ = lessons(config, past_runs(tmp_path), "cpu", None)
    assert {run.run for run in measured if run.peak} == {"second-001", "child-002"}


@pytest.mark.parametrize(
    "damage",
    [
        b"not JSON\n",
        b"[]\n",
        b'{"past": 3}\n',
        b'{"past": {"run": "a"}, "fingerprint": "b", "base": 1}\n',
        b"\xff\xfe\x00\n",
        b"[" * 100_000 + b"\n",
        b'{"past": {"run": "a", "config": {}, "batch_size": 1, "peak": "x"}, "fingerprint": "b", '
        b'"base": 1}\n',
    ],
)
def test_a_damaged_line_costs_itself(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / NAME).write_bytes(damage)
    keep_trial(tmp_path, trial())
    assert kept_trials(tmp_path) == [trial()]


def test_the_file_stays_small(tmp_path: Path) -> None:
    for _ in range(2500):
        keep_trial(tmp_path, trial())
    assert (tmp_path / NAME).stat().st_size < 4 << 20
    assert 100 <= len(kept_trials(tmp_path)) <= 200


def test_a_folder_that_cannot_be_written_costs_a_measurement(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    keep_trial(tmp_path / "file", trial())
    assert kept_trials(tmp_path / "file") == []
