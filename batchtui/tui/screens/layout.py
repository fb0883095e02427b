"""Which layout a screen has: its size's, and one pane alone."""

from __future__ import annotations

from textual.geometry import Size
from textual.screen import Screen

from batchtui.tui.widgets.pane import Pane

LEAST_WIDTH, LEAST_HEIGHT = 60, 16


def fit(screen: Screen[None], size: Size) -> None:
    """Set the classes that pick a layout; Textual alone would lay out first, and then again."""
    for breakpoints, extent in (
        (screen.app.HORIZONTAL_BREAKPOINTS, size.width),
        (screen.app.VERTICAL_BREAKPOINTS, size.height),
    ):
        chosen = [name for least, name in breakpoints or () if extent >= least][-1:]
        for _, name in breakpoints or ():
            screen.set_class(name in chosen, name)
    screen.set_class(size.width < LEAST_WIDTH or size.height < LEAST_HEIGHT, "too-small")


def zoom(screen: Screen[None], pane: Pane | None) -> None:
    """Give a pane the room of all; with None, each its own again."""
    for other in screen.query(".zoomed-pane, .zoomed-row"):
        other.remove_class("zoomed-pane", "zoomed-row", update=False)
    screen.set_class(pane is not None, "zoomed", update=False)
    if pane is not None and pane.parent is not None:
        pane.add_class("zoomed-pane", update=False)
        screen.query_one(f"#{pane.parent.id}").add_class("zoomed-row", update=False)
    screen.update_node_styles()  # once, and not for each


def hide(screen: Screen[None], names: frozenset[str]) -> None:
    """Hide the panes of these names, and rows of which nothing is left."""
    for row in screen.query(".row"):
        panes = list(row.query(Pane))
        for pane in panes:
            pane.set_class(pane.id in names, "hidden")
        row.set_class(all(pane.id in names for pane in panes), "hidden")
