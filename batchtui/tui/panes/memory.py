"""The memory that the batch size has to fit into."""

from __future__ import annotations

from batchtui import units
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
            return self._note_of_many(view)
        return view.memory.note or view.memory.sensors, "label"

    def picture(self, view: View) -> Picture | None:
        return pictured(view.memory.history, "memory, GiB", "bytes", units.GIB)

    def draw(self, canvas: Canvas, view: View) -> None:
        memory = view.memory
        if memory.gpus:
            from batchtui.tui.panes.gpus import draw_gpus

            y = draw_gpus(canvas, memory.gpus, self._steady, self._needed(), self._next_look(view))
            if canvas.height - y >= 4 and memory.history.full:
                own = next((gpu.label for gpu in memory.gpus if gpu.ours), "")
                canvas.put(0, y, f"memory of GPU {own}", "label")
                box = Box(0, y + 1, canvas.width, canvas.height - y - 1)
                draw_history(canvas, box, memory.history, units.short_gib)
            return
        self._headline(canvas, view)
        if memory.used is None and not memory.parts:
            canvas.centre("no reading yet", "dim")
            return
        thick = 2 if canvas.height >= 9 else 1
        from batchtui.tui.panes.stack import draw_stack

        needed = self._needed()
        to_come = None if needed is None else needed + memory.others
        y = 1 + draw_stack(canvas, memory, 1, thick, to_come, self._next_look(view))
        y += draw_legend(canvas, memory.parts, y, canvas.height - y)
        if canvas.height - y >= 3 and memory.facts:
            draw_facts(canvas, memory.facts, y)
            y += 1
        if canvas.height - y >= 2:
            box = Box(0, y, canvas.width, canvas.height - y)
            draw_history(canvas, box, memory.history, units.short_gib)

    def _headline(self, canvas: Canvas, view: View) -> None:
        memory = view.memory
        look = LEVEL_LOOKS.get(memory.level or "", "strong")
        x = canvas.put(0, 0, f"{units.gib(memory.used):>8} used", look)
        choices = self._next(view)
        chosen = self._chosen(view) is not None
        least = min(map(len, choices), default=0) if chosen else 0
        total = f"of {units.gib(memory.total)}" if memory.total else ""
        end = canvas.width
        if x + 1 + least + 1 + len(total) < end:
            end = canvas.right(end, 0, total, "label") - 1
        share = memory.used / memory.total if memory.used is not None and memory.total else None
        if share is not None and x + 6 + least < end:
            x = canvas.put(x, 0, f" {units.percent(share):>4}", "label")
        if choices:
            fitting = (words for words in choices if x + 1 + len(words) <= end)
            text = next(fitting, choices[-1] if chosen else "")
            canvas.put(x + 1, 0, text, self._next_look(view), end=end)

    def _chosen(self, view: View) -> int | None:
        return self.choice if self.choice != view.batch.size else None

    def _next_look(self, view: View) -> str:
        if self._chosen(view) is None:
            return "dim"
        return "bad" if self.outlook is not None and self.outlook.unfit else "next"

    def _note_of_many(self, view: View) -> tuple[str, str]:
        """Say what the next batch size needs on each GPU of the run, or where its limit is."""
        limits = {gpu.limit for gpu in view.memory.gpus if gpu.ours and gpu.limit}
        limit = f"limit {units.gib(limits.pop())}" if len(limits) == 1 else ""
        choices = self._next(view)
        if self._chosen(view) is None:
            choices = [*(f"{limit} · {words}" for words in choices), limit]
        fitting = (words for words in choices if len(words) <= self.size.width - 6)
        look = "label" if self._chosen(view) is None else self._next_look(view)
        return next(fitting, ""), look

    def _next(self, view: View) -> list[str]:
        """Say what will be in use at the next batch size: in many words, or in fewer.

        Until one is chosen that is the size that was asked about, and goes by its number.
        """
        chosen, needed = self._chosen(view), self._needed()
        if self.outlook is None or self.outlook.next is None or needed is None:
            at, text = f"at batch {units.count(chosen)}", f"→ forecast {units.MISSING}"
            return [] if chosen is None else [f"{text} {at}", text]
        at = f"at batch {units.count(self.outlook.next.batch_size)}"
        text = f"→ {units.gib(needed + view.memory.others)}"
        return [f"{text} {at}, forecast", f"{text} {at}", *([text] if chosen else [])]

    def _needed(self) -> int | None:
        """Return what the training will hold; what others hold is added as it is now."""
        return self.outlook and self.outlook.needed
