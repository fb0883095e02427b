"""The screen of a replay: what its header says, and each of its keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from batchtui.runs.directory import RunDirectory
from batchtui.runs.store import RunStore
from batchtui.tui.replay.app import ReplayApp
from batchtui.tui.replay.clock import ReplayClock, last_speed, next_speed, usual_speed
from batchtui.tui.replay.source import ReplaySource
from batchtui.tui.screens.help import HelpDialog
from batchtui.tui.themes import THEMES
from tests.tui.screen import SIZES, STATES, has, lines, replaying, running, settle
from tests.tui.test_replay_source import tape

SEED = 11  # of a run that trains on a GPU for two minutes, and is stopped


class Wall:
    """A clock on the wall that stands still until it is moved."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@asynccontextmanager
async def looking_back(
    run: RunDirectory, wall: Wall, size: tuple[int, int] = (120, 36), speed: float | None = None
) -> AsyncIterator[tuple[ReplayApp, Pilot[int]]]:
    source = ReplaySource(run, clock := ReplayClock(RUN.began, RUN.ended, speed, wall))
    app = ReplayApp(source, clock, refresh=0.1)
    async with app.run_test(size=size) as pilot:
        await settle(pilot, lambda: "REPLAY" in "\n".join(lines(app)))
        yield app, pilot


RUN = tape(SEED)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return RUN.record(tmp_path_factory.mktemp("runs"))


async def sees(app: ReplayApp, pilot: Pilot[int], *texts: str) -> None:
    def shown() -> bool:
        everything = "\n".join(lines(app))
        return all(text in everything for text in texts)

    try:
        await settle(pilot, shown)
    except AssertionError:
        has(app, *texts)


def test_speeds_go_up_and_down_in_round_steps() -> None:
    ladder = [1.0]
    while ladder[-1] < 1000:
        ladder.append(next_speed(ladder[-1]))
    assert ladder == [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
    assert [last_speed(speed) for speed in ladder[1:]] == pytest.approx(ladder[:-1])
    assert last_speed(0.1) == 0.1
    assert next_speed(3.0) == 5
    assert last_speed(3.0) == pytest.approx(2)
    for length in (1, 60, 61, 300, 3600, 86_400, 604_800):
        assert length / usual_speed(length) <= 60.0
        assert usual_speed(length) == 1 or length / usual_speed(length) > 20


async def test_the_moment_moves_on_and_stops_at_the_end(run: RunDirectory) -> None:
    wall = Wall()
    async with looking_back(run, wall, speed=10.0) as (app, pilot):
        await sees(app, pilot, "REPLAY", "10×", "starting")
        wall.seconds = 2.0
        await sees(app, pilot, "training")
        wall.seconds = 1e5
        await sees(app, pilot, "the end", "■ stopped", "Summary")
        await pilot.press("space")  # anew
        await sees(app, pilot, "starting", "10×")


async def test_space_holds_the_moment_and_goes_on(run: RunDirectory) -> None:
    wall = Wall()
    async with looking_back(run, wall) as (app, pilot):
        await pilot.press("space")
        await sees(app, pilot, "held")
        before = lines(app)[1]
        wall.seconds = 5.0
        await pilot.pause(0.3)
        assert lines(app)[1] == before
        await pilot.press("space")
        wall.seconds = 6.0
        await settle(pilot, lambda: lines(app)[1] != before)
        assert "held" not in lines(app)[1]


async def test_a_run_that_goes_on_is_caught_up_with(tmp_path: Path) -> None:
    wall, until = Wall(), RUN.began + 60
    run = RUN.record(tmp_path, until)  # its supervisor is as good as there
    source = ReplaySource(run, clock := ReplayClock(RUN.began, until, 10.0, wall))
    app = ReplayApp(source, clock, refresh=0.1)
    async with app.run_test(size=(120, 36)) as pilot:
        await sees(app, pilot, "REPLAY", "starting")
        wall.seconds = 10.0
        await sees(app, pilot, " now ", "it goes on: batchtui attach a-001")
        store = RunStore(run.database)
        for heartbeat in (until + 5, until + 6):
            store.set_meta(heartbeat=heartbeat)
            store.commit()
            await settle(pilot, lambda beat=heartbeat: clock.read().moment == beat)
        assert clock.read().ended
        await pilot.press("space")
        await sees(app, pilot, "held")
        store.set_meta(heartbeat=until + 20)
        store.close(final=True)
        await pilot.pause(0.3)
        assert clock.read().moment == until + 6


async def test_what_took_over_is_told_at_the_end(tmp_path: Path) -> None:
    restarted = tape(4)  # a restart was asked for
    run = restarted.record(tmp_path)
    source = ReplaySource(run, clock := ReplayClock(restarted.began, restarted.ended, 1.0, Wall()))
    app = ReplayApp(source, clock, refresh=0.1)
    async with app.run_test(size=(120, 36)) as pilot:
        await sees(app, pilot, "REPLAY")
        clock.go_to(restarted.ended - 0.01)
        await sees(app, pilot, "restarting")
        await pilot.press("right_curly_bracket")
        await sees(app, pilot, "the end", "goes on as a-002: batchtui replay a-002")


@pytest.mark.parametrize(
    ("key", "speed"),
    [("comma", "5×"), ("less_than_sign", "5×"), ("full_stop", "20×"), ("greater_than_sign", "20×")],
)
async def test_keys_change_the_speed(run: RunDirectory, key: str, speed: str) -> None:
    async with looking_back(run, Wall(), speed=10.0) as (app, pilot):
        await pilot.press(key)
        await sees(app, pilot, f"speed: {speed}")
        assert speed in lines(app)[1]


async def test_brackets_jump_and_braces_go_to_the_ends(run: RunDirectory) -> None:
    async with looking_back(run, Wall()) as (app, pilot):

        def moment() -> float:
            return app._clock.read().moment

        await pilot.press("right_square_bracket", "right_square_bracket")
        await sees(app, pilot, "training")
        assert moment() == pytest.approx(RUN.began + 0.1 * (RUN.ended - RUN.began))
        await pilot.press("left_square_bracket")
        assert moment() == pytest.approx(RUN.began + 0.05 * (RUN.ended - RUN.began))
        await pilot.press("right_curly_bracket")
        await sees(app, pilot, "the end")
        await pilot.press("left_curly_bracket")
        await sees(app, pilot, "starting")
        assert moment() == RUN.began


@pytest.mark.parametrize("key", ["plus", "minus", "b", "colon", "w", "enter"])
async def test_what_would_change_the_run_is_refused_in_a_line(run: RunDirectory, key: str) -> None:
    async with looking_back(run, Wall()) as (app, pilot):
        await pilot.press(key)
        await sees(app, pilot, "a replay looks back: it restarts and stops nothing")
        assert app.screen is app._main


async def test_keys_of_a_zoomed_chart_are_the_charts(run: RunDirectory) -> None:
    async with looking_back(run, Wall(), speed=10.0) as (app, pilot):
        await pilot.press("right_square_bracket", "right_square_bracket", "4", "z")
        await sees(app, pilot, "← → cursor")
        whole = next(line for line in lines(app) if "└" in line)
        await pilot.press("plus")
        await settle(pilot, lambda: whole not in lines(app))
        await pilot.press("full_stop")
        await sees(app, pilot, "20×")


async def test_letters_are_typed_into_the_filter(run: RunDirectory) -> None:
    async with looking_back(run, Wall()) as (app, pilot):
        await pilot.press("slash", *"b,.[w", "space", "enter")
        await sees(app, pilot, "no line has “b,.[w ”")


async def test_help_and_the_palette_tell_of_a_replay(run: RunDirectory) -> None:
    async with looking_back(run, Wall(), (120, 50)) as (app, pilot):
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpDialog)
        await sees(app, pilot, "back, ahead by a twentieth of the run", "a chart over steps")
        assert "restart at the chosen batch size" not in "\n".join(lines(app))
        await pilot.press("escape")
        names = {command.title for command in app.get_system_commands(app.screen)}
        assert {"Hold", "Slower", "Faster", "Back", "Ahead", "Start", "End", "Export"} <= names
        assert not {"Restart", "Pause", "Next batch size"} & names


@pytest.mark.parametrize("key", ["q", "d"])
async def test_it_is_left_at_once(run: RunDirectory, key: str) -> None:
    async with looking_back(run, Wall()) as (app, pilot):
        await pilot.press(key)
        await pilot.pause()
        assert app.return_code == 0


@pytest.mark.parametrize("theme", [*THEMES, "none"])
async def test_it_is_unmistakable_on_every_terminal(theme: str) -> None:
    plain = theme == "none"
    app = replaying(
        STATES["training"], colour=not plain, ascii_only=plain, theme=None if plain else theme
    )
    async with running(app, (80, 24)) as (_, pilot):
        for width, height in SIZES:
            await pilot.resize_terminal(width, height)
            await pilot.pause()
            shown = lines(app)
            assert len(shown) == height
            assert all(len(line) == width for line in shown)
            assert "training" in shown[0]
            assert shown[1].startswith("  REPLAY  ")
            assert ("200x" if plain else "200×") in shown[1]
            assert all(word in shown[-1] for word in ("Hold", "Speed", "Help", "Quit"))
            first, badge, *_ = app.screen._compositor.render_strips()[1]
            assert badge.text == " REPLAY "
            assert badge.style is not None
            assert first.style is not None
            assert badge.style.bold
            assert badge.style.reverse if plain else badge.style.bgcolor != first.style.bgcolor
            assert not plain or "".join(shown).isascii()
