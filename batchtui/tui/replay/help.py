"""The help of a replay."""

from __future__ import annotations

from batchtui.tui.screens.help import KEYS, HelpDialog

_GONE = ("+ − < >", "enter", "w", "space", "ctrl+p", "d", "q")


class ReplayHelp(HelpDialog):
    """Explains one pane and the keys of a replay."""

    keys = (
        ("space", "hold the moment, or go on; at the end begin anew"),
        ("<  >", "slower, faster; also , and ."),
        ("[  ]", "back, ahead by a twentieth of the run"),
        ("{  }", "to the start, to the end"),
        *(row for row in KEYS if row[0] not in _GONE),
        ("ctrl+p", "find a command"),
        ("q  d", "leave"),
    )
