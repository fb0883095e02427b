"""`batchtui replay`: a run as it was, moment after moment, on the screen or as lines."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING

from batchtui.commands.watch import has_screen, without_tls
from batchtui.errors import UsageError
from batchtui.runs.directory import RunDirectory, find_run
from batchtui.runs.moment import MomentReader
from batchtui.units import count

if TYPE_CHECKING:
    from batchtui.commands.watch import Look
    from batchtui.tui.replay.clock import ReplayClock

_REFRESH_S = 1.0
_EVENTS = 1000


def replay(
    reference: str, root: Path, look: Look, *, speed: float | None, from_step: int | None
) -> int:
    """Show a run as it was, from its start or from a step on.

    Raises:
        UsageError: it has no such step.
        BatchtuiError: no such run, or it cannot be read.
    """
    from batchtui.tui.replay.clock import ReplayClock

    run = find_run(root, reference)
    reader = MomentReader(run)
    with reader.open():
        start, end, _ = reader.extent()
        begin = start if from_step is None else _moment_of(reader, run, from_step)
    clock = ReplayClock(start, end, speed)
    clock.go_to(begin)
    refresh = look.refresh or _REFRESH_S
    if look.plain or not has_screen():
        _print(run, clock, refresh)
        return 0
    with without_tls():
        from batchtui.tui.replay.app import run_replay

    return run_replay(run, clock, refresh=refresh, theme=look.theme, mouse=look.mouse)


def _moment_of(reader: MomentReader, run: RunDirectory, step: int) -> float:
    """Return when a step had been trained."""
    moment, last = reader.step_at(step), reader.recent_steps(1)
    if not last:
        known = "none was recorded"
    elif moment is None:
        known = f"its last one is {count(last[0].step)}"
    elif (own := reader.lineage()[-1].step) > step:
        trained = [part.run for part in reader.lineage()[:-1] if part.step <= step]
        known = f"its first one is {count(own)}" + (f", {trained[-1]} has it" if trained else "")
    else:
        return moment
    raise UsageError(f"--from: {run.name} has no step {count(step)}: {known}")


def _print(run: RunDirectory, clock: ReplayClock, refresh: float) -> None:
    """Print what the screen would show, a line a look, without waiting for the next."""
    from batchtui.commands.plain import line, told
    from batchtui.runs.reader import RunReader

    gc.enable()  # off since the start of the program; there may be many lines
    scene = clock.read()
    moment, reader = scene.moment, MomentReader(run)
    seen = {number for number, event in reader.events(_EVENTS) if event.time < moment}
    while moment < scene.end:
        reader.turn_to(moment)
        with reader.open():
            for number, event in reader.events(_EVENTS):
                if number not in seen:
                    seen.add(number)
                    print(told(event))
            print(line(reader.summary(), reader.meta(), reader.latest_machine(), moment))
        moment += scene.speed * refresh
    now = RunReader(run)
    with now.open():
        for number, event in now.events(_EVENTS):
            if number not in seen:
                print(told(event))
        print(line(now.summary(), now.meta(), now.latest_machine(), scene.end))
