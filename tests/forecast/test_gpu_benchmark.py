"""The benchmark's arithmetic: tables, capacities, and forecasts after runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from batchtui.forecast.settings import MIB
from benchmarks.gpu_scores import Scored, after_runs, quantile, summary
from benchmarks.gpu_tables import capacities, read_table
from benchmarks.language_model_sizes import configuration, known
from benchmarks.vision_models import classes_of, optimizer_class, torchvision_name

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


def test_a_row_that_cannot_be_read_costs_that_row(tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    head = "\ufeffmodel,batch_size,measured_mib,zero_grad_mode,out_of_memory\n"
    rows = ["resnet18,8,1000,,True", "resnet18,abc,1000,0,0", "resnet18,8,0,0,0",
            "resnet18,8,n/a,0,0", "resnet18,8,1000,7,0", "resnet18,3.5,1000,0,0",
            "resnet18,1e9,inf,0,0", ",8,1000,0,0", "resnet18,16,1200.0,1.0,0"]  # fmt: skip
    path.write_bytes((head + "\n".join(rows)).encode() + b"\n\xff\xfe,8,900,0,0\n")
    left_out: list[str] = []
    found = read_table(path, left_out)
    assert [(row.batch_size, row.out_of_memory) for row in found] == [
        (8, True),
        (16, False),
        (8, False),
    ]
    assert len(left_out) == 7
    assert left_out[0] == "odd.csv, line 3: batch_size is 'abc'"
    path.write_text("gpu,batch_size\nA,8\n")
    assert read_table(path, left_out) == []
    assert left_out[-1] == "odd.csv: no column model, measured_mib"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("MobeNetV3Small", "mobilenet_v3_small"),
        ("RegNetX400MF", "regnet_x_400mf"),
        ("RegNetY16GF", "regnet_y_16gf"),
        ("RegNetY1.6GF", "regnet_y_1_6gf"),
        ("MnasNet", "mnasnet1_0"),
        ("VGG16BN", "vgg16_bn"),
        ("ViT-B/16", "vit_b_16"),
        ("SwinTiny", "swin_t"),
        ("WideResNet50-2", "wide_resnet50_2"),
        ("torchvision.models.resnet18", "resnet18"),
        ("DenseNet", None),
        ("gpt2", None),
    ],
)
def test_vision_models_by_the_names_that_tables_use(written: str, meant: str | None) -> None:
    assert torchvision_name(written) == meant


def test_language_models_by_the_names_that_tables_use() -> None:
    for name in ("Qwen/Qwen3-4B", "T5-small", "EleutherAI/pythia-1b-deduped", "GPT-2",
                 "TinyLlama/TinyLlama-1.1B-Chat-v1.0", "microsoft/Phi-3-mini-4k-instruct",
                 "meta-llama/Llama-3.2-1B-Instruct", "google/gemma-3-1b-it"):  # fmt: skip
        assert known(name), name
    assert configuration("Qwen/Qwen2-1.5B-Instruct") == configuration("qwen2.5-1.5b")
    assert configuration("facebook/opt-1.3b")["hidden_size"] == 2048
    assert not known("foo/bar-7b")


def test_optimizers_in_small_letters() -> None:
    assert optimizer_class("adamw").__name__ == "AdamW"
    with pytest.raises(LookupError, match=r"torch\.optim has no Lion"):
        optimizer_class("Lion")


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


def test_what_cannot_be_scored_is_counted_and_named(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text(
        "model,optimizer,batch_size,measured_mib,image_size\n"
        "NoSuchNet,SGD,8,1000,86\nNoSuchNet,SGD,16,1000,86\nfoo/bar-7b,SGD,8,1000,\n"
        "resnet18,SGD,x,1000,86\n"
    )
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / "torn.json.gz").write_text("torn")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path), "--json"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["tables"]["other"]["rows"] == 0
    assert result["left_out"] == [
        "other.csv, line 5: batch_size is 'x'",
        "other: 2 rows of NoSuchNet with SGD: torchvision has no NoSuchNet",
        "other: 1 row of foo/bar-7b with SGD: not known: no configuration in "
        "language_model_sizes.py",
    ]
    assert result["snapshots"]["replayed"] == 1
    assert result["snapshots"]["exact"] == 0
    assert "torn.json.gz" in result["snapshots"]["wrong"][0]


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
