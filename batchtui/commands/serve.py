"""`batchtui serve`: the screen in a browser on this machine, or behind an SSH port forward.

textual-serve runs `batchtui attach` for each page that is opened and carries what it draws. It has
no notion of who asks, so every request has to bring the token that the address on the terminal
holds, once in the URL and from then on in a cookie.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import secrets
import shlex
import socket
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import TYPE_CHECKING

from batchtui.errors import BatchtuiError, UsageError
from batchtui.runs.directory import find_run

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.typedefs import Handler

_HOST = "127.0.0.1"
_GRACE_S = 5.0  # for the screens of the pages that are open at the end
# The page leaves its terminal without the keyboard until somebody clicks on it.
_FOCUS = """<script>
addEventListener("load", () => document.querySelector(".xterm-helper-textarea")?.focus());
</script>"""


def serve(reference: str, root: Path, *, port: int) -> int:
    """Serve the screen of a run until Ctrl+C; port 0 takes a free one.

    Raises:
        UsageError: textual-serve is not installed.
        BatchtuiError: no such run, or the port is taken.
    """
    run = find_run(root, reference)
    try:
        from aiohttp import web
    except ImportError:
        raise UsageError("serve needs textual-serve: pip install 'batchtui[serve]'") from None
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((_HOST, port))
        listener.listen()  # whoever is quicker than the start waits
    except OSError as error:
        listener.close()
        raise BatchtuiError(f"port {port} cannot be used: {error.strerror}") from None
    port = listener.getsockname()[1]
    command = [sys.executable, "-m", "batchtui", "attach", run.name, "--runs", str(root)]
    token = secrets.token_urlsafe(24)
    print(f"{run.name} is at http://{_HOST}:{port}/?token={token}")
    print(f"from elsewhere: ssh -L {port}:{_HOST}:{port} THIS_MACHINE, then the same address")
    print("whoever has the address sees the run and can stop it; Ctrl+C ends this", flush=True)
    app = make_app(shlex.join(command), token, title=run.name)
    web.run_app(app, sock=listener, print=None, access_log=None)
    return 0


async def _ended(pages: set[asyncio.Task[object]]) -> None:
    """Wait until pages have ended, and their screens: asyncio complains of any that outlives it."""
    if pages:
        await asyncio.wait(pages)
    while hasattr(os, "waitid"):
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:  # none is left
            return
        await asyncio.sleep(0.02)


async def make_app(command: str, token: str, *, title: str) -> web.Application:
    """Return a web application that runs a command for each page opened with the token."""
    from aiohttp import web
    from textual_serve.server import Server

    server = Server(command, host=_HOST, title=title)
    # Of all ports of a host a browser keeps the cookies in one jar.
    cookie = f"batchtui-{secrets.token_hex(4)}"
    pages: set[asyncio.Task[object]] = set()  # one for each that is open

    def right(given: str | None) -> bool:
        return given is not None and hmac.compare_digest(given.encode(), token.encode())

    async def serving(answer: Awaitable[web.StreamResponse]) -> web.StreamResponse:
        task = asyncio.ensure_future(answer)
        pages.add(task)
        task.add_done_callback(pages.discard)
        return await task

    async def end_pages(_: web.Application) -> None:
        for task in pages:
            task.cancel()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(_ended(pages), _GRACE_S)

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if right(request.query.get("token")):
            # The address bar and the history shall not keep it.
            away = web.HTTPFound(request.path)
            away.set_cookie(cookie, token, httponly=True, samesite="Strict")
            raise away
        origin = request.headers.get("Origin")
        elsewhere = origin is not None and origin.partition("://")[2] != request.host
        if elsewhere or not right(request.cookies.get(cookie)):
            text = "open the whole address that batchtui serve has printed, with its token\n"
            return web.Response(status=403, text=text)
        # Behind a port forward the browser knows this server by another name.
        server.public_url = f"http://{request.host}"
        response = await serving(handler(request))
        if isinstance(response, web.Response) and response.content_type == "text/html":
            response.text = (response.text or "").replace("</body>", f"{_FOCUS}</body>")
        if not response.prepared:
            # Nothing is fetched from elsewhere, and nothing told there.
            response.headers["Content-Security-Policy"] = (
                "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline'; "
                f"style-src 'self' 'unsafe-inline'; connect-src 'self' ws://{request.host}"
            )
        return response

    app = await server._make_app()
    app.on_startup.clear()  # it would print an address without the token
    app.middlewares.append(guard)
    app.on_shutdown.append(end_pages)
    return app
