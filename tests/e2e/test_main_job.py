"""Launch, watch, stop, come back: the program through its command line, with real processes."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.e2e.conftest import Workplace


def test_start_stop_and_go_on_where_it_stopped(workplace: Workplace) -> None:
    name = workplace.start()
    workplace.wait(name, "steps >= 60")
    stopped = workplace.run("stop", name)
    assert stopped.returncode == 0
    assert "stopped" in stopped.stdout
    first = workplace.show(name)
    assert first["status"] == "stopped"
    assert first["checkpoints"][-1]["step"] == first["steps"]
    assert first["loss"] > 0
    assert first["loss_variance"] > 0
    assert workplace.left() == []

    hint = workplace.run("start", "tiny.yaml", "--set", "training.seed=1")
    assert "--resume" not in hint.stderr, "another seed is another training"
    workplace.run("stop", "last", "--now")

    second = workplace.start("--resume")
    child = workplace.wait(second, f"steps >= {first['steps']} + 20")
    assert child["parent"] == name
    # 16 samples a step, 256 an epoch: the clock goes on where it stood.
    assert child["samples"] == child["steps"] * 16
    assert child["epoch"] == (child["samples"] - 1) // 256 + 1
    workplace.run("stop", second)


def test_one_configuration_trains_once(workplace: Workplace) -> None:
    command = [sys.executable, "-m", "batchtui", "start", "tiny.yaml"]
    both = [
        subprocess.Popen(
            command,
            cwd=workplace.folder,
            env=workplace.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=100) for process in both]
    assert answers[0][0] == answers[1][0] == "tiny-001\n"
    assert sum("alive already" in stderr for _, stderr in answers) == 1
    assert [path.name for path in workplace.root.iterdir() if path.is_dir()] == ["tiny-001"]
    workplace.run("stop", "tiny-001")


def test_plain_lines_carry_no_escape_codes_and_end_with_the_run(workplace: Workplace) -> None:
    words = ["tiny.yaml", "--refresh", "0.5", "--set", "training.epochs=12"]
    for environment in ({"TERM": "dumb"}, {"LC_ALL": "C", "NO_COLOR": "1"}):
        answer = workplace.run(*words, **environment)
        assert answer.returncode == 0, answer.stderr
        assert "\x1b" not in answer.stdout + answer.stderr
        lines = answer.stdout.splitlines()
        assert "finished" in lines[-1]
        assert "epoch 12/12" in lines[-1]
        assert any(" running " in line and "samples/s" in line for line in lines)


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSEGV])
def test_a_killed_worker_is_explained(workplace: Workplace, sent: signal.Signals) -> None:
    name = workplace.start()
    workplace.wait(name, "steps >= 5")
    worker = next(p for p in workplace.processes() if "bootstrap.py" in " ".join(p.cmdline()))
    worker.send_signal(sent)
    known = workplace.wait(name, "status == 'failed'")
    assert sent.name in known["cause"]
    assert workplace.left() == []
    # It can go on from its last checkpoint, or starts anew where there is none yet.
    assert workplace.run("attach", name, "--plain").returncode == 1


def test_a_killed_supervisor_takes_its_worker_along_and_is_explained(workplace: Workplace) -> None:
    name = workplace.start()
    workplace.wait(name, "steps >= 5")
    supervisor = next(
        p for p in workplace.processes() if "batchtui.supervise" in " ".join(p.cmdline())
    )
    supervisor.kill()
    assert workplace.left() == []
    known = workplace.show(name)
    assert known["status"] in ("stopped", "failed")
    assert "supervisor" in known["cause"]
    # The worker took the death of its supervisor as a request to stop, and saved its work.
    assert known["checkpoints"][-1]["step"] == known["steps"]


def test_a_program_that_prints_without_end_still_trains(workplace: Workplace) -> None:
    name = workplace.start("--set", "model.args.noise=lines")
    workplace.wait(name, "steps >= 120")  # half a megabyte each
    assert (workplace.root / name / "worker.log").stat().st_size < 40 << 20
    assert workplace.run("stop", name).returncode == 0


def test_hostile_output_reaches_no_terminal(workplace: Workplace) -> None:
    name = workplace.start("--set", "model.args.noise=hostile")
    workplace.wait(name, "steps >= 3")
    shown = workplace.run("show", name)
    assert shown.returncode == 0
    assert all(line.isprintable() for line in shown.stdout.splitlines())
    workplace.run("stop", name)


def test_a_crash_in_native_code_and_a_nan_are_told(workplace: Workplace) -> None:
    crashed = workplace.start("--set", "model.args.noise=segfault")
    assert "SIGSEGV" in workplace.wait(crashed, "status == 'failed'")["cause"]
    lost = workplace.start("--fresh", "--set", "model.args.noise=nan")
    known = workplace.wait(lost, "steps >= 20")
    assert known["loss"] is None
    assert any("NaN" in event["message"] for event in known["events"])
    workplace.run("stop", lost)
