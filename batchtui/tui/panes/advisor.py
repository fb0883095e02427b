"""The batch size now and next, and what is known about the change."""

from __future__ import annotations

from batchtui import units
from batchtui.tui.panes.advice import advice_lines
from batchtui.tui.view import View
from batchtui.tui.widgets import glyphs
from batchtui.tui.widgets.canvas import Canvas
from batchtui.tui.widgets.pane import VERDICT_LOOKS, Pane

_LABEL, _SHORT_LABEL, _NUMBER = 13, 6, 8  # cells
_SHORT = {"peak memory": "peak", "headroom": "room", "loss noise": "noise", "samples/s": "smp/s",
          "steps/epoch": "steps", "largest safe": "safe"}  # fmt: skip


class AdvisorPane(Pane):
    """Current → next batch size, its forecast, and the noise of the batch mean at both."""

    title = "Advisor"
    digit = "⁶"

    def note(self, view: View) -> tuple[str, str]:
        outlook = self.outlook
        if outlook is None or self._sums_up(view):
            return "", "dim"
        if outlook.reason is not None:
            return f"forecast: {glyphs.clip(outlook.reason, max(0, self.size.width - 18))}", "dim"
        verdict, look = self._verdict(view)
        return f"forecast · {verdict}", look

    def _verdict(self, view: View) -> tuple[str, str]:
        """Return what the forecast comes to, in words and a look."""
        outlook = self.outlook
        forecast = outlook and (outlook.next if self._chosen(view) else outlook.now)
        if not forecast:
            return "…" if outlook is not None else "batch size", "dim"
        if forecast.verdict is None:
            return f"limit {units.MISSING}", "dim"
        return forecast.verdict, VERDICT_LOOKS[forecast.verdict]

    def heading(self, view: View) -> str:
        return "Summary" if self._sums_up(view) else self.title

    @property
    def topic(self) -> str:
        return "summary" if self.view is not None and self._sums_up(self.view) else "advisor"

    def _sums_up(self, view: View) -> bool:
        return self._chosen(view) is None and bool(view.summary)

    def draw(self, canvas: Canvas, view: View) -> None:
        batch, chosen = view.batch, self._chosen(view)
        if self._sums_up(view):
            from batchtui.tui.panes.summary import draw_summary

            draw_summary(canvas, view.summary)
            return
        x = canvas.put(0, 0, units.count(batch.size), "strong")
        if chosen is not None:
            x = canvas.put(x, 0, " → ", "dim")
            x = canvas.put(x, 0, units.count(chosen), self._next_look())
        if not self.closed:  # no frame below to say it on
            canvas.put(x + 2, 0, *self._verdict(view))
        else:
            canvas.put(x + 2, 0, "batch size", "label")
        rows = advice_lines(batch, chosen, self.outlook)
        keys = canvas.height >= 4 and canvas.height - 2 >= len(rows)
        for y, (label, now, then) in enumerate(rows[: canvas.height - 1 - keys], start=1):
            short = canvas.width < 30
            x = _SHORT_LABEL if short else _LABEL
            if not short and not now.startswith(units.MISSING):
                now = now.rjust(_NUMBER)
            elif then and then[0].endswith(" GiB"):
                now = now.removesuffix(" GiB")
            canvas.put(0, y, _SHORT[label] if short else label, "label", end=x)
            x = canvas.put_words(x, y, now, "dim" if now.startswith(units.MISSING) else "text")
            for text in then:
                if x + glyphs.width(text) <= canvas.width:
                    next_ = text.startswith(" →") and units.MISSING not in text
                    x = canvas.put(x, y, text, self._next_look() if next_ else "dim")
        if keys:
            self._keys(canvas, canvas.height - 1, chosen is not None)

    def _chosen(self, view: View) -> int | None:
        return self.choice if self.choice != view.batch.size else None

    def _next_look(self) -> str:
        return "bad" if self.outlook is not None and self.outlook.unfit else "next"

    def _keys(self, canvas: Canvas, y: int, chosen: bool) -> None:
        x = 0
        keys = [("+ − < >", "next size"), ("b", "type it")]
        if chosen:
            keys = [("enter", "restart"), ("w", "write it"), ("esc", "drop it")]
        for key, what in keys:
            x = canvas.put(x, y, key, "key") + 1
            x = canvas.put(x, y, what, "dim") + 3
