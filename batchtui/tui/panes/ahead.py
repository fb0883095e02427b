"""What the memory pane tells of the next batch size."""

from __future__ import annotations

from typing import NamedTuple

from batchtui import units
from batchtui.tui.outlook import Outlook
from batchtui.tui.view import View


class Ahead(NamedTuple):
    """The chosen batch size or, until there is one, the size that was asked about.

    `needed` are the bytes that the training itself will hold; `words` tell what will be in use,
    with what others hold now, from many words to few.
    """

    chosen: bool
    needed: int | None
    words: list[str]
    look: str


def ahead(view: View, outlook: Outlook | None, choice: int | None) -> Ahead:
    """Return what there is to tell."""
    chosen = choice is not None and choice != view.batch.size
    needed = outlook and outlook.needed
    if outlook is None or outlook.next is None or needed is None:
        text = f"→ forecast {units.MISSING}"
        words = [f"{text} at batch {units.count(choice)}", text] if chosen else []
        return Ahead(chosen, None, words, "next")
    text, size = f"→ {units.gib(needed + view.memory.others)}", units.count(outlook.next.batch_size)
    words = [f"{text} at batch {size}, forecast", f"{text} at batch {size}", f"{text} at {size}"]
    if not chosen:
        return Ahead(False, needed, words, "dim")
    return Ahead(True, needed, [*words, text], "bad" if outlook.unfit else "next")
