"""The screen in a browser, from the command line to what the browser's terminal gets."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest

from batchtui.config.schema import Config, to_dict
from batchtui.records import LaunchSpec
from batchtui.runs.directory import create_run
from tests.tui.test_source import fill

PATIENCE_S = 40


class Served(NamedTuple):
    """The command that serves, and the address that it printed."""

    process: subprocess.Popen[str]
    address: str


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Serve an ended run."""
    run = create_run(tmp_path, "digits")
    run.write_launch(LaunchSpec(
        run=run.name, config=to_dict(Config(name="digits")), cwd=str(tmp_path),
        python=sys.executable, created=time.time(),
    ))  # fmt: skip
    fill(run, 300).close(final=True)
    words = ["serve", "last", "--port", "0", "--runs", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-m", "batchtui", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        match = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", process.stdout.readline())
        assert match is not None
        yield Served(process, match[0])
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE_S)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def address(served: Served) -> str:
    return served.address


@asynccontextmanager
async def browser() -> AsyncIterator[aiohttp.ClientSession]:
    jar = aiohttp.CookieJar(unsafe=True)  # that is: also for addresses that are numbers
    async with aiohttp.ClientSession(cookie_jar=jar) as session:
        yield session


async def test_a_page_shows_the_run_and_its_keys_work(address: str) -> None:
    async with browser() as session:
        async with session.get(address) as page:
            assert page.status == 200
            assert "token" not in str(page.url)
            text = await page.text()
            assert '.xterm-helper-textarea")?.focus()' in text  # else keys wait for a click
            assert "script-src" in page.headers["Content-Security-Policy"]
        socket = re.search(r"ws://127\.0\.0\.1:\d+/ws", text)
        assert socket is not None
        async with session.ws_connect(f"{socket[0]}?width=120&height=36") as connection:
            await shows(connection, "digits-001")
            await connection.send_str(json.dumps(["resize", {"width": 80, "height": 24}]))
            await connection.send_str(json.dumps(["stdin", "?"]))
            await shows(connection, "leave: detach or stop")
            await connection.send_str(json.dumps(["stdin", "q"]))
            await connection.send_str(json.dumps(["stdin", "d"]))
            while (await connection.receive(PATIENCE_S)).type is not aiohttp.WSMsgType.CLOSED:
                pass


async def shows(connection: aiohttp.ClientWebSocketResponse, text: str) -> None:
    """Wait until a text has come, in whatever pieces the screen is drawn."""
    seen = ""
    while text not in seen:
        message = await connection.receive(PATIENCE_S)
        assert message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT), message
        if message.type is aiohttp.WSMsgType.BINARY:
            seen += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", message.data.decode())


async def test_ctrl_c_ends_pages_that_are_open(served: Served) -> None:
    async with browser() as session:
        async with session.get(served.address) as page:
            socket = f"ws://{page.url.host}:{page.url.port}/ws?width=80&height=24"
        async with session.ws_connect(socket) as connection:
            await shows(connection, "digits-001")
            served.process.send_signal(signal.SIGINT)
            while (await connection.receive(PATIENCE_S)).type is not aiohttp.WSMsgType.CLOSED:
                pass
    assert served.process.wait(PATIENCE_S) == 0
    assert served.process.stderr is not None
    assert "Traceback" not in served.process.stderr.read()


async def test_without_the_token_nothing_is_told(address: str) -> None:
    base, _, token = address.partition("/?token=")
    async with browser() as session:
        for wrong in (base, f"{base}/?token=", f"{base}/?token={token[:-1]}", f"{base}/static/"):
            async with session.get(wrong) as page:
                assert page.status == 403
                assert "digits" not in await page.text()
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(base.replace("http", "ws") + "/ws")
        async with session.get(address) as page:
            assert page.status == 200
        # Another site's page in the same browser, by name or by number.
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(
                base.replace("http", "ws") + "/ws", headers={"Origin": "http://evil.example"}
            )


def test_a_port_that_is_taken_or_none_is_one_line(address: str, tmp_path: Path) -> None:
    port = re.search(r":(\d+)/", address)
    assert port is not None
    for word, code, told in ((port[1], 1, "cannot be used"), ("70000", 2, "not a port")):
        done = subprocess.run(
            [sys.executable, "-m", "batchtui", "serve", "--port", word, "--runs", str(tmp_path)],
            capture_output=True, text=True, timeout=PATIENCE_S,
        )  # fmt: skip
        assert done.returncode == code
        assert told in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
