"""Names for looks, and what they are on a terminal with colours and on one without.

The hues are those of Okabe and Ito (2008), which colour-blind readers can tell apart, lightened
for a dark background. A look never means anything that a word, a glyph or a place does not say.
"""

from __future__ import annotations

from rich.style import Style

BACKGROUND = "#0d1117"
BAND = "#121a23"  # behind the header, the footer and dialogs
TEXT = "#c9d1d9"
ACCENT = "#56b4e9"

_HUES = {
    "text": TEXT,
    "strong": "#f0f6fc",
    "label": "#8b98a5",
    "dim": "#5b6672",
    "faint": "#2d3742",
    "sky": ACCENT,
    "pale": "#9bd3f5",
    "deep": "#2f6a91",
    "green": "#2fbf9b",
    "orange": "#e69f00",
    "red": "#ea6640",
    "purple": "#cc79a7",
    "rose": "#e9a3c9",
    "wine": "#7c4a66",
    "yellow": "#e8dc4f",
    "black": "#0d1117",
}
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

    def __init__(self, colour: bool = True) -> None:
        self.colour = colour
        self._styles: dict[tuple[str, str], Style] = {}

    def style(self, name: str, ground: str) -> Style:
        """Return the style of a look on a ground; the empty name is plain text."""
        style = self._styles.get((name, ground))
        if style is None:
            style = self._coloured(name, ground) if self.colour else self._plain(name)
            self._styles[name, ground] = style
        return style

    def _coloured(self, name: str, ground: str) -> Style:
        if name in _ALARMS:
            return Style(color=_HUES["black"], bgcolor=_HUES[_ALARMS[name]], bold=True)
        front, _, own_ground = name.partition("/")
        hue, bold = _LOOKS.get(front, (front or "text", False))
        return Style(
            color=_HUES[hue], bgcolor=_HUES[own_ground] if own_ground else ground, bold=bold
        )

    def _plain(self, name: str) -> Style:
        if name in _ALARMS:
            return Style(bold=True, reverse=True)
        front = name.partition("/")[0]
        bold = _LOOKS.get(front, ("", False))[1] and front != "title"
        return Style(bold=bold or None, dim=(front in _QUIET) or None)
