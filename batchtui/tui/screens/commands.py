"""What the command palette finds on the main screen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from textual.app import SystemCommand

if TYPE_CHECKING:
    from batchtui.tui.screens.main import MainScreen


def main_commands(screen: MainScreen) -> Iterator[SystemCommand]:
    """Yield name, meaning and action of each."""
    for name, meaning, action in (
        ("Leave", "Detach, or stop the training", screen.action_leave),
        ("Next batch size", "Type it", screen.action_type_batch),
        ("Filter the log", "Show lines with some text", screen.action_filter),
        ("Zoom", "Give the focused pane the whole screen, or take it back", screen.action_zoom),
        ("Pause", "Hold the view still, or go on", screen.action_pause),
        ("Help", "What the keys do", screen.action_help),
    ):
        yield SystemCommand(name, meaning, action)
