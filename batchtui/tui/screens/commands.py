"""What the command palette finds on the main screen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from textual.app import SystemCommand
from textual.command import Hit, Hits, Provider

from batchtui import units
from batchtui.advise.choice import parse
from batchtui.tui.screens.arranging import PANES
from batchtui.tui.screens.choosing import ChoosingScreen
from batchtui.tui.widgets.chart_pane import ChartPane

if TYPE_CHECKING:
    from batchtui.tui.screens.main import MainScreen

_SIZE = re.compile(r"[a-z :]*?([0-9][0-9,_]*)\s*\Z", re.IGNORECASE)


class BatchSizes(Provider):
    """Finds `96`, `:96` or `batch size 96`, where such a batch size can be chosen."""

    async def search(self, query: str) -> Hits:
        """Yield the batch size that a query ends in, or why it is none."""
        screen, typed = self.screen, _SIZE.match(query)
        if typed is None or not isinstance(screen, ChoosingScreen) or screen.present.size is None:
            return
        try:
            size = parse(typed[1], screen.present.train_samples)
        except ValueError as error:
            yield Hit(1.0, typed[1], screen.action_type_batch, help=str(error))
        else:
            name = f"Batch size {units.count(size)}"
            yield Hit(1.0, name, partial(screen.choose, size), help="Choose it as the next one")


def main_commands(screen: MainScreen) -> Iterator[SystemCommand]:
    """Yield name, meaning and action of each."""
    for name, meaning, action in (
        ("Leave", "Detach, or stop the training", screen.action_leave),
        ("Next batch size", "Type it", screen.action_type_batch),
        ("Larger batch size", "A step", partial(screen.action_choose, 1)),
        ("Smaller batch size", "A step", partial(screen.action_choose, -1)),
        ("Double the batch size", "Of the next run", partial(screen.action_double, 1)),
        ("Halve the batch size", "Of the next run", partial(screen.action_double, -1)),
        ("Restart", "Go on at the next batch size", screen.action_restart),
        ("Write the batch size", "Into the configuration file", screen.action_write_config),
        ("Filter the log", "Show lines with some text", screen.action_filter),
        ("Zoom", "Give the focused pane the whole screen, or take it back", screen.action_zoom),
        ("Hide", "Hide the focused pane", screen.action_hide),
        ("Show all panes", "Bring back what was hidden", screen.action_show_all),
        ("Copy", "Copy what the focused pane says", screen.action_copy),
        ("Export", "Write the focused chart as SVG and CSV", screen.action_export),
        ("Scale of the loss", "As suits it, logarithmic, linear", screen.action_scale),
        ("Theme", "Take the next one: dark, blue-orange, light", screen.action_theme),
        ("Pause", "Hold the view still, or go on", screen.action_pause),
        ("Help", "What the focused pane shows, and what the keys do", screen.action_help),
    ):
        yield SystemCommand(name, meaning, action)
    for name in PANES:
        focus = partial(screen.action_focus_pane, name)
        yield SystemCommand(f"Pane {name}", "Focus it, or bring it back", focus)
    focused = screen.focused
    if isinstance(focused, ChartPane):
        meaning = "Steps, samples, seconds or the clock"
        yield SystemCommand("Axis", meaning, focused.action_axis)
