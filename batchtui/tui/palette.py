"""Names for looks, and what they are in each theme and on a terminal without colours.

A look never means anything that a word, a glyph or a place does not say.
"""

from __future__ import annotations

from rich.style import Style

from batchtui.tui.themes import THEMES

# name: (hue, bold). A name that is missing here is the hue of that name, not bold.
_LOOKS = {
    "strong": ("strong", True),
    "title": ("label", True),
    "brand": ("sky", True),
    "good": ("green", True),
    "warn": ("orange", True),
    "bad": ("red", True),
    "key": ("orange", True),
    "next": ("orange", True),
    "frame": ("faint", False),
    "frame.focus": ("sky", False),
    "pale.strong": ("pale", True),
    "rose.strong": ("rose", True),
}
# Without colours brightness alone is left: bold, normal, dim.
_QUIET = frozenset({"label", "dim", "faint", "frame", "deep", "wine", "title"})
_ALARMS = {"alarm": "red", "caution": "orange"}


class Palette:
    """Turn the name of a look into a style; `a/b` is the hue of a on a ground of b."""

    def __init__(self, colour: bool = True, theme: str = "dark") -> None:
        self.colour = colour
        self.use(theme)

    def use(self, theme: str) -> None:
        """Take the colours of a theme; what was drawn before has to be drawn anew."""
        self.theme = theme if theme in THEMES else "dark"
        self.hues = THEMES[self.theme]
        self._styles: dict[tuple[str, str], Style] = {}

    def style(self, name: str, ground: str) -> Style:
        """Return the style of a look on a ground, `background` or `band`; "" is plain text."""
        style = self._styles.get((name, ground))
        if style is None:
            style = self._coloured(name, ground) if self.colour else self._plain(name)
            self._styles[name, ground] = style
        return style

    def _coloured(self, name: str, ground: str) -> Style:
        hues = self.hues
        if name in _ALARMS:
            return Style(color=hues["black"], bgcolor=hues[_ALARMS[name]], bold=True)
        front, _, own_ground = name.partition("/")
        hue, bold = _LOOKS.get(front, (front or "text", False))
        return Style(color=hues[hue], bgcolor=hues[own_ground or ground], bold=bold)

    def _plain(self, name: str) -> Style:
        if name in _ALARMS:
            return Style(bold=True, reverse=True)
        front = name.partition("/")[0]
        bold = _LOOKS.get(front, ("", False))[1] and front != "title"
        return Style(bold=bold or None, dim=(front in _QUIET) or None)
