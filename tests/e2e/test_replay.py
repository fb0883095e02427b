"""A person looks back at a run: on a terminal, through a pipe, with words that make no sense."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import Workplace
from tests.e2e.test_bad_input import refusal
from tests.e2e.test_terminal import at
from tests.tui.test_replay_source import tape

SEED = 11  # of a run of two minutes


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return when each file was changed, and what it holds."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in found}


def test_a_run_is_looked_back_at_on_a_terminal_and_stays_as_it_was(workplace: Workplace) -> None:
    run = tape(SEED).record(workplace.root)
    before = files(run.path)
    terminal = at(workplace, "replay", "last", "--from", "300", "--speed", "2")
    assert terminal.wait_for_text(" REPLAY ", 30)
    assert terminal.wait_for_text("2×")
    assert terminal.wait_for_text("● training")
    terminal.press(b"}")
    assert terminal.wait_for_text("the end")
    assert terminal.wait_for_text("■ stopped")
    terminal.press(b"[ ")
    assert terminal.wait_for_text("held")
    assert terminal.wait_for_text("● training")
    terminal.press(b"q")
    assert terminal.wait_for(terminal.ended)
    assert terminal.status == 0
    terminal.close()
    assert files(run.path) == before


def test_a_pipe_gets_the_moments_as_lines_at_once(workplace: Workplace) -> None:
    tape(SEED).record(workplace.root)
    answer = workplace.run("replay", "a-001", "--speed", "10")
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    looks = [line for line in lines if "  a-001  " in line]
    assert len(looks) == 15  # every ten seconds, and the end
    assert "a-001  starting  step 0" in looks[0]
    assert "a-001  running  epoch 3/9  step 241" in looks[5]
    assert "a-001  stopped" in looks[-1]
    steps = [int(line.partition("step ")[2].partition(" ")[0]) for line in looks]
    assert steps == sorted(steps)
    assert lines.index(next(line for line in lines if "stopping: " in line)) >= len(lines) - 3


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nothing"], "no run 'nothing'"),
        (["last", "--speed", "0"], "'0' is not a speed"),
        (["last", "--speed", "nonsense"], "'nonsense' is not a speed"),
        (["last", "--from", "701"], "a-001 has no step 701: its last one is 700"),
        (["last", "--from", "-1"], "'-1' is not the number of a step"),
        (["last", "--from", "nonsense"], "'nonsense' is not the number of a step"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(
    workplace: Workplace, words: list[str], expected: str
) -> None:
    tape(SEED).record(workplace.root)
    assert expected in refusal(workplace, "replay", *words)


def test_a_step_of_the_run_before_is_looked_for_there(workplace: Workplace) -> None:
    tape(SEED).record(workplace.root)
    tape(5, "a-002", "a-001", 700).record(workplace.root)
    answer = refusal(workplace, "replay", "a-002", "--from", "300")
    assert "a-002 has no step 300: its first one is 701, a-001 has it" in answer


def test_a_run_that_holds_nothing_is_refused_in_a_line(workplace: Workplace) -> None:
    run = tape(SEED).record(workplace.root)
    run.database.write_bytes(b"junk" * 5000)
    assert "damaged" in refusal(workplace, "replay", "last", code=1)
    run.database.unlink()
    assert "has not recorded anything" in refusal(workplace, "replay", "last", code=1)
