"""What a restart at another batch size will do, before it does it."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size

from batchtui import units
from batchtui.advise.restart import RULES, Change, Plan, plan
from batchtui.errors import UsageError
from batchtui.tui.assemble.restart import facts_of, rows_of
from batchtui.tui.outlook import Outlook
from batchtui.tui.palette import Palette
from batchtui.tui.screens.dialog import Dialog, put_keys
from batchtui.tui.view import View
from batchtui.tui.widgets.canvas import Canvas
from batchtui.tui.widgets.pane import VERDICT_LOOKS

_LABEL = 15  # cells


class RestartDialog(Dialog[Plan]):
    """Answers the plan that was agreed to, or None."""

    heading = "Restart"
    extent = Size(72, 16)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "take", "Restart", show=False),
        Binding("r", "next_rule", "Next rule for the learning rate", show=False),
        Binding("l", "type_rate", "Type the learning rate", show=False),
        Binding("g", "keep_global", "Keep the global batch size", show=False),
        Binding("backspace", "erase", "Erase", show=False),
        Binding("escape,q", "back", "Back", show=False),
    ]

    def __init__(
        self, palette: Palette, ascii_only: bool, view: View, size: int, outlook: Outlook | None
    ) -> None:
        super().__init__(palette, ascii_only)
        self._view, self._next, self._outlook = view, size, outlook
        self._rule: str | None = None
        self._rate: float | None = None
        self._typed: str | None = None  # the rate, while it is typed
        self._refused, self._keep, self._sure = "", False, False
        self._work_out()

    def learn(self, view: View, outlook: Outlook | None) -> None:
        """Take newer numbers."""
        self._view, self._outlook = view, outlook
        self._change()

    def _work_out(self) -> None:
        """Work out what the present choice comes to."""
        change = Change(self._next, self._keep, rule=self._rule, lr=self._rate)
        self.plan: Plan | None = None
        try:
            self.plan, self.error = plan(facts_of(self._view), change), ""
        except UsageError as error:
            self.error = str(error)

    @property
    def _unfit(self) -> bool:
        return self._outlook is not None and self._outlook.unfit

    # What it shows ------------------------------------------------------------------------

    def draw(self, canvas: Canvas) -> None:
        look = "bad" if self._unfit else "next"
        x = canvas.put(0, 0, self._view.run, "strong", end=max(8, canvas.width - 26)) + 2
        x = canvas.put(x, 0, "batch size ", "label")
        x = canvas.put(x, 0, f"{units.count(self._view.batch.size)} → ", "text")
        canvas.put(x, 0, units.count(self._next), look)
        self._memory(canvas, 2, look)
        if self.plan is not None:
            self._numbers(canvas, self.plan)
        y = canvas.height - 3
        if self._refused or self.error:
            canvas.put(0, y, self._refused or self.error, "bad")
        elif self._unfit:
            again = " · enter again: all the same" if self._sure else ", says the forecast"
            canvas.put(0, y, f"!! it will not fit{again}", "bad")
        elif self.plan is not None and self.plan.notes:
            canvas.put(0, y, self.plan.notes[0], "warn")
        elif self._rule and self.plan and (reason := self.plan.rates["noise"].reason):
            canvas.put(0, y, f"no noise rule: {reason}", "dim")
        elif self._next > (self._view.batch.size or 0):
            canvas.put(0, y, "should it die of its size, the training goes back by itself", "dim")
        self._keys(canvas, canvas.height - 1)

    def _memory(self, canvas: Canvas, y: int, look: str) -> None:
        canvas.put(0, y, "peak, forecast", "label")
        canvas.put(0, y + 1, "headroom", "label")
        outlook = self._outlook
        forecast = outlook.next if outlook is not None else None
        if outlook is None or forecast is None:
            why = (outlook and outlook.reason) or "being forecast"
            canvas.put(_LABEL, y, f"{units.MISSING} ({why})", "dim")
            canvas.put(_LABEL, y + 1, units.MISSING, "dim")
            return
        x = canvas.put(_LABEL, y, units.gib(forecast.peak_bytes), look)
        ends = (units.gib(end) for end in (forecast.low_bytes, forecast.high_bytes))
        x = canvas.put(x, y, f" ({' – '.join(end.removesuffix(' GiB') for end in ends)})", "text")
        x = canvas.put(x, y, f" of {units.gib(forecast.capacity_bytes)}", "label")
        room = outlook.room(forecast, self._view.batch.limit, self._view.batch.others)
        left = units.MISSING if room is None else units.gib(room) if room > 0 else "none"
        x = canvas.put(_LABEL, y + 1, left, look)
        if forecast.verdict is not None:
            canvas.put(x + 2, y + 1, forecast.verdict, VERDICT_LOOKS[forecast.verdict])

    def _numbers(self, canvas: Canvas, intended: Plan) -> None:
        rule = "typed" if self._typed is not None else intended.rule
        notes = (rule, "kept" if self._keep else "", "", "")
        rows = zip(rows_of(self._view, intended, self._typed), notes, strict=True)
        for y, ((label, value), more) in enumerate(rows, 5):
            canvas.put(0, y, label, "label")
            x = canvas.put(_LABEL, y, value, "text")
            canvas.put(x + 2, y, more, "sky")

    def _keys(self, canvas: Canvas, y: int) -> None:
        keys = [("enter", "restart"), ("r", "rule"), ("l", "type rate"), ("g", "keep global batch")]
        if canvas.width < 66:
            keys[2:] = [("l", "rate"), ("g", "global")]
        if self._typed is not None:
            keys = [("enter", "take the rate")]
        put_keys(canvas, y, *keys, ("esc", "back"))

    # Keys ---------------------------------------------------------------------------------

    def action_take(self) -> None:
        """Agree; to what will not fit, twice."""
        if self._typed is not None:
            self._take_rate(self._typed)
        elif self._refused:  # it has been seen
            self._refused = ""
        elif self.plan is not None and self._unfit and not self._sure:
            self._sure = True
        elif self.plan is not None:
            self.dismiss(self.plan)
            return
        self.redraw()

    def action_next_rule(self) -> None:
        """Take the next rule that applies."""
        rates = self.plan.rates if self.plan is not None else {}
        known = [name for name in RULES if name not in rates or rates[name].factor is not None]
        now = self._rule or (self.plan.rule if self.plan is not None else "")
        place = known.index(now) + 1 if now in known else 0
        self._rule, self._rate, self._typed = known[place % len(known)], None, None
        self._change()

    def action_keep_global(self) -> None:
        """Keep the global batch size by accumulating gradients, or not."""
        self._keep = not self._keep
        self._change()

    def action_type_rate(self) -> None:
        """Begin to type the learning rate."""
        self._typed, self._refused = "", ""
        self.redraw()

    def on_key(self, event: events.Key) -> None:
        if self._typed is None or event.character is None or len(self._typed) > 12:
            return
        if event.character in "0123456789.e-+":
            event.stop()
            self._typed += event.character
            self.redraw()

    def action_erase(self) -> None:
        """Erase the last character of the rate."""
        if self._typed is not None:
            self._typed = self._typed[:-1]
            self.redraw()

    def action_back(self) -> None:
        """Give up typing, else the restart."""
        if self._typed is None:
            self.dismiss(None)
        else:
            self._typed = None
            self.redraw()

    def _take_rate(self, text: str) -> None:
        self._typed, before = None, self._rate
        try:
            self._rate = float(text)
        except ValueError:
            self._refused = f"{text!r} is no learning rate" if text else "no rate was typed"
            return
        self._work_out()
        if self.error:  # what was chosen before stays
            self._refused, self._rate = self.error, before
            self._work_out()

    def _change(self) -> None:
        self._work_out()
        self.redraw()
