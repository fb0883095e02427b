"""`batchtui forecast`: rows for scripts, a table for people, a chart; and what it refuses."""

from __future__ import annotations

import json

import pytest

from tests.e2e.conftest import Workplace
from tests.e2e.test_bad_input import refusal

KEYS = [
    "batch_size",
    "device",
    "capacity_bytes",
    "peak_bytes",
    "low_bytes",
    "high_bytes",
    "reserved_bytes",
    "survives_bytes",
    "verdict",
    "method",
    "assumptions",
    "breakdown",
]


def test_rows_table_chart_and_exit_code(workplace: Workplace) -> None:
    words = ["forecast", "tiny.yaml", "--device", "cuda", "--capacity", "4GiB"]
    answer = workplace.run(*words, "-b", "16,64", "--json", "--output", "chart.svg")
    assert answer.returncode == 0, answer.stderr
    rows = json.loads(answer.stdout)
    assert [list(row) for row in rows] == [KEYS, KEYS]
    assert [row["batch_size"] for row in rows] == [16, 64]
    assert all(row["verdict"] == "fits" for row in rows)
    assert all(row["low_bytes"] <= row["peak_bytes"] <= row["high_bytes"] for row in rows)
    assert rows[0]["method"].startswith("fake cuda")
    # One linear layer of 16 × 4 weights and 4 biases, in blocks of 512 bytes.
    assert 68 * 4 <= rows[0]["breakdown"]["parameters"] <= 1024
    assert "<svg" in (workplace.folder / "chart.svg").read_text()

    table = workplace.run(*words, "-b", "16")
    assert table.returncode == 0
    assert "largest safe batch size" in table.stdout
    narrow = workplace.run(*words, "-b", "16", COLUMNS="80").stdout.splitlines()
    heads = [line for line in narrow if line.startswith("batch size")]
    assert len(heads) == 2
    assert max(len(head) for head in heads) <= 80
    assert workplace.run(*words[:-1], "1MiB", "-b", "16,64").returncode == 4
    hopper = workplace.run(*words[:-1], "80GiB", "-b", "16", "--json", "--gpu", "H100")
    other = workplace.run(*words[:-1], "80GiB", "-b", "16", "--json")
    taken = [json.loads(answer.stdout)[0]["peak_bytes"] for answer in (hopper, other)]
    assert taken[0] - taken[1] > 40 << 20  # cuBLAS has larger workspaces there
    assert any("no Hopper" in note for note in json.loads(other.stdout)[0]["assumptions"])
    unknown = workplace.run(*words[:-2], "-b", "16", "--json")
    assert json.loads(unknown.stdout)[0]["verdict"] is None


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-b", "16,x"], "'x' is not a batch size"),
        (["-b", "0"], "'0' is not a batch size"),
        (["--set", "device=mps"], "none for mps"),
        (["--device", "gpu"], "'gpu' is not auto, cpu, cuda"),
        (["--device", "cuda", "--capacity", "lots"], "'lots' is no size"),
        (["--device", "cuda", "--capacity", "0"], "'0' leaves no memory at all"),
        (["--device", "cuda", "--capacity", "24"], "'24' is 24 bytes; write it as 24GiB"),
        (["--device", "cpu", "--gpu", "H100"], "the forecast is for a CPU"),
        (["--output", "chart.pdf"], "neither .svg nor .png"),
        (["--output", "nowhere/chart.svg"], "there is no folder 'nowhere'"),
        (["--time-limit", "0"], "--time-limit: '0' is not a number of seconds from 1"),
    ],
)
def test_refusals(workplace: Workplace, words: list[str], expected: str) -> None:
    assert expected in refusal(workplace, "forecast", "tiny.yaml", *words)


def test_a_model_that_cannot_be_traced_says_why(workplace: Workplace) -> None:
    words = ["forecast", "tiny.yaml", "--set", "model.target=tiny.broken", "--device", "cpu"]
    assert "the weights are on another disk" in refusal(workplace, *words, code=1)


def test_what_cannot_train_is_refused_as_a_start_would(workplace: Workplace) -> None:
    words = ["forecast", "tiny.yaml", "--set", "optimizer.args.warmup=3", "--device", "cpu"]
    said = refusal(workplace, *words)
    assert "has no such argument" in said
    assert "run it once" not in said
    words[2:] = ["--set", "model.args.wide=3", "--device", "cpu"]
    said = refusal(workplace, *words)
    assert "wide" in said
    assert "run it once" not in said
