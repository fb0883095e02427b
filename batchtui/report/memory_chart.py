"""Memory against batch size, with the limit, as an SVG or PNG file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from batchtui.errors import BatchtuiError
from batchtui.forecast.rows import Forecast
from batchtui.units import GIB, MISSING

# Okabe and Ito's colours, which the colour-blind can tell apart.
_COLOURS = {
    "parameters": "#56B4E9",
    "gradients": "#0072B2",
    "optimizer": "#CC79A7",
    "activations": "#009E73",
    "inputs": "#F0E442",
    "other": "#BBBBBB",
}
_LIMIT = "#D55E00"


def draw(rows: Sequence[Forecast], where: str, path: Path) -> None:
    """Draw a stacked bar a batch size, its interval, and the limit.

    Raises:
        BatchtuiError: the file cannot be written.
    """
    # The object interface: pyplot would look for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    places = range(len(rows))
    bottom = [0.0] * len(rows)
    for part, colour in _COLOURS.items():
        sizes = [(row.breakdown[part] or 0) / GIB for row in rows]
        axes.bar(places, sizes, bottom=bottom, color=colour, label=part, width=0.7)
        bottom = [low + size for low, size in zip(bottom, sizes, strict=True)]
    peaks = [row.peak_bytes / GIB for row in rows]
    below = [max(0.0, row.peak_bytes - row.low_bytes) / GIB for row in rows]
    above = [max(0.0, row.high_bytes - row.peak_bytes) / GIB for row in rows]
    axes.errorbar(
        places, peaks, yerr=(below, above), fmt="_k", capsize=4, label="forecast, 90 % interval"
    )
    capacity = rows[0].capacity_bytes
    if capacity is not None:
        axes.axhline(capacity / GIB, color=_LIMIT, linestyle="--", label="limit")
    labels = [f"{row.batch_size}\n{row.verdict or MISSING}" for row in rows]
    axes.set_xticks(list(places), labels)
    axes.set(xlabel="batch size", ylabel="memory, GiB", title=f"Forecast for {where}")
    axes.legend(fontsize="small", frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    try:
        figure.savefig(path)
    except OSError as error:
        raise BatchtuiError(f"{path}: cannot be written: {error.strerror}") from None
