"""The process behind `conftest.Driver`: one JSON command a line, one JSON answer a line."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from typing import Any

from batchtui.sampling.funnel import Funnel, Refused
from batchtui.sampling.gpu import GpuSampler, share, summarize


class Server:
    """Its methods are the commands."""

    def __init__(self) -> None:
        """Start with a clock that can be moved."""
        self._offset = 0.0
        self._gpu = GpuSampler(clock=lambda: time.monotonic() + self._offset)

    def sample(self, tree: list[int], wait: float) -> dict[str, Any]:
        """Read the cards, waiting for at most so many seconds."""
        started = time.monotonic()
        self._gpu.request()
        reading = self._gpu.newest(wait)
        gpus = [dataclasses.asdict(share(row, tree, same_ids=True)) for row in reading.rows]
        seconds = time.monotonic() - started
        return {"gpus": gpus, "status": reading.status, "seconds": seconds}

    def pass_time(self, seconds: float) -> dict[str, Any]:
        """Move the clock."""
        self._offset += seconds
        return {}

    def call(self, function: str) -> dict[str, Any]:
        """Call a function on the first card, through the funnel."""
        funnel = Funnel()
        funnel.ask("nvmlInit")
        handle = funnel.ask("nvmlDeviceGetHandleByIndex", 0)
        try:
            return {"answer": funnel.ask(function, handle, 0)}
        except Refused as refused:
            return {"code": refused.code, "text": str(refused)}

    def summarize(self) -> dict[str, Any]:
        """Return what doctor shows."""
        return dataclasses.asdict(summarize())


if __name__ == "__main__":
    server = Server()
    for line in sys.stdin:
        arguments = json.loads(line)
        print(json.dumps(getattr(server, arguments.pop("command"))(**arguments)), flush=True)
