"""What a search for the largest batch size came to, as JSON and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from batchtui import units
from batchtui.commands.room import Room
from batchtui.forecast.largest import Answer, Search, Seen

_CLEARLY = 1.05  # times more samples a second: less is what two steps differ by


class Speed(NamedTuple):
    """How fast a trial trained."""

    step_time_s: float
    samples_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The end of a search; `answer` None: not even one sample fits."""

    answer: Answer | None
    room: Room
    search: Search
    forecast: bool  # whether there was one
    earlier: int  # trials of searches before
    seen: Sequence[Seen]
    speeds: Mapping[int, Speed]
    trials: Sequence[Mapping[str, Any]]
    notes: Sequence[str]

    def to_dict(self) -> dict[str, Any]:
        """Return what `find --json` prints."""
        answer, room = self.answer, self.room
        peak = round(answer.peak) + room.context if answer else None
        speed = self.speeds.get(answer.batch_size) if answer else None
        return {
            "batch_size": answer.batch_size if answer else None,
            "limit_bytes": room.size,
            "peak_bytes": peak,
            "low_bytes": round(answer.low) + room.context if answer else None,
            "high_bytes": round(answer.high) + room.context if answer else None,
            "margin_bytes": room.size - peak if peak is not None else None,
            "step_time_s": speed.step_time_s if speed else None,
            "samples_per_s": speed.samples_per_s if speed else None,
            "confidence": self._confidence(),
            "trials": self.trials,
            "method": self._method(),
            "assumptions": self.notes,
        }

    def lines(self) -> list[tuple[str, str]]:
        """Return what there is to say of the answer, each under a short name."""
        assert self.answer is not None
        told, size = self.to_dict(), self.answer.batch_size
        peak, low, high, limit, margin = (
            units.fine(told[f"{name}_bytes"]) for name in ("peak", "low", "high", "limit", "margin")
        )
        lines = [("memory", f"{peak} ({low} – {high}) of {limit}, {margin} to spare")]
        if size in self.speeds:
            lines.append(("speed", self._speed(size)))
        lines += [("how sure", told["confidence"]), ("how", told["method"])]
        if size == self.search.highest:
            lines.append(("no more", "the data set has no more samples for a larger batch"))
        return [*lines, *(("assumed", note) for note in dict.fromkeys(self.notes))]

    def refusal(self) -> str:
        """Say that nothing fits, and how that is known."""
        bounds = self.search.bounds(1, self.seen)
        if bounds is not None and self.search.hopeless(self.seen):
            low, high = (units.fine(end + self.room.context) for end in bounds)
            size, why = 1, f"it would take {low} to {high}"
        else:
            smallest = min(self.seen, key=lambda each: each.batch_size)
            size, why = smallest.batch_size, "that trial took too much"
            if smallest.peak:
                took = units.fine(smallest.peak + self.room.context)
                why = f"it took {took}, too near for safety"
        return f"not even batch size {units.count(size)} fits into {self.room}: {why}"

    def _speed(self, size: int) -> str:
        """Tell the speed, and of a smaller size that was clearly faster."""
        here = self.speeds[size]
        words = f"{units.seconds(here.step_time_s)}/step, {units.rate(here.samples_per_s)}"
        best = max(
            (n for n in self.speeds if n <= size), key=lambda n: self.speeds[n].samples_per_s
        )
        if self.speeds[best].samples_per_s <= _CLEARLY * here.samples_per_s:
            return words
        faster = units.rate(self.speeds[best].samples_per_s)
        return f"{words}; batch {units.count(best)} was faster: {faster}"

    def _method(self) -> str:
        how = ["a forecast" if self.forecast else "no forecast: it could not be traced"]
        for count, what in ((self.earlier, "earlier trial"), (len(self.trials), "trial")):
            if count:
                how.append(f"{count} {what}{'s' if count > 1 else ''}")
        return ", ".join(how)

    def _confidence(self) -> str | None:
        """Say how sure the answer is."""
        answer = self.answer
        if answer is None:
            return None
        noise = f"peaks of equal runs differ by up to {units.percent(self.search.noise)}"
        if answer.tried:
            return f"measured at this size; {noise}"
        near = min(self.seen, key=lambda each: abs(each.batch_size - answer.batch_size))
        return f"reckoned from the trial of batch size {units.count(near.batch_size)}; {noise}"
