from __future__ import annotations

import asyncio
import dataclasses
import re

import pytest

from batchtui.tui.app import BatchtuiApp
from batchtui.tui.facts import Facts
from batchtui.tui.panes.header import HeaderPane
from tests.tui.fake import FakeSource, facts
from tests.tui.screen import EIGHT, GPU, SIZES, SLICES, STATES, has, lines, running, settle


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
                   "accuracy 97.2%", "best 97.2% in epoch 12", "headroom      7.8 GiB",
                   "loss noise    ± 0.0", "steps/epoch       150")  # fmt: skip


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
        ("training", ("4", "z", "left"), " · loss 0.517 · s² 0.218 · 114k samples  "),
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
        "lost": ("? lost", "no sign of life for 1m00s", "CPU · last seen", "no GPU · last seen"),
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


async def test_ascii_has_no_other_characters_and_names_no_other_keys() -> None:
    async with running(facts(600, sample=GPU), ascii_only=True) as (app, pilot):
        assert all(line.isascii() for line in lines(app))
        await pilot.press("4", "z")
        assert has(app, "<- -> cursor", "<- -> Cursor")  # < and > look closer


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


async def test_nothing_moves_when_a_number_gains_a_digit() -> None:
    def later(given: Facts, reads: int) -> Facts:
        summary = dataclasses.replace(given.summary, steps=6_000 + 999 * reads, epoch=3 + reads)
        return dataclasses.replace(given, summary=summary)

    source = FakeSource(facts(1000), later)
    async with running(source, refresh=0.1) as (app, pilot):
        places: dict[tuple[bool, bool], set[tuple[int, ...]]] = {}

        def both() -> bool:
            line = lines(app)[0]
            step, epoch = re.search(r"step ([\d,]+)", line), re.search(r"epoch (\d+)", line)
            assert step is not None
            assert epoch is not None
            digits = len(step[1]) > len("9,999"), len(epoch[1]) > 1
            there = tuple(line.index(word) for word in ("step", "batch 64", "━", "ETA"))
            places.setdefault(digits, set()).add(there)
            return len(places) > 2

        await settle(pilot, both)
    assert len({there for seen in places.values() for there in seen}) == 1


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_no_key_is_cut_at_the_right_edge(size: tuple[int, int]) -> None:
    async with running(facts(1000), size) as (app, pilot):
        for keys in ((), ("greater_than_sign",), ("escape", "4", "z")):
            await pilot.press(*keys)
            assert lines(app)[-1].rstrip().endswith("Quit")
