"""Choosing the next batch size: the keys for it, and its forecast."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.screen import Screen

from batchtui.advise.choice import stepped
from batchtui.tui.outlook import TRACING, Outlook, Sizes
from batchtui.tui.palette import Palette
from batchtui.tui.view import BatchView, View
from batchtui.tui.widgets.pane import Pane

# What surrounds the training changes: forecasts are asked for again after so many seconds.
_ANEW_S = 30.0


class ChoosingScreen(Screen[None]):
    """A screen of panes on which a batch size can be chosen.

    `ask` has the forecast of batch sizes made; `foresee` gets it.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("b,colon", "type_batch", "Type the next batch size", priority=True),
        Binding("plus,equals_sign,greater_than_sign", "choose(1)", "Larger next batch size"),
        Binding("minus,less_than_sign", "choose(-1)", "Smaller next batch size"),
    ]

    def __init__(
        self, palette: Palette, ascii_only: bool, ask: Callable[[Sizes], None] | None
    ) -> None:
        super().__init__()
        self._look = (palette, ascii_only)
        self._ask = ask
        self._choice: int | None = None
        self._asked: tuple[Sizes, float] | None = None
        self._view: View | None = None

    @property
    def present(self) -> BatchView:
        """What is known of the present batch size."""
        return self._view.batch if self._view is not None else BatchView()

    def foresee(self, sizes: Sizes, outlook: Outlook) -> None:
        """Show a forecast, if it is still the one that was asked for."""
        if self._asked is not None and self._asked[0] == sizes:
            for pane in self.query(Pane):
                pane.outlook = outlook

    def action_choose(self, direction: int) -> None:
        """Take the next power of two above or below."""
        if self.present.size is not None:
            now = self._choice if self._choice is not None else self.present.size
            self._choose(stepped(now, direction, self.present.train_samples))

    def action_type_batch(self) -> None:
        """Type the next batch size."""
        if self.present.size is not None:
            from batchtui.tui.screens.batch import BatchDialog

            start = self._choice or self.present.size
            dialog = BatchDialog(*self._look, start, self.present.train_samples)
            self.app.push_screen(dialog, lambda size: self._choose(size or self._choice))

    def _choose(self, size: int | None) -> None:
        if size == self.present.size:
            size = None
        self._choice = size
        for pane in self.query(Pane):
            pane.choice = size
        self._look_ahead()

    def _look_ahead(self) -> None:
        """Ask for the forecast of what is shown, unless it was asked for a moment ago."""
        batch = self.present
        if self._ask is None or batch.size is None or self._view is None:
            return
        sizes = Sizes(batch.size, self._choice, batch.train_samples)
        taken = self._view.taken
        if self._asked is not None:
            before, when = self._asked
            if before == sizes and 0 <= taken - when < _ANEW_S:
                return
            if before != sizes:
                # What was said of another size must not be taken for the word on this one.
                for pane in self.query(Pane):
                    if pane.outlook is not None:
                        pane.outlook = pane.outlook._replace(next=None)
        else:
            for pane in self.query(Pane):
                pane.outlook = Outlook(reason=TRACING)
        self._asked = (sizes, taken)
        self._ask(sizes)
