"""A chart as files: the picture as SVG, and its points as CSV."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import escape

from batchtui.text import clean
from batchtui.tui.axes import words
from batchtui.tui.picture import Picture
from batchtui.tui.view import Points
from batchtui.tui.widgets.scale import Scale, tick_text

_WIDTH, _HEIGHT = 960, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 120, 40, 40
_COLOURS = ("#0072b2", "#cc79a7", "#009e73", "#d55e00")  # Okabe and Ito


def export(picture: Picture, name: str, folder: Path | None = None) -> str:
    """Write `name`.svg and `name`.csv, replacing nothing; say in a line what came of it."""
    folder = folder or Path.cwd()
    stem = name = clean(name, 60).replace(os.sep, "_")
    number = 1
    try:
        while any((folder / f"{stem}{ending}").exists() for ending in (".svg", ".csv")):
            number += 1
            stem = f"{name}-{number}"
        for ending, text in ((".svg", to_svg(picture)), (".csv", to_csv(picture))):
            with open(folder / f"{stem}{ending}", "x", encoding="utf-8", newline="") as file:
                file.write(text)
    except (OSError, ValueError) as error:  # ValueError: no name of a file
        return clean(f"not written to {folder}: {getattr(error, 'strerror', None) or error}")
    return clean(f"{stem}.svg and .csv written to {folder}")


def to_csv(picture: Picture) -> str:
    """Return the points: a column each, nothing where a value is missing."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([name for name, _ in picture.columns])
    for row in zip(*(values for _, values in picture.columns), strict=True):
        writer.writerow(["" if value is None else repr(value) for value in row])
    return text.getvalue()


def to_svg(picture: Picture) -> str:
    """Return a picture of the curves, each with the range of what its points stand for."""
    x_values = [x for _, points in picture.curves for x in points.x]
    first, last = (min(x_values), max(x_values)) if x_values else (0.0, 1.0)
    scale = _scale(picture)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="24" font-weight="bold">{escape(clean(picture.title))}</text>',
    ]
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    for value in scale.ticks(5):
        y = _y(scale, value)
        parts.append(
            f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="#dddddd"/>'
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick_text(value)}</text>'
        )
    for mark in picture.marks:
        x = _LEFT + (mark.x - first) / ((last - first) or 1.0) * (right - _LEFT)
        if _LEFT <= x <= right:
            parts.append(
                f'<path d="M{x:.1f} {_TOP}V{bottom}" stroke="#e69f00" stroke-dasharray="4 4"/>'
                f'<text x="{x + 4:.1f}" y="{_TOP + 10}" fill="#a85f00">{escape(mark.label)}</text>'
            )
    for name, value in picture.references:
        y = _y(scale, value)
        parts.append(
            f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="#c23a00" stroke-dasharray="6 3"/>'
            f'<text x="{right + 8}" y="{y + 4:.1f}" fill="#c23a00">{escape(name)}</text>'
        )
    ends = ((first, _LEFT, "start"), (last, right, "end"))
    for value, at, anchor in ends:
        text = escape(words(value, picture.axis))
        parts.append(f'<text x="{at}" y="{bottom + 22}" text-anchor="{anchor}">{text}</text>')
    for (name, points), colour in zip(picture.curves, _COLOURS, strict=False):
        parts += _curve(points, colour, scale, first, last)
        ending = next((value for value in reversed(points.mean) if value is not None), None)
        if ending is not None:
            y = _y(scale, ending)
            label = escape(clean(name))
            parts.append(f'<text x="{right + 8}" y="{y + 4:.1f}" fill="{colour}">{label}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _scale(picture: Picture) -> Scale:
    references = [value for _, value in picture.references]
    values = [
        value
        for _, points in picture.curves
        for value in (*points.low, *points.high, *points.mean, *references)
        if value is not None and math.isfinite(value) and (value > 0 or not picture.log)
    ]
    scale = Scale()
    if values:
        scale.fit(min(values), max(values), picture.log)
    return scale


def _curve(points: Points, colour: str, scale: Scale, first: float, last: float) -> list[str]:
    """Return a band and a line for each stretch without a gap."""
    width = (_WIDTH - _RIGHT - _LEFT) / ((last - first) or 1.0)
    drawn = []
    rows = list(zip(*points, strict=True))
    for known, stretch in groupby(rows, key=lambda row: row[3] is not None):
        if not known:
            continue
        ends = [(_LEFT + (x - first) * width, low, high, mean) for x, low, high, mean in stretch]
        above = _path([(x, high if high is not None else mean) for x, _, high, mean in ends], scale)
        below = _path([(x, low if low is not None else mean) for x, low, _, mean in ends], scale)
        back = " ".join(reversed(below.split()))
        drawn.append(f'<polygon points="{above} {back}" fill="{colour}" fill-opacity="0.2"/>')
        line = _path([(x, mean) for x, _, _, mean in ends], scale)
        drawn.append(
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        )
    return drawn


def _path(points: Sequence[tuple[float, float | None]], scale: Scale) -> str:
    return " ".join(f"{x:.1f},{_y(scale, y):.1f}" for x, y in points if y is not None)


def _y(scale: Scale, value: float) -> float:
    share = min(1.0, max(0.0, scale.place(value)))
    return _TOP + (1 - share) * (_HEIGHT - _BOTTOM - _TOP)
