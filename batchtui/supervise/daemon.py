"""Starting a supervisor that stays when its starter goes.

The starter runs `python -m batchtui.supervise` in a session of its own; that process forks once
more, so that the supervisor leads no session and cannot get a terminal, and is nobody's child.
A pipe carries back one line: `ok`, or the reason why there is no supervisor.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import batchtui
from batchtui.errors import SuperviseError
from batchtui.runs.directory import RunDirectory
from batchtui.text import clean

READY_OPTION = "--ready-fd"
_OK = b"ok"
_MAX_ANSWER = 4096  # bytes


def launch(
    run: RunDirectory, command: Sequence[str] | None = None, *, timeout: float = 30.0
) -> None:
    """Start a detached supervisor for a run that has its launch.json; return when it is up.

    Up means: the run is locked, its worker is started, requests are answered.

    Args:
        run: what to supervise.
        command: what to run instead of the configured worker.
        timeout: seconds.

    Raises:
        SuperviseError: it could not start, with its own reason.
    """
    reader, writer = os.pipe()
    try:
        try:
            starter = _start(run, command, writer)
        finally:
            os.close(writer)
        answer = _answer(reader, timeout)
    finally:
        os.close(reader)
    if answer is None:
        # Its group is still the starter's: whatever came of it must not start a worker later.
        try:
            os.killpg(starter, signal.SIGTERM)
        except OSError:
            pass
        raise SuperviseError(
            f"{run.name}: the supervisor is not up after {timeout:.0f} s; see {run.supervisor_log}"
        )
    if answer != _OK:
        reason = clean(answer.decode("utf-8", "replace")) or "it died"
        hint = "" if answer else f"; see {run.supervisor_log}"
        raise SuperviseError(f"cannot start {run.name}: {reason}{hint}")


def detach() -> None:
    """Become nobody's child and lead no session; the caller's process ends here."""
    if os.fork():
        os._exit(0)


def ignore_terminal() -> None:
    """Outlive closed terminals, broken pipes and Ctrl+C."""
    for number in (signal.SIGHUP, signal.SIGPIPE, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)


class Ready:
    """The supervisor's end of the pipe; without one, nobody waits."""

    def __init__(self, descriptor: int | None) -> None:
        """Take the descriptor that `launch` passed on."""
        self._descriptor = descriptor

    def ok(self) -> None:
        """Tell that the supervisor is up."""
        self._send(_OK)

    def failed(self, reason: str) -> None:
        """Tell why there is none."""
        self._send(clean(reason).encode()[:_MAX_ANSWER])

    def _send(self, answer: bytes) -> None:
        if self._descriptor is None:
            return
        try:
            os.write(self._descriptor, answer + b"\n")
            os.close(self._descriptor)
        except OSError:
            pass  # the starter is gone; that is what a supervisor is for
        self._descriptor = None


def _start(run: RunDirectory, command: Sequence[str] | None, writer: int) -> int:
    """Run the process that becomes the supervisor's parent; return its pid, long dead."""
    words = [sys.executable, "-m", "batchtui.supervise", str(run.path.absolute())]
    words += [READY_OPTION, str(writer)]
    if command is not None:
        words += ["--", *command]
    try:
        with open(run.supervisor_log, "ab") as log:
            process = subprocess.Popen(
                words,
                # -m finds the package through the working folder, installed or not.
                cwd=Path(batchtui.__file__).parent.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[writer],
            )
    except OSError as error:
        raise SuperviseError(
            f"cannot start {run.name}: {error.filename or sys.executable}: {error.strerror}"
        ) from None
    process.wait()
    return process.pid


def _answer(reader: int, timeout: float) -> bytes | None:
    """Return the line that came through the pipe, empty if it was closed; None: too late."""
    deadline = time.monotonic() + timeout
    answer = b""
    while b"\n" not in answer and len(answer) < _MAX_ANSWER:
        readable, _, _ = select.select([reader], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            return None
        chunk = os.read(reader, _MAX_ANSWER)
        if not chunk:
            break
        answer += chunk
    return answer.partition(b"\n")[0]
