"""The keys that matter now, in one line."""

from __future__ import annotations

from textual import events

from batchtui.tui.palette import BAND
from batchtui.tui.view import View
from batchtui.tui.widgets.canvas import Canvas
from batchtui.tui.widgets.pane import Pane

# (key as shown, what it does, the action a click runs)
KEYS = (
    ("+−", "Batch size", "screen.choose(1)"),
    ("b", "Type it", "screen.type_batch"),
    ("space", "Pause", "screen.pause"),
    ("/", "Filter log", "screen.filter"),
    ("z", "Zoom", "screen.zoom"),
    ("?", "Help", "screen.help"),
    ("d", "Detach", "app.detach"),
    ("q", "Quit", "screen.leave"),
)


class FooterPane(Pane, can_focus=False):
    """Keys with a word each; the words go first where it is narrow, then the rarer keys."""

    framed = False
    ground = BAND

    def on_mount(self) -> None:
        self._places: list[tuple[int, int, str]] = []

    def draw(self, canvas: Canvas, view: View) -> None:
        keys = list(KEYS)
        for rare in ("b", "space", "d", "z", "/"):
            if sum(len(key) + len(what) + 3 for key, what, _ in keys) <= canvas.width:
                break
            keys = [key for key in keys if key[0] != rare]
        self._places = []
        x = 1
        for key, what, action in keys:
            start = x
            x = canvas.put(x, 0, key, "key") + 1
            x = canvas.put(x, 0, what, "label")
            self._places.append((start, x, action))
            x += 2

    async def on_click(self, event: events.Click) -> None:
        for start, end, action in self._places:
            if start <= event.x < end:
                await self.run_action(action)
