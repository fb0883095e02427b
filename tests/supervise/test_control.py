"""Requests by socket, from clients of every kind."""

from __future__ import annotations

import json
import os
import selectors
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchtui.errors import SuperviseError
from batchtui.runs.directory import RunDirectory
from batchtui.supervise import control
from batchtui.supervise.control import ControlServer, request


class Server:
    """A server in a thread, and the loop of a supervisor around it."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self.asked: list[dict[str, Any]] = []
        self.longest = 0.0  # seconds that one turn took
        self._selector = selectors.DefaultSelector()
        self._server = ControlServer(run.socket, self._selector, self._handle)
        self._going = True
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _handle(self, message: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(message)
        return {"ok": True, "large": "x" * int(message.get("size", 0))}

    def _serve(self) -> None:
        while self._going:
            ready = self._selector.select(0.02)
            began = time.monotonic()
            for key, _ in ready:
                key.data()
            self._server.expire()
            self.longest = max(self.longest, time.monotonic() - began)

    def close(self) -> None:
        self._going = False
        self._thread.join()
        self._server.close()

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)  # blocks while the queue is full
        client.connect(str(self.run.socket))
        client.settimeout(5)
        return client


@pytest.fixture
def server(run: RunDirectory) -> Iterator[Server]:
    server = Server(run)
    yield server
    server.close()
    assert not run.socket.exists()


def test_one_line_there_and_one_back(server: Server) -> None:
    assert request(server.run, {"op": "ping"})["ok"]
    assert server.asked == [{"op": "ping"}]
    assert stat.S_IMODE(os.stat(server.run.socket).st_mode) == 0o600


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"\n", "not JSON"),
        (b"{\n", "not JSON"),
        (b"\xff\xfe\n", "not JSON"),
        (b"[" * 4000 + b"\n", "not JSON"),
        (b"[1]\n", "not a JSON object"),
        (b"x" * 5000 + b"\n", "one short line"),
    ],
)
def test_garbage(server: Server, sent: bytes, answer: str) -> None:
    with server.connect() as client:
        client.sendall(sent)
        reply = json.loads(client.recv(1000))
    assert reply["ok"] is False
    assert answer in reply["error"]
    assert request(server.run, {"op": "ping"})["ok"]


def test_a_line_of_10_mb(server: Server) -> None:
    with server.connect() as client, pytest.raises(OSError, match=r"reset|Broken pipe"):
        client.sendall(b"x" * 10_000_000)
    assert request(server.run, {"op": "ping"})["ok"]
    assert server.longest < 0.5


def test_a_request_in_pieces(server: Server) -> None:
    with server.connect() as client:
        for piece in (b'{"op":', b' "pi', b'ng"}\n'):
            client.sendall(piece)
            time.sleep(0.05)
        assert json.loads(client.recv(1000))["ok"]


def test_silent_clients_make_room_for_others(server: Server) -> None:
    silent = [server.connect() for _ in range(40)]
    try:
        assert request(server.run, {"op": "ping"})["ok"]
    finally:
        for client in silent:
            client.close()


def test_silent_clients_are_hung_up_on(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_IDLE_S", 0.1)
    with server.connect() as client:
        assert client.recv(1) == b""


def test_a_client_that_does_not_read(server: Server) -> None:
    with server.connect() as client:
        client.sendall(b'{"size": 3000000}\n')
        time.sleep(0.1)
        assert request(server.run, {"op": "ping"})["ok"]
    assert server.longest < 0.5


def test_a_folder_too_deep_for_an_address(tmp_path: Path) -> None:
    path = tmp_path.joinpath(*["a-long-name-of-a-folder"] * 8)
    path.mkdir(parents=True)
    run = RunDirectory(path)
    server = Server(run)
    try:
        assert request(run, {"op": "ping"})["ok"]
        assert run.socket.exists()
    finally:
        server.close()


def test_nobody_listens(run: RunDirectory) -> None:
    with pytest.raises(SuperviseError, match="no supervisor listens"):
        request(run, {"op": "ping"})
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(run.socket))
    with pytest.raises(SuperviseError, match="no supervisor listens"):
        request(run, {"op": "ping"})


@pytest.mark.parametrize("answer", [b"", b"what?\n", b"[]\n"])
def test_an_answer_that_is_none(run: RunDirectory, answer: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(run.socket))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            connection.recv(1000)
            connection.sendall(answer)
            connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(SuperviseError):
            request(run, {"op": "ping"})
        thread.join()


def test_no_answer_in_time(run: RunDirectory) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(run.socket))
        listener.listen()
        began = time.monotonic()
        with pytest.raises(SuperviseError, match="no answer within"):
            request(run, {"op": "ping"}, timeout=0.3)
        assert time.monotonic() - began < 2


def test_a_place_that_takes_no_socket(run: RunDirectory) -> None:
    run.socket.mkdir()
    with pytest.raises(SuperviseError, match="cannot listen here"):
        ControlServer(run.socket, selectors.DefaultSelector(), lambda message: message)
