"""A worker's life, from its first record to its last.

No torch here: importing it takes seconds, and the screen shows that from the first moment on.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn

from batchtui.errors import BatchtuiError, ConfigError
from batchtui.records import End
from batchtui.train.failure import describe, write_error
from batchtui.train.journal import Journal
from batchtui.train.launch import Launched, Progress, Ranks, enter, read_launch
from batchtui.train.output import shield
from batchtui.train.stop import StopRequest

# A loader that is busy with a sample may hold up the end of the process for this long.
EXIT_SECONDS = 10.0


def main(run_directory: str) -> int:
    """Train what a run directory's launch.json asks for; return the exit code.

    0: finished or stopped; 2: the configuration cannot be trained; 1: anything else.
    """
    shield()
    directory = Path(run_directory).absolute()
    ranks = Ranks.from_environment()
    journal = Journal(directory / "journal", ranks.rank)
    progress = Progress()

    def leave(reason: str) -> NoReturn:
        """End now, without a checkpoint."""
        for temporary in (directory / "checkpoints").glob(".*.tmp"):
            temporary.unlink(missing_ok=True)
        _end(journal, progress, "stopped", f"{reason}; not checkpointed")
        os._exit(0)

    stop = StopRequest(leave)
    stop.install()
    stop.watch_parent()
    patience = EXIT_SECONDS
    try:
        spec, config = read_launch(directory)
        if spec.trial_steps:
            patience = 0.0  # nothing is kept of it, and taking an interpreter apart takes a second
        enter(spec)
        journal.phase("importing torch")
        work = _import_work()
        status = work(Launched(directory, spec, config, ranks, journal, stop, progress))
    except BaseException as error:
        return _fail(error, directory, ranks, journal, progress, patience)
    _end(journal, progress, status, stop.reason)
    _exit_within(patience, 0)
    return 0


def _import_work():  # type: ignore[no-untyped-def]
    try:
        import torch
    except ImportError as error:
        raise ConfigError(f"launch.python: {sys.executable} has no torch: {error}") from error
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 6):
        raise ConfigError(
            f"launch.python: {sys.executable} has torch {torch.__version__}; 2.6 or newer is needed"
        )
    from batchtui.train.work import work

    return work


def _fail(
    error: BaseException,
    directory: Path,
    ranks: Ranks,
    journal: Journal,
    progress: Progress,
    patience: float,
) -> int:
    account = describe(error, ranks.rank, progress.step, journal.current_phase)
    expected = isinstance(error, BatchtuiError)
    line = account.message if expected else f"{account.type}: {account.message}"
    # Every rank meets the same configuration; one of them says so.
    if ranks.rank == 0 or not isinstance(error, ConfigError):
        pointer = "" if expected else f" (traceback in {directory / 'error.json'})"
        print(f"{line}{pointer}", file=sys.stderr, flush=True)
    write_error(directory / "error.json", account)
    _end(journal, progress, "failed", line)
    code = error.exit_code if isinstance(error, BatchtuiError) else 1
    _exit_within(patience, code)
    return code


def _end(journal: Journal, progress: Progress, status: str, message: str | None) -> None:
    journal.flush()  # so that the count below is right
    journal.write(
        End(
            time=time.time(),
            status=status,
            step=progress.step,
            samples=progress.samples,
            message=message,
            dropped_records=journal.dropped,
        )
    )
    journal.close()


def _exit_within(seconds: float, code: int) -> None:
    """Be gone by then, whatever loaders, other threads or exit handlers are still at."""

    def end() -> None:
        time.sleep(seconds)
        os._exit(code)

    if not seconds:
        sys.stdout.flush()
        sys.stderr.flush()
        end()

    threading.Thread(target=end, name="exit", daemon=True).start()
