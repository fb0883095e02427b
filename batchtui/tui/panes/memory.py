"""The memory that the batch size has to fit into."""

from __future__ import annotations

from batchtui import units
from batchtui.tui.panes.gpus import draw_gpus
from batchtui.tui.view import MemoryView, Part, View
from batchtui.tui.widgets import glyphs
from batchtui.tui.widgets.bars import ROLE_LOOKS, draw_history, draw_parts, shade
from batchtui.tui.widgets.canvas import Canvas
from batchtui.tui.widgets.pane import LEVEL_LOOKS, Pane


class MemoryPane(Pane):
    """Used of total, a stack of its parts up to the limit, and its history."""

    title = "Memory"

    def heading(self, view: View) -> str:
        return view.memory.title

    def level(self, view: View) -> str | None:
        return view.memory.level

    def note(self, view: View) -> tuple[str, str]:
        return view.memory.note or view.memory.sensors, "label"

    def draw(self, canvas: Canvas, view: View) -> None:
        memory = view.memory
        if memory.gpus:
            draw_gpus(canvas, memory.gpus)
            return
        self._headline(canvas, view)
        if memory.used is None and not memory.parts:
            canvas.centre("no reading yet", "dim")
            return
        thick = 2 if canvas.height >= 9 else 1
        y = 1 + self._stack(canvas, memory, 1, thick, marked=canvas.height >= 4)
        y += self._legend(canvas, memory, y, canvas.height - y)
        if canvas.height - y >= 3 and memory.facts:
            self._facts(canvas, memory, y)
            y += 1
        if canvas.height - y >= 2:
            draw_history(canvas, 0, y, canvas.width, canvas.height - y, memory.history)

    def _headline(self, canvas: Canvas, view: View) -> None:
        memory = view.memory
        look = LEVEL_LOOKS.get(memory.level or "", "strong")
        x = canvas.put(0, 0, f"{units.gib(memory.used):>8} used", look)
        if memory.used is not None and memory.total:
            x = canvas.put(x, 0, f" {units.percent(memory.used / memory.total):>4}", "label")
        total = f"of {units.gib(memory.total)}" if memory.total else ""
        end = canvas.right(canvas.width, 0, total, "label") - 1
        if self.choice is not None and self.choice != view.batch.size:
            text = f"→ forecast {units.MISSING}"
            longer = f"{text} at batch {units.count(self.choice)}"
            canvas.put(x + 1, 0, longer if x + 1 + len(longer) < end else text, "next", end=end)

    def _stack(self, canvas: Canvas, memory: MemoryView, y: int, thick: int, marked: bool) -> int:
        """Draw the bar, and under it the limit; return the rows taken."""
        total = memory.total or memory.used or 1
        used = [part for part in memory.parts if part.role != "free"]
        filled = draw_parts(canvas, 0, y, canvas.width, thick, used, total)
        for row in range(thick):
            canvas.put(filled, y + row, "·" * (canvas.width - filled), "faint")
        if not memory.limit or not memory.total or memory.limit >= memory.total:
            return thick
        x = min(canvas.width - 1, round(memory.limit / memory.total * canvas.width))
        for row in range(thick):
            canvas.put(x, y + row, "┃", "red")
        if not marked:
            return thick
        label = f"limit {units.gib(memory.limit)} "
        if x - len(label) >= 0:
            canvas.put(canvas.right(x, y + thick, label, "red") + len(label), y + thick, "▲", "red")
        return thick + 1

    def _legend(self, canvas: Canvas, memory: MemoryView, y: int, room: int) -> int:
        columns = 2 if canvas.width >= 40 else 1
        if len(memory.parts) == 3 and canvas.width >= 66:
            columns = 3
        width = canvas.width // columns
        rows = min(room, 2 if canvas.height < 12 else 3, -(-len(memory.parts) // columns))
        # Where not all fit, the smallest goes: the bar still shows it.
        parts = list(memory.parts)
        while len(parts) > max(0, rows) * columns:
            parts.remove(min(parts, key=lambda part: (part.role != "free", part.value)))
        for index, part in enumerate(parts):
            self._entry(canvas, part, index % columns * width, y + index // columns, width)
        return max(0, rows)

    def _entry(self, canvas: Canvas, part: Part, x: int, y: int, width: int) -> None:
        if part.role == "free":
            canvas.put(x, y, "·", "dim")
        else:
            canvas.put(x, y, "■" if canvas.colour else shade(canvas, part.role),
                       ROLE_LOOKS[part.role])  # fmt: skip
        shares = width >= 27
        canvas.put(x + 2, y, part.label, "label", end=x + width - 9)
        at = x + min(24, width - (6 if shares else 2))
        size = part.value if part.shown is None else part.shown
        canvas.right(at, y, units.gib(size), "text")
        if shares:
            canvas.right(at + 5, y, f"{units.percent(part.share):>5}", "dim")

    def _facts(self, canvas: Canvas, memory: MemoryView, y: int) -> None:
        x = 0
        for label, value in memory.facts:
            if x + glyphs.width(label) + glyphs.width(value) + 1 > canvas.width:
                break
            x = canvas.put(x, y, label + " ", "dim")
            x = canvas.put(x, y, value, "text") + 3
