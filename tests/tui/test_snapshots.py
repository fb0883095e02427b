"""Every state at three sizes, cell for cell: the text, and the look of each stretch of it.

After a change that is meant: BATCHTUI_SNAPSHOTS=write pytest tests/tui/test_snapshots.py, then read
the difference of tests/tui/snapshots.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.style import Style

from batchtui.runs.series import Boundary
from batchtui.tui.app import BatchtuiApp
from batchtui.tui.facts import Facts, Takeover
from batchtui.tui.themes import THEMES
from tests.tui.fake import NOW, facts
from tests.tui.screen import GPU, STATES, lines, replaying, running, settle
from tests.tui.test_outlook import FakeProspect

FOLDER = Path(__file__).with_name("snapshots")
SIZES = ((60, 16), (80, 24), (120, 36))
RESTARTED = dataclasses.replace(
    facts(1800),
    chain=[Boundary(1, "digits-001", 32), Boundary(700, "digits-002", 64)],
    takeovers=[Takeover(NOW - 900, 32), Takeover(NOW - 153, 64)],
)
MORE = {
    "one gpu, 128 chosen": (facts(1800, sample=GPU), ("greater_than_sign",)),
    "eight gpus, 512 chosen": (STATES["eight gpus"], ("greater_than_sign",) * 3),
    "restarted": (RESTARTED, ()),
    "zoomed loss": (facts(1800), ("4", "z", "shift+left", "shift+left")),
    "help on memory": (facts(100), ("2", "question_mark")),
    "leaving": (facts(100), ("q",)),
}
REPLAYS = {
    "replay": (STATES["one gpu"], {}, ()),
    "replay held, warned": (STATES["warned"], {"days": 3}, ("space",)),
    "replay ended": (STATES["out of memory"], {"share": 1.0, "note": "goes on as a-002"}, ()),
    "help in a replay": (facts(100), {}, ("question_mark",)),
}
LETTERS = {
    "background": "k", "band": "b", "black": "k", "text": "t", "strong": "w", "label": "l",
    "dim": "d", "faint": "f", "sky": "s", "pale": "a", "deep": "e", "green": "g", "orange": "o",
    "red": "r", "purple": "p", "rose": "h", "wine": "i", "yellow": "y",
}  # fmt: skip
CASES = {name: (given, ()) for name, given in STATES.items()} | MORE


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def picture(app: BatchtuiApp) -> str:
    """Return the screen as text, and below it the looks of each row.

    A look is the letter of its hue, a capital where it is bold; `2a3B` is two cells of a and three
    of B. On another ground than the usual two the ground's letter follows a slash.
    """
    rows = []
    for strip in app.screen._compositor.render_strips():
        looks: list[tuple[int, str]] = []
        for segment in strip:
            look = letters(segment.style)
            if looks and looks[-1][1] == look:
                looks[-1] = (looks[-1][0] + segment.cell_length, look)
            else:
                looks.append((segment.cell_length, look))
        rows.append("".join(f"{count}{look}" for count, look in looks))
    return "\n".join([*(line.rstrip() for line in lines(app)), "", *rows, ""])


def letters(style: Style | None) -> str:
    """Return a look in a letter or two."""
    if style is None or style.color is None:
        return "-"
    hues = {hue: LETTERS[name] for name, hue in THEMES["dark"].items()}
    front = hues.get(style.color.name, style.color.name)
    ground = style.bgcolor.name if style.bgcolor is not None else ""
    own = "" if hues.get(ground) in ("k", "b") else f"/{hues.get(ground, ground)}"
    return (front.upper() if style.bold else front) + own


@pytest.mark.parametrize("name", [*CASES, *REPLAYS])
async def test_the_screen_is_as_it_was(name: str) -> None:
    if name in REPLAYS:
        past, more, keys = REPLAYS[name]
        given: Facts | BatchtuiApp = replaying(past, **more)
    else:
        given, keys = CASES[name]
    prospect = {"prospect": FakeProspect} if "chosen" in name else {}
    async with running(given, SIZES[0], **prospect) as (app, pilot):
        await pilot.press(*keys)
        if prospect:
            verdicts = ("fits", "will not fit")
            await settle(pilot, lambda: any(v in "\n".join(lines(app)) for v in verdicts))
        shown = {}
        for width, height in SIZES:
            await pilot.resize_terminal(width, height)
            await pilot.pause()
            await pilot.pause()
            shown[FOLDER / f"{name.replace(' ', '-')}-{width}x{height}.txt"] = picture(app)
    for path, text in shown.items():
        if os.environ.get("BATCHTUI_SNAPSHOTS") == "write":
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        assert text == path.read_text(), f"{path.name} differs"
