"""What the advisor tells of the batch size now and of the next one, a line each."""

from __future__ import annotations

from batchtui import units
from batchtui.advise.choice import steps_per_epoch
from batchtui.advise.noise import batch_mean_deviation
from batchtui.tui.outlook import Outlook
from batchtui.tui.view import BatchView

# (label, measured now, what is forecast: as many of its parts as there is room for)
Line = tuple[str, str, list[str]]


def advice_lines(batch: BatchView, chosen: int | None, outlook: Outlook | None) -> list[Line]:
    """Return the lines, what matters most first."""
    lines = [_peak(batch, chosen, outlook), _room(batch, chosen, outlook)]
    if batch.variance is None:
        reason = (batch.variance_reason or "").removeprefix("not enough data: ")
        lines.append(("loss noise", f"{units.MISSING} ({reason})", []))
    else:
        now, then = (
            units.number(batch_mean_deviation(batch.variance, size, batch.train_samples), 2)
            for size in (batch.size, chosen)
        )
        lines.append(("loss noise", f"± {now}", _arrow(then, chosen)))
    now = units.rate(batch.samples_per_s).removesuffix(" samples/s")
    lines.append(("samples/s", now, _arrow(units.MISSING, chosen)))
    each = batch.global_size
    if each and batch.size and batch.train_samples:
        larger = each // batch.size * chosen if chosen is not None else None
        then = units.count(steps_per_epoch(batch.train_samples, larger))
        now = units.count(steps_per_epoch(batch.train_samples, each))
        lines.append(("steps/epoch", now, _arrow(then, chosen)))
    if outlook is not None and outlook.largest is not None:
        # Where the room is short: what one could go to, before how it would be there.
        at = len(lines) if chosen is not None else 2
        lines.insert(at, ("largest safe", units.count(outlook.largest), [" forecast"]))
    return lines


def _peak(batch: BatchView, chosen: int | None, outlook: Outlook | None) -> Line:
    forecast = outlook and (outlook.now if chosen is None else outlook.next)
    if forecast is None:
        return "peak memory", units.gib(batch.peak), _arrow(units.MISSING, chosen)
    interval = f"  {units.gib(forecast.low_bytes)} – {units.gib(forecast.high_bytes)}"
    now, peak = units.gib(batch.peak), units.gib(forecast.peak_bytes)
    if chosen is not None:
        return "peak memory", now, [f" → {peak}", interval]
    same = " GiB" if now.endswith(" GiB") else ""  # the unit once is enough
    return "peak memory", now, [f" forecast {peak.removesuffix(same)}", interval]


def _room(batch: BatchView, chosen: int | None, outlook: Outlook | None) -> Line:
    forecast = outlook and outlook.next
    left = outlook.room(forecast, batch.limit, batch.others) if outlook and forecast else None
    then = units.MISSING if left is None else units.gib(left) if left > 0 else "none"
    return "headroom", units.gib(batch.headroom), _arrow(then, chosen)


def _arrow(then: str, chosen: int | None) -> list[str]:
    return [] if chosen is None else [f" → {then}"]
