"""ASCII alone on a terminal that shows no other characters, also from Textual's own widgets."""

from __future__ import annotations

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from batchtui.tui.widgets.glyphs import to_ascii


class Plain(LineFilter):
    """Replace what is not ASCII; panes have done so, the command palette has not."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the segments in ASCII."""
        return [
            segment if segment.text.isascii() else segment._replace(text=to_ascii(segment.text))
            for segment in segments
        ]
