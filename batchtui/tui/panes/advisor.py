"""The batch size now and next, and what is known about the change."""

from __future__ import annotations

from batchtui import units
from batchtui.advise.choice import steps_per_epoch
from batchtui.advise.noise import batch_mean_deviation
from batchtui.tui.view import BatchView, View
from batchtui.tui.widgets.canvas import Canvas
from batchtui.tui.widgets.pane import Pane

_LABEL = 12  # cells


class AdvisorPane(Pane):
    """Current → next batch size, its forecast, and the noise of the batch mean at both."""

    title = "Advisor"

    def note(self, view: View) -> tuple[str, str]:
        chosen = self.choice is not None and self.choice != view.batch.size
        return ("→ forecast · memory: none yet", "dim") if chosen else ("", "dim")

    def draw(self, canvas: Canvas, view: View) -> None:
        batch = view.batch
        chosen = self.choice if self.choice != batch.size else None
        x = canvas.put(0, 0, units.count(batch.size), "strong")
        if chosen is not None:
            x = canvas.put(x, 0, " → ", "dim")
            x = canvas.put(x, 0, units.count(chosen), "next")
        canvas.put(x + 2, 0, "batch size", "label")
        rows = self._rows(batch, chosen)
        keys = canvas.height >= 4 and canvas.height - 2 >= len(rows)
        for y, (label, now, then) in enumerate(rows[: canvas.height - 1 - keys], start=1):
            canvas.put(0, y, label, "label", end=_LABEL)
            x = canvas.put(_LABEL, y, now, "dim" if now.startswith(units.MISSING) else "text")
            if then:
                x = canvas.put(x, y, " → ", "dim")
                canvas.put(x, y, then, "dim" if then.startswith(units.MISSING) else "next")
        if keys:
            self._keys(canvas, canvas.height - 1)

    def _rows(self, batch: BatchView, chosen: int | None) -> list[tuple[str, str, str]]:
        """Return (label, now, forecast at the chosen size)."""
        missing = units.MISSING if chosen is not None else ""
        rows = [("headroom", units.gib(batch.headroom), missing)]
        if batch.variance is None:
            rows.append(("loss noise", f"{units.MISSING} ({batch.variance_reason})", ""))
        else:
            now, then = (
                units.number(batch_mean_deviation(batch.variance, size, batch.train_samples), 2)
                for size in (batch.size, chosen)
            )
            rows.append(("loss noise", f"± {now}", then if chosen is not None else ""))
        rows.append(("samples/s", units.count(batch.samples_per_s), missing))
        each = batch.global_size
        if each and batch.size and batch.train_samples:
            now = units.count(steps_per_epoch(batch.train_samples, each))
            then = ""
            if chosen is not None:
                larger = each // batch.size * chosen
                then = units.count(steps_per_epoch(batch.train_samples, larger))
            rows.append(("steps/epoch", now, then))
        return rows

    def _keys(self, canvas: Canvas, y: int) -> None:
        x = 0
        for key, what in (("+ −", "next size"), ("b", "type it")):
            x = canvas.put(x, y, key, "key") + 1
            x = canvas.put(x, y, what, "dim") + 3
