"""`batchtui find` on real processes: it finds, it refuses, it can be interrupted."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.conftest import Workplace
from tests.e2e.test_bad_input import refusal

CONFIG = """\
name: heavy
device: cpu
model: {target: heavy.Net, args: {wide: 262144}}
data: {target: "heavy:data"}
dataloaders: {batch_size: 64, num_workers: 0}
optimizer: {target: torch.optim.SGD, args: {lr: 0.05}}
limits: {low_memory: true}
"""
KEYS = [
    "batch_size",
    "limit_bytes",
    "peak_bytes",
    "low_bytes",
    "high_bytes",
    "margin_bytes",
    "step_time_s",
    "samples_per_s",
    "confidence",
    "trials",
    "method",
    "assumptions",
]
TRIAL_KEYS = [
    "batch_size",
    "forecast_bytes",
    "peak_bytes",
    "step_time_s",
    "samples_per_s",
    "outcome",
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One trace does for all tests."""
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def place(workplace: Workplace, cache: str, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    shutil.copy(Path(__file__).parent / "heavy.py", workplace.folder)
    (workplace.folder / "heavy.yaml").write_text(CONFIG)
    scratch = tmp_path_factory.getbasetemp() / "t"  # short: loaders have sockets in it
    scratch.mkdir(exist_ok=True)
    workplace.environment |= {"XDG_CACHE_HOME": cache, "TMPDIR": str(scratch)}
    return workplace


def left(place: Workplace) -> list[str]:
    """Return what a search left behind, besides what it measured."""
    folders = [Path(place.environment["TMPDIR"]), *([place.root] if place.root.exists() else [])]
    names = [path.name for folder in folders for path in folder.iterdir()]
    return [name for name in names if name != ".trials.jsonl" and "torchinductor" not in name]


def found(place: Workplace, *words: str) -> dict[str, Any]:
    answer = place.run("find", "heavy.yaml", "--json", *words)
    assert answer.returncode == 0, answer.stderr
    assert left(place) == []
    return json.loads(answer.stdout)


def test_finds_by_two_trials_and_remembers_them(place: Workplace) -> None:
    first = found(place, "--limit", "900MiB")
    assert list(first) == KEYS
    assert 1 <= len(first["trials"]) <= 2
    for trial in first["trials"]:
        assert list(trial) == TRIAL_KEYS
        assert trial["outcome"] == "fits"
        assert trial["peak_bytes"] <= first["limit_bytes"] == 900 << 20
        assert trial["step_time_s"] > 0
        assert trial["samples_per_s"] > 0
    last = first["trials"][-1]
    assert abs(last["forecast_bytes"] / last["peak_bytes"] - 1) < 0.15
    assert first["low_bytes"] <= first["peak_bytes"] <= first["high_bytes"] <= 900 << 20
    assert first["margin_bytes"] == (900 << 20) - first["peak_bytes"]
    assert first["margin_bytes"] < 90 << 20
    assert "measured at this size; peaks of equal runs differ by up to 1%" in first["confidence"]
    assert first["step_time_s"] == last["step_time_s"]

    second = found(place, "--limit", "900MiB")
    assert len(second["trials"]) <= 1
    assert second["batch_size"] >= first["batch_size"]
    assert "earlier trial" in second["method"]
    assert second["step_time_s"] > 0  # known from before, too

    table = place.run("find", "heavy.yaml", "--limit", "900MiB")
    assert f"largest safe batch size: {second['batch_size']}" in table.stdout
    assert f"start it  batchtui heavy.yaml --batch-size {second['batch_size']}" in table.stdout
    assert max(len(line) for line in table.stdout.splitlines()) <= 80
    assert "\x1b" not in table.stdout + table.stderr

    # What was measured corrects the next forecast.
    words = ["forecast", "heavy.yaml", "-b", str(second["batch_size"]), "--capacity", "2GiB"]
    row = json.loads(place.run(*words, "--device", "cpu", "--json").stdout)[0]
    assert abs(row["peak_bytes"] / second["peak_bytes"] - 1) < 0.02
    assert "corrected by" in row["method"]


def test_a_model_that_cannot_be_traced_is_found_by_trials_alone(place: Workplace) -> None:
    (place.folder / "heavy.yaml").write_text(CONFIG.replace("heavy.Net", "heavy.Opaque"))
    words = ["--set", "data.args={samples: 100}", "--limit", "2GiB"]
    answer = found(place, *words)
    assert answer["batch_size"] == 75  # all there are
    assert "could not be traced" in answer["method"]
    assert any("this kernel needs a real tensor" in note for note in answer["assumptions"])
    assert all(trial["outcome"] == "fits" for trial in answer["trials"])
    assert answer["trials"][-1]["batch_size"] == 75


def test_a_trial_that_takes_more_than_forecast_is_ended_and_a_smaller_one_tried(
    place: Workplace,
) -> None:
    config = CONFIG.replace("heavy.Net", "heavy.Liar")
    (place.folder / "heavy.yaml").write_text(config)
    answer = found(place, "--set", "data.args={samples: 100}", "--limit", "800MiB")
    outcomes = [trial["outcome"] for trial in answer["trials"]]
    assert outcomes[0] == "over the limit"
    assert outcomes[-1] == "fits"
    assert answer["batch_size"] <= answer["trials"][-1]["batch_size"] < 75
    assert answer["high_bytes"] <= 800 << 20


def test_refuses_beside_a_live_run(workplace: Workplace) -> None:
    run = workplace.start()
    line = refusal(workplace, "find", "tiny.yaml", code=1)
    assert f"{run} is training this configuration now" in line
    assert f"batchtui stop {run}" in line


def test_interrupted_it_leaves_nothing(place: Workplace) -> None:
    words = [sys.executable, "-m", "batchtui", "find", "heavy.yaml", "--limit", "900MiB"]
    words += ["--set", "model.args={wide: 262144, pause_s: 60}"]
    words += ["--set", "dataloaders.num_workers=1"]
    search = subprocess.Popen(
        words,
        cwd=place.folder,
        env=place.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        children = _wait_for_loader(search)
        search.send_signal(signal.SIGINT)
        out, err = search.communicate(timeout=30)
    finally:
        search.kill()
    assert search.returncode == 130
    assert out == ""
    assert err.splitlines()[-1] == "batchtui: interrupted; nothing is left behind"
    assert not any(child.is_running() for child in children)
    assert left(place) == []
    pids = {child.pid for child in children}
    shared = [path.name for path in Path("/dev/shm").glob("torch_*")]
    assert not any(int(name.split("_")[1]) in pids for name in shared)


def _wait_for_loader(search: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the processes of a search whose trial has come so far that it has a data loader."""
    process = psutil.Process(search.pid)
    deadline = time.monotonic() + 100
    while True:
        assert search.poll() is None
        assert time.monotonic() < deadline
        children = process.children(recursive=True)
        if sum("bootstrap.py" in _words(child) for child in children) > 1:
            return children
        time.sleep(0.1)


def _words(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@pytest.mark.parametrize("words", [("--limit", "100MiB"), ("--limit", "100MiB", "--json")])
def test_not_even_one_sample_fits(place: Workplace, words: tuple[str, ...]) -> None:
    answer = place.run("find", "heavy.yaml", *words)
    assert answer.returncode == 4, answer.stderr
    last = answer.stderr.splitlines()[-1]
    assert "not even batch size 1 fits into 100 MiB (--limit): it would take" in last
    if "--json" in words:
        assert json.loads(answer.stdout)["batch_size"] is None
    assert left(place) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--limit", "lots"], "--limit: 'lots' is no size"),
        (["--limit", "0"], "leaves no memory at all"),
        (["--set", "model.target=tiny.Nett"], "did you mean 'Net'?"),
    ],
)
def test_refusals(workplace: Workplace, words: list[str], expected: str) -> None:
    assert expected in refusal(workplace, "find", "tiny.yaml", *words)
