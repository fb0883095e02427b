from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from textual.css.query import NoMatches
from textual.pilot import Pilot

from batchtui.errors import SuperviseError
from batchtui.tui.app import BatchtuiApp
from batchtui.tui.facts import Facts
from batchtui.tui.panes.header import HeaderPane
from batchtui.tui.panes.log import LogPane
from batchtui.tui.screens.batch import BatchDialog
from batchtui.tui.screens.help import HelpDialog
from batchtui.tui.screens.leave import LeaveDialog
from batchtui.tui.widgets.pane import Pane
from tests.tui import fake
from tests.tui.fake import FakeSource, facts, gpu, machine

SIZES = [(60, 16), (80, 24), (120, 36), (200, 60)]
GPU = machine(gpus=(gpu(),))
EIGHT = machine(gpus=tuple(gpu(i, 50 + 3 * i, 80.0, name="NVIDIA A100") for i in range(8)))
TWO = machine(gpus=tuple(gpu(i, 11 + i, 24.0) for i in range(2)))
SLICES = machine(gpus=tuple(gpu(i, 2 + i, 10.0, name="A100 MIG 1g.10gb") for i in range(14)))
STATES: dict[str, Facts] = {
    "nothing": facts(0, status="starting", samples_per_s=None, sample=machine(0)),
    "starting": facts(0, status="starting", meta={"phase": "importing torch"}),
    "ten steps": facts(10),
    "training": facts(1800),
    "evaluating": facts(1800, meta={"phase": "evaluating"}),
    "one gpu": facts(1800, sample=GPU),
    "eight gpus": facts(1800, sample=EIGHT),
    "two gpus": facts(1800, sample=TWO),
    "slices": facts(1800, sample=SLICES),
    "two cores": facts(100, sample=machine(2)),
    "128 cores": facts(100, sample=machine(128)),
    "warned": facts(
        100,
        sample=machine(gpus=(gpu(used=23.5),)),
        meta={"memory_level": "critical", "memory_what": "GPU 0 memory 98% full"},
    ),
    "nan": facts(100, meta={"nonfinite_steps": 3}),
    "ten million steps": fake.lengthened(facts(1800), 10_000_000),
    "restarting": facts(100, status="stopping", meta={"successor": "digits-resnet18-002"}),
    "stopping": facts(100, status="stopping"),
    "finished": facts(1800, status="finished", ended=fake.NOW),
    "failed": facts(100, status="failed", ended=fake.NOW, cause="ValueError: no " + "x" * 300),
    "out of memory": facts(100, status="out of memory", ended=fake.NOW, cause="CUDA out of memory"),
    "lost": facts(100, status="lost", meta={"heartbeat": fake.NOW - 60}),
}


def lines(app: BatchtuiApp) -> list[str]:
    return [strip.text for strip in app.screen._compositor.render_strips()]


def has(app: BatchtuiApp, *texts: str) -> bool:
    shown = "\n".join(lines(app))
    missing = [text for text in texts if text not in shown]
    assert not missing, f"{missing} not in\n{shown}"
    return True


@asynccontextmanager
async def running(
    given: Facts | FakeSource, size: tuple[int, int] = (120, 36), **more: object
) -> AsyncIterator[tuple[BatchtuiApp, Pilot[int]]]:
    source = given if isinstance(given, FakeSource) else FakeSource(given)
    app = BatchtuiApp(source, more.pop("stop", fake.stop), **more)  # type: ignore[arg-type]
    async with app.run_test(size=size) as pilot:
        for _ in range(100):
            await pilot.pause(0.02)
            if any(pane.view is not None for pane in app.screen.query(Pane)):
                break
        await pilot.pause()
        yield app, pilot


async def settle(pilot: Pilot[int], condition: object = None) -> None:
    for _ in range(100):
        await pilot.pause(0.02)
        if condition is None or condition():  # type: ignore[operator]
            return
    raise AssertionError("did not happen")


# States ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", STATES)
async def test_every_state_fits_every_size(state: str) -> None:
    async with running(STATES[state], SIZES[0]) as (app, pilot):
        for size in SIZES:
            await pilot.resize_terminal(*size)
            await pilot.pause()
            shown = lines(app)
            assert len(shown) == size[1]
            assert all(len(line) == size[0] for line in shown)
            ended = not app.query_one(HeaderPane).view.status.alive  # type: ignore[union-attr]
            last = "Summary" if ended else "Advisor"
            assert has(app, "CPU", "Step time", "Loss and variance", "Log", last, "Quit")
            # Nothing is cut at the lower edge: the footer is the last line.
            assert shown[-1].strip().startswith("+")


async def test_a_training_run_is_told_at_one_look() -> None:
    async with running(facts(1800)) as (app, _):
        assert has(app, "digits-resnet18-001", "● training", "epoch 13/90", "step 1,800",
                   "batch 64", "13%", "ETA", "CPU · 16 cores", "load 9.84", "io-wait 3%",
                   "worker 6.2 cores", "Memory · no GPU", "no NVIDIA driver", "7.4 GiB used",
                   "limit 15.2 GiB", "cgroup /user.slice", "p50 139", "p95 167", " now",
                   "460 samples/s", "fwd 31%", "bwd 52%", "loss 0.4", "s²   0.1", "V 0.00", "R ",
                   "accuracy 97.2%", "best 97.2% in epoch 12", "headroom     7.8 GiB",
                   "loss noise   ± 0.0", "steps/epoch  150")  # fmt: skip


async def test_one_gpu() -> None:
    async with running(facts(600, sample=GPU)) as (app, _):
        assert has(app, "GPU memory · NVIDIA GeForce RTX 4090", "17.8 GiB used", "of 24.0 GiB",
                   "allocated", "6.1 GiB", "peak", "13.9 GiB", "reserved", "15.1 GiB", "others",
                   "2.3 GiB", "limit 22.8 GiB", "compute 91% · 62°C · 313 of 450 W")  # fmt: skip


async def test_eight_gpus_have_a_row_each() -> None:
    async with running(facts(600, sample=EIGHT)) as (app, _):
        assert has(app, "8 × NVIDIA A100", "memory", "compute", "power", "temp", "71.0 GiB", "62°C")


async def test_more_gpus_than_rows_say_how_many_are_left_out() -> None:
    async with running(facts(600, sample=SLICES), (60, 16)) as (app, pilot):
        assert has(app, "14 × A100 MIG 1g.10gb", "more")
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert has(app, "13    15.0  91%")
        assert "more" not in "\n".join(lines(app))


async def test_eight_gpus_are_all_there_at_the_least_size() -> None:
    async with running(facts(600, sample=EIGHT), (60, 16)) as (app, _):
        assert has(app, "0  50  91%", "7  71  91%")


async def test_a_warning_is_whole_at_the_least_size() -> None:
    async with running(STATES["warned"], (60, 16)) as (app, _):
        assert has(app, "!! GPU 0 memory 98% full")


async def test_at_the_least_size_nothing_is_cut_within_a_word() -> None:
    for state, keys, whole in (
        ("nan", (), "!! 3 steps with a NaN or… "),
        ("training", ("q",), "attach again at any…"),
        ("training", ("4", "z", "left"), " · loss 0.551  "),
        ("restarting", (), "◑ restarting  1/90"),
    ):
        async with running(STATES[state], (60, 16)) as (app, pilot):
            await pilot.press(*keys)
            assert has(app, whole)


async def test_states_have_words_and_causes() -> None:
    for state, texts in {
        "starting": ("◌ starting", "▶ importing torch", "· first batch", "no loss yet"),
        "evaluating": ("● evaluating",),
        "finished": ("✓ finished", "took", "115,200 of 864,000 samples", "at the end", "136 last"),
        "failed": ("✗ failed", "ValueError: no xxx"),
        "out of memory": ("✗ out of memory", "CUDA out of memory"),
        "restarting": ("◑ restarting", "as digits-resnet18-002"),
        "ten million steps": ("step 10,000,000", "80%", "└step 1─", "10,000,001"),
        "lost": ("? lost", "no sign of life for 1m00s"),
        "ten steps": ("not enough data: 10 of 32 steps", "no evaluation yet"),
        "nan": ("!!", "3 steps with a NaN or inf loss"),
    }.items():
        async with running(STATES[state]) as (app, _):
            assert has(app, *texts)


async def test_too_small_says_so() -> None:
    for size in ((59, 16), (60, 15), (20, 5)):
        async with running(facts(10), size) as (app, _):
            assert has(app, "too small: 60x16")


async def test_a_resize_lays_everything_out_anew() -> None:
    async with running(facts(100)) as (app, pilot):
        for size in ((60, 16), (50, 10), (200, 60), (80, 24)):
            await pilot.resize_terminal(*size)
            await settle(pilot)
            assert all(len(line) == size[0] for line in lines(app))
        assert has(app, "Advisor")


async def test_ascii_has_no_other_characters() -> None:
    async with running(facts(600, sample=GPU), ascii_only=True) as (app, _):
        assert all(line.isascii() for line in lines(app))


async def test_without_colours_no_cell_has_one() -> None:
    async with running(facts(600, sample=GPU), colour=False) as (app, pilot):
        for key in ("", "q", "escape", "?", "escape", "slash", "x"):
            if key:
                await pilot.press(key)
                await settle(pilot)
            for strip in app.screen._compositor.render_strips():
                for segment in strip:
                    style = segment.style
                    assert style is None or (style.color is None and style.bgcolor is None)


# Memory warning -------------------------------------------------------------------------------


async def test_a_warning_rings_once_when_it_rises(monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[None] = []
    monkeypatch.setattr(BatchtuiApp, "bell", lambda self: rung.append(None))
    levels = [None, "warning", "warning", "critical", "critical", "warning", None, "warning"]

    def change(given: Facts, reads: int) -> Facts:
        level = levels[min(reads, len(levels)) - 1]
        what = {"memory_level": level, "memory_what": "host memory 91% full"}
        return dataclasses.replace(given, meta={**given.meta, **what})

    source = FakeSource(facts(20), change)
    async with running(source, refresh=0.1) as (app, pilot):
        await settle(pilot, lambda: source.reads >= len(levels) + 1)
        await settle(pilot)
        assert has(app, "▲ host memory 91% full", "▲ Memory")
    assert len(rung) == 3


# Keys -----------------------------------------------------------------------------------------


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


async def test_q_leaves_an_ended_run_at_once() -> None:
    async with running(STATES["finished"]) as (app, pilot):
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
        assert has(app, "64 → 128", "→ forecast n/a at batch 128", "peak memory  4.4 GiB → n/a")
        await pilot.press("greater_than_sign")
        assert has(app, "64 → 256", "steps/epoch  150 → 38")
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


async def test_a_failed_read_is_told_and_the_numbers_stay() -> None:
    def change(given: Facts, reads: int) -> Facts:
        if reads > 1:
            raise OSError("disk on fire")
        return given

    async with running(FakeSource(facts(600), change), refresh=0.1) as (app, pilot):
        await settle(pilot, lambda: "disk on fire" in lines(app)[0])
        assert has(app, "460 samples/s")


async def test_reads_stop_with_the_screen() -> None:
    source = FakeSource(facts(5))
    async with running(source, refresh=0.1) as (_, pilot):
        await pilot.press("d")
    reads = source.reads
    await asyncio.sleep(0.3)
    assert source.reads <= reads + 1


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (200, 60)], ids=str)
async def test_the_header_tells_step_and_batch_size_at_every_width(size: tuple[int, int]) -> None:
    async with running(facts(1000), size) as (app, _):
        line = lines(app)[0]
    assert "step 1,000" in line or "step 1.0k" in line
    assert "batch" in line
    assert "ETA" in line
