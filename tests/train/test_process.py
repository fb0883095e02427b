"""The worker as the process it is: started by path, stopped by signals, explaining its death."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from batchtui.config.schema import Config, Data, Model, to_dict
from batchtui.records import LaunchSpec
from batchtui.train import bootstrap
from tests.train.helpers import newest, records, tiny

BOOTSTRAP = Path(bootstrap.__file__)
DEADLINE_S = 150  # importing torch takes seconds, and minutes on a machine that is busy


def write_run(folder: Path, config: Config, **spec: Any) -> Path:
    """Lay out a run directory as `batchtui start` does, with the user's own module beside it."""
    folder.mkdir(parents=True)
    (folder / "cwd").mkdir()
    own = folder / "own"
    own.mkdir()
    (own / "tiny_net.py").write_text(
        (Path(__file__).with_name("tiny.py")).read_text()
        + "\nimport sys\nPATH = list(sys.path)\n"
        + "def path_net():\n    print('path', sys.path)\n    print('loaded', *sys.modules)\n"
        + "    return linear()\n"
    )
    launch = LaunchSpec(
        run=folder.name,
        config=to_dict(config),
        config_path=str(own / "config.yaml"),
        cwd=str(folder / "cwd"),
        python=sys.executable,
        **spec,
    )
    (folder / "launch.json").write_text(json.dumps(dataclasses.asdict(launch)))
    return folder


def own(samples: int = 30, model: str = "tiny_net.linear", **options: Any) -> Config:
    data = Data(target="tiny_net:points", args={"samples": samples})
    return tiny(model=model, **{"data": data, **options})


def start(folder: Path, *prefix: str) -> subprocess.Popen[str]:
    """Start the worker in an interpreter that sees no more than an installed torch."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    return subprocess.Popen(
        [sys.executable, *prefix, str(BOOTSTRAP), str(folder)],
        cwd="/",
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    try:
        output, errors = process.communicate(timeout=DEADLINE_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, output, errors


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the worker did not come that far"
        time.sleep(0.05)


def steps(folder: Path) -> int:
    if not (folder / "journal").exists():
        return 0
    return len(records(folder, "step"))


def test_a_run_directory_is_trained_with_the_users_own_module(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", own(model="tiny_net.path_net"))
    code, output, errors = end(start(folder))
    assert (code, errors) == (0, "")
    assert records(folder)[0]["phase"] == "importing torch"
    (last,) = records(folder, "end")
    assert (last["status"], last["step"], last["samples"]) == ("finished", 8, 60)
    assert last["dropped_records"] == 0
    loaded = set(output.partition("loaded ")[2].partition("\n")[0].split())
    assert not loaded & {"msgspec", "yaml", "textual", "batchtui.runs", "batchtui.supervise"}
    path = eval(output.partition("path ")[2].partition("\n")[0])  # what the worker's module saw
    assert path[:2] == [str(folder / "own"), str(folder / "cwd")]
    assert str(BOOTSTRAP.parent) not in path
    assert str(BOOTSTRAP.parents[2]) not in path  # where this package is installed
    assert not (folder / "error.json").exists()


def test_a_stop_leaves_a_checkpoint_and_the_rest_goes_on_from_it(tmp_path: Path) -> None:
    """SIGTERM to the whole group, as the supervisor sends it, loader processes included."""
    config = own(samples=2000, epochs=3, workers=2)
    first = write_run(tmp_path / "first", config)
    process = start(first)
    wait_for(lambda: steps(first) > 3)
    os.killpg(process.pid, signal.SIGTERM)
    code, _, errors = end(process)
    assert (code, errors) == (0, "")
    (last,) = records(first, "end")
    assert (last["status"], last["message"]) == ("stopped", "SIGTERM")
    done = records(first, "step")[-1]
    assert (last["step"], last["samples"]) == (done["step"], done["samples"])

    rest = write_run(tmp_path / "rest", config, resume_from=str(newest(first)))
    code, _, errors = end(start(rest))
    assert (code, errors) == (0, "")
    following = records(rest, "step")
    assert following[0]["step"] == done["step"] + 1
    assert following[-1]["samples"] == 6000
    assert sum(step["batch"] for step in records(first, "step") + following) == 6000


def test_a_configuration_that_cannot_be_trained_is_one_line(tmp_path: Path) -> None:
    config = Config(model=Model(target="torchvision.models.resnet81"), device="cpu")
    folder = write_run(tmp_path / "run", config)
    code, _, errors = end(start(folder))
    assert code == 2
    assert errors.count("\n") == 1
    assert "model.target: 'torchvision.models.resnet81'" in errors
    assert "did you mean 'resnet" in errors
    error = json.loads((folder / "error.json").read_text())
    assert error["type"] == "ConfigError"
    assert error["message"] == errors.strip()
    assert records(folder, "end")[0]["status"] == "failed"


def test_an_exception_is_explained_in_error_json(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", own(data=Data(target="tiny_net:bad"), workers=1))
    code, _, errors = end(start(folder))
    assert code == 1
    assert errors.startswith("ValueError: sample 7 is broken")
    error = json.loads((folder / "error.json").read_text())
    assert (error["type"], error["message"]) == ("ValueError", "sample 7 is broken")
    assert "tiny_net.py" in error["traceback"]
    assert error["phase"]
    assert records(folder, "end")[0]["message"] == "ValueError: sample 7 is broken"


def test_a_stop_before_the_first_step_leaves_at_once(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", own())
    process = start(folder)
    wait_for(lambda: (folder / "journal/rank-0.jsonl").exists() and records(folder))
    process.terminate()
    code, _, _ = end(process)
    assert code == 0
    (last,) = records(folder, "end")
    assert (last["status"], last["step"]) == ("stopped", 0)
    assert not list(folder.glob("checkpoints/*"))


def test_a_worker_whose_supervisor_is_gone_saves_and_ends(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", own(samples=100_000, epochs=100))
    command = f"{sys.executable} {BOOTSTRAP} {folder} >/dev/null 2>&1 & echo $!; wait"
    parent = subprocess.Popen(
        ["/bin/sh", "-c", command],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        wait_for(lambda: steps(folder) > 3)
        parent.kill()
        wait_for(lambda: records(folder, "end"))
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.communicate()
    (last,) = records(folder, "end")
    assert (last["status"], last["message"]) == ("stopped", "the supervisor is gone")
    assert newest(folder).name == f"step-{last['step']:08d}.pt"


# ------------------------------------------------------------------------- two processes

TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node=2", "--max-restarts=0", "--standalone")


def test_two_processes_train_what_one_trains_and_stop_together(tmp_path: Path) -> None:
    # 15 samples in global batches of 2: the last step has a single one, and a rank none.
    alone = write_run(tmp_path / "alone", own(samples=15, batch_size=2, epochs=1))
    assert end(start(alone))[0] == 0
    both = write_run(tmp_path / "both", own(samples=15, batch_size=1, epochs=1))
    code, output, errors = end(start(both, *TORCHRUN))
    assert code == 0, errors
    assert output.count("finished after 8 steps") == 1
    one, two = records(alone, "step"), records(both, "step")
    assert [step["samples"] for step in one] == [step["samples"] for step in two]
    for rank, share in ((0, 8), (1, 7)):
        mine = records(both, "step", rank)
        assert sum(step["batch"] for step in mine) == share
        norms = [step["grad_norm"] for step in one]
        assert [round(step["grad_norm"], 4) for step in mine] == [round(norm, 4) for norm in norms]
    first, second = records(alone, "evaluation")[0], records(both, "evaluation")[0]
    assert first["eval_samples"] == second["eval_samples"] == 12
    assert abs(first["loss"] - second["loss"]) < 1e-4
    assert not records(both, "checkpoint", rank=1)


def test_two_processes_agree_on_the_step_they_stop_at(tmp_path: Path) -> None:
    folder = write_run(
        tmp_path / "run", own(samples=50_000, epochs=100, training={"accumulate": 2})
    )
    process = start(folder, *TORCHRUN)
    wait_for(lambda: steps(folder) > 3 and (folder / "journal/rank-1.jsonl").exists())
    (started,) = records(folder, "start", rank=1)
    os.kill(started["pid"], signal.SIGTERM)  # one of them is enough
    end(process)
    ends = [records(folder, "end", rank)[0] for rank in (0, 1)]
    assert [last["status"] for last in ends] == ["stopped", "stopped"]
    assert ends[0]["step"] == ends[1]["step"]
    assert newest(folder).name == f"step-{ends[0]['step']:08d}.pt"
