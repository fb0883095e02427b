"""A zoomed chart: the whole history, closer, along another axis, read by a cursor."""

from __future__ import annotations

import dataclasses
import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchtui import units
from batchtui.records import Step
from batchtui.runs.directory import RunDirectory
from batchtui.runs.series import Boundary
from batchtui.runs.store import RunStore
from batchtui.tui.app import BatchtuiApp
from batchtui.tui.axes import along, near_window, place, places_of, whole_window
from batchtui.tui.facts import Facts
from batchtui.tui.preferences import Preferences
from batchtui.tui.source import RunSource
from batchtui.tui.view import Course, Points
from batchtui.tui.widgets.chart_pane import ChartPane
from batchtui.tui.widgets.lens import Lens
from tests.tui import fake
from tests.tui.fake import NOW, FakeSource, facts
from tests.tui.screen import has, lines, running, settle

ALL = (1.0, 1800.0)
spans = st.tuples(st.floats(0, 1e7), st.floats(0, 1e7)).map(sorted).map(tuple)
moves = st.lists(
    st.tuples(st.sampled_from(["scale", "pan", "move"]), st.floats(-1e6, 1e6)), max_size=12
)


@given(moves)
def test_a_lens_never_leaves_the_run(made: list[tuple[str, float]]) -> None:
    lens = Lens()
    for name, amount in made:
        amount = 2 ** max(-30, min(30, amount)) if name == "scale" else amount
        getattr(lens, name)(amount, lens.span or ALL, ALL)
        first, last = lens.span or ALL
        assert ALL[0] <= first < last <= ALL[1] + 1e-6
        assert last - first >= min(7.999, ALL[1] - ALL[0])
        if lens.cursor is not None:
            assert ALL[0] <= lens.cursor <= ALL[1]


def test_the_cursor_stays_in_place_while_one_looks_closer() -> None:
    lens = Lens()
    lens.move(-900, ALL, ALL)
    assert lens.cursor == 900
    lens.scale(0.5, ALL, ALL)
    assert lens.span is not None
    assert lens.span[1] - lens.span[0] == pytest.approx(899.5)
    assert (900 - lens.span[0]) / 899.5 == pytest.approx((900 - 1) / 1799)


COURSE = Course(
    loss=fake.points([1.0, 2.0, 3.0, 4.0], [0.5, 0.4, None, 0.2]),
    samples=(64.0, 128.0, 192.0, None),
    time=(100.0, 101.0, 90.0, 110.0),  # the clock was set back
)


def test_axes_leave_out_what_has_no_place_and_never_run_backwards() -> None:
    assert along(COURSE.loss, COURSE, "step") is COURSE.loss
    assert along(COURSE.loss, COURSE, "samples").x == (64.0, 128.0, 192.0)
    assert along(COURSE.loss, COURSE, "seconds", 100.0).x == (0.0, 1.0, 1.0, 10.0)
    assert along(COURSE.loss, COURSE, "clock").mean == (0.5, 0.4, None, 0.2)


def test_a_step_between_two_points_has_a_place() -> None:
    steps = COURSE.loss.x
    assert place(1.5, steps, places_of(COURSE, "samples")) == 96.0
    assert place(9.0, steps, places_of(COURSE, "seconds", 100.0)) == 10.0
    assert place(1.0, (), []) is None


@given(st.sampled_from(["step", "samples", "seconds", "clock"]), st.data())
def test_windows_hold_what_they_show(axis: str, data: st.DataObject) -> None:
    first = data.draw(st.floats(0, 1e9))
    last = first + data.draw(st.floats(0, 1e9 if axis in ("step", "samples") else 300))
    for window in (near_window(axis, first, last), whole_window(axis, first, last, None, False)):
        assert window.start <= first + 1e-6 * abs(first)
        assert window.end >= last
        assert window.left
        assert window.right


def look_closer(given: Facts, source: FakeSource) -> Facts:
    if source.span is None:
        return dataclasses.replace(given, close_up=None)
    first, last = source.span
    near = given.near
    kept = [index for index, step in enumerate(near.loss.x) if first <= step <= last]

    def cut(curve: Points) -> Points:
        return Points(*(tuple(values[index] for index in kept) for values in curve))  # type: ignore[arg-type]

    close_up = near._replace(
        step_s=cut(near.step_s), loss=cut(near.loss), variance=cut(near.variance),
        samples=tuple(near.samples[index] for index in kept),
        time=tuple(near.time[index] for index in kept),
    )  # fmt: skip
    return dataclasses.replace(given, close_up=close_up)


async def test_the_cursor_says_the_steps_it_reads_and_what_was_stored_of_them(
    tmp_path: Path,
) -> None:
    run, chance = RunDirectory(tmp_path / "run-001"), random.Random(1)
    run.path.mkdir()
    losses = [3 / (1 + step / 200) + chance.uniform(0, 0.2) for step in range(1, 1501)]
    store = RunStore(run.database)
    store.set_meta(run=run.name, status="finished", steps=1500, samples=96_000)
    store.add_steps(
        [
            Step(time=NOW + step, step=step, samples=64 * step, epoch=1, batch=64, loss=loss)
            for step, loss in enumerate(losses, start=1)
        ]
    )
    store.commit()
    store.close(final=True)
    app = BatchtuiApp(RunSource(run), fake.stop)
    said = re.compile(r"steps? ([\d,]+)(?:–([\d,]+))? · loss ([\d.]+)(?: \(([\d.]+)…([\d.]+)\))? ")
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot, lambda: "1,500" in "\n".join(lines(app)))
        await pilot.press("4", "z", "left")
        read = []
        for key in ("end", "left", "shift+left", *["plus"] * 5, "shift+left", "shift+left"):
            await pilot.press(key)
            await settle(pilot)
            if (found := said.search("\n".join(lines(app)))) is not None:
                read.append(found.groups())
    assert {last is None for _, last, *_ in read} == {True, False}  # of one step, and of several
    for first, last, *values in read:
        of = losses[count(first) - 1 : count(last or first)]
        shown = [units.number(value) for value in (sum(of) / len(of), min(of), max(of))]
        assert values == (shown if shown[1] != shown[2] else [shown[0], None, None])


def count(text: str) -> int:
    return int(text.replace(",", ""))


async def test_zoomed_keys_move_cursor_and_window_and_not_the_batch_size() -> None:
    source = FakeSource(facts(1800))
    source._change = lambda given, reads: look_closer(given, source)
    async with running(source) as (app, pilot):
        await pilot.press("4", "left", "greater_than_sign")
        assert has(app, "64 → 128")  # not zoomed: the screen's own keys
        await pilot.press("escape", "z")
        assert has(app, "← → cursor · + − zoom")
        await pilot.press(*["shift+left"] * 6)
        await settle(pilot, lambda: " · loss 0." in "\n".join(lines(app)))
        assert has(app, "samples · 07:5", " · s² 0.")
        await pilot.press("plus")
        await settle(pilot, lambda: source.span is not None and app.screen.query_one("#loss"))
        first, last = source.span or (0, 0)
        assert 800 <= last - first <= 1000
        await pilot.press("up")
        first, last = source.span or (0, 0)
        assert 400 <= last - first <= 500
        await pilot.press("pageup")
        assert (source.span or (0, 0))[1] < last - 200
        await pilot.press("pagedown", "minus", "down")
        await pilot.press("home")
        assert source.span == (1, 1800)
        await pilot.press("end")
        assert source.span is None
        await pilot.press("plus", "z")
        assert source.span is None
        assert "64 → " not in "\n".join(lines(app))


@pytest.mark.parametrize(("pane", "words"), [
    ("4", ("step 1", "samples", "0s", ":")), ("3", ("07:5", "step ", "samples", "0s")),
])  # fmt: skip
async def test_x_takes_the_next_axis(pane: str, words: tuple[str, ...]) -> None:
    async with running(facts(1800)) as (app, pilot):
        await pilot.press(pane)
        for index, word in enumerate(words):
            chart = app.focused
            assert isinstance(chart, ChartPane)
            axis = [line for line in lines(app) if "└" in line or "╰" in line]
            assert any(word in line for line in axis), (index, axis)
            await pilot.press("x")


async def test_restarts_are_marked_on_every_axis() -> None:
    chain = [Boundary(1, "a-001", 64), Boundary(900, "a-002", 128)]
    async with running(dataclasses.replace(facts(1800), chain=chain)) as (app, pilot):
        await pilot.press("4")
        for _ in range(4):
            assert has(app, "┊")
            await pilot.press("x")
        assert has(app, "128")


async def test_mouse_reads_and_zooms() -> None:
    source = FakeSource(facts(1800))
    async with running(source) as (app, pilot):
        await pilot.press("3", "z")
        await pilot.click("#steps", offset=(40, 10))
        assert has(app, "step ", " ms")
        pane = app.screen.query_one("#steps", ChartPane)
        pane.action_scale(0.5)
        await settle(pilot, lambda: source.span is not None)
        span = source.span
        pane.action_scale(2.0)
        await settle(pilot, lambda: source.span != span)


async def test_a_held_view_can_be_looked_at_closely() -> None:
    source = FakeSource(facts(1800))
    source._change = lambda given, reads: look_closer(given, source)
    async with running(source, refresh=0.1) as (app, pilot):
        await pilot.press("4", "z", "space", "plus", "plus")
        pane = app.screen.query_one("#loss", ChartPane)
        await settle(pilot, lambda: pane.view is not None and pane.view.close_up is not None)
        assert has(app, "paused")


async def test_the_last_pane_zooms_and_back_though_its_size_stays() -> None:
    preferences = Preferences()
    preferences.hidden = frozenset({"cpu", "memory", "steps", "log", "advisor"})
    async with running(facts(200), preferences=preferences) as (app, pilot):
        await pilot.press("4", "z")
        assert has(app, "← → cursor")
        await pilot.press("z")
        assert "← → cursor" not in "\n".join(lines(app))
