"""Widths of text in cells, and plain characters for terminals without the drawing ones."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from rich.cells import cell_len

# Blocks of one-cell characters that we draw with; anything else is measured.
is_narrow_match = re.compile(
    "[\x20-\x7e\xa1-\xac\xae-\u02ff\u0370-\u0377\u037a-\u037f\u0384-\u03ff\u0400-\u0482"
    "\u2010-\u2027\u2030-\u205e\u2070-\u209c\u2190-\u21ff\u2200-\u22ff\u2500-\u25fc"
    "\u2713\u2717\u2800-\u28ff]*"
).fullmatch

_ASCII = str.maketrans(
    {
        **dict.fromkeys("╭╮╰╯┌┐└┘├┤┬┴┼╋", "+"),
        **dict.fromkeys("─╌┄▔", "-"),
        **dict.fromkeys("━╸╺", "="),
        **dict.fromkeys("│┃┊▏▎▕▐", "|"),
        **dict.fromkeys("█▇▆▊▋▉", "#"),
        **dict.fromkeys("▓▅▄▌▍", "%"),
        **dict.fromkeys("▒▃▂", ":"),
        **dict.fromkeys("░▁", "."),
        **dict.fromkeys("■●◆", "*"),
        **dict.fromkeys("·∙", "."),
        **dict.fromkeys("▲△↑", "^"),
        **dict.fromkeys("▚", "x"),
        "╱": "/",
        **dict.fromkeys("▼▽↓", "v"),
        **dict.fromkeys("◌◔◑◐○", "o"),
        "🔎": "> ", "→": ">", "▶": ">", "←": "<", "…": "~", "×": "x", "−": "-", "±": "~", "²": "2",
        "¹": "1", "³": "3", "⁴": "4", "⁵": "5", "⁶": "6",
        "°": " ", "✓": "+", "✗": "x", "µ": "u", "≥": ">", "≤": "<", "⏎": " ", 
        "√": "V", "≈": "~", "∞": "8", "–": "-", "’": "'",
    }
)  # fmt: skip


def is_narrow(text: str) -> bool:
    """Whether every character surely takes one cell."""
    return is_narrow_match(text) is not None


def width(text: str) -> int:
    """Return how many cells a text takes."""
    return len(text) if is_narrow(text) else cell_len(text)


def clip(text: str, cells: int) -> str:
    """Return a text that fits into so many cells; what is cut ends in `…`."""
    if width(text) <= cells:
        return text
    kept = text[: max(0, cells - 1)]
    while width(kept) > max(0, cells - 1):
        kept = kept[:-1]
    return kept + "…" if cells > 0 else ""


def clip_words(text: str, cells: int) -> str:
    """Return a text that fits into so many cells, cut between words where that leaves any."""
    if width(text) <= cells:
        return text
    kept = text
    while width(kept) + 1 > cells and " " in kept:
        kept = kept.rpartition(" ")[0]
    if width(kept) + 1 > cells:
        return clip(text, cells)
    # What a bracket began goes without it: `n/a` needs no `(…`.
    return kept + "…" if kept != text.partition(" (")[0] else kept


def to_ascii(text: str) -> str:
    """Replace each character by an ASCII one of the same width."""
    if text.isascii():
        return text
    text = text.translate(_ASCII)
    return text if text.isascii() else "".join(_plain(character) for character in text)


def _plain(character: str) -> str:
    if character.isascii():
        return character
    dots = ord(character) - 0x2800
    if 0 <= dots < 256:
        # Dots 1 2 4 5 fill the upper half, 3 6 7 8 the lower one.
        upper, lower = dots & 0b00011011, dots & 0b11100100
        return ":" if upper and lower else "'" if upper else "." if lower else " "
    return "?" * cell_len(character)


def ascii_only(environment: Mapping[str, str]) -> bool:
    """Whether this terminal had better get ASCII.

    That is a locale that names another encoding than UTF-8, or the Linux console, whose fonts
    have no braille. A locale that is not set at all, as in most containers, counts as UTF-8.
    """
    if environment.get("TERM") == "linux":
        return True
    if environment.get("LC_ALL"):
        name = environment["LC_ALL"]
    elif environment.get("LANG") in ("C", "POSIX"):
        # Python itself may have put LC_CTYPE=C.UTF-8 beside it (PEP 538).
        name = "C"
    else:
        name = environment.get("LC_CTYPE") or environment.get("LANG") or "C.UTF-8"
    return "utf8" not in name.lower().replace("-", "")


def terminal_is_ascii() -> bool:
    """Answer `ascii_only` for the environment of this process."""
    return ascii_only(os.environ)
