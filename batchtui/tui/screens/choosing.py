"""Choosing the next batch size: the keys for it, and its forecast."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.screen import Screen

from batchtui.advise.choice import doubled, stepped
from batchtui.records import Status
from batchtui.text import clean
from batchtui.tui.outlook import TRACING, Outlook, Sizes
from batchtui.tui.palette import Palette
from batchtui.tui.panes.header import HeaderPane
from batchtui.tui.view import BatchView, View
from batchtui.tui.widgets.pane import Pane

if TYPE_CHECKING:
    from batchtui.advise.restart import Plan
    from batchtui.tui.screens.restart import RestartDialog

# What surrounds the training changes: forecasts are asked for again after so many seconds, or
# sooner where what others hold has moved by this part of the limit.
_ANEW_S, _SOON_S = 30.0, 5.0
_MOVED = 1 / 32
_SAID_S = 20.0  # an answer makes room again for what it stands in place of


class ChoosingScreen(Screen[None]):
    """A screen of panes on which a batch size can be chosen.

    `ask` has the forecast of batch sizes made; `foresee` gets it. `restart` takes the name of the
    run and the plan that was agreed to.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("b,colon", "type_batch", "Type the next batch size", priority=True),
        Binding("plus,equals_sign", "choose(1)", "Larger next batch size"),
        Binding("minus", "choose(-1)", "Smaller next batch size"),
        Binding("greater_than_sign", "double(1)", "Double the next batch size"),
        Binding("less_than_sign", "double(-1)", "Halve the next batch size"),
        Binding("w", "write_config", "Write the batch size into the YAML", priority=True),
        Binding("enter", "restart", "Restart at the next batch size", priority=True),
    ]

    def __init__(
        self,
        palette: Palette,
        ascii_only: bool,
        ask: Callable[[Sizes], None] | None,
        restart: Callable[[str, Plan], None] | None,
    ) -> None:
        super().__init__()
        self._restart = restart
        self._outlook: Outlook | None = None
        self._dialog: RestartDialog | None = None
        self._shown: tuple[str, bool] | None = None  # the run on the screen, and whether alive
        self._look = (palette, ascii_only)
        self._ask = ask
        self._choice: int | None = None
        self._asked: tuple[Sizes, float, int] | None = None  # also when, and what others held
        self._view: View | None = None

    @property
    def present(self) -> BatchView:
        """What is known of the present batch size."""
        return self._view.batch if self._view is not None else BatchView()

    def foresee(self, sizes: Sizes, outlook: Outlook) -> None:
        """Show a forecast, if it is still the one that was asked for."""
        if self._asked is not None and self._asked[0] == sizes:
            self._outlook = outlook
            for pane in self.query(Pane):
                pane.outlook = outlook
            self._tell_dialog()

    def answer(self, text: str) -> None:
        """Show what came of asking the supervisor, for a while."""
        header, said = self.query_one(HeaderPane), clean(text, 120)
        header.message = said

        def drop() -> None:
            if header.message == said:
                header.message = ""

        self.set_timer(_SAID_S, drop)

    def _turned(self, view: View) -> None:
        """Take note of a view that is shown: of another run, or of one that has ended."""
        before, self._shown = self._shown, (view.run, view.status.alive)
        if before is not None and before[0] != view.run:
            self.choose(None)
            if self._dialog is not None:
                self._dialog.dismiss(None)
            self.answer(view.reason or "")
        elif before is not None and before[1] and not view.status.alive:
            self.answer("")
        self._tell_dialog()
        self._look_ahead()

    def _tell_dialog(self) -> None:
        if self._dialog is not None and self._view is not None and self._dialog.is_mounted:
            self._dialog.learn(self._view, self._outlook)

    def action_choose(self, direction: int) -> None:
        """Take a batch size a small step above or below."""
        if self.present.size is not None:
            now = self._choice if self._choice is not None else self.present.size
            self.choose(stepped(now, direction, self.present.train_samples))

    def action_double(self, direction: int) -> None:
        """Double or halve the batch size."""
        if self.present.size is not None:
            now = self._choice if self._choice is not None else self.present.size
            self.choose(doubled(now, direction, self.present.train_samples))

    def action_restart(self) -> None:
        """Show what a restart at the chosen size will do, and do it if that is agreed to."""
        view = self._view
        if view is None or self._restart is None or view.batch.size is None:
            return
        if view.status is Status.FINISHED:
            self.answer("finished: nothing is left to train")
        elif self._choice is None:
            self.answer("choose the next batch size first: + − < > or b")
        else:
            from batchtui.tui.screens.restart import RestartDialog

            self._dialog = RestartDialog(*self._look, view, self._choice, self._outlook)
            self.app.push_screen(self._dialog, self._agreed)

    def action_write_config(self) -> None:
        """Offer to write the chosen batch size, else the present one, into the user's YAML."""
        batch = self.present
        size = self._choice or batch.size
        if batch.config_path is None or size is None:
            self.answer("the run has no configuration file")
            return
        from batchtui.tui.screens.write import offer

        offer(self, self._look, Path(batch.config_path), size, batch.started)

    def _agreed(self, plan: Plan | None) -> None:
        self._dialog = None
        if plan is not None and self._restart is not None and self._view is not None:
            self.answer(f"restarting at batch size {plan.batch_size}")
            self._restart(self._view.run, plan)

    def action_type_batch(self) -> None:
        """Type the next batch size."""
        if self.present.size is not None:
            from batchtui.tui.screens.batch import BatchDialog

            start = self._choice or self.present.size
            dialog = BatchDialog(*self._look, start, self.present.train_samples)
            self.app.push_screen(dialog, lambda size: self.choose(size or self._choice))

    def choose(self, size: int | None) -> None:
        """Take a batch size as the next one; with None, none."""
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
        likely = doubled(batch.size, 1, batch.train_samples) if batch.alive else batch.size
        following = self._choice or (likely if likely > batch.size else None)
        sizes = Sizes(batch.size, following, batch.train_samples)
        taken = self._view.taken
        if self._asked is not None:
            before, when, others = self._asked
            moved = abs(batch.others - others) > _MOVED * (batch.limit or 0)
            if before == sizes and 0 <= taken - when < (_SOON_S if moved else _ANEW_S):
                return
            if before != sizes:
                # What was said of another size must not be taken for the word on this one.
                self._outlook = self._outlook and self._outlook._replace(next=None)
        else:
            self._outlook = Outlook(reason=TRACING)
        for pane in self.query(Pane):
            pane.outlook = self._outlook
        self._asked = (sizes, taken, batch.others)
        self._ask(sizes)
