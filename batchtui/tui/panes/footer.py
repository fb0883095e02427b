"""The keys that matter now, in one line."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.reactive import reactive

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
    ("ctrl+p", "Commands", "app.command_palette"),
    ("d", "Detach", "app.detach"),
    ("q", "Quit", "screen.leave"),
)


# Once a batch size is chosen, in place of typing it.
CHOSEN_KEYS = (
    ("enter", "Restart", "screen.restart"),
    ("esc", "Drop it", "screen.back"),
)

# The same for a zoomed chart.
CHART_KEYS = (
    ("←→", "Cursor", "chart.cursor(-1)"),
    ("+−", "Closer", "chart.scale(0.5)"),
    ("PgUp PgDn", "Pan", "chart.pan(-0.5)"),
    ("x", "Axis", "chart.axis"),
    ("e", "Export", "screen.export"),
    ("z", "Back", "screen.zoom"),
    ("?", "Help", "screen.help"),
    ("q", "Quit", "screen.leave"),
)

# What goes first where there is no room.
RARE = ("ctrl+p", "b", "space", "d", "esc", "PgUp PgDn", "e", "/")


class FooterPane(Pane, can_focus=False):
    """Keys with a word each; the words go first where it is narrow, then the rarer keys."""

    framed = False
    ground = "band"
    keys: ClassVar[tuple[tuple[str, str, str], ...]] = KEYS
    rare: ClassVar[tuple[str, ...]] = RARE

    chart: reactive[bool] = reactive(False, repaint=False)  # whether a zoomed chart has the keys

    def on_mount(self) -> None:
        self._places: list[tuple[int, int, str]] = []

    def watch_chart(self) -> None:
        if self.is_mounted:
            self.redraw()

    def draw(self, canvas: Canvas, view: View) -> None:
        keys = list(CHART_KEYS if self.chart else self.keys)
        if self.choice not in (None, view.batch.size) and not self.chart:
            keys[1:2] = CHOSEN_KEYS
        for rare in self.rare:
            if sum(len(key) + len(what) + 3 for key, what, _ in keys) <= canvas.width:
                break
            keys = [key for key in keys if key[0] != rare]
        self._places = []
        x = 1
        for key, what, action in keys:
            start = x
            # In ASCII the arrows would be `<>`, which are other keys.
            x = canvas.put(x, 0, "<- ->" if self._ascii and key == "←→" else key, "key") + 1
            x = canvas.put(x, 0, what, "label")
            self._places.append((start, x, action))
            x += 2

    async def on_click(self, event: events.Click) -> None:
        for start, end, action in self._places:
            if start <= event.x < end:
                _, _, name = action.rpartition("chart.")
                focused = self.screen.focused
                if name != action and focused is not None:
                    await self.app.run_action(name, focused)
                else:
                    await self.run_action(action)
