from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from batchtui.tui.view import Mark, Points, Window
from batchtui.tui.widgets.braille import BLANK, Raster, reduce_columns, smooth
from batchtui.tui.widgets.canvas import Canvas
from batchtui.tui.widgets.chart import Box, Chart, Curve, Reference, draw_chart, spread
from batchtui.tui.widgets.scale import Scale, nice_step, tick_text

finite = st.floats(min_value=-1e6, max_value=1e6, allow_nan=False)


def points(x: list[float], values: list[float | None]) -> Points:
    return Points(tuple(x), tuple(values), tuple(values), tuple(values))


def dots(raster: Raster) -> set[tuple[int, int]]:
    """Return (column, row) of all dots."""
    bits = ((0x01, 0, 0), (0x02, 0, 1), (0x04, 0, 2), (0x40, 0, 3),
            (0x08, 1, 0), (0x10, 1, 1), (0x20, 1, 2), (0x80, 1, 3))  # fmt: skip
    return {
        (2 * x + dx, 4 * y + dy)
        for first, y, characters, _ in raster.runs()
        for x, character in enumerate(characters, first)
        for bit, dx, dy in bits
        if (ord(character) - BLANK) & bit
    }


@given(st.integers(0, 39), st.integers(0, 31), st.integers(0, 31))
def test_a_bar_sets_exactly_its_dots(column: int, first: int, last: int) -> None:
    raster = Raster(20, 8, 1)
    raster.bar(0, column, first, last)
    low, high = min(first, last), max(first, last)
    assert dots(raster) == {(column, row) for row in range(low, high + 1)}


def test_bars_outside_are_cut() -> None:
    raster = Raster(2, 2, 1)
    raster.bar(0, -1, 0, 3)
    raster.bar(0, 4, 0, 3)
    raster.bar(0, 0, -5, 50)
    assert dots(raster) == {(0, row) for row in range(8)}


def test_the_topmost_layer_gives_the_look_and_no_dot_is_lost() -> None:
    raster = Raster(1, 1, 2)
    raster.bar(1, 0, 0, 3)
    raster.bar(0, 1, 2, 2)
    ((_, _, character, layer),) = raster.runs()
    assert layer == 0
    assert dots(raster) == {(0, 0), (0, 1), (0, 2), (0, 3), (1, 2)}
    assert ord(character) > BLANK


@given(
    st.lists(st.tuples(st.floats(0, 100), finite), min_size=1, max_size=300),
    st.integers(1, 120),
)
def test_every_spike_survives_the_reduction(raw: list[tuple[float, float]], width: int) -> None:
    raw.sort()
    x, values = [a for a, _ in raw], [b for _, b in raw]
    columns = reduce_columns(points(x, list(values)), 0.0, 100.0, width)
    for moment, value in raw:
        column = min(width - 1, int(moment * (width / 100.0)))
        low, high = columns.low[column], columns.high[column]
        assert low is not None
        assert high is not None
        assert low <= value <= high
    assert {v for v in (*columns.low, *columns.high) if v is not None} <= set(values)


@given(st.lists(finite, min_size=1, max_size=200), st.integers(8, 60), st.integers(2, 12))
def test_the_chart_draws_the_extremes_of_every_column(
    values: list[float], width: int, height: int
) -> None:
    """Whatever the curve, the dots of each column's extremes are on the canvas, or its line is."""
    x = [float(index) for index in range(len(values))]
    window = Window(0.0, max(1.0, x[-1]))
    canvas = Canvas(width + 6, height + 1)
    scale = Scale()
    curve = Curve(points(x, list(values)), "pale", "deep")
    chart = Chart((curve,), window, lambda value: f"{value:.0f}", label_width=0)
    draw_chart(canvas, Box(0, 0, width + 6, height + 1), chart, scale)
    columns = reduce_columns(curve.points, window.start, window.end, 2 * width)
    rows = ["".join(text for text, _ in canvas.runs(y)) for y in range(canvas.height)]
    for column, (low, high) in enumerate(zip(columns.low, columns.high, strict=True)):
        for value in (low, high):
            if value is None:
                continue
            row = round((1 - scale.place(value)) * (4 * height - 1))
            cell = ord(rows[row // 4][6 + column // 2]) - BLANK
            bit = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))[row % 4][column % 2]
            assert 0 < cell < 256
            # Where the line passes, it alone is drawn.
            assert cell & bit or canvas.look(6 + column // 2, row // 4) == "pale"


def test_gaps_stay_gaps_and_near_points_are_joined() -> None:
    holed = points([0, 1, 2, 3, 4], [1.0, 1.0, None, 1.0, 1.0])
    columns = reduce_columns(holed, 0, 5, 50)
    assert columns.line[5] == 1.0  # between 0 and 1
    assert columns.line[25] is None  # where the value is missing
    assert columns.low[5] is None  # the line alone bridges
    far = points([0, 1, 2, 3, 60, 61], [1.0] * 6)
    assert reduce_columns(far, 0, 100, 100).line[30] is None


def test_smoothing_keeps_gaps_and_drops_single_spikes() -> None:
    assert smooth([1, 1, 9, 1, 1, None, None, 2], 2) == [1, 1, 1, 1, 1, None, None, 2]


@given(finite, finite)
def test_a_scale_shows_what_it_was_fitted_to(a: float, b: float) -> None:
    scale = Scale()
    low, high = min(a, b), max(a, b)
    scale.fit(low, high)
    assert -1e-6 <= scale.place(low) <= scale.place(high) <= 1 + 1e-6
    assert all(-1e-6 <= scale.place(tick) <= 1 + 1e-6 for tick in scale.ticks(4))


def test_a_scale_has_hysteresis() -> None:
    scale = Scale()
    scale.fit(0.0, 9.0)
    before = (scale.low, scale.high)
    scale.fit(1.0, 8.0)
    assert (scale.low, scale.high) == before
    scale.fit(1.0, 2.0)
    assert (scale.low, scale.high) != before


def test_a_log_scale_has_decades() -> None:
    scale = Scale()
    scale.fit(0.001, 90.0, log=True)
    assert scale.log
    assert [round(math.log10(tick), 6) for tick in scale.ticks(4)] == [-2.0, 0.0, 2.0]
    scale.fit(-1.0, 1.0, log=True)
    assert not scale.log


def test_ticks_are_short() -> None:
    values = (0.0, 1e-4, 0.01, 0.5, 2.5, 25.0, 100.0, 2500.0, 40_000.0, -1e-5, -250.0)
    assert [tick_text(value) for value in values] == [
        "0", "1e-4", "0.01", "0.5", "2.5", "25", "100", "2500", "40.0k", "-1e-5", "-250"
    ]  # fmt: skip


def test_nice_steps() -> None:
    assert [nice_step(v) for v in (0.03, 1.0, 2.1, 3.0, 7.0)] == [0.05, 1.0, 2.5, 5.0, 10.0]
    assert nice_step(0.0) == 1.0


@given(st.lists(st.integers(0, 9), max_size=5))
def test_labels_are_spread_without_collision(rows: list[int]) -> None:
    placed = spread(sorted(rows), 10)
    assert len(set(placed)) == len(placed)
    assert all(0 <= row < 10 for row in placed)


def test_a_ceiling_marks_what_is_above() -> None:
    canvas = Canvas(40, 8)
    curve = Curve(points([0, 1, 2, 3], [1.0, 1.0, 50.0, 1.0]), "pale", "deep")
    chart = Chart((curve,), Window(0, 4), str, ceiling=3.0, references=(Reference(2, "p", "red"),))
    draw_chart(canvas, Box(0, 0, 40, 8), chart, Scale())
    assert any("▲" in text for y in range(8) for text, _ in canvas.runs(y))


def drawn(canvas: Canvas) -> list[str]:
    return ["".join(text for text, _ in canvas.runs(y)) for y in range(canvas.height)]


def test_quantiles_are_drawn_over_the_data() -> None:
    canvas = Canvas(46, 9)
    curve = Curve(points([float(x) for x in range(80)], [1.0, 3.0] * 40), "pale", "deep")
    chart = Chart((curve,), Window(0, 80), str, references=(Reference(2.5, "p95", "orange"),))
    draw_chart(canvas, Box(0, 0, 46, 9), chart, Scale())
    plot = [canvas.look(x, y) for y in range(8) for x in range(6, 35)]
    assert plot.count("orange") >= 14  # every other cell of a row full of data


def test_a_line_is_one_dot_thick_over_what_lies_around_it() -> None:
    raster = Raster(1, 1, 2, range(1))
    raster.bar(1, 0, 0, 3)
    raster.bar(0, 0, 2, 2)
    assert dots(raster) == {(0, 2)}


def test_restarts_and_cursor_stand_upright() -> None:
    canvas = Canvas(46, 9)
    curve = Curve(points([0, 99], [1.0, 2.0]), "pale", "deep")
    marks = (Mark(50.0, "128"), Mark(200.0, "beyond"))
    chart = Chart((curve,), Window(0, 100), str, label_width=0, marks=marks, cursor=25.0)
    draw_chart(canvas, Box(0, 0, 46, 9), chart, Scale())
    shown = drawn(canvas)
    assert shown[0][26:30] == "┊128"
    assert [row[16] for row in shown[:8]] == ["│"] * 8
    assert shown[8][16] == "▲"
    assert "beyond" not in "".join(shown)


def test_a_floor_cuts_the_decades_below_and_says_so() -> None:
    curve = Curve(points([0, 1, 2, 3], [1.0, 0.5, 1e-9, 0.1]), "pale", "deep")
    scale = Scale()
    canvas = Canvas(46, 9)
    chart = Chart((curve,), Window(0, 4), tick_text, floor=0.05, log=True)
    draw_chart(canvas, Box(0, 0, 46, 9), chart, scale)
    assert scale.log
    assert scale.low >= -2
    assert drawn(canvas)[7][5] == "▼"
