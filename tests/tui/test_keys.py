from __future__ import annotations

import dataclasses

import pytest
from textual.css.query import NoMatches

from batchtui.errors import SuperviseError
from batchtui.tui.facts import Facts
from batchtui.tui.panes.header import HeaderPane
from batchtui.tui.panes.log import LogPane
from batchtui.tui.screens.batch import BatchDialog
from batchtui.tui.screens.help import HelpDialog
from batchtui.tui.screens.leave import LeaveDialog
from tests.tui.fake import FakeSource, facts
from tests.tui.screen import GPU, SIZES, STATES, has, lines, running, settle


async def test_question_mark_shows_help() -> None:
    async with running(facts(20)) as (app, pilot):
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpDialog)
        assert has(app, "detach: leave, the training goes on")
        await pilot.press("escape")
        assert not isinstance(app.screen, HelpDialog)


@pytest.mark.parametrize("key", ["q", "question_mark", "b"])
async def test_dialogs_fit(key: str) -> None:
    async with running(facts(20), (60, 16)) as (app, pilot):
        await pilot.press(key)
        for size in SIZES:
            await pilot.resize_terminal(*size)
            await pilot.pause()
            assert any("╭" in line and "╮" in line for line in lines(app))


@pytest.mark.parametrize(
    "keys", [("q",), ("question_mark",), ("b",), ("plus", "enter"), ("4", "z")]
)
async def test_no_terminal_is_too_small_to_live_in(keys: tuple[str, ...]) -> None:
    restart = {"restart": lambda name, plan: None}
    async with running(facts(20), (80, 24), **restart) as (app, pilot):
        await pilot.press(*keys)
        for size in ((1, 1), (2, 24), (80, 1), (14, 5), (80, 24)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
        await settle(pilot, lambda: "╭" in "\n".join(lines(app)))
        assert app.crash is None


async def test_d_detaches() -> None:
    async with running(facts(20)) as (app, pilot):
        await pilot.press("d")
        assert app.return_value == 0


async def test_ctrl_c_detaches() -> None:
    async with running(facts(20)) as (app, pilot):
        await pilot.press("ctrl+c")
        assert app.return_value == 0


async def test_q_asks_and_enter_detaches() -> None:
    async with running(facts(20)) as (app, pilot):
        await pilot.press("q")
        assert isinstance(app.screen, LeaveDialog)
        await pilot.press("escape")
        assert not isinstance(app.screen, LeaveDialog)
        await pilot.press("q", "enter")
        assert app.return_value == 0


@pytest.mark.parametrize("keys", [("s",), ("down", "enter"), ("tab", "enter")])
async def test_q_can_stop_and_shows_the_answer(keys: tuple[str, ...]) -> None:
    asked: list[bool] = []

    def stop(now: bool) -> str:
        asked.append(now)
        return "writing a checkpoint, then stopping"

    async with running(facts(20), stop=stop) as (app, pilot):
        await pilot.press("q", *keys)
        await settle(pilot, lambda: app.screen.query_one(HeaderPane).message)
        assert asked == [False]
        assert has(app, "writing a checkpoint")
        assert app.return_value is None


async def test_a_stop_that_fails_is_one_line() -> None:
    def stop(now: bool) -> str:
        raise SuperviseError("nobody\nlistens \x1b[31m[/]")

    async with running(facts(20), stop=stop) as (app, pilot):
        await pilot.press("q", "s")
        await settle(pilot, lambda: app.screen.query_one(HeaderPane).message)
        assert has(app, "nobody listens [/]")


@pytest.mark.parametrize("state", ["finished", "lost"])  # nobody is there who could stop it
async def test_q_leaves_what_does_not_train_at_once(state: str) -> None:
    async with running(STATES[state]) as (app, pilot):
        await pilot.press("q")
        assert app.return_value == 0


async def test_tab_and_digits_focus_panes() -> None:
    async with running(facts(20)) as (app, pilot):
        assert app.focused is not None
        assert app.focused.id == "log"
        for digit, name in enumerate(("cpu", "memory", "steps", "loss", "log", "advisor"), 1):
            await pilot.press(str(digit))
            assert app.focused.id == name
        await pilot.press("tab")
        assert app.focused.id == "cpu"
        await pilot.press("shift+tab")
        assert app.focused.id == "advisor"


async def test_z_zooms_the_focused_pane_and_back() -> None:
    async with running(facts(20)) as (app, pilot):
        await pilot.press("4", "z")
        assert app.screen.query_one("#loss").size.width == 120
        assert not app.screen.query_one("#cpu").display or app.screen.query_one("#cpu").size[0] == 0
        await pilot.press("3")
        assert app.screen.query_one("#steps").size.width == 120
        await pilot.press("z")
        assert app.screen.query_one("#steps").size.width < 80
        await pilot.press("z", "escape")
        assert app.screen.query_one("#steps").size.width < 80


async def test_space_holds_the_view_still() -> None:
    def change(given: Facts, reads: int) -> Facts:
        summary = dataclasses.replace(given.summary, steps=1000 + reads)
        return dataclasses.replace(given, summary=summary)

    source = FakeSource(facts(20), change)
    async with running(source, refresh=0.1) as (app, pilot):
        await pilot.press("space")
        assert has(app, "paused")
        held = app.screen.query_one(HeaderPane).view
        reads = source.reads
        await settle(pilot, lambda: source.reads > reads + 1)
        assert app.screen.query_one(HeaderPane).view is held
        await pilot.press("space")
        assert app.screen.query_one(HeaderPane).view is not held


async def test_slash_filters_the_log() -> None:
    async with running(facts(20)) as (app, pilot):
        await pilot.press("slash", *"EPOCH")
        await settle(pilot)
        assert has(app, "epoch 12: 0.4111", "/EPOCH")
        assert "throughput" not in "\n".join(lines(app))
        await pilot.press("enter")
        assert app.focused is not None
        assert app.focused.id == "log"
        await pilot.press("escape")
        assert app.screen.query_one(LogPane).filter == ""
        await pilot.press("slash", *"b?q/", "enter")
        assert app.screen.query_one(LogPane).filter == "b?q/"
        await pilot.press("slash", "ctrl+u", *"nowhere")
        await settle(pilot)
        assert has(app, "no line has “nowhere”")
        await pilot.press("escape")
        assert app.screen.query_one(LogPane).filter == ""
        assert has(app, "Quit")
        await pilot.press("slash", "tab")
        await settle(pilot)
        assert has(app, "Quit")


async def test_the_log_of_an_ended_run_can_be_filtered() -> None:
    """Of such a run there may be one view, and no other."""
    source = FakeSource(STATES["finished"])
    view = source.read()
    source.read = lambda: view  # type: ignore[method-assign]
    async with running(source) as (app, pilot):
        await pilot.press("slash", *"epoch")
        await settle(pilot)
        assert has(app, "/epoch█", "enter keep")


async def test_keys_choose_the_next_batch_size() -> None:
    async with running(facts(600, sample=GPU)) as (app, pilot):
        await pilot.press("greater_than_sign")
        assert has(
            app,
            "64 → 128",
            "→ forecast n/a at batch 128",
            "peak memory   4.4 GiB → n/a",
            "enter Restart",
        )
        await pilot.press("greater_than_sign")
        assert has(app, "64 → 256", "steps/epoch       150 → 38")
        await pilot.press("less_than_sign", "less_than_sign", "plus")
        assert has(app, "64 → 72")
        await pilot.press("equals_sign")
        assert has(app, "64 → 80")
        await pilot.press("minus", "minus", "minus")
        assert has(app, "64 → 60")
        await pilot.press("less_than_sign")
        assert has(app, "64 → 30")
        await pilot.press("escape")
        assert "→" not in "\n".join(lines(app)).replace("→ forecast", "→")


async def test_b_types_the_next_batch_size() -> None:
    async with running(facts(600)) as (app, pilot):
        await pilot.press("b")
        assert isinstance(app.screen, BatchDialog)
        await pilot.press("enter")
        assert has(app, "whole number above 0")
        await pilot.press(*"99999", "x", "enter")
        assert has(app, "only 9,600 samples")
        await pilot.press(*(["backspace"] * 5), *"96", "enter")
        assert has(app, "64 → 96")
        await pilot.press("b", "escape")
        assert has(app, "64 → 96")


async def test_the_log_scrolls() -> None:
    async with running(facts(20)) as (app, pilot):
        newest = "checkpoint saved"
        assert has(app, newest)
        await pilot.press("home")
        assert newest not in "\n".join(lines(app))
        assert has(app, "scrolled back")
        for keys in (("end",), ("up", "k", "down", "j"), ("pageup", "pagedown", "pagedown"),
                     ("g", "G")):  # fmt: skip
            await pilot.press(*keys)
            assert has(app, newest)


async def test_ctrl_p_opens_the_palette() -> None:
    async with running(facts(20)) as (app, pilot):
        footer = app.screen._compositor.render_strips()[-1]
        await pilot.press("ctrl+p")
        await settle(pilot, lambda: "Search" in "\n".join(lines(app)))
        # What is behind keeps its looks, which a slow line would have to carry.
        assert app.screen._compositor.render_strips()[-1] == footer
        await pilot.press(*"zoom")
        await settle(pilot, lambda: "Give the focused pane" in "\n".join(lines(app)))
        await pilot.press("down", "enter")
        await settle(pilot, lambda: app.screen.has_class("zoomed"))


@pytest.mark.parametrize(
    ("typed", "found", "chosen"),
    [
        ("96", "Batch size 96", "64 → 96"),
        (":1024", "Batch size 1,024", "64 → 1,024"),
        ("batch size 8", "Batch size 8", "64 → 8"),
        ("99999", "only 9,600 samples", "now 64"),  # the dialog, for another try
    ],
)
async def test_the_palette_takes_a_batch_size(typed: str, found: str, chosen: str) -> None:
    async with running(facts(600)) as (app, pilot):
        await pilot.press("ctrl+p", *typed)
        await settle(pilot, lambda: found in "\n".join(lines(app)))
        await pilot.press("down", "enter")
        await settle(pilot, lambda: chosen in "\n".join(lines(app)))


async def test_the_palette_is_ascii_where_the_rest_is() -> None:
    async with running(facts(20), ascii_only=True) as (app, pilot):
        await pilot.press("ctrl+p")
        await settle(pilot, lambda: "Search" in "\n".join(lines(app)))
        shown = "\n".join(lines(app))
        assert shown.isascii()
        assert "??" not in shown


async def test_a_palette_that_is_closed_too_soon_ends_nothing() -> None:
    async def look_for_the_list() -> None:
        raise NoMatches("No nodes match 'CommandList' on CommandPalette()")

    async with running(facts(20)) as (app, pilot):
        await pilot.press("ctrl+p", "escape")
        app.run_worker(look_for_the_list())
        await settle(pilot)
        await pilot.press("question_mark")
        assert has(app, "leave: detach or stop")


async def test_ctrl_l_and_the_footer_do_no_harm() -> None:
    async with running(facts(20)) as (app, pilot):
        await pilot.press("ctrl+l")
        await pilot.click("#footer", offset=(3, 0))
        await settle(pilot)
        assert has(app, "64 → 72")
