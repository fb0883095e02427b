"""Colours and attributes of a cell as small numbers, and the shortest change between two.

A style is (foreground, background, attributes): the colours as the parameters of their SGR code,
empty for the terminal's own, and the attributes as sorted SGR numbers.
"""

from __future__ import annotations

Style = tuple[str, str, tuple[int, ...]]

PLAIN = 0
_BOLD_AND_DIM = frozenset({1, 2})  # one code, 22, ends both


class Styles:
    """All styles seen, numbered; 0 is plain. Changes between two styles are worked out once."""

    def __init__(self, colour: bool = True) -> None:
        """Take whether colours are kept; without, only attributes are."""
        self._colour = colour
        self._known: list[Style] = [("", "", ())]
        self._numbers: dict[Style, int] = {self._known[0]: PLAIN}
        self._applied: dict[tuple[int, str], int] = {}
        self._changes: dict[tuple[int | None, int], str] = {}

    def key(self, number: int) -> tuple[str, tuple[int, ...], str]:
        """Return by what runs are sorted so that neighbours differ in little."""
        foreground, background, attributes = self._known[number]
        return background, attributes, foreground

    def apply(self, number: int, parameters: str) -> int:
        """Return the style after an SGR code with these parameters."""
        found = self._applied.get((number, parameters))
        if found is None:
            style = _after(self._known[number], parameters)
            if not self._colour:
                style = ("", "", style[2])
            found = self._applied[number, parameters] = self._number(style)
        return found

    def _number(self, style: Style) -> int:
        number = self._numbers.get(style)
        if number is None:
            number = self._numbers[style] = len(self._known)
            self._known.append(style)
        return number

    def change(self, before: int | None, after: int) -> str:
        """Return the shortest SGR code from one style (None: unknown) to another."""
        found = self._changes.get((before, after))
        if found is None:
            found = _whole(self._known[after])
            if before is not None:
                step = _difference(self._known[before], self._known[after])
                found = min(step, found, key=len)
            self._changes[before, after] = found
        return found


def _after(style: Style, parameters: str) -> Style:
    foreground, background, attributes = style
    kept = set(attributes)
    codes = parameters.replace(":", ";").split(";") if parameters else ["0"]
    position = 0
    while position < len(codes):
        code = int(codes[position] or 0)
        if code in (38, 48):
            length = 5 if codes[position + 1 : position + 2] == ["2"] else 3
            colour = ";".join(codes[position : position + length])
            position += length
            if code == 38:
                foreground = colour
            else:
                background = colour
            continue
        position += 1
        if code == 0:
            foreground, background, kept = "", "", set()
        elif 30 <= code <= 37 or 90 <= code <= 97:
            foreground = str(code)
        elif 40 <= code <= 47 or 100 <= code <= 107:
            background = str(code)
        elif code == 39:
            foreground = ""
        elif code == 49:
            background = ""
        elif 1 <= code <= 9:
            kept.add(code)
        elif code == 22:
            kept -= _BOLD_AND_DIM
        elif 23 <= code <= 29:
            kept.discard(code - 20)
    return foreground, background, tuple(sorted(kept))


def _whole(style: Style) -> str:
    foreground, background, attributes = style
    parts = [*map(str, attributes), *(part for part in (foreground, background) if part)]
    return f"\x1b[0;{';'.join(parts)}m" if parts else "\x1b[m"


def _difference(before: Style, after: Style) -> str:
    gone = set(before[2]) - set(after[2])
    come = set(after[2]) - set(before[2])
    parts: list[str] = []
    if gone & _BOLD_AND_DIM:
        parts.append("22")
        come |= set(after[2]) & _BOLD_AND_DIM
    parts += [str(20 + code) for code in sorted(gone - _BOLD_AND_DIM)]
    parts += [str(code) for code in sorted(come)]
    if before[0] != after[0]:
        parts.append(after[0] or "39")
    if before[1] != after[1]:
        parts.append(after[1] or "49")
    return f"\x1b[{';'.join(parts)}m" if parts else ""
