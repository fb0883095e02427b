"""`batchtui serve` in headless Chromium: that a page shows a run, and that keys arrive.

`python -m tests.e2e.in_chromium RUN [--runs DIR] [--picture FILE.png]` serves a run, opens its page
and presses keys by the DevTools protocol, as a keyboard would; what the page's terminal was sent is
read from the frames of its WebSocket. It needs Chromium, which not every machine has that runs the
tests: those stand in for the page itself, in test_serve.py.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import itertools
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pyte

_PATIENCE_S = 40.0
_WIDTH, _HEIGHT = 1200, 800  # pixels
_SIZE = re.compile(r"[?&]width=(\d+)&height=(\d+)")


class Page:
    """A page of a browser, and what the terminal on it shows."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._screen = pyte.Screen(80, 24)
        self._stream = pyte.ByteStream(self._screen)

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol; return its result."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while (answer := await self._receive()).get("id") != number:
            pass
        if "error" in answer:
            raise SystemExit(f"{method}: {answer['error']['message']}")
        return dict(answer["result"])

    async def press(self, key: str) -> None:
        """Press and release a key that writes a character."""
        await self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=key)
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def shows(self, text: str) -> None:
        """Wait until the terminal shows a text."""

        async def come() -> None:
            while not any(text in line for line in self._screen.display):
                await self._receive()

        try:
            await asyncio.wait_for(come(), _PATIENCE_S)
        except asyncio.TimeoutError:
            shown = "\n".join(self._screen.display)
            raise SystemExit(f"the page never showed {text!r}:\n{shown}") from None
        print(f"shown: {text}")

    async def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = await self._socket.receive_json()
        parameters = message.get("params", {})
        if message.get("method") == "Network.webSocketCreated":
            width, height = map(int, _SIZE.search(parameters["url"]).groups())  # type: ignore[union-attr]
            self._screen.resize(height, width)
        elif message.get("method") == "Network.webSocketFrameReceived":
            frame = parameters["response"]
            if frame["opcode"] == 2:
                self._stream.feed(base64.b64decode(frame["payloadData"]))
        return message


async def look(address: str, debugger: str, picture: Path | None) -> None:
    """Open the address in a browser, press keys, and see what comes of them."""
    async with aiohttp.ClientSession() as session:
        async with session.put(f"http://{debugger}/json/new?about:blank") as answer:
            target = (await answer.json())["webSocketDebuggerUrl"]
        async with session.ws_connect(target, max_msg_size=0) as socket:
            page = Page(socket)
            await page.call("Network.enable")
            await page.call("Page.navigate", url=address)
            await page.shows("Loss and variance")
            if picture is not None:
                await asyncio.sleep(1.0)  # until it is painted, too
                shot = await page.call("Page.captureScreenshot")
                picture.write_bytes(base64.b64decode(shot["data"]))
            for key, text in (("?", "leave: detach or stop"), ("q", "Filter log"), ("/", "keep")):
                await page.press(key)
                await page.shows(text)


@contextmanager
def told(command: list[str], pattern: str, stream: str) -> Iterator[str]:
    """Run a program until it writes a line with a pattern; yield what that found."""
    process = subprocess.Popen(command, text=True, **{stream: subprocess.PIPE})
    try:
        lines = process.stdout or process.stderr
        assert lines is not None
        found = next((match for line in lines if (match := re.search(pattern, line))), None)
        if found is None:
            raise SystemExit(f"{command[0]} ended without a word")
        yield found[1]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(_PATIENCE_S)


def main() -> int:
    """Look at the run that the command line names."""
    parser = argparse.ArgumentParser(description="Look at `batchtui serve` in Chromium.")
    parser.add_argument("run")
    parser.add_argument("--runs", default="runs")
    parser.add_argument("--picture", type=Path, help="write what the page looks like")
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("there is no Chromium on this machine")
    serve = [sys.executable, "-m", "batchtui", "serve", options.run, "--runs", options.runs]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browse = [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
            f"--user-data-dir={profile}", f"--window-size={_WIDTH},{_HEIGHT}", "about:blank",
        ]  # fmt: skip
        with (
            told([*serve, "--port", "0"], r"(http://127\S+token=\S+)", "stdout") as address,
            told(browse, r"listening on ws://([^/]+)", "stderr") as debugger,
        ):
            asyncio.run(look(address, debugger, options.picture))
    return 0


if __name__ == "__main__":
    sys.exit(main())
