"""What the focused pane shows, and what the keys do."""

from __future__ import annotations

import textwrap
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size

from batchtui.tui.palette import Palette
from batchtui.tui.screens.dialog import Dialog
from batchtui.tui.widgets.canvas import Canvas

_KEY = 12  # cells
_PANES = {
    "cpu": (
        "CPU",
        "How busy each core is, the load average of the last minute, and the time spent waiting "
        "for disks. Below, where there is room: how many cores were busy over the last minutes, "
        "the worker's in front, those of others upon them.",
        (),
    ),
    "memory": (
        "Memory",
        "The memory that the batch size has to fit into: the GPU's, or without one the host's or "
        "the control group's. ┃ and ╌ are the run's limit, `limits.memory` of its configuration. "
        "Hatched is what the chosen batch size will need or, dim, twice the present one.",
        (
            ("allocated", "what tensors hold between two steps, as torch tells"),
            ("peak", "the most they held within the last step"),
            ("reserved", "what torch's allocator keeps for itself"),
            ("context", "the driver's and the libraries' own memory"),
            ("others", "what other processes hold"),
        ),
    ),
    "steps": (
        "Step time",
        "How long optimizer steps took over the last minutes: a line through them, around it the "
        "least and the most of each column. Below: what a step is made of.",
        (
            ("p50 p95", "half, and 95 of 100, of the recent steps took no longer"),
            ("▲", "a step took longer than the chart is high"),
            ("┊", "a restart, with the batch size if it changed"),
        ),
    ),
    "loss": (
        "Loss and variance",
        "The loss of the whole run and its variance within a batch. Where they span much the "
        "scale is logarithmic, without the lowest 5 % (▼).",
        (
            ("s²", "variance of the per-sample losses within a batch"),
            ("V", "variance of the batch mean, free of the loss's trend"),
            ("R", "V over s²/B: 1 sampling noise, above 2 the training's dynamics"),
            ("┊", "a restart, with the batch size if it changed"),
        ),
    ),
    "log": (
        "Log",
        "What the worker writes, and ● what happened to the run. ▲ and ✗ are warnings and errors, "
        "by the words in the line.",
        (),
    ),
    "advisor": (
        "Advisor",
        "The batch size now and, once one is chosen, what the next one will need: its peak memory "
        "with a 90 % interval is a forecast, what has no → before it was measured.",
        (
            ("headroom", "what is left up to the limit"),
            ("loss noise", "standard deviation of a batch's mean loss"),
            ("largest safe", "the largest batch size forecast to fit"),
        ),
    ),
    "summary": (
        "Summary",
        "What came of a run that has ended. Once a batch size is chosen the advisor is here, and "
        "the run can go on at it.",
        (
            ("peak", "the most memory that it held"),
            ("speed", "of its last steps"),
            ("saved", "the newest checkpoint: where a restart goes on"),
        ),
    ),
}
_CHART = (
    ("left right", "move the cursor, which reads values; with shift: faster"),
    ("+  −", "closer, wider (also up, down and the wheel)"),
    ("PgUp PgDn", "earlier, later"),
    ("Home  End", "the whole run; back to what is shown by itself"),
)
KEYS = (
    ("+ − < >", "next batch size (< > half, double); b or : types it"),
    ("enter", "restart at the chosen batch size, after a dialog"),
    ("w", "write it into the configuration file, after a dialog"),
    ("tab  1…6", "focus a pane: CPU, memory, step time, loss, log, advisor"),
    ("z", "zoom the focused pane, and back; a chart can then be searched"),
    ("x", "a chart over steps, samples, seconds or the clock"),
    ("l", "the loss on a logarithmic or linear scale, or as suits it"),
    ("h  H", "hide the focused pane; show all"),
    ("/", "filter the log; up, down, PgUp, PgDn, Home and End scroll it"),
    ("y", "copy what the focused pane says"),
    ("e", "export the focused chart as SVG and CSV"),
    ("t", "next theme"),
    ("space", "hold the view still; reading goes on"),
    ("ctrl+p", "find a command, or type a batch size"),
    ("ctrl+l", "draw the screen anew"),
    ("d", "detach: leave, the training goes on"),
    ("q", "leave: detach or stop"),
)


class HelpDialog(Dialog[None]):
    """Explains one pane and all keys; closes on any of the usual ones."""

    heading = "Help"
    extent = Size(78, 100)  # as high as the screen
    keys: ClassVar[tuple[tuple[str, str], ...]] = KEYS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter,space", "cancel", "Close", show=False),
        Binding("down,j", "scroll(1)", "Down", show=False),
        Binding("up,k", "scroll(-1)", "Up", show=False),
        Binding("pagedown", "scroll(8)", "Page down", show=False),
        Binding("pageup", "scroll(-8)", "Page up", show=False),
    ]

    def __init__(self, palette: Palette, ascii_only: bool, pane: str, zoomed: bool) -> None:
        super().__init__(palette, ascii_only)
        self._pane = pane if pane in _PANES else "log"
        self._chart = zoomed and pane in ("steps", "loss")
        self._top = 0
        self.extent = Size(78, 2 + len(self._lines(72)))

    def draw(self, canvas: Canvas) -> None:
        lines = self._lines(canvas.width)
        room = canvas.height
        self._top = max(0, min(self._top, len(lines) - room))
        for y, (key, look, text, text_look) in enumerate(lines[self._top : self._top + room]):
            canvas.put(0, y, key, look)
            canvas.put(_KEY if key or look else 0, y, text, text_look)
        if self._top + room < len(lines):
            canvas.right(canvas.width, canvas.height - 1, " ↓ more ", "caution")

    def _lines(self, width: int) -> list[tuple[str, str, str, str]]:
        """Return (key, its look, text, its look) of each line."""
        width = max(2 * _KEY, width)  # a terminal can be made smaller than any text
        title, about, parts = _PANES[self._pane]
        lines = [(title, "brand", "", "")]
        lines += [("", "", text, "text") for text in textwrap.wrap(about, width)]
        lines += _table(parts, "pale.strong", "label", width)
        if self._chart:
            lines += [("", "", "", ""), *_table(_CHART, "key", "text", width)]
        return [*lines, ("", "", "", ""), *_table(self.keys, "key", "text", width)]

    def action_scroll(self, by: int) -> None:
        """Show what has no room."""
        self._top += by
        self.redraw()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self.action_scroll(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self.action_scroll(-3)


def _table(
    rows: tuple[tuple[str, str], ...], look: str, text_look: str, width: int
) -> list[tuple[str, str, str, str]]:
    lines = []
    for key, what in rows:
        first, *rest = textwrap.wrap(what, width - _KEY)
        lines.append((key, look, first, text_look))
        lines += [("", look, text, text_look) for text in rest]
    return lines
