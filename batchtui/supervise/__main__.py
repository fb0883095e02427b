"""`python -m batchtui.supervise RUN_DIRECTORY [--ready-fd N] [-- COMMAND…]`: be a supervisor.

With --ready-fd it detaches and answers there, see `daemon.launch`; without, it stays in the
foreground. A COMMAND takes the place of the configured worker.
"""

from __future__ import annotations

import os
import sys
import traceback
from functools import partial
from pathlib import Path

from batchtui.supervise.daemon import READY_OPTION, Ready, detach, ignore_terminal, launch


def main(words: list[str]) -> int:
    """Supervise one run to its end; return the exit code."""
    words, separator, command = _split(words)
    ready = Ready(None)
    if len(words) == 3 and words[1] == READY_OPTION:
        detach()
        ready = Ready(int(words[2]))
    elif len(words) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    ignore_terminal()
    # Imported by the process that stays, not by the one that only forks.
    from batchtui.errors import BatchtuiError
    from batchtui.runs.directory import RunDirectory
    from batchtui.supervise import worker
    from batchtui.supervise.supervisor import Supervisor

    path = Path(words[0]).absolute()
    os.chdir("/")  # keep no file system busy
    try:
        supervisor = Supervisor(
            RunDirectory(path),
            command=(lambda spec, config, run: command) if separator else worker.command,
            launch=partial(launch, command=command if separator else None),
        )
        supervisor.run(ready.ok)
    except BatchtuiError as error:
        print(error, file=sys.stderr)
        ready.failed(str(error))
        return error.exit_code
    except BaseException as error:
        traceback.print_exc()
        ready.failed(f"{type(error).__name__}: {error}")
        return 1
    return 0


def _split(words: list[str]) -> tuple[list[str], bool, list[str]]:
    """Split the arguments at `--`."""
    if "--" not in words:
        return words, False, []
    at = words.index("--")
    return words[:at], True, words[at + 1 :]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
