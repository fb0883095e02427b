"""The benchmark's arithmetic: tables, capacities, and forecasts after runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from batchtui.forecast.settings import MIB
from benchmarks.gpu_scores import Scored, after_runs, quantile, summary
from benchmarks.gpu_tables import capacities, classes_of, read_table

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "forecast_gpu.py"
TABLE = """gpu,model,optimizer,batch_size,measured_mib,out_of_memory,capacity_mib,image_size,o_mib
A,net,SGD,8,1000,0,8000,86,1
A,net,SGD,16,1200,0,8000,86,1
A,net,SGD,32,1600,0,8000,86,1
A,net,SGD,512,7900,1,8000,86,1
A,net,SGD,64,,0,8000,86,1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "timm.csv").write_text(TABLE)
    return tmp_path


def test_tables_and_what_they_show_of_a_card(folder: Path) -> None:
    rows = read_table(folder / "timm.csv")
    assert [row.batch_size for row in rows] == [8, 16, 32, 512]
    assert rows[0].measured == 1000 * MIB
    assert [row.out_of_memory for row in rows] == [False, False, False, True]
    assert capacities(rows)["A"] == (8000 * MIB, 7590 * MIB)


def test_two_runs_are_a_line(folder: Path) -> None:
    rows = read_table(folder / "timm.csv")
    result = after_runs(rows, None, runs=2, reach=2)
    assert result == {"cases": 1, "median": 0.0, "mean": 0.0, "p90": 0.0}


def test_summaries(folder: Path) -> None:
    rows = read_table(folder / "timm.csv")
    scored = [
        Scored(row, round(row.measured * 1.01), row.measured, row.measured * 2, "fits")
        for row in rows
    ]
    result = summary(scored)
    assert result["rows"] == 3
    assert result["median"] == pytest.approx(1.0)
    assert result["missed_oom"] == result["wrong_verdicts"] == 25.0
    assert result["inside_interval"] == 100.0
    assert quantile([1, 2, 3], 0.9) == pytest.approx(2.8)


def test_classes_of_the_measured_rows() -> None:
    assert classes_of("mobilenet_v3_small", 86) == 10
    assert classes_of("mobilenet_v2", 86) == 1000
    assert classes_of("mnasnet1_0", 224) == 1000


def test_json_and_a_missing_folder(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT)]
    done = subprocess.run([*command, str(folder), "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert set(result) >= {"tables", "after_one_run", "after_two_runs"}
    assert result["after_two_runs"]["timm"]["cases"] == 1
    done = subprocess.run([*command, str(tmp_path / "none")], capture_output=True, text=True)
    assert done.returncode == 0
    assert "no such folder" in done.stderr
