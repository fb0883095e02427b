"""Which panes are seen and how: focus, zoom, hide, the theme; and what leaves a pane as a file."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType

from batchtui.text import clean
from batchtui.tui.axes import next_scale
from batchtui.tui.panes.footer import FooterPane
from batchtui.tui.panes.header import HeaderPane
from batchtui.tui.panes.loss import LossPane
from batchtui.tui.preferences import Preferences
from batchtui.tui.screens.choosing import ChoosingScreen
from batchtui.tui.screens.layout import hide, zoom
from batchtui.tui.themes import THEMES
from batchtui.tui.widgets.chart_pane import ChartPane
from batchtui.tui.widgets.pane import Pane

PANES = ("cpu", "memory", "steps", "loss", "log", "advisor")
_NOTICE_S = 6.0


class ArrangingScreen(ChoosingScreen):
    """A screen of panes of which the user sees what he wants; the layout is remembered."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("z", "zoom", "Zoom the focused pane"),
        Binding("h", "hide", "Hide the focused pane"),
        Binding("H", "show_all", "Show all panes"),
        Binding("l", "scale", "Loss: as suits it, log, linear"),
        Binding("t", "theme", "Next theme"),
        Binding("y", "copy", "Copy the focused pane"),
        Binding("e", "export", "Export the focused chart"),
        *(
            Binding(str(number), f"focus_pane('{name}')", f"Focus {name}", show=False)
            for number, name in enumerate(PANES, start=1)
        ),
    ]
    preferences: Preferences

    def pane(self, name: str) -> Pane:
        """Return the pane of a name."""
        return self.query_one(f"#{name}", Pane)

    def notify_briefly(self, text: str) -> None:
        """Say in the header what a key has done, for a few seconds."""
        header, said = self.query_one(HeaderPane), clean(text, 120)
        header.notice = said

        def forget() -> None:
            if header.notice == said:
                header.notice = ""

        self.set_timer(_NOTICE_S, forget)

    # What is seen ---------------------------------------------------------------------------

    def hide_panes(self) -> None:
        """Hide what the user has hidden."""
        hide(self, self.preferences.hidden & frozenset(PANES))

    def action_focus_pane(self, name: str) -> None:
        """Focus a pane, and show it if it was hidden; while one is zoomed, zoom that one."""
        if name in self.preferences.hidden:
            self._hide(self.preferences.hidden - {name})
        if self.has_class("zoomed"):
            self.zoom(self.pane(name))
        self.set_focus(self.pane(name))

    def action_zoom(self) -> None:
        """Give the focused pane the whole screen, or take it back."""
        if self.has_class("zoomed"):
            self.zoom(None)
        elif isinstance(self.focused, Pane):
            self.zoom(self.focused)

    def zoom(self, pane: Pane | None) -> None:
        """Give a pane the whole screen; with None, each its own again."""
        for before in self.query(".zoomed-pane").results(ChartPane):
            before.forget_zoom()
        zoom(self, pane)
        if len(self.preferences.hidden) == len(PANES) - 1:  # the size of the last one stays
            for last in self.query(Pane):
                last.redraw()
        self.query_one(FooterPane).chart = isinstance(pane, ChartPane)

    def action_hide(self) -> None:
        """Hide the focused pane; its digit brings it back. One pane stays."""
        focused = self.focused.id if self.focused is not None else None
        left = [name for name in PANES if name not in self.preferences.hidden | {focused}]
        if focused not in PANES or not left:
            return
        self.zoom(None)
        self._hide(self.preferences.hidden | {focused})
        number = PANES.index(focused) + 1
        self.notify_briefly(f"{focused} is hidden · {number} or H: show it")
        self.set_focus(self.pane("log" if "log" in left else left[0]))

    def action_show_all(self) -> None:
        """Show all panes."""
        self._hide(frozenset())

    def _hide(self, names: frozenset[str]) -> None:
        self.preferences.hidden = names
        self.preferences.keep()
        self.hide_panes()

    def action_theme(self) -> None:
        """Take the next theme."""
        palette = self._look[0]
        names = list(THEMES)
        palette.use(names[(names.index(palette.theme) + 1) % len(names)])
        self.preferences.theme = palette.theme
        self.preferences.keep()
        self.app.theme = palette.theme
        for pane in self.query(Pane):
            pane.draw_all()
        self.notify_briefly(f"theme: {palette.theme}")

    def action_scale(self) -> None:
        """Draw the loss on the next scale, the one first that it does not have now."""
        pane = self.query_one(LossPane)
        pane.scale = next_scale(pane.scale, pane.view is not None and pane.view.loss.wide)
        pane.redraw()
        self.preferences.scales["loss"] = pane.scale
        self.preferences.keep()
        self.notify_briefly(f"scale of the loss: {pane.scale}")

    def on_chart_pane_axis_taken(self, message: ChartPane.AxisTaken) -> None:
        """Remember the axis of a chart."""
        self.preferences.axes[message.pane] = message.axis
        self.preferences.keep()

    # What leaves the screen -----------------------------------------------------------------

    def action_copy(self) -> None:
        """Copy what the focused pane says, by the terminal's own clipboard (OSC 52)."""
        if isinstance(self.focused, Pane):
            lines = [clean(line) for line in self.focused.lines()]
            self.app.copy_to_clipboard("\n".join(lines) + "\n")
            count = f"{len(lines)} line{'s' * (len(lines) != 1)}"
            self.notify_briefly(f"{count} copied, if the terminal allows it")

    def action_export(self) -> None:
        """Write the focused pane's chart as SVG and CSV into the working directory."""
        pane = self.focused
        picture = pane.picture(pane.view) if isinstance(pane, Pane) and pane.view else None
        if picture is None or pane is None or self._view is None:
            self.notify_briefly("no chart has the focus · 1…4: choose one")
            return
        name, title = f"{self._view.run}-{pane.id}", f"{self._view.run} · {picture.title}"

        def write() -> None:
            from batchtui.tui.export import export

            self.app.call_from_thread(
                self.notify_briefly, export(picture._replace(title=title), name)
            )

        self.run_worker(write, thread=True, exclusive=True)
