"""Requests to a supervisor: one JSON line there, one JSON line back, on a socket of its owner's.

`{"op": "status"}`, `{"op": "ping"}`, `{"op": "stop", "now": false}`, `{"op": "restart",
"batch_size": 128, "accumulate": 1, "lr": null}`; every answer has `ok`, and `error` where that is
false. A connection takes one request. What a client may do to the
supervisor is bounded: so many at once, so long a line, so many seconds; an answer that does
not fit into the socket's buffer is not waited for.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchtui.errors import SuperviseError
from batchtui.runs.directory import RunDirectory
from batchtui.supervise import lock

Handler = Callable[[dict[str, Any]], dict[str, Any]]

_MAX_CLIENTS = 16
_MAX_LINE = 4096  # bytes of a request
_MAX_REPLY = 1 << 16
_IDLE_S = 10.0
_MAX_PATH = 100  # bytes; the kernel takes 107


# ----------------------------------------------------------------------------- the client


def is_supervised(run: RunDirectory) -> bool:
    """Return whether a supervisor holds this run."""
    return lock.is_held(run)


def request(run: RunDirectory, message: dict[str, Any], timeout: float = 5.0) -> dict[str, Any]:
    """Send a request to a run's supervisor and return its answer.

    Raises:
        SuperviseError: nobody listens, or no answer came within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    try:
        with _connect(run.socket, deadline) as connection:
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            connection.sendall(json.dumps(message).encode() + b"\n")
            answer = json.loads(_read_line(connection, deadline))
    except TimeoutError:
        raise SuperviseError(f"{run.name}: no answer within {timeout:.0f} s") from None
    except (OSError, ValueError):
        raise SuperviseError(
            f"{run.name}: no supervisor listens; `batchtui show {run.name}` tells how it ended"
        ) from None
    if not isinstance(answer, dict):
        raise SuperviseError(f"{run.name}: the supervisor gave an answer that makes no sense")
    return answer


def _connect(path: Path, deadline: float) -> socket.socket:
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            with _short(path) as address:
                connection.connect(address)
            return connection
        except BlockingIOError:  # the queue of those who wait to be let in is full
            connection.close()
            if time.monotonic() > deadline:
                raise TimeoutError from None
            time.sleep(0.05)
        except BaseException:
            connection.close()
            raise


def _read_line(connection: socket.socket, deadline: float) -> bytes:
    answer = b""
    while b"\n" not in answer and len(answer) < _MAX_REPLY:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        connection.settimeout(remaining)
        chunk = connection.recv(4096)
        if not chunk:
            break
        answer += chunk
    return answer


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """Yield a name of the socket that fits into an address, however deep its folder lies."""
    if len(os.fsencode(path)) <= _MAX_PATH:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


# ----------------------------------------------------------------------------- the server


@dataclass(slots=True)
class _Client:
    since: float
    received: bytes = b""


class ControlServer:
    """Answers requests from within somebody else's select loop."""

    def __init__(self, path: Path, selector: selectors.BaseSelector, handler: Handler) -> None:
        """Listen; sockets are registered with what to call when they can be read.

        Raises:
            SuperviseError: no socket can be made there.
        """
        self._path = path
        self._selector = selector
        self._handler = handler
        self._clients: dict[socket.socket, _Client] = {}
        self._listener = _listen(path)
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def expire(self) -> None:
        """Hang up on those who have been silent for too long; call it now and then."""
        limit = time.monotonic() - _IDLE_S
        for connection in [c for c, client in self._clients.items() if client.since < limit]:
            self._close(connection)

    def close(self) -> None:
        """Stop listening and remove the socket."""
        for connection in list(self._clients):
            self._close(connection)
        self._selector.unregister(self._listener)
        self._listener.close()
        try:
            os.unlink(self._path)
        except OSError:
            pass

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        if len(self._clients) >= _MAX_CLIENTS:
            self._close(min(self._clients, key=lambda c: self._clients[c].since))
        self._clients[connection] = _Client(time.monotonic())
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._receive(connection))

    def _receive(self, connection: socket.socket) -> None:
        client = self._clients.get(connection)
        if client is None:
            return  # hung up on in this very turn of the loop
        try:
            chunk = connection.recv(_MAX_LINE + 1)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        client.received += chunk
        line, newline, _ = client.received.partition(b"\n")
        if newline and len(line) <= _MAX_LINE:
            self._reply(connection, self._answer(line))
        elif len(line) > _MAX_LINE:
            self._reply(connection, {"ok": False, "error": "a request is one short line"})
        elif chunk:
            return
        self._close(connection)

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            return {"ok": False, "error": "not JSON"}
        if not isinstance(message, dict):
            return {"ok": False, "error": "not a JSON object"}
        return self._handler(message)

    def _reply(self, connection: socket.socket, answer: dict[str, Any]) -> None:
        try:
            connection.send(json.dumps(answer).encode() + b"\n")
        except OSError:
            pass  # gone, or not reading

    def _close(self, connection: socket.socket) -> None:
        if self._clients.pop(connection, None) is not None:
            self._selector.unregister(connection)
            connection.close()


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The socket is born with the right mode: there is no moment in which others may connect.
    umask = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)
        with _short(path) as address:
            listener.bind(address)
        listener.listen(_MAX_CLIENTS)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise SuperviseError(
            f"{path}: cannot listen here: {error.strerror or error}; choose a folder on another "
            "file system with --runs"
        ) from None
    finally:
        os.umask(umask)
    return listener
