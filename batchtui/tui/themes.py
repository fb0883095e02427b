"""The colours of each theme, by the names that looks use.

The hues of `dark` and `light` are those of Okabe and Ito (2008), which colour-blind readers can
tell apart, lightened for a dark background and darkened for a light one. `blue-orange` goes without
red, green and pink: blues, oranges and sand differ in lightness as well as in hue.
"""

from __future__ import annotations

from textual.theme import Theme

_DARK = {
    "background": "#0d1117",
    "band": "#121a23",  # behind the header, the footer and dialogs
    "text": "#c9d1d9",
    "strong": "#f0f6fc",
    "label": "#8b98a5",
    "dim": "#5b6672",
    "faint": "#2d3742",
    "sky": "#56b4e9",
    "pale": "#9bd3f5",
    "deep": "#2f6a91",
    "green": "#2fbf9b",
    "orange": "#e69f00",
    "red": "#ea6640",
    "purple": "#cc79a7",
    "rose": "#e9a3c9",
    "wine": "#7c4a66",
    "yellow": "#e8dc4f",
    "black": "#0d1117",  # on alarms
}
_LIGHT = {
    "background": "#fbfcfd",
    "band": "#e9eef3",
    "text": "#26323d",
    "strong": "#05080b",
    "label": "#52616e",
    "dim": "#75838f",
    "faint": "#c6cfd7",
    "sky": "#0072b2",
    "pale": "#0067a3",
    "deep": "#8fc1e0",
    "green": "#00805d",
    "orange": "#a85f00",
    "red": "#c23a00",
    "purple": "#a34f86",
    "rose": "#a3417f",
    "wine": "#dfb3cd",
    "yellow": "#b39b00",
    "black": "#ffffff",
}
_BLUE_ORANGE = {
    **_DARK,
    "pale": "#a9d6f7",
    "green": "#8cc4ee",
    "sky": "#3d8fd1",
    "orange": "#e69f00",
    "red": "#ff8a3d",
    "purple": "#8d99a6",
    "rose": "#f0cf8e",
    "wine": "#786438",
    "yellow": "#f3e2b3",
}
THEMES = {"dark": _DARK, "blue-orange": _BLUE_ORANGE, "light": _LIGHT}


def textual_theme(name: str) -> Theme:
    """Return a theme for what Textual itself draws: the command palette."""
    hues = THEMES[name]
    return Theme(
        name=name,
        primary=hues["sky"],
        foreground=hues["text"],
        background=hues["background"],
        surface=hues["band"],
        panel=hues["band"],
        dark=name != "light",
    )
