"""Show a run: on the screen, or as plain lines where there is no terminal for a screen.

What only a start, a stop or a death needs is imported there: the first frame waits for the rest.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from batchtui.records import RunSummary, Status
from batchtui.runs.directory import RunDirectory, find_run
from batchtui.runs.reader import RunReader
from batchtui.supervise.lock import is_held

if TYPE_CHECKING:
    from batchtui.advise.restart import Plan
    from batchtui.commands.outlook import RunProspects
    from batchtui.commands.start import Overrides
    from batchtui.forecast.prospect import Prospect

_EXIT_CODES = {Status.FAILED: 1, Status.LOST: 1, Status.OUT_OF_MEMORY: 3}
_SCREEN_REFRESH_S = 1.0
_PLAIN_REFRESH_S = 10.0


class Look(NamedTuple):
    """How a run is shown."""

    plain: bool = False
    refresh: float | None = None  # seconds
    theme: str | None = None
    mouse: bool = True


def watch(
    config_path: Path,
    root: Path,
    overrides: Overrides,
    *,
    resume: bool | None,
    look: Look,
) -> int:
    """`batchtui CONFIG`: start a run, or find the live one, and show it."""
    from batchtui.commands.start import asker, refused, start_or_find

    started = start_or_find(config_path, root, overrides, ask=asker(resume))
    if started.was_alive:
        print(f"batchtui: {started.run.name} is alive; attached to it", file=sys.stderr)
    return _show(started.run, root, look) or refused(started.run)


def attach(reference: str, root: Path, look: Look) -> int:
    """`batchtui attach`: show a run, alive or ended."""
    run = find_run(root, reference)
    if run.lock.exists() and not is_held(run):  # its supervisor died
        from batchtui.supervise.recover import recover_if_abandoned

        recover_if_abandoned(run)
    return _show(run, root, look)


def _show(run: RunDirectory, root: Path, look: Look) -> int:
    """Show a run until the user leaves or, in plain lines, until it ends."""
    if look.plain or not has_screen():
        from batchtui.commands.plain import follow

        status = follow(run, look.refresh or _PLAIN_REFRESH_S)
        return _EXIT_CODES.get(status, 0) if not refused_config(run) else 0
    with without_tls():
        from batchtui.tui.app import run_app

    code, run = run_app(
        run,
        Hands(root),
        refresh=look.refresh or _SCREEN_REFRESH_S,
        theme=look.theme,
        mouse=look.mouse,
    )
    if code == 128 + signal.SIGHUP:  # the terminal is gone, and with it whoever would read this
        return code
    if not refused_config(run):
        print(parting(RunReader(run).summary()))
    return code


def parting(summary: RunSummary) -> str:
    """Say how a run stands when its screen is left."""
    if summary.status == Status.LOST:
        return f"{summary.run} gives no sign of life.  what is known: batchtui show {summary.run}"
    if Status(summary.status).alive:
        again = f"show it: batchtui attach {summary.run}  stop it: batchtui stop {summary.run}"
        return f"{summary.run} goes on training.  {again}"
    return f"{summary.run} {summary.status}" + (f": {summary.cause}" if summary.cause else "")


class Hands:
    """What the screen can have done; each module is loaded when its hour has come."""

    def __init__(self, root: Path) -> None:
        """Take the folder of runs, whose past runs tell of the next."""
        self._root = root
        self._prospects: tuple[RunDirectory, RunProspects] | None = None

    def stop(self, run: RunDirectory, now: bool) -> str:
        """Ask a run's supervisor to stop it."""
        from batchtui.commands.stop import request_stop

        return request_stop(run, now=now)

    def prospect(self, run: RunDirectory) -> Prospect:
        """Return what forecasts for a run are made of."""
        if self._prospects is None or self._prospects[0] != run:
            from batchtui.commands.outlook import RunProspects

            self._prospects = (run, RunProspects(run, self._root))
        return self._prospects[1]()

    def restart(self, run: RunDirectory, plan: Plan) -> RunDirectory:
        """Restart a run; return the one that goes on."""
        from batchtui.commands.restart import request_restart

        return request_restart(run, plan)

    def successor(self, run: RunDirectory, name: object) -> RunDirectory | None:
        """Return the run that took over from one, once it is there."""
        from batchtui.supervise.successor import goes_on_as

        return goes_on_as(run, name)


@contextmanager
def without_tls() -> Iterator[None]:
    """Keep asyncio from loading OpenSSL: a twentieth of the start, and of no use to the screen.

    asyncio goes without it where Python was built so; what imports ssl later gets it.
    """
    absent = "ssl" not in sys.modules
    if absent:
        sys.modules["ssl"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if absent:
            del sys.modules["ssl"]


def refused_config(run: RunDirectory) -> bool:
    """Whether the worker refused the configuration, which `refused` reports by itself."""
    from batchtui.supervise.account import read_account

    error = read_account(run)
    return error is not None and error.type.endswith("ConfigError")


def has_screen() -> bool:
    """Whether standard input and output are a terminal that can move its cursor, or a browser."""
    if os.environ.get("TEXTUAL_DRIVER"):
        return True
    dumb = os.environ.get("TERM", "dumb") in ("dumb", "")
    return not dumb and sys.stdin.isatty() and sys.stdout.isatty()
