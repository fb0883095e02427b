"""Stop a run at a checkpoint."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from batchtui.errors import SuperviseError
from batchtui.records import Status
from batchtui.runs.directory import RunDirectory, find_run
from batchtui.runs.reader import RunReader
from batchtui.supervise.control import is_supervised, request
from batchtui.supervise.recover import recover_if_abandoned

_POLL_S = 0.1
# The stop ladder ends with a kill well before this.
_PATIENCE_S = 180.0


def stop(reference: str, root: Path, *, now: bool) -> int:
    """`batchtui stop`: ask the supervisor, and wait until the run has ended."""
    run = find_run(root, reference)
    if not is_supervised(run):
        recover_if_abandoned(run)
        summary = RunReader(run).summary()
        print(f"{run.name} has ended already: {summary.status}")
        return 0
    request_stop(run, now=now)
    deadline = time.monotonic() + _PATIENCE_S
    try:
        while is_supervised(run):
            if time.monotonic() > deadline:
                raise SuperviseError(
                    f"{run.name} has not stopped in {_PATIENCE_S:.0f} s; "
                    f"`batchtui stop {run.name} --now` kills it"
                )
            time.sleep(_POLL_S)
    except KeyboardInterrupt:
        print(f"batchtui: {run.name} goes on stopping", file=sys.stderr)
        return 130
    summary = RunReader(run).summary()
    cause = f": {summary.cause}" if summary.cause else ""
    print(f"{run.name} {summary.status}{cause}")
    return 0 if summary.status in (Status.STOPPED, Status.FINISHED) or now else 1


def request_stop(run: RunDirectory, *, now: bool) -> str:
    """Ask a run's supervisor to stop it; return what it says, in words for the user."""
    reply = request(run, {"op": "stop", "now": now})
    if not reply.get("ok"):
        raise SuperviseError(str(reply.get("error") or "the supervisor refused"))
    return "killing the worker" if now else "writing a checkpoint, then stopping"
