"""One pane alone on the screen."""

from __future__ import annotations

from textual.screen import Screen

from batchtui.tui.widgets.pane import Pane


def zoom(screen: Screen[None], pane: Pane | None) -> None:
    """Give a pane the room of all; with None, each its own again."""
    for other in screen.query(".zoomed-pane, .zoomed-row"):
        other.remove_class("zoomed-pane", "zoomed-row")
    screen.set_class(pane is not None, "zoomed")
    if pane is not None and pane.parent is not None:
        pane.add_class("zoomed-pane")
        screen.query_one(f"#{pane.parent.id}").add_class("zoomed-row")
