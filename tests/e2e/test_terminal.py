"""A person at a terminal: starts a training, loses the connection, comes back, leaves, stops it."""

from __future__ import annotations

import os

from tests.e2e.conftest import Workplace
from tests.tui.terminal import Terminal


def at(workplace: Workplace, *words: str) -> Terminal:
    """Type a command into a new terminal, standing in the workplace."""
    program = f"import os, sys; os.chdir({str(workplace.folder)!r}); sys.argv = ['batchtui'] + "
    program += f"{list(words)!r}; from batchtui.cli import main; sys.exit(main())"
    return Terminal(["-c", program], 80, 24, OMP_NUM_THREADS="1")


def test_a_lost_connection_costs_nothing_and_the_same_command_comes_back(
    workplace: Workplace,
) -> None:
    first = at(workplace, "tiny.yaml")
    assert first.wait_for_text("● training", 60)
    steps = workplace.wait("tiny-001", "steps >= 20")["steps"]
    os.close(first.descriptor)  # what a dropped SSH connection does to the terminal
    os.waitpid(first.pid, 0)
    workplace.wait("tiny-001", f"steps >= {steps} + 20")

    second = at(workplace, "tiny.yaml")
    assert second.wait_for_text("● training", 30)
    assert second.wait_for_text("step 1─", 10)  # the chart goes back to the first step
    second.press(b"d")
    assert second.wait_for_text("goes on training", 10)
    second.close()
    assert workplace.look("tiny-001")["status"] == "running"

    third = at(workplace, "attach")
    assert third.wait_for_text("● training", 30)
    third.press(b"q")
    assert third.wait_for_text("Detach", 10)
    third.press(b"s")
    assert workplace.wait("tiny-001", "status == 'stopped'")["checkpoints"]
    assert third.wait_for_text("■ stopped", 10)
    third.press(b"q")
    assert third.wait_for(third.ended, 10)
    assert third.status == 0
    third.close()
    assert workplace.left() == []
