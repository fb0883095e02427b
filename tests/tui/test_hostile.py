"""Text from outside, in every place where it is shown: nothing crashes, nothing gets through."""

from __future__ import annotations

import dataclasses
import tempfile
import unicodedata
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from textual import events

from batchtui.runs.series import Boundary
from batchtui.text import clean
from batchtui.tui.export import export
from batchtui.tui.picture import Picture
from batchtui.tui.view import LogLine, LogView
from tests.tui.fake import FakeSource, facts, gpu, machine, points
from tests.tui.screen import lines, running

NASTY = [
    "\x1b]52;c;Y2xpcGJvYXJk\x07", "\x1b[2J\x1b[H", "\x9b31m", "[/]", "[bold red]x[/nope]",
    "\u202egnp.exe", "\u2066x\u2069", "\ud800", "a\r\nb\rc", "\x00\x07\x08", "日本語" * 30,
    "e\u0301" * 50, "👩\u200d👩\u200d👧" * 9, "\u0600\ufeff", "x" * 5000, "{0}%s$(id)",
    "☀\ufe0f" * 20,    "\x90q\x1b\\", "\u2028\u2029", "$primary", "\\[x]",
]  # fmt: skip
hostile = (
    st.text(max_size=60)
    | st.sampled_from(NASTY)
    | st.lists(st.sampled_from(NASTY), max_size=4).map("".join)
)
# Every dialog, the zoomed panes, the clipboard, the palette.
KEYS = (
    (), ("q",), ("escape", "slash"), ("paste",), ("enter", "y", "1", "y", "z"), ("z", "2", "y"),
    ("4", "x", "left", "y", "z"), ("z", "question_mark"), ("escape", "b", "paste"),
    ("escape", "plus", "6", "y", "h", "t"), ("ctrl+p",),
)  # fmt: skip
_BAD = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def given_facts(draw: Any) -> Any:
    text = [draw(hostile) for _ in range(12)]
    status = draw(
        st.sampled_from(["running", "starting", "failed", "finished", "lost", "stopping"])
    )
    sample = machine(
        gpus=(gpu(name=text[0], error=draw(st.none() | hostile)),) * draw(st.integers(0, 3)),
        limit_source=text[1],
        gpu_status=text[2],
    )
    made = facts(
        40,
        sample=sample,
        run=text[3] or "x",
        status=status,
        cause=text[4],
        log=LogView(lines=tuple(LogLine(n, clean(t)) for n, t in enumerate(text))),
        meta={
            "phase": text[5],
            "memory_level": draw(st.sampled_from([None, "warning", "critical", text[6]])),
            "memory_what": text[7],
            "device": draw(st.sampled_from(["cpu", "cuda:0", text[8]])),
            "device_name": text[9],
            "config": draw(st.sampled_from([None, text[10], {"limits": {"memory": text[11]}}])),
        },
    )
    chain = [Boundary(1, text[0], 32), Boundary(20, text[1], 64)]
    return dataclasses.replace(made, chain=chain, trouble=draw(st.none() | hostile))


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_hostile_text_is_harmless_on_every_screen(data: st.DataObject) -> None:
    import asyncio

    made = given_facts(data.draw)
    size = data.draw(st.sampled_from([(60, 16), (80, 24), (120, 36)]))
    typed = data.draw(hostile)

    async def show() -> None:
        async with running(FakeSource(made), size) as (app, pilot):
            for keys in KEYS:
                await pilot.press(*(key for key in keys if key != "paste"))
                if "paste" in keys:
                    app.screen.post_message(events.Paste(typed))
                await pilot.pause()
                if app.return_value is not None:
                    return
                for line in (*lines(app), *app.clipboard.split("\n")):
                    bad = [c for c in line if unicodedata.category(c) in _BAD and c != "\ufffd"]
                    assert not bad, (line, bad)

    asyncio.run(show())


@settings(max_examples=100, deadline=None)
@given(hostile, hostile)
def test_hostile_names_make_harmless_files(name: str, title: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "here"
        place.mkdir()
        curve = points([1.0, 2.0], [1.0, 2.0])
        told = export(Picture(title, "step", ((title, curve),), (("x", curve.x),)), name, place)
        assert told.isprintable()
        assert [path.name for path in Path(folder).iterdir()] == ["here"]
        for path in place.glob("*.svg"):
            ElementTree.fromstring(path.read_text())
