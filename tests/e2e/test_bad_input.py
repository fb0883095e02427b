"""Bad input: one clear line, the right exit code, and nothing left behind."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

import pytest

from tests.e2e.conftest import Workplace


def refusal(workplace: Workplace, *words: str, code: int = 2) -> str:
    answer = workplace.run(*words)
    assert answer.returncode == code, (answer.stdout, answer.stderr)
    assert answer.stdout == ""
    lines = answer.stderr.splitlines()
    assert len(lines) == 1, answer.stderr
    assert lines[0].startswith("batchtui: ")
    assert lines[0].isprintable()
    return lines[0]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nonsense"], "no configuration file and no command"),
        (["stpo"], "did you mean 'stop'"),
        (["missing.yaml"], "no such file; did you mean 'tiny.yaml'?"),
        (["start", "."], "is a directory"),
        (["start"], "required: CONFIG"),
        (["tiny.yaml", "--batch-size", "0"], "0 is not a whole number of samples"),
        (["tiny.yaml", "--batch-size", "3.5"], "3.5 is not a whole number"),
        (["tiny.yaml", "--batch-size"], "expected one argument"),
        (["tiny.yaml", "--set", "model.target=tiny.Nett"], "did you mean 'Net'?"),
        (["tiny.yaml", "--set", "optimizer.args=3"], "a mapping of names"),
        (["tiny.yaml", "--refresh", "never"], "not a number of seconds"),
        (["tiny.yaml", "--bogus"], "unrecognized arguments: --bogus"),
        (["attach", "nothing"], "nothing"),
        (["attach"], "no run"),
        (["show", "\x1b[31mred"], "red"),
        (["stop", "nothing"], "nothing"),
        (["start", "tiny.yaml", "--runs", "/proc/runs"], "/proc/runs"),
        (["start", "tiny.yaml", "--runs", "tiny.py"], "tiny.py"),
    ],
)
def test_the_command_line(workplace: Workplace, words: list[str], expected: str) -> None:
    code = 1 if "--runs" in words else 2
    assert expected in refusal(workplace, *words, code=code)
    assert not workplace.root.exists() or not any(p.is_dir() for p in workplace.root.iterdir())


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("model.target=tiny.broken", "the weights are on another disk"),
        ("model.args.widht=3", "widht"),
        ("optimizer.args.momentumm=0.9", "momentumm"),
        ("dataloaders.batch_size=257", "256"),
    ],
)
def test_what_only_the_worker_can_know(
    workplace: Workplace, assignment: str, expected: str
) -> None:
    assert expected in refusal(workplace, "start", "tiny.yaml", "--set", assignment)
    assert not any(p.is_dir() for p in workplace.root.iterdir())


def test_a_disk_that_takes_nothing(workplace: Workplace) -> None:
    """A file size limit fails a write just as a full disk does, and needs no disk."""
    command = f"ulimit -f 0; exec {sys.executable} -m batchtui start tiny.yaml"
    answer = subprocess.run(
        ["bash", "-c", command],
        cwd=workplace.folder,
        env=workplace.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.returncode == 1
    assert len(answer.stderr.splitlines()) == 1
    assert "cannot be written" in answer.stderr
    assert not any(p.is_dir() for p in workplace.root.iterdir())


def test_an_empty_picture_folder(workplace: Workplace) -> None:
    (workplace.folder / "pictures").mkdir()
    workplace.config.write_text("data: {name: imagefolder, root: pictures}\n")
    assert "pictures" in refusal(workplace, "start", "tiny.yaml")


def test_runs_that_cannot_be_read_do_not_hide_the_others(workplace: Workplace) -> None:
    name = workplace.start("--set", "training.epochs=1")
    workplace.wait(name, "status == 'finished'")
    names = []
    for number in range(20):
        other = workplace.root / f"old-{number:03d}"
        other.mkdir()
        for file in ("launch.json", "run.db"):
            (other / file).write_bytes((workplace.root / name / file).read_bytes())
        names.append(other.name)
    (workplace.root / names[0] / "run.db").write_bytes(b"torn")
    with sqlite3.connect(workplace.root / names[1] / "run.db") as newer:
        newer.execute("PRAGMA user_version = 99")
    (workplace.root / names[2] / "run.db").unlink()

    listed = workplace.run("runs")
    assert listed.returncode == 0, listed.stderr
    assert "finished" in next(row for row in listed.stdout.splitlines() if row.startswith(name))
    assert all(any(row.startswith(n) for row in listed.stdout.splitlines()) for n in names)
    assert "newer" in refusal(workplace, "show", names[1], code=1)
    assert "run.db" in refusal(workplace, "show", names[0], code=1)
