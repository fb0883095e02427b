"""Memory as a stack of its parts, with the run's limit and the next batch size's forecast."""

from __future__ import annotations

from batchtui import units
from batchtui.tui.view import MemoryView
from batchtui.tui.widgets.bars import draw_parts
from batchtui.tui.widgets.canvas import Canvas


def draw_stack(
    canvas: Canvas, memory: MemoryView, y: int, thick: int, to_come: int | None, look: str
) -> int:
    """Draw the bar in `thick` rows, and under it the limit; return the rows taken.

    `to_come` are the bytes in use at the next batch size, `look` theirs.
    """
    total = memory.total or memory.used or 1
    used = [part for part in memory.parts if part.role != "free"]
    filled = draw_parts(canvas, 0, y, canvas.width, thick, used, total)
    for row in range(thick):
        canvas.put(filled, y + row, "·" * (canvas.width - filled), "faint")
    if to_come is not None:
        begin = round(min(1.0, (memory.used or 0) / total) * canvas.width)
        end = round(min(1.0, to_come / total) * canvas.width)
        _hatch(canvas, y, thick, begin, end, look)
    if not memory.limit or not memory.total or memory.limit >= memory.total:
        return thick
    x = min(canvas.width - 1, round(memory.limit / memory.total * canvas.width))
    for row in range(thick):
        canvas.put(x, y + row, "┃", "red")
    if canvas.height < 4:
        return thick
    label = f"limit {units.gib(memory.limit)} "
    if x - len(label) >= 0:
        canvas.put(canvas.right(x, y + thick, label, "red") + len(label), y + thick, "▲", "red")
    return thick + 1


def _hatch(canvas: Canvas, y: int, thick: int, begin: int, end: int, look: str) -> None:
    """Hatch what the next batch size takes beyond what is used now, or mark where it ends."""
    for row in range(thick):
        if end > begin:  # without colours, ▒ are others
            canvas.put(begin, y + row, ("▒" if canvas.colour else "╱") * (end - begin), look)
        else:
            at = max(0, end - 1)
            canvas.put(at, y + row, "▕", f"black/{canvas.look(at, y + row)}")
