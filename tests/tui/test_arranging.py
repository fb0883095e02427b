"""Hiding panes, themes, and what leaves the screen: the clipboard, files. Each key once."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest
from textual.geometry import Region

from batchtui.tui.axes import AXES
from batchtui.tui.preferences import Preferences, at_home
from batchtui.tui.screens.help import HelpDialog
from batchtui.tui.themes import THEMES
from batchtui.tui.widgets.pane import Pane
from tests.tui import fake
from tests.tui.fake import facts, gpu, machine
from tests.tui.screen import STATES, has, lines, running, settle

GPU = machine(gpus=(gpu(),))


async def test_h_hides_a_pane_its_digit_brings_it_back_and_it_is_remembered(tmp_path: Path) -> None:
    path = tmp_path / "state" / "screen.json"
    async with running(facts(20), preferences=Preferences(path)) as (app, pilot):
        await pilot.press("1", "h")
        assert "CPU ·" not in "\n".join(lines(app))
        assert app.screen.query_one("#memory").size.width == 120
        assert has(app, "cpu is hidden · 1 or H: show it")
        assert app.focused is not None
        assert app.focused.id == "log"
        await pilot.press("2", "h")
        assert "Memory ·" not in "\n".join(lines(app))
        assert app.screen.query_one("#steps").region.y == 1  # nothing is left of that row
    assert json.loads(path.read_text())["hidden"] == ["cpu", "memory"]
    async with running(facts(20), preferences=Preferences(path)) as (app, pilot):
        assert "CPU ·" not in "\n".join(lines(app))
        await pilot.press("1")
        assert has(app, "CPU ·")
        await pilot.press("H")
        assert has(app, "CPU ·", "Memory ·")
    assert Preferences(path).hidden == frozenset()


async def test_l_takes_the_next_scale_of_the_loss_and_it_is_remembered(tmp_path: Path) -> None:
    path = tmp_path / "screen.json"
    async with running(facts(1800), preferences=Preferences(path)) as (app, pilot):
        assert "variance ·" not in "\n".join(lines(app))
        await pilot.press("l")
        assert has(app, "Loss and variance · log", "scale of the loss: log")
    async with running(facts(1800), preferences=Preferences(path)) as (app, pilot):
        assert has(app, "Loss and variance · log")
        await pilot.press("l")
        assert has(app, "Loss and variance · linear")
        await pilot.press("l")
        assert "variance ·" not in "\n".join(lines(app))
    assert Preferences(path).scales == {"loss": "auto"}


async def test_the_last_pane_stays() -> None:
    async with running(facts(20)) as (app, pilot):
        await pilot.press("1", "h", "2", "h", "3", "h", "4", "h", "5", "h", "6", "h", "h")
        assert has(app, "Advisor")


async def test_hidden_is_not_zoomed() -> None:
    async with running(facts(20)) as (app, pilot):
        await pilot.press("4", "z", "h")
        assert has(app, "CPU ·", "Log")
        assert "Loss and variance" not in "\n".join(lines(app))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"hidden": 7, "axes": [], "theme": 3}', "\x00"])
def test_a_damaged_file_of_preferences_counts_as_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "screen.json"
    path.write_text(text)
    kept = Preferences(path)
    assert (kept.theme, kept.hidden, kept.axes) == (None, frozenset(), {})
    assert Preferences(tmp_path / "none" / "screen.json").theme is None


async def test_preferences_that_cannot_be_written_stop_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    preferences = Preferences(tmp_path / "file" / "screen.json")
    async with running(facts(20), preferences=preferences) as (app, pilot):
        await pilot.press("t", "1", "h")
        assert "CPU ·" not in "\n".join(lines(app))


def test_preferences_live_where_xdg_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    preferences = at_home()
    preferences.theme = "light"
    preferences.keep()
    assert (tmp_path / "batchtui" / "screen.json").exists()
    assert at_home().theme == "light"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    at_home().keep()
    assert (tmp_path / ".local" / "state" / "batchtui" / "screen.json").exists()


async def test_t_takes_the_next_theme_and_every_cell_changes(tmp_path: Path) -> None:
    path = tmp_path / "screen.json"
    async with running(facts(20), preferences=Preferences(path)) as (app, pilot):
        for name in ("blue-orange", "light", "dark"):
            await pilot.press("t")
            assert has(app, f"theme: {name}")
            grounds = {
                segment.style.bgcolor.get_truecolor().hex
                for strip in app.screen._compositor.render_strips()
                for segment in strip
                if segment.style and segment.style.bgcolor
            }
            allowed = set(THEMES[name].values())
            assert grounds <= allowed, grounds - allowed
            assert Preferences(path).theme == name


def test_every_theme_can_be_read_on_its_grounds() -> None:
    """Contrast of at least 4.5 for what is read, 3 for what is dim (WCAG 2.1)."""

    def light(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for theme, hues in THEMES.items():
        assert hues.keys() == THEMES["dark"].keys()
        for ground in ("background", "band"):
            for look, least in {
                "text": 4.5, "strong": 7, "label": 4.5, "green": 4, "orange": 4, "red": 4,
                "sky": 4, "pale": 4, "rose": 4, "dim": 2.9,
            }.items():  # fmt: skip
                one, other = sorted((light(hues[look]), light(hues[ground])))
                assert (other + 0.05) / (one + 0.05) >= least, (theme, look, ground)


async def test_question_mark_explains_the_summary_of_an_ended_run() -> None:
    async with running(STATES["finished"]) as (app, pilot):
        await pilot.press("6", "question_mark")
        assert has(app, "What came of a run that has ended")
        await pilot.press("escape", "greater_than_sign", "question_mark")
        assert has(app, "the largest batch size forecast to fit")


async def test_y_copies_what_the_pane_says_and_nothing_else() -> None:
    log = fake.LogView(lines=(fake.LogLine(0, "one \x1b]52;c;AAAA\x07 two"), fake.LogLine(1, "b")))
    async with running(facts(20, log=log)) as (app, pilot):
        await pilot.press("y")
        assert app.clipboard == "one  two\nb\n"
        assert has(app, "2 lines copied")
        await pilot.press("6", "y")
        assert "batch size" in app.clipboard
        assert "│" not in app.clipboard
        await pilot.press("5", "slash", *"b", "enter", "y")
        assert app.clipboard == "b\n"


async def test_the_axis_of_a_chart_is_remembered() -> None:
    preferences = Preferences()
    async with running(facts(200), preferences=preferences) as (_, pilot):
        await pilot.press("4", "x")
        await settle(pilot, lambda: preferences.axes == {"loss": AXES[1]})
    async with running(facts(200), preferences=preferences) as (app, _):
        assert has(app, "64 samples")


async def test_question_mark_explains_the_focused_pane() -> None:
    titles = ("CPU", "Memory", "Step time", "Loss and variance", "Log", "Advisor")
    async with running(facts(20), (60, 16)) as (app, pilot):
        for digit, title in enumerate(titles, 1):
            await pilot.press(str(digit), "question_mark")
            assert isinstance(app.screen, HelpDialog)
            assert title in [line[3:-3].replace("│", " ").strip() for line in lines(app)]
            assert has(app, "↓ more")
            await pilot.press("question_mark")
            assert not isinstance(app.screen, HelpDialog)


async def test_help_scrolls_where_it_has_no_room() -> None:
    async with running(facts(20), (60, 16)) as (app, pilot):
        await pilot.press("question_mark")
        seen = "\n".join(lines(app))
        for _ in range(6):
            await pilot.press("pagedown")
            seen += "\n".join(lines(app))
        for key in ("next theme", "leave: detach or stop"):
            assert key in seen
        await pilot.press("pageup", "up", "k")
        assert has(app, "↓ more")
        await pilot.press("down", "j", "q")
        assert not isinstance(app.screen, HelpDialog)


async def test_help_tells_every_key() -> None:
    async with running(facts(20), (120, 60)) as (app, pilot):
        await pilot.press("4", "z", "question_mark")
        shown = "\n".join(lines(app))
    keys = {"question_mark": "Help", "plus": "+", "minus": "−", "colon": ":", "slash": "/",
            "left": "←", "ctrl+p": "ctrl+p"}  # fmt: skip
    for key in (*"bdehHlqtxyz", "space", "enter", "tab", "ctrl+l", *keys):
        assert re.search(rf"(?<!\w){re.escape(keys.get(key, key))}(?!\w)", shown), key


async def test_the_palette_finds_every_command() -> None:
    async with running(facts(20)) as (app, pilot):
        await pilot.press("4")
        found = {command.title: command for command in app.get_system_commands(app.screen)}
        for name in ("Detach", "Leave", "Next batch size", "Larger batch size", "Filter the log",
                     "Zoom", "Hide", "Show all panes", "Copy", "Export", "Theme", "Pause", "Help",
                     "Pane log", "Axis", "Draw anew", "Scale of the loss"):  # fmt: skip
            assert name in found
        for name in ("Larger batch size", "Smaller batch size", "Hide", "Pane loss", "Theme"):
            found[name].callback()
        await pilot.pause()
        assert has(app, "Loss and variance", "theme: blue-orange")


async def test_a_zoomed_chart_has_its_own_footer() -> None:
    async with running(facts(200)) as (app, pilot):
        await pilot.press("4", "z")
        assert has(app, "+− Closer", "x Axis", "z Back")
        await pilot.click("#footer", offset=(2, 0))
        await settle(pilot, lambda: " · loss " in "\n".join(lines(app)))
        await pilot.press("z")
        assert has(app, "Batch size")


def overlaps(one: Region, other: Region) -> bool:
    return bool(one.intersection(other))


async def test_from_the_least_to_a_huge_size_no_pane_overlaps_another() -> None:
    chance = random.Random(1)
    sizes = [(60, 16), (300, 100), (60, 100), (300, 16)]
    sizes += [(chance.randint(60, 300), chance.randint(16, 100)) for _ in range(20)]
    async with running(facts(400, sample=GPU)) as (app, pilot):
        for index, size in enumerate(sizes):
            if index == 12:
                await pilot.press("1", "h", "3", "h", "5", "h")
            await pilot.resize_terminal(*size)
            await pilot.pause()
            regions = [pane.region for pane in app.screen.query(Pane) if pane.region]
            whole = Region(0, 0, *size)
            assert all(whole.contains_region(region) for region in regions)
            for at, region in enumerate(regions):
                assert not any(overlaps(region, other) for other in regions[:at]), (size, regions)
            assert sum(region.area for region in regions) >= 0.93 * whole.area
