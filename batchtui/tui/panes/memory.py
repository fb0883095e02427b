"""The memory that the batch size has to fit into."""

from __future__ import annotations

from batchtui import units
from batchtui.tui.panes.ahead import Ahead, ahead
from batchtui.tui.picture import Picture, pictured
from batchtui.tui.view import View
from batchtui.tui.widgets.bars import Steady, draw_history
from batchtui.tui.widgets.canvas import Box, Canvas
from batchtui.tui.widgets.legend import draw_facts, draw_legend
from batchtui.tui.widgets.pane import LEVEL_LOOKS, Pane


class MemoryPane(Pane):
    """Used of total, a stack of its parts up to the limit, and its history."""

    title = "Memory"
    digit = "²"

    def on_mount(self) -> None:
        self._steady = Steady()

    def heading(self, view: View) -> str:
        return " · ".join(filter(None, (view.memory.title, view.moment)))

    def level(self, view: View) -> str | None:
        return view.memory.level

    def note(self, view: View) -> tuple[str, str]:
        if view.memory.gpus:
            return self._note_of_many(view)[:2]
        return view.memory.note or view.memory.sensors, "label"

    def picture(self, view: View) -> Picture | None:
        return pictured(view.memory.history, "memory, GiB", "bytes", units.GIB)

    def draw(self, canvas: Canvas, view: View) -> None:
        memory = view.memory
        if memory.gpus:
            from batchtui.tui.panes.gpus import draw_gpus

            note, _, then = self._note_of_many(view)
            needed = then.needed if then.chosen or "→" in note else None
            y = draw_gpus(canvas, memory.gpus, self._steady, needed, then.look)
            if canvas.height - y >= 4 and memory.history.full:
                own = next((gpu.label for gpu in memory.gpus if gpu.ours), "")
                canvas.put(0, y, f"memory of GPU {own}", "label")
                box = Box(0, y + 1, canvas.width, canvas.height - y - 1)
                draw_history(canvas, box, memory.history, units.short_gib)
            return
        told = self._headline(canvas, view)
        if memory.used is None and not memory.parts:
            canvas.centre("no reading yet", "dim")
            return
        thick = 2 if canvas.height >= 9 else 1
        from batchtui.tui.panes.stack import draw_stack

        to_come = None if told.needed is None else told.needed + memory.others
        y = 1 + draw_stack(canvas, memory, 1, thick, to_come, told.look)
        y += draw_legend(canvas, memory.parts, y, canvas.height - y)
        if canvas.height - y >= 3 and memory.facts:
            draw_facts(canvas, memory.facts, y)
            y += 1
        if canvas.height - y >= 2:
            box = Box(0, y, canvas.width, canvas.height - y)
            draw_history(canvas, box, memory.history, units.short_gib)

    def _headline(self, canvas: Canvas, view: View) -> Ahead:
        """Write what is used, of how much, and what will be; return what was told of that."""
        memory, then = view.memory, ahead(view, self.outlook, self.choice)
        look = LEVEL_LOOKS.get(memory.level or "", "strong")
        x = canvas.put(0, 0, f"{units.gib(memory.used):>8} used", look)
        # What is chosen goes before the rest, and what was not asked for behind it.
        least = min(map(len, then.words), default=0) if then.chosen else 0
        total = f"of {units.gib(memory.total)}" if memory.total else ""
        end = canvas.width
        if x + 1 + least + 1 + len(total) < end:
            end = canvas.right(end, 0, total, "label") - 1
        share = memory.used / memory.total if memory.used is not None and memory.total else None
        if share is not None and x + 6 + least < end:
            x = canvas.put(x, 0, f" {units.percent(share):>4}", "label")
        text = next((words for words in then.words if x + 1 + len(words) <= end), "")
        if not text and then.chosen:
            text = then.words[-1]
        canvas.put(x + 1, 0, text, then.look, end=end)
        return then if text else then._replace(needed=None)

    def _note_of_many(self, view: View) -> tuple[str, str, Ahead]:
        """Say what the next batch size needs on each GPU of the run, and where its limit is."""
        limits = {gpu.limit for gpu in view.memory.gpus if gpu.ours and gpu.limit}
        limit = [f"limit {units.gib(limits.pop())}"] if len(limits) == 1 else []
        then = ahead(view, self.outlook, self.choice)
        choices = then.words
        if not then.chosen:
            choices = [*(" · ".join([*limit, words]) for words in then.words), *limit]
        fitting = (words for words in choices if len(words) <= self.size.width - 6)
        return next(fitting, ""), then.look if then.chosen else "label", then
