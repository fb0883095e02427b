"""Trace language models of Hugging Face transformers, for the tables of measured memory.

    env = make_environment(folder)
    trace = trace_language_model(env, "openai-community/gpt2", optimizer="AdamW", zero_grad=0)

The measured rows were made with transformers 4.51.3; other versions lay the key-value cache out
differently (up to 1 GiB on a step of 3 GiB). So the models are traced in an environment of their
own, which borrows this one's PyTorch. Nothing is downloaded but the library: models are built
from their configuration, whose few values stand in language_model_sizes.py.

Run as a script it is the tracer inside that environment: a JSON request on standard input, the
trace as JSON on standard output.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
import venv
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent))
from language_model_sizes import CONFIGURATIONS, configuration

ROOT = Path(__file__).resolve().parent.parent
VERSION = "4.51.3"
TOKENS = 128
SIZES = (4, 8)
ZERO_GRAD = {0: "start", 1: "backward", 2: "end"}


def default_folder() -> Path:
    """Return where environment and traces are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "batchtui" / f"transformers-{VERSION}"


def make_environment(folder: Path | None = None) -> Path:
    """Make the environment if it isn't there, and return its interpreter.

    Raises:
        subprocess.CalledProcessError: pip failed; its last lines went to standard error.
    """
    folder = folder or default_folder()
    python = folder / "env" / "bin" / "python"
    ready = folder / "ready"
    if ready.exists() and python.exists():
        return python
    folder.mkdir(parents=True, exist_ok=True)
    venv.create(folder / "env", clear=True, with_pip=False)
    # PyTorch and what else is installed here come along, after the environment's own packages.
    ours = next(Path(p) for p in sys.path if (Path(p) / "torch").is_dir())
    [packages] = (folder / "env" / "lib").glob("python*/site-packages")
    (packages / "borrowed.pth").write_text(f"{ours}\n")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*pip, f"transformers=={VERSION}"], check=True, stdout=sys.stderr)
    ready.touch()
    return python


def trace_language_model(
    python: Path,
    model: str,
    *,
    optimizer: str = "AdamW",
    zero_grad: int = 0,
    tokens: int = TOKENS,
    batch_sizes: tuple[int, int] = SIZES,
    cache: Path | None = None,
) -> dict[str, Any]:
    """Trace a model in the environment of `python`; return the trace's JSON object.

    Args:
        zero_grad: 0 start of the iteration, 1 before the backward pass, 2 end of it.
        cache: a folder where traces are kept between calls.

    Raises:
        KeyError: a model whose configuration isn't known.
        RuntimeError: the trace failed, with its one line.
    """
    request = {
        "model": model,
        "configuration": configuration(model),
        "optimizer": optimizer,
        "zero_grad": ZERO_GRAD[zero_grad],
        "tokens": tokens,
        "batch_sizes": list(batch_sizes),
    }
    text = json.dumps(request, sort_keys=True)
    cached = cache and cache / f"{hashlib.sha256((text + _code()).encode()).hexdigest()[:24]}.json"
    if cached and cached.exists():
        return json.loads(cached.read_text())  # type: ignore[no-any-return]
    done = subprocess.run(
        [str(python), str(Path(__file__).resolve())],
        input=text,
        capture_output=True,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"},
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise RuntimeError(f"{model}: {lines[-1]}")
    if cached:
        cached.parent.mkdir(parents=True, exist_ok=True)
        cached.write_text(done.stdout)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def _code() -> str:
    """Identify the tracer's code: a trace by other code is no cached one."""
    digest = hashlib.sha256()
    tracer = (
        *("answers", "fake_device", "hollow", "ladder", "recorder"),
        *("recording", "rehearsal", "stand_ins", "trace", "workspaces"),
    )
    files = [ROOT / "batchtui" / "forecast" / f"{name}.py" for name in tracer]
    for path in [*sorted(Path(__file__).parent.glob("language_model*.py")), *files]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _trace(request: dict[str, Any]) -> str:
    """Trace inside the environment."""
    import torch
    import transformers

    sys.path.insert(0, str(ROOT))
    from batchtui.forecast.rehearsal import Plan, Task
    from batchtui.forecast.trace import trace_model
    from benchmarks.vision_models import optimizer_class

    optimizer = optimizer_class(request["optimizer"])
    values = dict(request["configuration"])
    config = transformers.AutoConfig.for_model(values.pop("type"), **values)
    kinds = (
        transformers.AutoModelForSeq2SeqLM
        if config.is_encoder_decoder
        else transformers.AutoModelForCausalLM
    )

    def batch(size: int) -> dict[str, torch.Tensor]:
        shape = size, request["tokens"]
        names = ("input_ids", "attention_mask", "labels")
        return {name: torch.zeros(shape, dtype=torch.int64) for name in names}

    trace = trace_model(
        Task(
            model=lambda: kinds.from_config(config),
            batch=batch,
            forward=lambda model, batch: model(**batch),
            loss=lambda output, batch: output.loss,
            optimizer=lambda parameters: optimizer(parameters, lr=1e-3),
        ),
        Plan(zero_grad=request["zero_grad"]),
        batch_sizes=tuple(request["batch_sizes"]),
    )
    return trace.to_json()


def main() -> int:
    """Trace the request on standard input; with --all, list and time the known models."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--all", action="store_true", help="trace every known model")
    if parser.parse_args().all:
        python = make_environment()
        for name in CONFIGURATIONS:
            began = time.monotonic()
            try:
                result = trace_language_model(python, name, cache=default_folder() / "traces")
                text = f"{len(result['events'])} events, {'; '.join(result['assumptions'])}"
            except RuntimeError as error:
                text = str(error)
            print(f"{name:32} {time.monotonic() - began:6.1f} s  {text}", flush=True)
        return 0
    print(_trace(json.load(sys.stdin)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
