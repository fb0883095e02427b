"""The processor: each core, the load, waiting for disks, and the worker's share."""

from __future__ import annotations

from batchtui import units
from batchtui.tui.picture import Picture, pictured
from batchtui.tui.view import CpuView, View
from batchtui.tui.widgets.bars import Steady, draw_bar, draw_history, level_look
from batchtui.tui.widgets.canvas import Box, Canvas
from batchtui.tui.widgets.pane import Pane
from batchtui.tui.widgets.scale import tick_text

_LIST_COLUMN = 19  # cells a core takes at least, as a labelled bar


class CpuPane(Pane):
    """Bars with labels where they fit, else an upright bar a core, else the cores in groups."""

    digit = "¹"

    def on_mount(self) -> None:
        self._steady = Steady()

    def heading(self, view: View) -> str:
        cores = len(view.cpu.cores)
        if view.moment:
            return f"CPU · {view.moment}"
        return f"CPU · {cores} core{'s' * (cores != 1)}" if cores else "CPU"

    def note(self, view: View) -> tuple[str, str]:
        worker = view.cpu.worker_cores
        if worker is None:
            return "", "dim"
        return f"worker {worker:.1f} cores", "label"

    def picture(self, view: View) -> Picture | None:
        return pictured(view.cpu.history, "busy cores", "cores")

    def draw(self, canvas: Canvas, view: View) -> None:
        cpu = view.cpu
        self._summary(canvas, cpu)
        height = canvas.height - 1
        if not cpu.cores:
            nothing = "no sample yet" if cpu.average is None else f"each core {units.MISSING}"
            canvas.centre(nothing, "dim")
            return
        columns = max(1, canvas.width // _LIST_COLUMN)
        rows = -(-len(cpu.cores) // columns)
        if rows <= height:
            # As few columns as the height allows, so that bars are long.
            columns = max(1, -(-len(cpu.cores) // height))
            self._list(canvas, cpu, columns)
            y = 1 + -(-len(cpu.cores) // columns)
            if canvas.height - y >= 3:
                box = Box(0, y + 1, canvas.width, canvas.height - y - 1)
                draw_history(canvas, box, cpu.history, tick_text)
        else:
            from batchtui.tui.panes.cores import draw_cores

            draw_cores(canvas, 1, cpu.cores)

    def _summary(self, canvas: Canvas, cpu: CpuView) -> None:
        x = canvas.put(0, 0, "avg ", "label")
        x = canvas.put(x, 0, f"{units.percent(cpu.average):>4}", "strong") + 2
        x = canvas.put(x, 0, "load ", "label")
        load = units.MISSING if cpu.load is None else f"{cpu.load:.2f}"
        x = canvas.put(x, 0, f"{load:<6}", "text") + 1
        if canvas.width - x >= 11:
            x = canvas.put(x, 0, "io-wait ", "label")
            waiting = (cpu.iowait or 0) >= 0.05
            canvas.put(x, 0, units.percent(cpu.iowait), "warn" if waiting else "text")

    def _list(self, canvas: Canvas, cpu: CpuView, columns: int) -> None:
        rows = -(-len(cpu.cores) // columns)
        width = (canvas.width + 2) // columns
        digits = len(str(len(cpu.cores) - 1))
        for index, value in enumerate(cpu.cores):
            x, y = index // rows * width, 1 + index % rows
            start = canvas.put(x, y, f"{index:>{digits}}", "dim") + 1
            end = x + width - 2
            number = f"{value:>5.0%}"
            shown = self._steady(index, value)
            look = level_look(shown)
            draw_bar(canvas, start, y, end - start - 5, shown, look)
            canvas.right(end, y, number, look if look == "red" else "text")
