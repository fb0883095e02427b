"""Get a configuration's trace: from the cache, or from the tracer in a process of its own.

No torch here. A second forecast of the same configuration reads a file; what a trace depends on
is in its name: the configuration, the code of the model, the versions of the packages its
targets come from, and the tracer's own code.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchtui.errors import BatchtuiError, UsageError
from batchtui.forecast.events import Trace

TRACER = Path(__file__).with_name("tracer.py")
TIME_LIMIT = 120.0
TAMED_MALLOC = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "131072",
    "MALLOC_TRIM_THRESHOLD_": "131072",
}
_GRACE = 15.0  # seconds over the tracer's own limit: interpreter start and imports
# What changes a training and not its memory.
_IRRELEVANT = ("epochs", "seed", "checkpoint_every", "keep_checkpoints", "deterministic", "lr_rule")
_MANY_FILES = 500
_ABANDONED = 3600.0  # seconds


class TraceFailed(BatchtuiError):
    """The model could not be traced; says why, in one line. `usage`: it could not train either."""

    def __init__(self, message: str, *, usage: bool = False) -> None:
        super().__init__(message)
        self.usage = usage
        if usage:
            self.exit_code = UsageError.exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRequest:
    """What to trace, and where.

    Attributes:
        config: the resolved configuration, as `config.schema.to_dict` gives it.
        device: what to forecast for: "cuda" or "cpu".
        python: the training's interpreter.
        cwd: where the user stands; with the folder of `config_path` on the import path.
        batch_sizes: those of interest, should the operations depend on the size.
        gently: leave the processor to a training; False where somebody waits for the answer.
    """

    config: dict[str, Any]
    device: str
    python: str
    cwd: str
    config_path: str | None = None
    batch_sizes: Sequence[int] = ()
    gently: bool = True

    @property
    def folders(self) -> list[Path]:
        """Return where the user's own modules are looked for."""
        own = [Path(self.config_path).parent] if self.config_path else []
        return [*own, Path(self.cwd)]


def cached_trace(request: TraceRequest, cache: Path | None = None) -> list[Trace] | None:
    """Return the traces on file for a request, or None; takes milliseconds."""
    path = _file(fingerprint(request), cache)
    try:
        answer = json.loads(path.read_text("utf-8"))
        traces = [Trace.from_dict(values) for values in answer["traces"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    sizes = request.batch_sizes
    covered = all(any(trace.covers(size) for trace in traces) for size in sizes)
    return traces if covered else None


def base_bytes(request: TraceRequest, cache: Path | None = None) -> int | None:
    """Return what a training on the CPU holds before its first step; known once traced.

    Resident bytes of its process, with torch, the model's code and the data loaded.
    """
    return _told(request, "base_bytes", cache)


def train_samples(request: TraceRequest, cache: Path | None = None) -> int | None:
    """Return how many samples an epoch has; known once traced."""
    return _told(request, "train_samples", cache)


def obtain_trace(
    request: TraceRequest, *, time_limit: float = TIME_LIMIT, cache: Path | None = None
) -> list[Trace]:
    """Return a request's traces; traced now, in a niced process, unless they are on file.

    Mostly one, for every batch size; else one for each wanted size.

    Raises:
        TraceFailed: in one line.
    """
    known = cached_trace(request, cache)
    if known is not None:
        return known
    path = _file(fingerprint(request), cache)
    answer = _run(request, path.stem, time_limit)
    if "error" in answer:
        raise TraceFailed(str(answer["error"]), usage=bool(answer.get("usage")))
    traces = [Trace.from_dict(values) for values in answer["traces"]]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        temporary.write_text(json.dumps(answer, separators=(",", ":")), "utf-8")
        temporary.replace(path)
        for left in path.parent.glob(".*.tmp"):  # by who was killed while writing
            if left.stat().st_mtime < time.time() - _ABANDONED:
                left.unlink()
    except OSError:
        pass  # a home that cannot be written costs the next forecast a trace
    return traces


def _run(request: TraceRequest, name: str, time_limit: float) -> dict[str, Any]:
    """Ask the tracer, and end whatever the user's code started in its process.

    Through files without a name: a pipe would stay open as long as such a process lives, and
    whoever is killed, nothing is left behind.
    """
    question = json.dumps(
        {
            "config": request.config,
            "device": request.device,
            "batch_sizes": list(request.batch_sizes),
            "time_limit": time_limit,
            "cwd": request.cwd,
            "config_path": request.config_path,
            "fingerprint": name,
            "gently": request.gently,
        }
    )
    environment = {
        **os.environ,
        **request.config.get("launch", {}).get("env", {}),
        "CUDA_VISIBLE_DEVICES": "",
        "KINETO_LOG_LEVEL": "5",
        **TAMED_MALLOC,  # what convolutions touch and give back is read from resident pages
    }
    with contextlib.ExitStack() as stack:
        try:
            asked, told, said = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(3))
            asked.write(question.encode())
            asked.seek(0)
            process = subprocess.Popen(
                [request.python, str(TRACER)],
                stdin=asked,
                stdout=told,
                stderr=said,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise TraceFailed(f"{request.python} cannot be started: {error.strerror}") from None
        try:
            code = process.wait(time_limit + _GRACE)
        except subprocess.TimeoutExpired:
            raise TraceFailed(f"tracing the model takes longer than {time_limit:.0f} s") from None
        finally:
            with contextlib.suppress(OSError):  # none is left
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        told.seek(0)
        said.seek(0)
        try:
            return dict(json.loads(told.read()))
        except (ValueError, TypeError):
            raise TraceFailed(f"the tracer died: {_last_words(code, said.read())}") from None


def _last_words(code: int, said: bytes) -> str:
    """Say in a line how a tracer ended that gave no answer."""
    if code < 0:
        return f"it was killed by {signal.Signals(-code).name}"
    lines = said.decode(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else f"it ended with code {code}"


def _told(request: TraceRequest, key: str, cache: Path | None) -> int | None:
    try:
        answer = json.loads(_file(fingerprint(request), cache).read_text("utf-8"))
        return int(answer[key]) or None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def fingerprint(request: TraceRequest) -> str:
    """Name a trace by all it depends on."""
    config = request.config
    training = {
        key: value
        for key, value in config.get("training", {}).items()
        if key not in _IRRELEVANT and key != "evaluate_every"
    }
    training["evaluates"] = bool(config.get("training", {}).get("evaluate_every", 1))
    sections = {key: config.get(key) for key in ("model", "data", "loss", "optimizer")}
    sections["optimizer"] = _without_rate(sections["optimizer"])
    several = int(config.get("launch", {}).get("processes") or 1) > 1
    roots = sorted(_roots(config))
    parts = [
        json.dumps([sections, training, several, request.device], sort_keys=True, default=str),
        request.python,
        *_versions(Path(request.python), {*roots, "torch", "torchvision", "transformers"}),
    ]
    digest = hashlib.sha256("\n".join(parts).encode())
    for path in [*_tracer_files(), *_own_files(request.folders, roots)]:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:32]


def _without_rate(optimizer: dict[str, Any] | None) -> dict[str, Any] | None:
    """Leave the learning rate out, which changes at a restart and takes no memory."""
    if not optimizer:
        return optimizer
    arguments = optimizer.get("args") or {}
    return {**optimizer, "args": {k: v for k, v in arguments.items() if k != "lr"}}


def _roots(config: dict[str, Any]) -> set[str]:
    """Return the top-level modules that the targets name."""
    sections = (config.get(key) or {} for key in ("model", "data", "loss", "optimizer"))
    targets = (section.get("target") for section in sections)
    return {str(target).replace(":", ".").partition(".")[0] for target in targets if target}


def _versions(python: Path, packages: Iterable[str]) -> list[str]:
    """Return name and version of installed packages, from their folders' names."""
    libraries = sorted(python.parent.parent.glob("lib/python*/site-packages"))
    return sorted(
        f"{library.parent.name}/{info.name}"
        for library in libraries
        for package in packages
        for info in library.glob(f"{package}-*.dist-info")
    )


def _tracer_files() -> list[Path]:
    package = TRACER.parent.parent
    return sorted([*(package / "forecast").glob("*.py"), *(package / "train").glob("*.py")])


def _own_files(folders: Iterable[Path], roots: Iterable[str]) -> list[Path]:
    """Return the user's source files that the targets may import."""
    found: list[Path] = []
    for folder in folders:
        for root in roots:
            if (folder / f"{root}.py").is_file():
                found.extend(sorted(folder.glob("*.py")))  # it may import its neighbours
            elif (folder / root).is_dir():
                found.extend(sorted((folder / root).rglob("*.py")))
    return list(dict.fromkeys(found))[:_MANY_FILES]


def _file(name: str, cache: Path | None) -> Path:
    if cache is None:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        cache = Path(base) / "batchtui" / "traces"
    return cache / f"{name}.json"
