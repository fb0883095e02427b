"""Traces of whole configurations, through the tracer's own process."""

from __future__ import annotations

import dataclasses
import itertools
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

pytest.importorskip("torch")

from batchtui.config.schema import (
    Config,
    Data,
    Loss,
    Model,
    Optimizer,
    Training,
    from_dict,
    to_dict,
)
from batchtui.forecast import tracing
from batchtui.forecast.configured import trace_config
from batchtui.forecast.events import CATEGORIES, PHASES, peak_by_category
from batchtui.forecast.tracing import TraceFailed, TraceRequest, fingerprint, obtain_trace

CODE = """
import os
import signal
import subprocess
import sys

import torch

class Net(torch.nn.Sequential):
    def __init__(self, width=32):
        super().__init__(torch.nn.Flatten(), torch.nn.Linear(192, width), torch.nn.Linear(width, 4))

class Words(torch.utils.data.Dataset):
    def __len__(self):
        return 40
    def __getitem__(self, index):
        return torch.zeros(3, 8, 8), index % 4

def data():
    print("what user code prints is no answer", flush=True)
    return Words(), Words()

def endless():
    while True:
        pass

def spawns():
    child = subprocess.Popen(["sleep", "600"])
    with open("child", "w") as file:
        file.write(str(child.pid))
    return Net()


def exits():
    sys.exit(3)


def number():
    return 3


def killed():
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    (tmp_path / "mine_to_trace.py").write_text(textwrap.dedent(CODE))
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("mine_to_trace", None)
    return tmp_path


def config(**training) -> Config:
    return Config(
        model=Model(target="mine_to_trace.Net"),
        data=Data(target="mine_to_trace.data"),
        loss=Loss(),
        optimizer=Optimizer(target="torch.optim.Adam", args={"lr": 0.1}),
        training=Training(**training),
    )


def request(folder: Path, given: Config | None = None, **changes) -> TraceRequest:
    parts = {
        "config": to_dict(given or config()),
        "device": "cuda",
        "python": sys.executable,
        "cwd": str(folder),
        "gently": False,  # the test waits for it, on a machine that may be busy
    }
    return TraceRequest(**{**parts, **changes})


def test_the_users_own_model_loss_and_data_are_traced(folder):
    trace, base, samples = trace_config(config(), "cuda")
    weights = 4 * (192 * 32 + 32 + 32 * 4 + 4)
    held = peak_by_category(trace.at(10))[1]
    assert held["parameters"] == weights
    assert held["optimizer"] == 2 * weights
    inputs = [e[2] for e in trace.at(10) if CATEGORIES[e[3]] == "inputs" and e[0] > 0]
    assert inputs[:2] == [10 * 192 * 4, 10 * 8]
    assert PHASES[trace.events[-1][5]] == "evaluation"
    assert base > 50 << 20
    assert samples == 40


def test_accumulation_amp_and_compile_are_counted_or_said(folder):
    trace, *_ = trace_config(config(amp="fp16", accumulate=3, compile=True), "cuda")
    assert any("uncompiled" in note for note in trace.assumptions)
    phases = [PHASES[event[5]] for event in trace.events]
    changes = sum(a != b and b == "forward" for a, b in itertools.pairwise(phases))
    assert changes == 6  # two steps of three micro-batches


def test_a_second_request_is_answered_from_the_cache(folder, tmp_path):
    cache = tmp_path / "cache"
    wanted = request(folder)
    cache.mkdir()
    for name, age in ((".a.json.7.tmp", 7200), (".b.json.8.tmp", 0)):
        (cache / name).touch()
        os.utime(cache / name, (time.time() - age,) * 2)
    [first] = obtain_trace(wanted, cache=cache)
    assert [path.name for path in cache.glob(".*")] == [".b.json.8.tmp"]  # may be written just now
    assert first.method == "fake cuda"
    assert tracing.base_bytes(wanted, cache) > 50 << 20
    from_file = request(folder, python="/nowhere/python")
    with pytest.raises(TraceFailed, match="cannot be started"):
        obtain_trace(from_file, cache=cache)  # another interpreter is another trace
    [second] = tracing.cached_trace(wanted, cache)
    assert second.events == first.events


def test_a_target_that_is_missing_is_one_line(folder, tmp_path):
    wrong = config()
    values = to_dict(wrong)
    values["model"]["target"] = "mine_to_trace.Nat"
    with pytest.raises(TraceFailed, match=r"has no 'Nat'; did you mean 'Net'") as caught:
        obtain_trace(request(folder, from_dict(values)), cache=tmp_path / "cache")
    assert "\n" not in str(caught.value)


def test_a_constructor_that_never_returns_is_given_up(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(tracing, "_GRACE", 30.0)
    values = to_dict(config())
    values["model"]["target"] = "mine_to_trace.endless"
    with pytest.raises(TraceFailed, match="takes longer than 1 s"):
        obtain_trace(request(folder, from_dict(values)), time_limit=1.0, cache=tmp_path / "cache")


def test_a_trace_ends_with_whoever_asked_for_it(folder, tmp_path):
    values = to_dict(config())
    values["model"]["target"] = "mine_to_trace.endless"
    wanted = dataclasses.asdict(request(folder, from_dict(values), gently=True))
    code = (
        "from batchtui.forecast.tracing import *\n"
        f"obtain_trace(TraceRequest(**{wanted!r}), cache=Path({str(tmp_path / 'cache')!r}))"
    )
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {**os.environ, "TMPDIR": str(scratch)}
    asker = subprocess.Popen([sys.executable, "-c", code], env=environment)
    try:
        tracer = _soon(lambda: next(iter(psutil.Process(asker.pid).children()), None))
        _soon(lambda: tracer.nice() == 19)  # it has begun
    finally:
        asker.kill()
        asker.wait()
    assert _soon(lambda: not psutil.pid_exists(tracer.pid) or tracer.status() == "zombie")
    assert not [path for path in scratch.rglob("*") if path.is_file()]


def test_a_tracer_that_is_killed_is_one_line_and_leaves_nothing(folder, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    values = to_dict(config())
    values["model"]["target"] = "mine_to_trace.killed"
    with pytest.raises(TraceFailed, match="the tracer died: it was killed by SIGKILL") as caught:
        obtain_trace(request(folder, from_dict(values)), cache=tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert not [*scratch.rglob("*"), *(tmp_path / "cache").rglob("*")]


def test_what_the_users_code_starts_is_not_waited_for_and_ends_with_the_trace(folder, tmp_path):
    values = to_dict(config())
    values["model"]["target"] = "mine_to_trace.spawns"
    [trace] = obtain_trace(request(folder, from_dict(values)), cache=tmp_path / "cache")
    assert trace.method == "fake cuda"
    child = int((folder / "child").read_text())
    assert _soon(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie")


@pytest.mark.parametrize(
    ("target", "said", "usage"),
    [("exits", r"code ends the process: exit\(3\)", False), ("number", "returned a int", True)],
)
def test_code_that_makes_no_model_says_so(folder, tmp_path, target, said, usage):
    values = to_dict(config())
    values["model"]["target"] = f"mine_to_trace.{target}"
    with pytest.raises(TraceFailed, match=said) as caught:
        obtain_trace(request(folder, from_dict(values)), cache=tmp_path / "cache")
    assert caught.value.usage == usage


def _soon(happened):
    deadline = time.monotonic() + 60
    while not (answer := happened()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return answer


def test_the_fingerprint_follows_what_changes_memory(folder):
    name = fingerprint(request(folder))
    assert fingerprint(request(folder, config(seed=7, epochs=3))) == name
    assert fingerprint(request(folder, config(amp="bf16"))) != name
    assert fingerprint(request(folder, device="cpu")) != name
    (folder / "mine_to_trace.py").write_text(CODE + "\n")
    assert fingerprint(request(folder)) != name
