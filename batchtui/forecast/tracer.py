"""The tracer's command, run by path in the training's own interpreter:

    python …/batchtui/forecast/tracer.py < REQUEST > ANSWER

The request: {"config": …, "device": "cuda" | "cpu", "batch_sizes": [wanted…], "time_limit": s,
"cwd": …, "config_path": …, "fingerprint": …, "gently": bool}. The answer: {"traces": […],
"base_bytes": n, "train_samples": n}, or {"error": one line, "usage": whether the configuration
itself is wrong}. Mostly there is one trace, for all sizes; `base_bytes` is what the process holds
before it trains. What the user's code prints goes to standard error.

It runs niced unless "gently" is false, sees no GPU, and needs torch and the standard library.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

_HERE = os.path.dirname(os.path.abspath(__file__))
_GRACE = 5.0  # seconds past the time limit, for what no operator interrupts
_LOOK = 0.5  # seconds between two looks at whether somebody still waits
_NICE = 19


_answered = threading.Lock()  # taken by who answers, for good


def main() -> int:
    """Answer a request; exit code 0 with traces, 1 with an error."""
    started, asker = time.monotonic(), os.getppid()
    output = os.dup(1)
    os.dup2(2, 1)
    request = json.load(sys.stdin)
    limit = float(request.get("time_limit") or 120.0)
    if request.get("gently", True):
        _step_back()
    _give_up_after(limit + _GRACE, asker, output)
    _stand_in(request)
    try:
        answer = _trace(request, limit, started)
    except SystemExit as error:
        answer = {"error": f"the model's or the data's code ends the process: exit({error.code})"}
    except Exception as error:
        answer = {"error": _reason(error), "usage": getattr(error, "exit_code", 1) == 2}
    if not _answer(output, answer):
        time.sleep(_LOOK)  # the time limit is just ending the process
    return 0 if "traces" in answer else 1


def _trace(request: dict[str, Any], limit: float, started: float) -> dict[str, Any]:
    from batchtui.forecast.fake_device import hide_devices

    hide_devices()
    from batchtui.config.schema import from_dict
    from batchtui.forecast.configured import trace_config

    config = from_dict(request["config"])
    device = request["device"]
    wanted = [int(size) for size in request.get("batch_sizes") or ()]

    def trace(sizes: tuple[int, int] | None) -> Any:
        left = max(1.0, limit - (time.monotonic() - started))
        return trace_config(
            config,
            device,
            batch_sizes=sizes,
            time_limit=left,
            fingerprint=request.get("fingerprint", ""),
        )

    first, base, samples = trace(None)
    traces = [first]
    # Where the operations depend on the batch size, each wanted one is traced by itself.
    traces += [trace((size, size)).trace for size in wanted if not first.covers(size)]
    return {
        "traces": [json.loads(found.to_json()) for found in traces],
        "base_bytes": base,
        "train_samples": samples,
    }


def _step_back() -> None:
    """Leave the processor to the training that may run beside.

    Where Linux groups processes by session, niceness counts within a session alone, and the
    session itself has a niceness.
    """
    os.nice(_NICE)
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(_NICE))


def _reason(error: Exception) -> str:
    from batchtui.errors import BatchtuiError

    if isinstance(error, BatchtuiError):
        return str(error)
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _stand_in(request: dict[str, Any]) -> None:
    """Stand where the training will, and import what it would import."""
    folders = []
    if request.get("config_path"):
        folders.append(os.path.dirname(request["config_path"]))
    if request.get("cwd"):
        os.chdir(request["cwd"])
        folders.append(request["cwd"])
    sys.path[:0] = [folder for folder in folders if folder not in sys.path]


def _give_up_after(seconds: float, asker: int, output: int) -> None:
    """End the process by then, even inside a constructor that never returns.

    And at once when whoever asked is gone.
    """
    deadline = time.monotonic() + seconds

    def end() -> None:
        while time.monotonic() < deadline:
            if os.getppid() != asker:
                _end_all()
            time.sleep(_LOOK)
        error = f"tracing the model takes longer than {seconds - _GRACE:.0f} s"
        if _answer(output, {"error": error}):
            os._exit(1)

    threading.Thread(target=end, name="time limit", daemon=True).start()


def _end_all() -> None:
    """End the process and, where it leads its group, whatever the user's code started."""
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def _answer(output: int, answer: dict[str, Any]) -> bool:
    """Write the answer; False: another thread does, or did."""
    if not _answered.acquire(blocking=False):
        return False
    with contextlib.suppress(BrokenPipeError), open(output, "w", encoding="utf-8") as stream:
        json.dump(answer, stream, separators=(",", ":"))
    return True


def _load_package() -> None:
    """Make `batchtui` importable without putting its neighbours on the path."""
    path = os.path.join(os.path.dirname(_HERE), "train", "bootstrap.py")
    spec = importlib.util.spec_from_file_location("batchtui_bootstrap", path)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder or ".") != _HERE]


if __name__ == "__main__":
    _load_package()
    # The answer is written; to take the interpreter apart would take a second more.
    os._exit(main())
