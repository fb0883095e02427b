"""The header: which run, in what state, how far, and the one warning that matters."""

from __future__ import annotations

from textual.reactive import reactive

from batchtui import units
from batchtui.records import Status
from batchtui.tui.view import View
from batchtui.tui.widgets import glyphs
from batchtui.tui.widgets.bars import draw_bar
from batchtui.tui.widgets.canvas import Canvas
from batchtui.tui.widgets.pane import LEVEL_GLYPHS, Pane

STATES = {
    Status.STARTING: ("◌", "next"),
    Status.RUNNING: ("●", "good"),
    Status.STOPPING: ("◑", "warn"),
    Status.FINISHED: ("✓", "good"),
    Status.STOPPED: ("■", "brand"),
    Status.FAILED: ("✗", "bad"),
    Status.OUT_OF_MEMORY: ("✗", "bad"),
    Status.LOST: ("?", "warn"),
}
_RIGHT = 20  # cells for per cent and time


class HeaderPane(Pane, can_focus=False):
    """One line, or two where there is room for what the run is doing or why it ended."""

    framed = False
    ground = "band"

    paused: reactive[bool] = reactive(False, repaint=False)
    message: reactive[str] = reactive("", repaint=False)  # the last answer of the supervisor
    notice: reactive[str] = reactive("", repaint=False)  # what a key has just done

    def watch_paused(self) -> None:
        self.redraw()

    watch_message = watch_notice = watch_paused

    def draw(self, canvas: Canvas, view: View) -> None:
        width = canvas.width
        x = canvas.put(1, 0, "◆ ", "brand")
        if width >= 100:
            x = canvas.put(x, 0, "batchtui ", "brand")
        # The name gives way to status, numbers at the right, epoch, batch size, and to an answer.
        room = width - x - glyphs.width(view.word) - max(43, glyphs.width(self.message) + 8)
        x = canvas.put(x, 0, glyphs.clip(view.run, max(8, min(32, room))), "strong") + 2
        glyph, look = STATES[view.status]
        x = canvas.put(x, 0, f"{glyph} {view.word}", look) + 2
        if self.paused:
            x = canvas.put(x, 0, " paused ", "caution") + 2
        text, said_look, urgent = self._said(canvas, view)
        end = width - 1
        if not urgent or x + glyphs.width(text) <= width - _RIGHT:
            end = self._right(canvas, view)
        said = glyphs.clip_words(text, max(0, end - 1 - x))
        if said and (said == text or len(said) > 5):  # `as…` says nothing
            x = canvas.put(x, 0, said, said_look) + 2
        self._middle(canvas, view, x, end - 2)
        if canvas.height > 1 and view.detail is not None:
            canvas.put(3, 1, glyphs.clip(view.detail, canvas.width - 4), "text")

    def _said(self, canvas: Canvas, view: View) -> tuple[str, str, bool]:
        """Return the one thing to say, its look, and whether it goes before time and per cent."""
        if self.notice:
            return self.notice, "brand", True
        if view.warning is not None:
            text = f" {LEVEL_GLYPHS[view.warning.level]} {view.warning.text} "
            return text, "alarm" if view.warning.level == "critical" else "caution", True
        if view.trouble is not None:
            return f"▲ {view.trouble}", "warn", False
        if self.message:
            return self.message, "warn", True
        if view.detail is not None and canvas.height == 1:
            return view.detail, "text", False
        return "", "text", False

    def _right(self, canvas: Canvas, view: View) -> int:
        """Draw per cent and time at the right edge; return where they start."""
        progress = view.progress
        label, seconds = "took", progress.elapsed_s
        if view.status.alive:
            label, seconds = "ETA", progress.remaining_s
        end = canvas.width - 1
        canvas.right(end, 0, f"{units.duration(seconds):>6}", "strong")
        end -= 7
        canvas.right(end, 0, label, "dim")
        end -= len(label) + 2
        canvas.right(end, 0, f"{units.percent(progress.fraction):>4}", "text")
        return end - 4

    def _middle(self, canvas: Canvas, view: View, x: int, end: int) -> None:
        """Fill what is left: epoch, step, batch size, and a bar for the rest."""
        progress = view.progress
        of = f"/{progress.epochs}" if progress.epochs else ""
        known, epoch = progress.epoch is not None, str(progress.epoch)
        # Each keeps the room that it needs at the end: nothing moves when a digit is added.
        wide = of.ljust(2 * len(of) - 1 - len(epoch))
        most = units.count(view.loss.total_steps or 0)
        step = ("step ", units.count(progress.step).ljust(len(most)), "")
        batch = ("batch ", units.count(progress.batch_size), "")
        full = [*[("epoch ", epoch, wide)] * known, step, batch]
        # Narrower: `3/20` explains itself, and a long count of steps is rounded.
        brief = [*[("", epoch, wide)] * known, step, batch]
        short = [*[("", epoch, of)] * known, ("step ", units.short_count(progress.step), ""), batch]
        choices = (full, brief, short, [*short[:-2], batch], [batch])
        words = next((words for words in choices if _length(words) <= end - x), [])
        for label, value, rest in words:
            x = canvas.put(x, 0, label, "dim")
            x = canvas.put(x, 0, value, "strong")
            x = canvas.put(x, 0, rest, "dim") + 2
        if end - x >= 6:
            draw_bar(canvas, x, 0, end - x, progress.fraction, "sky")


def _length(words: list[tuple[str, str, str]]) -> int:
    return sum(glyphs.width("".join(word)) for word in words) + 2 * (len(words) - 1)
