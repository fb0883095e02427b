"""Trace language models of Hugging Face transformers, for the tables of measured memory.

    env = make_environment(folder)
    trace = trace_language_model(env, "openai-community/gpt2", optimizer="AdamW", zero_grad=0)

The measured rows were made with transformers 4.51.3; other versions lay the key-value cache out
differently (up to 1 GiB on a step of 3 GiB). So the models are traced in an environment of their
own, which borrows this one's PyTorch. Nothing is downloaded but the library: models are built
from their configuration, whose few values stand below.

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

ROOT = Path(__file__).resolve().parent.parent
VERSION = "4.51.3"
TOKENS = 128
SIZES = (4, 8)
ZERO_GRAD = {0: "start", 1: "backward", 2: "end"}


def _gpt2(**values: Any) -> dict[str, Any]:
    return {"type": "gpt2", **values}


def _opt(hidden: int, layers: int, heads: int, **values: Any) -> dict[str, Any]:
    return {
        "type": "opt",
        "hidden_size": hidden,
        "ffn_dim": 4 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "word_embed_proj_dim": hidden,
        **values,
    }


def _neo(hidden: int, layers: int, heads: int) -> dict[str, Any]:
    return {
        "type": "gpt_neo",
        "hidden_size": hidden,
        "num_layers": layers,
        "num_heads": heads,
        "attention_types": [[["global", "local"], layers // 2]],
    }


def _pythia(hidden: int, layers: int, heads: int, vocabulary: int = 50_304) -> dict[str, Any]:
    return {
        "type": "gpt_neox",
        "hidden_size": hidden,
        "intermediate_size": 4 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "vocab_size": vocabulary,
        "rotary_pct": 0.25,
        "max_position_embeddings": 2048,
    }


def _t5(width: int, inner: int, layers: int, heads: int, **values: Any) -> dict[str, Any]:
    return {
        "type": "t5",
        "d_model": width,
        "d_ff": inner,
        "num_layers": layers,
        "num_heads": heads,
        "d_kv": 64,
        "vocab_size": 32_128,
        "decoder_start_token_id": 0,
        **values,
    }


def _llama_like(
    kind: str,
    vocabulary: int,
    hidden: int,
    inner: int,
    layers: int,
    heads: int,
    key_heads: int,
    **values: Any,
) -> dict[str, Any]:
    return {
        "type": kind,
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": key_heads,
        **values,
    }


_QWEN3 = {"head_dim": 128, "tie_word_embeddings": True}
_TIED = {"tie_word_embeddings": True}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "gpt2": _gpt2(),
    "gpt2-medium": _gpt2(n_embd=1024, n_layer=24, n_head=16),
    "gpt2-large": _gpt2(n_embd=1280, n_layer=36, n_head=20),
    "gpt2-xl": _gpt2(n_embd=1600, n_layer=48, n_head=25),
    "distilgpt2": _gpt2(n_layer=6),
    "cerebras-gpt-111m": _gpt2(
        n_embd=768, n_layer=10, n_head=12, n_inner=3072, n_positions=2048,
        activation_function="gelu",
    ),
    "cerebras-gpt-256m": _gpt2(
        n_embd=1088, n_layer=14, n_head=17, n_inner=4352, n_positions=2048,
        activation_function="gelu",
    ),
    "cerebras-gpt-590m": _gpt2(
        n_embd=1536, n_layer=18, n_head=12, n_inner=6144, n_positions=2048,
        activation_function="gelu",
    ),
    "gpt-neo-125m": _neo(768, 12, 12),
    "gpt-neo-1.3b": _neo(2048, 24, 16),
    "gpt-neo-2.7b": _neo(2560, 32, 20),
    "opt-125m": _opt(768, 12, 12),
    "opt-350m": _opt(1024, 24, 16, word_embed_proj_dim=512, do_layer_norm_before=False),
    "opt-1.3b": _opt(2048, 24, 32),
    "opt-2.7b": _opt(2560, 32, 32),
    "pythia-70m": _pythia(512, 6, 8),
    "pythia-160m": _pythia(768, 12, 12),
    "pythia-410m": _pythia(1024, 24, 16),
    "pythia-1b": _pythia(2048, 16, 8),
    "pythia-1.4b": _pythia(2048, 24, 16),
    "pythia-2.8b": _pythia(2560, 32, 32),
    "t5-small": _t5(512, 2048, 6, 8),
    "t5-base": _t5(768, 3072, 12, 12),
    "t5-large": _t5(1024, 4096, 24, 16),
    "flan-t5-small": _t5(
        512, 1024, 8, 6, feed_forward_proj="gated-gelu", tie_word_embeddings=False
    ),
    "flan-t5-base": _t5(
        768, 2048, 12, 12, feed_forward_proj="gated-gelu", tie_word_embeddings=False
    ),
    "bloom-560m": {"type": "bloom", "vocab_size": 250_880, "hidden_size": 1024, "n_layer": 24,
                   "n_head": 16},
    "qwen3-0.6b": _llama_like("qwen3", 151_936, 1024, 3072, 28, 16, 8, **_QWEN3),
    "qwen3-1.7b": _llama_like("qwen3", 151_936, 2048, 6144, 28, 16, 8, **_QWEN3),
    "qwen3-4b": _llama_like("qwen3", 151_936, 2560, 9728, 36, 32, 8, **_QWEN3),
    "qwen2.5-0.5b": _llama_like("qwen2", 151_936, 896, 4864, 24, 14, 2, **_TIED),
    "qwen2.5-1.5b": _llama_like("qwen2", 151_936, 1536, 8960, 28, 12, 2, **_TIED),
    "qwen2.5-3b": _llama_like("qwen2", 151_936, 2048, 11_008, 36, 16, 2, **_TIED),
    "deepseek-r1-distill-qwen-1.5b": _llama_like("qwen2", 151_936, 1536, 8960, 28, 12, 2),
    "llama-3.2-1b": _llama_like("llama", 128_256, 2048, 8192, 16, 32, 8, head_dim=64, **_TIED),
    "llama-3.2-3b": _llama_like("llama", 128_256, 3072, 8192, 28, 24, 8, head_dim=128, **_TIED),
    "tinyllama-1.1b": _llama_like("llama", 32_000, 2048, 5632, 22, 32, 4),
    "smollm2-135m": _llama_like("llama", 49_152, 576, 1536, 30, 9, 3, **_TIED),
    "smollm2-360m": _llama_like("llama", 49_152, 960, 2560, 32, 15, 5, **_TIED),
    "gemma-2-2b": _llama_like(
        "gemma2", 256_000, 2304, 9216, 26, 8, 4, head_dim=256, sliding_window=4096
    ),
    "gemma-2b": _llama_like("gemma", 256_000, 2048, 16_384, 18, 8, 1, head_dim=256),
}  # fmt: skip


def configuration(model: str) -> dict[str, Any]:
    """Return the values of a model named as on the hub: its owner and "-instruct" don't count.

    Raises:
        KeyError: nothing is known of that model.
    """
    name = model.rsplit("/", 1)[-1].lower()
    for suffix in ("", "-instruct", "-it", "-chat", "-base", "-deduped"):
        if name.endswith(suffix) and name.removesuffix(suffix) in CONFIGURATIONS:
            return CONFIGURATIONS[name.removesuffix(suffix)]
    raise KeyError(model)


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
    for path in [Path(__file__), *sorted((ROOT / "batchtui" / "forecast").glob("*.py"))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _trace(request: dict[str, Any]) -> str:
    """Trace inside the environment."""
    import torch
    import transformers

    sys.path.insert(0, str(ROOT))
    from batchtui.forecast.rehearsal import Plan, Task
    from batchtui.forecast.trace import trace_model

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
            optimizer=lambda parameters: getattr(torch.optim, request["optimizer"])(
                parameters, lr=1e-3
            ),
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
