"""What the commands print: tables, one line of progress, the findings of the doctor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from batchtui.cli import main
from batchtui.commands.doctor import examine
from batchtui.commands.look import print_table
from batchtui.commands.plain import line
from batchtui.commands.watch import parting
from batchtui.records import MachineSample, RunSummary


def test_tables_align_numbers_to_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([("run", "status", "steps"), ("a", "running", "5"), ("longer", "lost", "12,345")])
    assert capsys.readouterr().out.splitlines() == [
        "run     status    steps",
        "a       running       5",
        "longer  lost     12,345",
    ]


def test_a_line_says_n_a_for_what_is_not_known() -> None:
    text = line(RunSummary(run="r-001", status="starting"), {"phase": "importing torch"}, None)
    assert "r-001  starting (importing torch)" in text
    assert "loss n/a" in text
    assert "peak n/a of n/a" in text


def test_a_line_tells_where_a_run_stands() -> None:
    summary = RunSummary(
        run="r-001",
        status="running",
        batch_size=64,
        epoch=3,
        steps=1234,
        samples_per_s=1842.0,
        step_time_p50_s=0.0347,
        loss=0.4718,
        loss_variance=0.21,
        peak_bytes=6 << 30,
        limit_bytes=24 << 30,
    )
    text = line(summary, {"epochs": 20}, MachineSample(time=0.0, cpu=0.54))
    assert text.split("  ")[1:] == [
        "r-001",
        "running",
        "epoch 3/20",
        "step 1,234",
        "batch 64",
        "34.7 ms/step",
        "1842 samples/s",
        "loss 0.472",
        "s² 0.210",
        "peak 6.0 GiB of 24.0 GiB",
        "cpu 54%",
    ]


def test_an_empty_folder_has_no_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "--runs", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["runs", "--runs", str(tmp_path)]) == 0
    assert "no runs in" in capsys.readouterr().err


def test_the_doctor_looks_at_everything_and_says_what_is_in_the_way(tmp_path: Path) -> None:
    findings = {finding.subject: finding for finding in examine(tmp_path)}
    assert {"batchtui", "torch", "memory", "CPU", "/dev/shm", "runs", "logout"} <= set(findings)
    assert findings["runs"].level in ("ok", "note")
    (tmp_path / "file").touch()
    blocked = {finding.subject: finding for finding in examine(tmp_path / "file" / "runs")}
    assert blocked["runs"].level == "problem"
    assert "--runs" in blocked["runs"].text


def test_no_arguments_print_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "batchtui CONFIG" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("status", "cause", "said"),
    [
        ("running", None, "a-001 goes on training.  show it: batchtui attach a-001"),
        ("lost", None, "a-001 gives no sign of life.  what is known: batchtui show a-001"),
        ("failed", "ValueError: no", "a-001 failed: ValueError: no"),
        ("finished", None, "a-001 finished"),
    ],
)
def test_leaving_the_screen_says_how_the_run_stands(
    status: str, cause: str | None, said: str
) -> None:
    assert parting(RunSummary(run="a-001", status=status, cause=cause)).startswith(said)
