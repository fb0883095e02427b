"""What the screen remembers from one time to the next: theme, hidden panes, charts."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path


class Preferences:
    """A few settings, kept in a file if there is a place for it.

    A file that cannot be read, or holds something else, counts as none; one that cannot be
    written leaves the settings to this session.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.theme: str | None = None
        self.hidden: frozenset[str] = frozenset()
        self.axes: dict[str, str] = {}
        self.scales: dict[str, str] = {}
        self._path = path
        with contextlib.suppress(OSError, ValueError):
            self._take(json.loads(path.read_text(encoding="utf-8")) if path is not None else {})

    def _take(self, kept: object) -> None:
        if not isinstance(kept, dict):
            return
        theme, hidden = kept.get("theme"), kept.get("hidden")
        if isinstance(theme, str):
            self.theme = theme
        if isinstance(hidden, list):
            self.hidden = frozenset(name for name in hidden if isinstance(name, str))
        self.axes, self.scales = _words(kept.get("axes")), _words(kept.get("scales"))

    def keep(self) -> None:
        """Write the file, beside the old one and then in its place."""
        if self._path is None:
            return
        kept = {
            "theme": self.theme, "hidden": sorted(self.hidden), "axes": self.axes,
            "scales": self.scales,
        }  # fmt: skip
        beside = self._path.with_suffix(f".{os.getpid()}")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
            beside.replace(self._path)


def _words(kept: object) -> dict[str, str]:
    """Return the words that are kept for panes."""
    if not isinstance(kept, dict):
        return {}
    return {pane: word for pane, word in kept.items() if isinstance(word, str)}


def at_home() -> Preferences:
    """Return the user's own: $XDG_STATE_HOME/batchtui/screen.json, else in ~/.local/state."""
    folder = os.environ.get("XDG_STATE_HOME") or ""
    state = Path(folder) if os.path.isabs(folder) else Path("~/.local/state").expanduser()
    return Preferences(state / "batchtui" / "screen.json")
