"""The one sanitiser: text from outside, made safe to draw.

Logs, run names, configuration values and error messages may hold terminal control sequences
(OSC 52 writes the clipboard), bidirectional overrides that reorder a line, or lone surrogates
that no encoder accepts. Nothing of that may reach a terminal.
"""

from __future__ import annotations

import re
import unicodedata

# CSI, OSC/DCS/PM/APC/SOS strings (ended by BEL or ST, or running to the end), other ESC pairs,
# and the same in their one-byte C1 form.
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]P^_X]|[\x9d\x90\x9e\x9f\x98])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def clean(text: str, limit: int = 2000) -> str:
    """Return one printable line of at most `limit` characters.

    Control sequences vanish, tabs become spaces, of a line redrawn with carriage returns the
    last state stays, and any other character that does not print becomes `�`.
    """
    if len(text) > 4 * limit:
        # A carriage return at the far end still decides what a terminal would show.
        text = text[: 2 * limit] + text[-2 * limit :]
    text = _SEQUENCE.sub("", text)
    if "\r" in text:
        segments = [segment for segment in text.split("\r") if segment]
        text = segments[-1] if segments else ""
    if not text.isprintable():
        text = "".join(_safe(character) for character in text.expandtabs(4))
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    return text


def _safe(character: str) -> str:
    if character.isprintable():
        return character
    if character in "\n\v\f" or unicodedata.category(character) == "Zs":
        return " "
    if character == "\u200d" or unicodedata.category(character) in _UNSAFE_CATEGORIES:
        return "\ufffd"
    return character
